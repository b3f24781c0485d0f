"""The auxiliary decoders d'(.|z) of Seybold et al. (2019, section 4.4), used in training alone.

Each is a network of the code and a target: what of an image it must say, read off the network's
raw numbers as a likelihood does, ``log_prob(out, x)`` [B] in nats, summed over all it says. The
paper names the targets; how they are distributed is our reading.
"""

import torch
from torch import nn

from vaenb.errors import VaenbError


def _log_mass(log_p, classes):
    """Of ``classes`` [B, ...] under ``log_p`` [B, ..., K]: [B]."""
    return log_p.gather(-1, classes[..., None]).flatten(1).sum(1)


class Gradient(nn.Module):
    """Differences of neighbours below and to the right, each with a categorical of its own.

    A difference d in [-1, 1] is rounded to one of 2 ``levels`` + 1 values, round(levels d): with 1
    the three of binary pixels. For grey ones we take 7, fifteen values: all 511 would take 800
    thousand outputs. Reads [B, 2 (2 levels + 1), side, side].
    """

    def __init__(self, levels: int):
        super().__init__()
        self.levels, self.values = levels, 2 * levels + 1

    def channels(self, c: int) -> int:
        """Outputs a pixel for images of ``c`` channels."""
        return 2 * self.values * c

    def log_prob(self, out, x):
        """log p of the differences of x [B, 1, side, side] in [0, 1], in nats: [B]."""
        log_p = out.unflatten(1, (2, self.values)).log_softmax(2).movedim(2, -1)
        x = x[:, 0] * self.levels
        down, across = ((d.round() + self.levels).long() for d in (x.diff(dim=1), x.diff(dim=2)))
        return _log_mass(log_p[:, 0, 1:], down) + _log_mass(log_p[:, 1, :, 1:], across)


class Bags(nn.Module):
    """Bags of intensities: each pixel's ``values`` (2 or 256) drawn alike, wherever it stands.

    One bag for the whole image, the histogram, or with ``lines`` one for each row and one for each
    column, the marginals: every pixel then counts twice. Reads [B, bags x values].
    """

    def __init__(self, values: int, lines: bool):
        super().__init__()
        self.values, self.lines = values, lines

    def numbers(self, side: int) -> int:
        """Outputs of the network for images of ``side`` x ``side``."""
        return (2 * side if self.lines else 1) * self.values

    def log_prob(self, out, x):
        """log p of the bags of x [B, 1, side, side] in [0, 1], in nats: [B]."""
        x = (x[:, 0] * (self.values - 1)).round().long()
        bags = torch.cat([x, x.mT], 1) if self.lines else x.flatten(1)[:, None]
        log_p = out.unflatten(1, (-1, 1, self.values)).log_softmax(-1)
        return _log_mass(log_p.expand(-1, -1, bags.shape[2], -1), bags)


class Auxiliary(nn.Module):
    """d'(.|z): ``network`` maps codes [B, Z] to the raw numbers that ``target`` reads.

    ``grey`` says which images fit: of 256 grey values, or of 0 and 1; see `check_pixels`.
    """

    def __init__(self, network: nn.Module, target: nn.Module, grey: bool):
        super().__init__()
        self.network, self.target, self.grey = network, target, grey

    def log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log d'(x|z) of images [B, 1, side, side] for codes z [B, Z], in nats: [B]."""
        return self.target.log_prob(self.network(z), x)


def check_pixels(x: torch.Tensor, grey: bool, what: str):
    """Raises VaenbError where ``what`` reads grey values and all images ``x`` (uint8, or float in
    [0, 1]) are black and white, or the other way round, and where floats leave [0, 1]."""
    if x.is_floating_point() and not bool(((x >= 0) & (x <= 1)).all()):
        raise VaenbError(
            f"{what} reads floats in [0, 1] and the images reach from {float(x.min()):g} to "
            f"{float(x.max()):g}: divide 8-bit values by 255"
        )
    white = 1 if x.is_floating_point() else 255
    found = bool(((x != 0) & (x != white)).any())
    if found and not grey:
        raise VaenbError(
            f"{what} reads binary pixels and the images hold grey values: binarise them, or make "
            f"it for grey values"
        )
    if grey and not found:
        raise VaenbError(
            f"{what} reads grey values and all pixels are black or white: give the 8-bit images, "
            f"or make it for binary pixels"
        )
