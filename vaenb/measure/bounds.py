"""How many nats an image costs: the single-sample and the importance-weighted bound.

All are in nats per image, summed over dimensions: for ``discrete`` likelihoods of a mass over 256
values, for the others of a density on [0, 1]. Where the likelihood is not ``proper`` they bound
nothing. Noise belongs to the image's place in the set, so chunk sizes change no value.
"""

import math
from typing import NamedTuple

import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.chunks import RowRng, batches, evaluating, rows_at_once
from vaenb.models import (
    FullGaussian,
    Gaussian,
    PixelCNN,
    ShiftedPixelCNN,
    standard_normal_log_prob,
)

ITEMS = 32  # in a call of a model that bounds its own memory, with all their samples


class Spent(NamedTuple):
    """Nats of each image: ``distortion`` [N] and ``rates`` [N, L], one column a layer of codes."""

    distortion: torch.Tensor
    rates: torch.Tensor

    @property
    def rate(self) -> torch.Tensor:
        """All layers together: [N]."""
        return self.rates.sum(1)

    @property
    def neg_elbo(self) -> torch.Tensor:
        """Distortion + rate, an upper bound on -log p(x) in expectation: [N]."""
        return self.distortion + self.rate


def nats(model, x, seed: int = 0, draws: int = 1, chunk: int | None = None) -> Spent:
    """Distortion [N] and rates [N, L] of ``x``, on the CPU: images [N, C, H, W] (uint8, or float
    in [0, 1]) or token ids [N, T] (int64).

    Estimator: distortion -log p(x|z) averaged over ``draws`` codes z ~ q(z|x), rate as the model
    gives it (closed form for one Gaussian layer). Unbiased for the ELBO, whose mean lies above
    -log p(x) by KL(q(z|x) || p(z|x)) (Kingma & Welling 2014, Eq. 3).

    Raises VaenbError for a decoder alone, which spends nothing on a code.
    """
    if isinstance(model, PixelCNN | ShiftedPixelCNN):
        raise VaenbError(f"a {type(model).__name__} alone has no rate: score it by its own "
                         f"log_prob, or give nats() the VAE that holds it")
    at_least_one(draws=draws)
    spent = []
    with evaluating(model):
        for start, images in batches(model, x, rows_at_once(model, chunk)):
            rng = RowRng(seed, start, len(images), device=images.device)
            each = [model(images, rng) for _ in range(draws)]
            distortion = sum(e.distortion for e in each) / draws
            spent.append((distortion, sum(torch.stack(e.rates, 1) for e in each) / draws))
    return Spent(*(torch.cat(parts).cpu() for parts in zip(*spent, strict=True)))


def iw_nll(model, x, samples: int = 100, seed: int = 0, max_rows: int | None = None,
           first: int = 0):
    """Importance-weighted bound on -log p(x) for ``x``, images [N, C, H, W] (uint8, or float in
    [0, 1]) or token ids [N, T] (int64): [N], on the CPU.

    Estimator: -log of the mean over ``samples`` codes z ~ q(z|x) of p(x|z) p(z) / q(z|x) (Burda,
    Grosse & Salakhutdinov 2016, Eq. 8). It lies above -log p(x) in expectation, never rises with
    more samples in expectation, and is exact for one sample if q is the true posterior. At most
    ``max_rows`` codes go to the model at once, of several images or of a part of one image's
    samples. None: as many as `rows_at_once` says; to a model without ``decode``, which bounds the
    memory of its ``log_joint`` itself, `ITEMS` images or sentences with all their samples.
    ``first`` is the place of the first of ``x`` in a set that comes in parts, such as sentences of
    several lengths: without it all parts share their noise, and a mean over them varies more.
    Raises VaenbError for a model without codes, and one without ``log_joint``.
    """
    at_least_one(samples=samples)
    if hasattr(model, "posterior") and not hasattr(model, "log_joint"):
        raise VaenbError(f"a {type(model).__name__} has no log_joint to weigh codes by: bound it "
                         f"with nats(...), whose neg_elbo needs none")
    found = []
    with evaluating(model, coded=True):
        own = max_rows is None and model.decode is None
        rows = ITEMS * samples if own else rows_at_once(model, max_rows)
        for start, images in batches(model, x, max(1, rows // samples)):
            q = model.posterior(images)
            count, latents = q.mean.shape
            rng = RowRng(seed, first + start, count, device=images.device)
            noise = rng.normal(count, samples, latents, dtype=q.mean.dtype)
            total = torch.full_like(q.mean[:, 0], -math.inf)
            for u in noise.split(rows, 1):
                total = torch.logaddexp(total, _log_weights(model, images, q, u).logsumexp(1))
            found.append((math.log(samples) - total).cpu())
    return torch.cat(found)


def _log_weights(model, images, q, u):
    """log p(x|z) p(z) / q(z|x) for the codes z of noise u [B, S, Z] under q: [B, S]."""
    log_q = standard_normal_log_prob(u) - q.log_volume[:, None]
    return model.log_joint(images, q.place(u)) - log_q


def posteriors(model, x, chunk: int = 512) -> Gaussian | FullGaussian:
    """q(z|x) of all ``x``, images [N, C, H, W] or token ids [N, T], as the model gives it: means
    [N, Z] and log standard deviations [N, Z], or factors of the covariance [N, Z, Z], on the CPU.
    Raises VaenbError for a model without codes.
    """
    with evaluating(model, coded=True):
        found = [model.posterior(images) for _, images in batches(model, x, chunk)]
    return type(found[0])(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))


def layer_posteriors(
    model, x, seed: int = 0, chunk: int = 512
) -> tuple[Gaussian | FullGaussian, ...]:
    """The posteriors of all layers of codes for images ``x`` [N, C, H, W], the top first, CPU.

    A lower layer's is given one draw of the layer above, as q(z1|z2, x) with z2 ~ q(z2|x).
    """
    found = []
    with evaluating(model, coded=True):
        for start, images in batches(model, x, chunk):
            rng = RowRng(seed, start, len(images), device=images.device)
            q = model(images, rng).posterior
            found.append((q,) if hasattr(q, "mean") else q)  # one layer stands alone
    return tuple(type(layer[0])(*(torch.cat(parts).cpu() for parts in zip(*layer, strict=True)))
                 for layer in zip(*found, strict=True))
