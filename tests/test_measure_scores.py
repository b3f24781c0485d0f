"""The inception score by hand; the hull against the enumeration of all edges."""

import itertools
import math

import numpy as np
import pytest
import torch

from vaenb import VaenbError
from vaenb.measure.scores import inception, upper_hull
from vaenb.train import Rng


def test_sure_and_varied_samples_reach_all_ceilings():
    logits = 800 * torch.eye(4).repeat(6, 1)  # e^-800 is 0 in float64
    assert inception(logits, splits=2) == pytest.approx((4, 4, 1), rel=1e-12)
    same = torch.tensor([[700.0, 0.0, 0.0, 0.0]]).repeat(10, 1)  # sure, and always the same
    assert inception(same, splits=2) == pytest.approx((1, 1, 1), rel=1e-12)
    assert inception(torch.full((10, 4), 1e6)) == pytest.approx((1, 4, 0.25), rel=1e-12)


def test_against_a_loop_over_samples():
    logits = 3 * Rng.of(1).normal(23, 5, dtype=torch.float64)
    expected = []
    for part in logits[:20].split(5):  # 3 samples are left over
        p = part.softmax(1)
        marginal = p.mean(0)
        kl = [sum(float(a) * math.log(a / m) for a, m in zip(q, marginal, strict=True)) for q in p]
        diversity = math.exp(-sum(float(m) * math.log(m) for m in marginal))
        sharpness = math.exp(sum(float(a) * math.log(a) for q in p for a in q) / 5)
        expected.append((math.exp(sum(kl) / 5), diversity, sharpness))
        assert expected[-1][0] == pytest.approx(diversity * sharpness, rel=1e-12)
    found = inception(logits.numpy(), splits=4)
    assert found == pytest.approx(np.mean(expected, 0), rel=1e-12)
    assert found.score != pytest.approx(found.diversity * found.sharpness, rel=1e-4)
    assert inception(logits[:20] + 500, splits=4) == pytest.approx(found, rel=1e-10)
    assert inception(logits.flip(1), splits=4) == pytest.approx(found, rel=1e-12)


def test_parts_are_cut_in_order():
    """Two parts of one class each: diverse only as a whole."""
    logits = 900 * torch.eye(2).repeat_interleave(6, 0)
    assert inception(logits, splits=2).score == pytest.approx(1)
    assert inception(logits, splits=1).score == pytest.approx(2)


def test_logits_that_cannot_be_scored():
    with pytest.raises(VaenbError, match="4 samples cannot be cut into 5 parts: give more"):
        inception(torch.zeros(4, 3))
    with pytest.raises(VaenbError, match="splits is 0 and must be at least 1"):
        inception(torch.zeros(4, 3), splits=0)
    with pytest.raises(VaenbError, match=r"must be \[samples, classes\], got \(4,\)"):
        inception(torch.zeros(4))
    with pytest.raises(VaenbError, match="some logits are not finite"):
        inception(torch.tensor([[0.0, math.nan]]), splits=1)


# --- the hull -----------------------------------------------------------------------------------


def by_enumeration(points):
    """Ends of all segments that have every point on one side and the viewpoint on the other.

    Of points on one line only the outermost pair makes an edge.
    """

    def side(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    eye, found = (0, 2 * max(v for _, v in points)), set()
    for a, b in itertools.permutations(sorted(set(points)), 2):
        sides = [side(a, b, c) for c in points]
        line = [c for c, s in zip(points, sides, strict=True) if s == 0]
        if min(sides) >= 0 > side(a, b, eye) and {a, b} == {min(line), max(line)}:
            found |= {a, b}
    return found


@pytest.mark.parametrize("grid", [4, 12, 1000])
def test_the_seen_edges_are_those_of_the_enumeration(grid):
    """Coarse grids are full of equal points and of points on one line."""
    hidden = lower = 0
    g = np.random.default_rng(grid)
    for _ in range(100):
        count = int(g.integers(3, 11))
        rate, value = g.integers(0, grid, count), g.integers(-grid, grid, count)
        value[0] = abs(value[0]) + 1
        points = list(zip(rate.tolist(), value.tolist(), strict=True))
        found = upper_hull(rate, value)
        expected = by_enumeration(points)
        if expected:
            assert {points[k] for k in found} == expected and len(found) == len(expected)
            assert all(points.index(points[k]) == k for k in found)  # of equal ones the first
        else:
            assert len(found) == 1 and value[found[0]] == value.max()
        assert np.all(np.diff(rate[found]) >= 0)
        hidden += rate.max() > rate[found].max()
        lower += value.min() in value[found]
    assert hidden > 5 and lower > 5  # neither the right end nor the low points are all or never in


def test_a_hand_made_hull():
    rate = [1.0, 2.0, 4.0, 6.0, 3.0, 6.0, math.nan, 0.5, 4.0]
    value = [1.0, 3.0, 4.0, 3.9, 2.0, 0.0, 9.0, math.nan, 4.0]
    assert upper_hull(rate, value).tolist() == [0, 1, 2, 3]
    assert upper_hull(np.array(rate) * 7, np.array(value) * 0.01).tolist() == [0, 1, 2, 3]
    value[3] = 1.0  # now so steep behind the best that the eye at (0, 8) lies below the edge
    assert upper_hull(rate, value).tolist() == [0, 1, 2]


def test_small_hulls():
    assert upper_hull([2.0], [0.1]).tolist() == [0]
    assert upper_hull([3.0, 1.0, 2.0], [3.0, 1.0, 2.0]).tolist() == [1, 0]  # on one line
    assert upper_hull([1.0, 2.0], [3.0, 0.0]).tolist() == [0]  # with the eye at (0, 6) on it
    assert upper_hull([1.0, 1.0], [3.0, 3.0]).tolist() == [0]


def test_points_without_a_hull():
    with pytest.raises(VaenbError, match="twice the largest value, and -1 is not positive: shift"):
        upper_hull([1.0, 2.0], [-1.0, -2.0])
    with pytest.raises(VaenbError, match="no point has a finite rate and value"):
        upper_hull([math.nan], [1.0])
    with pytest.raises(VaenbError, match=r"rates \(2,\) and values \(1,\) must be \[points\]"):
        upper_hull([1.0, 2.0], [1.0])
