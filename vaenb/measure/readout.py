"""How well a small network reads labels off codes (Seybold et al. 2019, section 3.2)."""

from typing import NamedTuple

import torch
from torch import nn

from vaenb.errors import VaenbError
from vaenb.measure.convergence import convergence
from vaenb.train import fit, half_cosine


class ReadOut(NamedTuple):
    """``accuracy``: a share; ``label_distortion``: mean -log p(y|z), in nats; ``convergence`` of
    the classifier's own training."""

    accuracy: float
    label_distortion: float
    convergence: dict


def read_out(
    codes, labels, test_codes, test_labels, hidden: tuple[int, ...] = (), steps: int = 2000,
    seed: int = 0,
) -> ReadOut:
    """A classifier trained on ``codes`` [N, Z] with ``labels`` [N], and its test results.

    ``hidden`` are the widths of its layers with ELU before the softmax: none is the paper's linear
    probe, (200, 200) its MLP. Codes are standardised by the training ones; ``steps`` of Adam with
    batches of 128, the learning rate 0.003 falling to 0 by a half cosine (the paper does not say).
    ``label_distortion`` bounds H(y|z) from above, and is H(y) for codes that say nothing, but for
    the noise of the fit.

    Raises VaenbError where labels are missing, not as many as codes, or of one class alone, and
    for codes that are not finite or not of one size.
    """
    parts = []
    for what, z, y in (("training", codes, labels), ("test", test_codes, test_labels)):
        if y is None:
            raise VaenbError(f"the {what} data have no labels to read: take a set that has some")
        z, y = torch.as_tensor(z).detach().float().cpu(), torch.as_tensor(y).long().cpu()
        if z.ndim != 2 or len(z) != len(y) or len(z) == 0:
            raise VaenbError(f"{what} codes are {list(z.shape)} and labels {list(y.shape)}: give "
                             f"[N, Z] and [N]")
        if not z.isfinite().all():
            raise VaenbError(f"some {what} codes are not finite: the model has diverged")
        parts.append((z, y))
    (z, y), (test_z, test_y) = parts
    if z.shape[1] != test_z.shape[1]:
        raise VaenbError(f"training codes have {z.shape[1]} numbers and test codes "
                         f"{test_z.shape[1]}: take both from one model")
    if min(y.min(), test_y.min()) < 0:
        raise VaenbError("a label is below 0: number the classes from 0")
    classes = int(max(y.max(), test_y.max())) + 1
    if len(y.unique()) < 2:
        raise VaenbError("all training labels are one class: there is nothing to read")
    mean, scale = z.mean(0), z.std(0)
    scale = torch.where(scale > 1e-6, scale, 1.0)  # what is constant stays small if it moves

    def make():
        sizes, layers = (z.shape[1], *hidden), []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(a, b), nn.ELU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def loss(net, batch, hp):
        return nn.functional.cross_entropy(net(batch[0]), batch[1]), {}

    runs = fit(make, loss, ((z - mean) / scale, y), [dict(seed=seed)], steps,
               batch=min(128, len(z)), lr=half_cosine(3e-3, steps), device="cpu", progress=False,
               every=max(1, steps // 250))
    [net], [history] = runs.models, runs.history
    with torch.no_grad():
        logits = net((test_z - mean) / scale)
    right = (logits.argmax(1) == test_y).double().mean()
    return ReadOut(float(right), float(nn.functional.cross_entropy(logits, test_y)),
                   convergence(history["step"], history["loss"]))
