"""What the estimators share: evaluation mode, chunks, and noise that belongs to an image."""

from contextlib import contextmanager

import numpy as np
import torch

from vaenb.data import unit
from vaenb.errors import VaenbError, at_least_one
from vaenb.train import Rng, key


class RowRng(Rng):
    """Random numbers for images ``start`` ... ``start + count - 1`` of a set, one key an image.

    The first axis of every draw is the images'. What an image gets depends on the seed and its
    place in the set alone, so no estimate depends on how the set was cut into chunks; a longer
    draw [count, S, Z] begins with the values of a shorter one. ``normal(count, S, Z)``,
    ``uniform(count, S)`` and the others are those of `vaenb.train.Rng`, on ``device``.
    """

    def __init__(self, seed: int, start: int, count: int, purpose="evaluation", device="cpu"):
        rows = torch.arange(start, start + count, device=device)
        super().__init__(key(seed, purpose, rows, device))

    def bits(self, *shape: int) -> torch.Tensor:
        """64 random bits for each entry of ``shape`` [count, ...], int64, each row its own."""
        self.calls += 1
        return torch.vmap(lambda k: Rng(k).bits(*shape[1:]))(self.key + (self.calls - 1))


@contextmanager
def evaluating(model, coded: bool = False):
    """No gradients and evaluation mode inside, and whole float32 products, where a GPU's
    convolutions round theirs to 10 bits unless told not to; all is restored after.

    Raises VaenbError for a model without codes where ``coded`` asks for one with them.
    """
    if coded and not hasattr(model, "posterior"):
        raise VaenbError(f"a {type(model).__name__} has no codes, and so no posterior and no "
                         f"importance weights: its own log_prob is exact")
    modes = [(module, module.training) for module in model.modules()]
    rounded = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = rounded
        for module, training in modes:
            module.training = training


def floats(x) -> torch.Tensor:
    """Images (uint8, or float in [0, 1]; an array or a tensor of any shape) as floats in [0, 1].
    Raises VaenbError for another type."""
    x = torch.as_tensor(x)
    return x if x.is_floating_point() else unit(x)


def batches(model, x, chunk: int):
    """Pairs (start, images [at most ``chunk``, C, H, W]) of ``x`` [N, C, H, W], uint8 or float in
    [0, 1], fit for ``model``; token ids [N, T], int64, stay as they are. Raises VaenbError for an
    empty ``x``."""
    at_least_one(images=len(x), chunk=chunk)
    like = next(model.parameters())
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        if isinstance(part, np.ndarray):
            part = np.ascontiguousarray(part)  # a flipped view is none of torch's
        part = torch.as_tensor(part).to(like.device)
        if part.dtype != torch.int64 or part.ndim > 2:
            part = floats(part).to(like.dtype)
        yield start, part


def rows_at_once(model, rows: int | None) -> int:
    """``rows``; for None how many codes to decode at once: 200 on a CPU and 8192 on a GPU, fewer
    where the decoder's raw output is large (at most 128 MiB and 4 GiB of float32); 1024 at most
    for autoregressive decoders, whose layers are as large.
    """
    if rows is not None:
        at_least_one(rows=rows)
        return rows
    like = next(model.parameters())
    most, numbers = (8192, 2**30) if like.is_cuda else (200, 2**25)
    if getattr(model, "decode", None) is None:  # autoregressive: many layers of an image's size
        return min(most, 1024)
    out = model.decode(torch.zeros(1, model.latents, device=like.device, dtype=like.dtype))
    return min(most, max(1, numbers // out.numel()))
