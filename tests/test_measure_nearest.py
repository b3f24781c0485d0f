"""Distances to training images against brute force; the floor of the Bernoulli by minimising."""

import sys

import numpy as np
import pytest
import torch

from vaenb import VaenbError, measure


def images(count, seed, *shape):
    g = np.random.default_rng(seed)
    return torch.from_numpy(g.integers(0, 256, (count, *shape), dtype=np.uint8))


def by_hand(x, reference):
    a, b = (t.flatten(1).double() / 255 for t in (x, reference))
    return (a[:, None] - b[None]).square().sum(2).sqrt()


@pytest.mark.parametrize("pairs", [1, 700, 2**22])
def test_the_nearest_image_is_found(pairs, monkeypatch):
    monkeypatch.setattr(sys.modules["vaenb.measure.nearest"], "PAIRS", pairs)
    x, reference = images(50, 0, 3, 4, 5), images(333, 1, 3, 4, 5)
    reference[[7, 200]] = x[3]  # the image itself, twice: the first counts
    reference[100] = x[9]
    reference[100, 0, 0, 0] ^= 1  # one grey level away
    distance, index = measure.nearest(x, reference)
    expected = by_hand(x, reference)
    assert torch.equal(index, expected.argmin(1)) and index[3] == 7 and index[9] == 100
    assert torch.allclose(distance.double(), expected.amin(1), rtol=1e-6)
    assert distance[3] == 0 and distance[9].item() == pytest.approx(1 / 255, rel=1e-6)
    assert torch.equal(measure.nearest(x.float() / 255, reference)[1], index)


def test_references_closer_than_rounding_are_told_apart():
    for seed in range(60):  # six references within float32's rounding of a squared distance
        g = torch.Generator().manual_seed(seed)
        middle = torch.rand(1, 784, generator=g) * 0.2 + 0.8
        x, reference = (middle - 1e-4 * torch.rand(n, 784, generator=g) for n in (1, 6))
        exact = (x.double() - reference.double()).square().sum(1).sqrt()
        distance, index = measure.nearest(x, reference)
        assert index == exact.argmin()
        assert distance.item() == pytest.approx(exact.min().item(), rel=1e-6)


def test_one_reference_and_errors():
    x = images(4, 0, 1, 2, 2)
    assert measure.nearest(x, x[:1])[1].tolist() == [0] * 4
    with pytest.raises(VaenbError, match="must have the same shape, and there must be a ref"):
        measure.nearest(x, images(4, 0, 1, 2, 3))
    with pytest.raises(VaenbError, match="there must be a reference"):
        measure.nearest(x, x[:0])


def test_memorised_is_nearer_to_a_training_image_than_to_the_input():
    train = torch.zeros(2, 1, 2, 2)
    train[1] = 1.0
    x = torch.full((3, 1, 2, 2), 0.4)
    back = torch.stack([torch.full((1, 2, 2), v) for v in (0.1, 0.35, 0.9)])
    assert measure.memorised(back, x, train).tolist() == [True, False, True]
    assert measure.memorised(back[:2], train, train).tolist() == [False, True]
    with pytest.raises(VaenbError, match="must have the same shape"):
        measure.memorised(back, x[:1], train)


def test_the_floor_is_the_least_cross_entropy():
    x = images(3, 4, 1, 3, 3)
    x[0] = torch.tensor([0, 255, 0, 0, 255, 0, 0, 0, 255], dtype=torch.uint8).view(1, 3, 3)
    target = x.double() / 255
    logits = torch.zeros_like(target, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def cross_entropy():
        pixels = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none")
        return pixels.flatten(1).sum(1)

    def closure():
        optimiser.zero_grad()
        loss = cross_entropy().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    floor = measure.bernoulli_floor(x)
    assert floor[0] == 0
    assert torch.allclose(floor[1:].double(), cross_entropy().detach()[1:], rtol=1e-5)
    assert torch.all(cross_entropy().detach() >= floor.double() - 1e-6)
