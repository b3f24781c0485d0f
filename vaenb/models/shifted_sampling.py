"""Drawing from `vaenb.models.shifted` pixel by pixel, each activation computed once.

The down stream has seen rows above only, so at the start of a row it is computed for all of it,
and of the down-right stream all that hangs on the row above, the code and the down stream. What
is left for one pixel is, in each block, a product with the activations at and left of it. A block
of half the side moves at every second pixel of every second row; one that doubles it reads the
single activation below its pixel.
"""

import torch
import torch.nn.functional as F
from torch import nn


class _Noise:
    """Stands for an ``rng`` at one pixel: gives what this pixel gets of draws for whole images."""

    def __init__(self, rng, count, side):
        self.rng, self.shape, self.draws = rng, (count, 1, side, side), []

    def at(self, rows, i, j):
        self.place, self.calls = (rows, 0, i, j), 0
        return self

    def uniform(self, *shape, dtype=None):
        if self.calls == len(self.draws):
            self.draws.append(self.rng.uniform(*self.shape, dtype=dtype))
        self.calls += 1
        return self.draws[self.calls - 1][self.place].view(shape)

    def bernoulli(self, p):
        return (self.uniform(*p.shape, dtype=p.dtype) < p).to(p.dtype)


class _Kept:
    """Activations of a block, or the image: two rows of the down stream, one of the down-right.

    ``rows`` [B, n, 2, W] are the row above and the present one; ``line`` [B, (pad + W) n] has its
    pixels side by side after ``pad`` empty ones: a pixel and its left neighbour are a view.
    """

    def __init__(self, like, width, side, pad=1):
        self.width, self.side, self.pad = width, side, pad
        self.rows = like.new_zeros(len(like), width, 2, side)
        self.line = like.new_zeros(len(like), (pad + side) * width)

    def push(self, row):
        self.rows = torch.cat([self.rows[:, :, 1:], row], 2)

    def image(self):
        """``line`` as an image of one row [B, n, 1, W]."""
        return self.line.unflatten(1, (-1, self.width))[:, self.pad :].transpose(1, 2)[:, :, None]

    def view(self, first, count=1):
        """Of ``line`` the pixels from place ``first`` on, [B, count n]; the pads have places."""
        return self.line[:, first * self.width : (first + count) * self.width]


class _Step(_Kept):
    """A block: what it keeps, and how its next row and its next pixel follow from its source's."""

    def __init__(self, block, source, mirror, codes, like):
        n, stride = codes[0].shape[1] // 2, block.right.conv.stride[0]
        self.doubles = isinstance(block.right.conv, nn.ConvTranspose2d)
        super().__init__(like, n, source.side * 2 if self.doubles else source.side // stride)
        self.down, self.right, self.source, self.mirror = block.down, block.right, source, mirror
        self.codes, self.stride = codes, stride
        self.of_down, weight = block.right.beside.weight[:, :n], block.right.conv.weight
        self.of_mirror = block.right.beside.weight[:, n:, 0, 0].T.contiguous()
        if self.doubles:
            self.taps = weight.permute(2, 3, 0, 1).contiguous()  # one matrix a place in the 2x2
        else:
            self.taps = weight[:, :, 1].permute(2, 1, 0).flatten(0, 1).contiguous()

    def begin_row(self, i):
        """The down stream's row ``i``, and what the down-right stream's has beside its own row."""
        conv, margin, rows = self.down.conv, self.down.margin, self.source.rows
        if self.doubles:
            a = conv(rows[:, :, 1:])[:, :, i % 2, None]
        else:
            a = F.conv2d(F.pad(rows, margin[:2]), conv.weight, conv.bias, conv.stride)
        a = a + self.codes[0]
        if self.mirror:
            a = a + self.down.beside(self.mirror.rows[:, :, 1:])
        self.push(self.down.finish(a, rows[:, :, 1:]))

        conv, margin = self.right.conv, self.right.margin
        a = F.conv2d(self.rows[:, :, 1:], self.of_down, conv.bias) + self.codes[1]
        if not self.doubles:
            above = F.pad(self.source.image(), margin[:2])
            a = a + F.conv2d(above, conv.weight[:, :, :1], None, conv.stride)
        self.waiting = a[:, :, 0].permute(2, 0, 1).contiguous()  # [W, B, 2n]

    def pixel(self, i, j):
        """The down-right stream's pixel ``j`` of row ``i``."""
        if self.doubles:
            here = self.source.view(1 + j // 2)
            a = torch.addmm(self.waiting[j], here, self.taps[i % 2, j % 2])
        else:
            a = torch.addmm(self.waiting[j], self.source.view(j * self.stride, 2), self.taps)
        if self.mirror:
            a = a.addmm_(self.mirror.view(1 + j), self.of_mirror)
        self.view(1 + j).copy_(self.right.finish(a, self.source.view(1 + j)))


@torch.no_grad()
def draw(net, z: torch.Tensor, rng, rows: int) -> torch.Tensor:
    """Images [B, 1, side, side] from codes [B, Z], ``rows`` at a time; see `ShiftedPixelCNN`."""
    noise, parts = _Noise(rng, len(z), net.side), []
    for start in range(0, len(z), rows):
        part = z[start : start + rows]
        parts.append(_draw(net, part, noise, slice(start, start + len(part))))
    return torch.cat(parts) if parts else z.new_zeros(0, 1, net.side, net.side)


def _draw(net, z, noise, rows):
    x = z.new_zeros(len(z), 1, net.side, net.side)
    image = _Kept(z, 2, net.side, pad=2)  # the image and its ones; two pads, as it is shifted
    steps, source = [], image
    for block, mirror, codes in zip(net.blocks, net.mirrors, net.codes(z), strict=True):
        source = _Step(block, source, None if mirror is None else steps[mirror], codes, z)
        steps.append(source)
    head, bias = net.head.weight[:, :, 0, 0].T.contiguous(), net.head.bias
    for i in range(net.side):
        moving = [(step, net.side // step.side) for step in steps]
        moving = [(step, every) for step, every in moving if i % every == 0]
        for step, every in moving:
            step.begin_row(i // every)
        for j in range(net.side):
            for step, every in moving:
                if j % every == 0:
                    step.pixel(i // every, j // every)
            out = torch.addmm(bias, steps[-1].view(1 + j), head)[:, :, None, None]
            x[:, :, i, j] = net.likelihood.sample(out, noise.at(rows, i, j))[:, :, 0, 0]
            image.view(2 + j).copy_(torch.cat([x[:, 0, i, j, None], torch.ones_like(z[:, :1])], 1))
        image.push(image.image())
    return x
