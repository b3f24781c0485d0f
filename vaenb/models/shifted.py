"""The autoregressive decoder of Seybold et al. (2019), after PixelCNN++ (Salimans et al. 2017).

Two streams of gated convolutions run side by side. At pixel (i, j) the down stream has seen rows
above i only, the down-right stream also the pixels to the left in row i: no masks; the first block
shifts its input by one pixel, and kernels look only up, or up and left. The blocks (Table 7) halve
the side twice and double it twice; the code is a bias in every one of them.

The text leaves the block open. Here it is the table's "each line is a block of a down and a
down-right masked convolution": one convolution a stream, to twice the width, and tanh(a)
sigmoid(b). The other reading, PixelCNN++'s own residual blocks of two convolutions between ELUs,
would share little but the shifts, and is left out. Ours where nothing is said: a 1x1 convolution
brings the down stream and the mirrored lower block into a gate, and blocks that keep their side
add their input, but for the first.
"""

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.conv import check_images
from vaenb.models.shifted_sampling import draw

SAME, HALF, DOUBLE = "same", "half", "double"
DOWN, RIGHT = (2, 3), (2, 2)  # kernels
MARGINS = {DOWN: (1, 1, 1, 0), RIGHT: (1, 0, 1, 0)}  # zeros to the left, right, above, below
SHIFTED = {DOWN: (1, 1, 2, -1), RIGHT: (2, -1, 1, 0)}  # one row down, one column to the right
ROWS, ROWS_ON_GPU = 100, 1024  # images at once; four times as many are drawn at once


class Stream(nn.Module):
    """One gated convolution [B, inputs, H, H] to [B, width, H', H'].

    ``beside`` [B, k, H', H'] joins in through a 1x1 convolution, ``code`` as a bias.
    """

    def __init__(self, inputs, width, kernel, kind, beside, first):
        super().__init__()
        self.margin = (SHIFTED if first else MARGINS)[kernel]
        self.residual = kind == SAME and not first
        if kind == DOUBLE:
            side = (0, kernel[1] // 3)  # a column off each end, one back on the right
            self.conv = nn.ConvTranspose2d(inputs, 2 * width, kernel, 2, side, side)
        else:
            self.conv = nn.Conv2d(inputs, 2 * width, kernel, 2 if kind == HALF else 1)
        self.beside = nn.Conv2d(beside, 2 * width, 1, bias=False) if beside else None

    def forward(self, h, beside, code):
        doubles = isinstance(self.conv, nn.ConvTranspose2d)
        a = self.conv(h if doubles else F.pad(h, self.margin)) + code
        if beside is not None:
            a = a + self.beside(beside)
        return self.finish(a, h)

    def finish(self, a, h):
        """From the sum ``a`` [B, 2 width, ...] of all that meets in the gate, and the input."""
        value, share = a.chunk(2, 1)
        gated = value.tanh() * share.sigmoid()
        return h + gated if self.residual else gated


class Block(nn.Module):
    """A line of Table 7: both streams; ``skip`` says whether a lower block joins in."""

    def __init__(self, inputs, width, kind, skip, first=False):
        super().__init__()
        joins = width if skip else 0
        self.down = Stream(inputs, width, DOWN, kind, joins, first)
        self.right = Stream(inputs, width, RIGHT, kind, width + joins, first)


class ShiftedPixelCNN(nn.Module):
    """p(x|z) of images x [B, 1, side, side] for codes z [B, Z]; see `shifted_pixel_cnn`."""

    def __init__(self, likelihood, side, latents, width, kinds):
        super().__init__()
        self.likelihood, self.side, self.latents = likelihood, side, latents
        self.mirrors = _mirrors(kinds)
        self.of_z = nn.Linear(latents, 4 * width * len(kinds), bias=False)
        self.blocks = nn.ModuleList(
            Block(width if k else 2, width, kind, mirror is not None, not k)
            for k, (kind, mirror) in enumerate(zip(kinds, self.mirrors, strict=True)))
        self.head = nn.Conv2d(width, likelihood.channels(1), 1)

    def codes(self, z):
        """For each block the biases of both streams, [B, 2 width, 1, 1]."""
        both = self.of_z(z)[:, :, None, None].chunk(len(self.blocks), 1)
        return [each.chunk(2, 1) for each in both]

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """What the likelihood reads of each pixel, given those before it and z [B, Z]:
        [B, k, side, side].

        Raises VaenbError for images and codes of other shapes.
        """
        self.check(z, x)
        right = down = torch.cat([x, torch.ones_like(x)], 1)  # ones tell the image from its margin
        downs, rights = [], []
        for block, mirror, codes in zip(self.blocks, self.mirrors, self.codes(z), strict=True):
            joins = mirror is not None
            down = block.down(down, downs[mirror] if joins else None, codes[0])
            beside = torch.cat([down, rights[mirror]], 1) if joins else down
            right = block.right(right, beside, codes[1])
            downs.append(down)
            rights.append(right)
        return self.head(right)

    def log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log p(x|z) in nats, summed over pixels: [B] for z [B, Z], [B, S] for z [B, S, Z].

        Several codes an image are decoded 100 at a time on a CPU and 1024 on a GPU, which changes
        no value. Raises VaenbError as `forward` does.
        """
        if z.ndim == 2:
            return self.likelihood.log_prob(self(x, z), x)
        each = max(1, (ROWS_ON_GPU if x.is_cuda else ROWS) // len(x))
        found = []
        for part in z.split(each, 1):
            repeated = x.repeat_interleave(part.shape[1], 0)
            log_p = self.likelihood.log_prob(self(repeated, part.flatten(0, 1)), repeated)
            found.append(log_p.view(part.shape[:2]))
        return torch.cat(found, 1)

    def sample(self, z: torch.Tensor, rng) -> torch.Tensor:
        """Images [B, 1, side, side] drawn from p(x|z) of codes [B, Z], one pixel after another.

        Exact, and the images that drawing every pixel by `forward` gives from the same ``rng``, up
        to rounding; activations are kept, so all pixels together cost little more than one pass.
        400 codes at a time on a CPU and 4096 on a GPU, which changes no value.
        """
        self.check(z)
        return draw(self, z, rng, 4 * (ROWS_ON_GPU if z.is_cuda else ROWS))

    def check(self, z, x=None):
        """Raises VaenbError for images or codes that this net was not made for."""
        if x is not None:
            check_images(x, self.side)
        if z.shape[-1] != self.latents:
            raise VaenbError(
                f"this net takes codes of {self.latents} numbers and one of {z.shape[-1]} was "
                f"given"
            )


def _mirrors(kinds):
    """For each block the lower one of its side, last in first out, that a skip brings to it."""
    found, waiting, level, rising = [], {}, 0, False
    for k, kind in enumerate(kinds):
        level += (kind == HALF) - (kind == DOUBLE)
        rising |= kind == DOUBLE
        found.append(waiting[level].pop() if rising and waiting[level] else None)
        if not rising:
            waiting.setdefault(level, []).append(k)
    return found


def shifted_pixel_cnn(
    likelihood: nn.Module, latents: int, width: int = 64, more: int = 0, side: int = 28
) -> ShiftedPixelCNN:
    """The PixelCNN++-style decoder of Table 7 for images of one channel.

    ``width`` filters a stream; ``more`` blocks that keep the side follow blocks 4, 6, 8 and 10 (2
    and width 128 in the enlarged form). With a Bernoulli likelihood it has, whatever the side,
    895041, 930881 or 1053761 parameters for 2, 16 or 64 latents, enlarged 6715521 for 16.

    Raises VaenbError for a side that 4 does not divide, and sizes below 1 (``more``: below 0).
    """
    check_sizes(side, latents=latents, width=width)
    if more < 0 or more != int(more):
        raise VaenbError(f"more is {more} and must be a whole number, at least 0")
    keep = (SAME,) * (1 + more)
    kinds = (SAME, SAME, HALF, *keep, HALF, *keep, DOUBLE, *keep, DOUBLE, *keep)
    return ShiftedPixelCNN(likelihood, side, latents, width, kinds)


def check_sizes(side: int, **sizes: int):
    """Raises VaenbError for a side that 4 does not divide, and any other size below 1."""
    at_least_one(**sizes)
    if side < 4 or side % 4:
        raise VaenbError(
            f"the side is {side} and must be one that 4 divides, as it is halved twice: resize "
            f"the images"
        )
