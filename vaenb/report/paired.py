"""Tests of paired differences, a number a seed, and Holm's correction of many p-values.

``hidden`` is the least variance to count with: values that were taken from a list hide theirs.
"""

import math
import statistics


def _mean(differences, hidden: float) -> tuple[float, float, int]:
    """Their mean, its standard error, and how many there are."""
    n = len(differences)
    error = math.sqrt(max(statistics.variance(differences), hidden) / n)
    return statistics.fmean(differences), error, n


def p_below(differences, bound: float = 0.0, hidden: float = 0.0) -> float:
    """One-sided paired t-test: p against "the mean difference is not below ``bound``"."""
    from scipy.stats import t

    mean, error, n = _mean(differences, hidden)
    if error <= 1e-12 * max(1.0, abs(mean)):
        return float(mean >= bound)
    return float(t.cdf((mean - bound) / error, n - 1))


def p_within(differences, margin: float, hidden: float = 0.0) -> tuple[float, float]:
    """Two one-sided t-tests: p for |mean difference| < margin, and p for > margin."""
    flipped = [-d for d in differences]
    inside = max(p_below(d, margin, hidden) for d in (differences, flipped))
    outside = 2 * min(p_below(d, -margin, hidden) for d in (differences, flipped))
    return inside, min(1.0, outside)


def interval(differences, hidden: float = 0.0) -> tuple[float, float]:
    """The 95 % interval of the mean by Student's t."""
    from scipy.stats import t

    mean, error, n = _mean(differences, hidden)
    half = float(t.ppf(0.975, n - 1)) * error
    return mean - half, mean + half


def holm(ps: list[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, running = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = running
    return adjusted


def rounding(chosen, tried) -> float:
    """The variance of values that were taken from a list, as uniform to half way to the next."""
    tried = sorted(tried)
    steps = [b - a for a, b in zip(tried, tried[1:], strict=False)] or [0.0]
    at = [tried.index(value) for value in chosen]
    widths = [(steps[max(0, k - 1)] + steps[min(k, len(steps) - 1)]) / 2 for k in at]
    return statistics.fmean(width**2 / 12 for width in widths)
