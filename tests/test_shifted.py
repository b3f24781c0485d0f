"""The PixelCNN++-style decoder: sizes, who may see what, masses, samples and their cache."""

import itertools
import time
from functools import reduce
from operator import or_

import pytest
import torch

from vaenb import VaenbError
from vaenb.models import Bernoulli, LogisticMixture, shifted_pixel_cnn
from vaenb.train import Rng

Z = 3
HEADS = dict(bernoulli=Bernoulli(), logistics=LogisticMixture(5))


def count(module):
    return sum(p.numel() for p in module.parameters())


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(side=8, width=4, more=0, likelihood=HEADS["bernoulli"]):
    torch.manual_seed(0)
    model = shifted_pixel_cnn(likelihood, Z, width, more, side).double()
    for p in model.parameters():
        p.data *= 2
    return model


def naive(model, z, rng, seed):
    """One pixel after another, each by a pass over the whole image."""
    x = torch.zeros(len(z), 1, model.side, model.side, dtype=z.dtype)
    with torch.no_grad():
        for i, j in itertools.product(range(model.side), repeat=2):
            x[:, :, i, j] = model.likelihood.sample(model(x, z), rng(seed))[:, :, i, j]
    return x


# --- sizes --------------------------------------------------------------------------------------


def test_the_counts_lie_where_the_paper_leaves_them():
    """The counts that Table 7 allows for one gated convolution a stream, and layer by layer."""
    def found(latents, *sizes):
        return count(shifted_pixel_cnn(Bernoulli(), latents, *sizes))

    assert [found(z) for z in (2, 16, 64)] == [895041, 930881, 1053761]
    assert [found(z, 128, 2) for z in (16, 64)] == [6715521, 7157889]
    n, streams = 64, 10 * 2
    down, right = 6 * (2 + 9 * n) * 2 * n, 4 * (2 + 9 * n) * 2 * n
    links, skips = 10 * n * 2 * n, 2 * 4 * n * 2 * n
    biases = streams * (2 * n + 16 * 2 * n)
    assert found(16) == down + right + links + skips + biases + n + 1
    assert count(shifted_pixel_cnn(HEADS["logistics"], 16)) - found(16) == 14 * (n + 1)
    assert found(16, 64, 0, 8) == found(16)  # no weight belongs to a place


def test_sides_of_the_blocks_and_their_mirrors():
    def sides(model):
        found = []
        for block in model.blocks:
            for stream in (block.down, block.right):
                stream.register_forward_hook(lambda m, i, out: found.append(out.shape[2:]))
        model(randn(1, 1, 28, 28), randn(1, Z))
        assert all(h == w for h, w in found) and found[::2] == found[1::2]
        return [h for h, _ in found[::2]]

    model = net(28)
    assert sides(model) == [28, 28, 14, 14, 7, 7, 14, 14, 28, 28]
    assert model.mirrors == [None] * 6 + [3, 2, 1, 0]
    larger = net(28, more=2)
    assert sides(larger) == [28] * 2 + [14] * 4 + [7] * 4 + [14] * 4 + [28] * 4
    assert larger.mirrors == [None] * 10 + [5, 4, 3, 2, 1, 0, None, None]


# --- who sees what ------------------------------------------------------------------------------


def walk(side, more):
    """[pixel, pixel]: whether a chain of taps leads from a pixel to an output, tap by tap."""
    def union(grid, places):  # sets of pixels are the bits of an integer
        return reduce(or_, (grid.get(place, 0) for place in places))

    def conv(grid, h, taps, stride=1):
        return {(i, j): union(grid, [(stride * i + a, stride * j + b) for a, b in taps])
                for i in range(h) for j in range(h)}

    def double(grid, h, further):
        return {(i, j): union(grid, [(i // 2, j // 2 + b) for b in range(1 + further * (j % 2))])
                for i in range(h) for j in range(h)}

    def join(a, *others):
        return {place: reduce(or_, (o[place] for o in others), a[place]) for place in a}

    up = list(itertools.product((-1, 0), (-1, 0, 1)))
    left = list(itertools.product((-1, 0), (-1, 0)))
    pixels = {(i, j): 1 << (i * side + j) for i in range(side) for j in range(side)}
    down = conv(pixels, side, [(a - 1, b) for a, b in up])
    right = join(conv(pixels, side, [(a, b - 1) for a, b in left]), down)
    lower, h = {side: [(down, right)]}, side
    plan = ["same", "half", *["same"] * (1 + more), "half", *["same"] * (1 + more)]
    plan += (["double"] + ["same"] * (1 + more)) * 2
    for k, kind in enumerate(plan):
        was, rising = (down, right), "double" in plan[: k + 1]
        if kind == "double":
            h *= 2
            down, right = double(down, h, 1), double(right, h, 0)
        else:
            stride = 2 if kind == "half" else 1
            h //= stride
            down, right = conv(down, h, up, stride), conv(right, h, left, stride)
            if kind == "same":
                down, right = join(down, was[0]), join(right, was[1])
        if rising and lower[h]:
            mirror = lower[h].pop()
            down, right = join(down, mirror[0]), join(right, mirror[1])
        right = join(right, down)
        if not rising:
            lower.setdefault(h, []).append((down, right))
    bits = [[bool(right[place] >> pixel & 1) for pixel in range(side**2)] for place in pixels]
    return torch.tensor(bits)


@pytest.mark.parametrize(("side", "width", "more"), [(4, 2, 0), (8, 4, 0), (8, 3, 1), (12, 3, 0)])
def test_an_output_sees_pixels_before_it_alone_and_all_of_z(side, width, more):
    model, x, z = net(side, width, more), randn(1, 1, side, side), randn(1, Z, seed=1)
    of_x, of_z = torch.autograd.functional.jacobian(model, (x, z))
    seen = of_x.view(side**2, side**2) != 0
    assert not seen.triu().any()  # neither itself nor any after it
    assert torch.equal(seen, walk(side, more))
    assert (of_z != 0).all()
    if side == 4:  # small enough to be seen whole
        assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("more", [0, 2])
def test_at_28x28_by_gradient(more):
    """All of the two rows above and the two columns beside, wherever a pixel stands in the
    strides; the two blocks more of the enlarged net see 28 rows instead of 15."""
    model, expected = net(28, 3, more), walk(28, more)
    x, z = randn(1, 1, 28, 28).requires_grad_(), randn(1, Z)
    out, place = model(x, z), torch.arange(28 * 28).view(28, 28)
    for i, j in [(0, 0), (0, 27), (27, 0), (27, 27), *itertools.product(range(12, 16), repeat=2)]:
        (grad,) = torch.autograd.grad(out[0, 0, i, j], x, retain_graph=True)
        seen = grad[0, 0] != 0
        assert not seen[place >= place[i, j]].any()
        close = ((place // 28 - i).abs() <= 2) & ((place % 28 - j).abs() <= 2)
        near = close & (place < place[i, j])
        assert seen[near].all()
        assert torch.equal(seen, expected[i * 28 + j].view(28, 28))


def test_blocks_are_their_taps_and_the_code_is_in_each():
    """A block of each kind against sums over taps, and the gate written out."""
    model, n = net(8, 3), 3
    code = randn(1, 2 * n, 1, 1, seed=5)

    def gated(a):
        a = a + code[0, :, 0, 0]
        return a[:n].tanh() * a[n:].sigmoid()

    def tap(weight, h, i, j):
        inside = 0 <= i < h.shape[2] and 0 <= j < h.shape[3]
        return weight @ h[0, :, i, j] if inside else torch.zeros(2 * n, dtype=h.dtype)

    for k, side in ((0, 4), (1, 4), (2, 4), (6, 2)):
        block, inputs = model.blocks[k], 2 if k == 0 else n
        h = randn(1, inputs, side, side, seed=k)
        for stream, kernel in ((block.down, (2, 3)), (block.right, (2, 2))):
            beside, conv, w = None, stream.conv, stream.conv.weight
            half, shift = 2 if k == 2 else 1, k == 0
            out_side = side * 2 if k == 6 else side // half
            if stream.beside is not None:
                beside = randn(1, stream.beside.in_channels, out_side, out_side, seed=k + 9)
            out = stream(h, beside, code)
            assert out.shape == (1, n, out_side, out_side)
            for i, j in itertools.product(range(out_side), repeat=2):
                a = conv.bias
                for y, x in itertools.product(range(kernel[0]), range(kernel[1])):
                    if k == 6:
                        column = j + 1 - x if kernel[1] == 3 else j - x
                        if i % 2 == y and column % 2 == 0:
                            a = a + tap(w[:, :, y, x].T, h, i // 2, column // 2)
                        continue
                    row, column = half * i + y - 1, half * j + x - 1
                    if shift:
                        row, column = (row - 1, column) if kernel[1] == 3 else (row, column - 1)
                    a = a + tap(w[:, :, y, x], h, row, column)
                if beside is not None:
                    a = a + stream.beside.weight[:, :, 0, 0] @ beside[0, :, i, j]
                expected = gated(a) + (h[0, :, i, j] if k == 1 else 0)
                assert torch.allclose(out[0, :, i, j], expected, atol=1e-12)

    model(randn(2, 1, 8, 8), randn(2, Z)).square().sum().backward()
    assert (model.of_z.weight.grad != 0).all() and len(model.of_z.weight) == 10 * 4 * n


# --- masses and samples -------------------------------------------------------------------------


def test_masses_of_all_ways_to_go_on_sum_to_one():
    """Of the first half of an image, and of the second after a given first."""
    model, z = net(4, 3), 3 * randn(1, Z)
    model.head.weight.data *= 4
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)), dtype=torch.float64)
    given = every[77].expand(256, -1)
    for x, half in ((torch.cat([every, given], 1), 0), (torch.cat([given, every], 1), 1)):
        out = model(x.view(-1, 1, 4, 4), z.expand(256, -1)).flatten(1).chunk(2, 1)[half]
        log_p = model.likelihood.log_prob(out, every)
        assert abs(log_p.exp().sum() - 1) < 1e-12 and log_p.max() - log_p.min() > 1


@pytest.mark.parametrize("head", HEADS)
def test_several_codes_an_image_are_a_loop_in_chunks_of_any_size(head, monkeypatch):
    model, x, z = net(4, likelihood=HEADS[head]), randn(4, 1, 4, 4).sigmoid(), 2 * randn(4, 5, Z)
    loop = torch.stack([model.log_prob(x, z[:, s]) for s in range(5)], 1)
    assert loop.std(1).min() > 1e-3
    for rows in (1, 8, 9, 100):
        monkeypatch.setattr("vaenb.models.shifted.ROWS", rows)
        assert torch.allclose(model.log_prob(x, z), loop, rtol=1e-12)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("side", "more"), [(8, 0), (4, 2)])
def test_samples_are_those_of_the_naive_loop(head, side, more, monkeypatch):
    model, z = net(side, 3, more, HEADS[head]), randn(6, Z)
    x = model.sample(z, Rng.of(4))
    assert torch.equal(x, naive(model, z, Rng.of, 4)) and not x.requires_grad
    assert not torch.equal(x, model.sample(z, Rng.of(5)))
    monkeypatch.setattr("vaenb.models.shifted.ROWS", 1)  # four at once
    assert torch.equal(x, model.sample(z, Rng.of(4)))
    assert (x.unique().numel() == 2) == (head == "bernoulli")
    assert model.sample(z[:0], Rng.of(4)).shape == (0, 1, side, side)


@pytest.mark.parametrize("head", HEADS)
def test_at_28x28_samples_are_drawn_from_what_forward_says_of_them(head):
    model, z = net(28, 3, likelihood=HEADS[head]), randn(2, Z)
    x = model.sample(z, Rng.of(4))
    assert torch.equal(x, model.likelihood.sample(model(x, z), Rng.of(4)))


def test_the_cache_is_at_least_five_times_faster():
    torch.manual_seed(0)
    model, z = shifted_pixel_cnn(Bernoulli(), Z, 8), torch.randn(32, Z)

    def seconds(run):
        start = time.process_time()
        run()
        return time.process_time() - start

    x = randn(32, 1, 28, 28).float()
    with torch.no_grad():
        one = min(seconds(lambda: model(x, z)) for _ in range(3))  # the naive loop takes 784
    assert 28 * 28 * one > 5 * seconds(lambda: model.sample(z, Rng.of(0)))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "words"), [
    (dict(latents=0), "latents is 0 and must be at least 1"),
    (dict(width=0), "width is 0 and must be at least 1"),
    (dict(more=-1), "more is -1 and must be a whole number, at least 0"),
    (dict(side=30), "the side is 30 and must be one that 4 divides, as it is halved twice"),
    (dict(side=0), "the side is 0 and must be one that 4 divides"),
])  # fmt: skip
def test_impossible_sizes(change, words):
    with pytest.raises(VaenbError, match=words):
        shifted_pixel_cnn(Bernoulli(), **(dict(latents=2) | change))


def test_wrong_images_and_codes():
    model, z = net(), randn(2, Z)
    with pytest.raises(VaenbError, match="images are 1x4x4 and this net was made for 1x8x8"):
        model.log_prob(randn(2, 1, 4, 4), z)
    with pytest.raises(VaenbError, match="images are 3x8x8"):
        model.log_prob(randn(2, 3, 8, 8), z)
    for call in (lambda: model.log_prob(randn(2, 1, 8, 8), z[:, 1:]),
                 lambda: model.sample(z[:, 1:], Rng.of(0))):
        with pytest.raises(VaenbError, match="takes codes of 3 numbers and one of 2 was given"):
            call()
