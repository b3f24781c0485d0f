"""The inception score and its two factors, and which models are the best at their rate."""

from typing import NamedTuple

import numpy as np
import torch

from vaenb.errors import VaenbError, at_least_one


class Inception(NamedTuple):
    """Means over the parts; in each part alone, score = diversity x sharpness."""

    score: float  # exp I(x; y), 1 to K
    diversity: float  # exp H[p(y)], 1 to K: the effective number of classes that occur
    sharpness: float  # exp -E H[p(y|x)], 1/K to 1: how sure the classifier is


def inception(logits, splits: int = 5) -> Inception:
    """The inception score of N samples from a classifier's ``logits`` [N, K].

    The samples are cut in their order into ``splits`` equal parts; up to ``splits`` - 1 that are
    left over at the end are dropped. In each part, exp of the mean KL(p(y|x) || p(y)), with p(y)
    the part's mean of p(y|x) (Salimans et al. 2016), and its factors (Xiao & Bamler 2023, section
    5). In float64. Biased: few samples a part make diversity, and so the score, too low on
    average; compare only equal numbers. The score is at most K, and at most the samples a part.

    Raises VaenbError for fewer samples than parts, and values that are not finite.
    """
    at_least_one(splits=splits)
    logits = torch.as_tensor(logits).detach().double()
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise VaenbError(f"logits must be [samples, classes], got {tuple(logits.shape)}")
    if len(logits) < splits:
        raise VaenbError(
            f"{len(logits)} samples cannot be cut into {splits} parts: give more samples"
        )
    if not logits.isfinite().all():
        raise VaenbError("some logits are not finite: the samples or the classifier are broken")
    each = len(logits) // splits
    log_p = logits[: each * splits].view(splits, each, -1).log_softmax(2)
    p = log_p.exp()
    certain = (p * log_p).sum(2).mean(1)  # -E H[p(y|x)]
    varied = torch.special.entr(p.mean(1)).sum(1)  # H[p(y)]
    parts = torch.stack([varied + certain, varied, certain]).exp()
    return Inception(*parts.mean(1).tolist())


def upper_hull(rate, value) -> np.ndarray:
    """Indices of the points that are optimal at a given total rate, in order of their rate.

    ``rate`` and ``value`` [N] (larger is better) are points in a plane. Taken are the ends of
    those edges of their convex hull that are seen from rate 0 and twice the largest value: the
    viewpoint lies strictly on the edge's outer side (the definition of Xiao & Bamler's code). The
    viewpoint's height matters: a steep fall behind the best point is hidden, a value's scale
    changes nothing, its offset may. No point inside an edge is taken, of equal points the first,
    and the best one if no edge is seen. Points that are not finite are ignored.

    Raises VaenbError for arrays that differ in shape, no finite point, and a largest value that
    is not positive, since the viewpoint would not lie above it.
    """
    rate, value = (np.asarray(v, dtype=np.float64) for v in (rate, value))
    if rate.ndim != 1 or rate.shape != value.shape:
        raise VaenbError(f"rates {rate.shape} and values {value.shape} must be [points] both")
    kept = np.flatnonzero(np.isfinite(rate) & np.isfinite(value))
    if len(kept) == 0:
        raise VaenbError("no point has a finite rate and value: a hull needs at least one")
    best = value[kept].max()
    if best <= 0:
        raise VaenbError(
            f"the hull is seen from twice the largest value, and {best:.6g} is not positive: "
            f"shift the values, as by subtracting the least"
        )
    eye = 0.0, 2 * best
    # of equal points the first comes first, and the second would turn nowhere
    place = {(rate[k], value[k]): k for k in reversed(kept.tolist())}
    points = sorted(place)
    ring = _chain(points) + _chain(points[::-1])
    edges = [(a, b) for a, b in zip(ring, ring[1:], strict=False) if _turn(a, b, eye) < 0]
    seen = set(sum(edges, ())) or {max(points, key=lambda p: p[1])}
    return np.array([place[p] for p in sorted(seen)])


def _chain(points):
    """Half of the hull of sorted points, counter-clockwise, both ends in it (Andrew 1979)."""
    chain = []
    for p in points:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
            chain.pop()
        chain.append(p)
    return chain


def _turn(a, b, c):
    """Twice the signed area of a triangle: positive if ``c`` lies left of the way a -> b."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
