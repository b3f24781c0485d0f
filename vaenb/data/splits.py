"""Splits into training and test images by the factors behind them (Bozkurt et al. 2021, sec. 4.2).

Each returns (train, test): the rows of the table, ascending, int64. ``ranges`` [d, 2] holds the
least and the greatest value that each of the d factors can take, not what happened to be drawn.
"""

import numpy as np

from vaenb.errors import VaenbError


def default(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random halves of n images (of an odd n the test part has one more)."""
    return constant_volume(n, n // 2, seed)


def constant_volume(n: int, train: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``train`` of n images at random for training, the rest for test: sparser when fewer.

    Of the same seed, a smaller training part lies within a larger one, and half is ``default``.
    Raises VaenbError unless at least one image is left on both sides.
    """
    if not 0 < train < n:
        raise VaenbError(f"{train} training images cannot be split from {n} with some left for "
                         f"the test: choose 1 to {n - 1}")
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:train]), np.sort(order[train:])


def constant_density(factors, ranges, fraction: float, seed: int
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of ``default``, cropped: fewer images, as dense as before. See ``crop``."""
    inside, _ = crop(factors, ranges, fraction)
    return tuple(np.intersect1d(half, inside, assume_unique=True)
                 for half in default(len(factors), seed))


def crop(factors, ranges, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows inside the middle part of the space of factors, and the ranges [d, 2] of that part.

    Every range is cut symmetrically about its centre to fraction^(1/d) of its width, so that
    the part has that fraction of the volume, and about that fraction of uniform factors.
    Raises VaenbError for a fraction outside (0, 1] and for factors outside their ranges.
    """
    factors, ranges = checked(factors, ranges)
    if not 0 < fraction <= 1:
        raise VaenbError(f"the fraction of the space of factors to keep is above 0 and at most 1, "
                         f"and not {fraction!r}")
    low, high = ranges.T
    margin = (high - low) * (1 - fraction ** (1 / len(ranges))) / 2
    low, high = low + margin, high - margin
    inside = ((low <= factors) & (factors <= high)).all(1)
    return np.flatnonzero(inside), np.stack([low, high], axis=1)


def checkerboard(factors, ranges) -> tuple[np.ndarray, np.ndarray]:
    """Every range cut at its midpoint: of the 2^d cells, those of even index sum train.

    So every test cell has a training cell on its side along each factor, and each factor
    alone is spread the same in both parts. Raises VaenbError for factors outside their ranges.
    """
    factors, ranges = checked(factors, ranges)
    odd = (factors >= ranges.mean(1)).sum(1) % 2 == 1
    return np.flatnonzero(~odd), np.flatnonzero(odd)


def checked(factors, ranges) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays, [N, d] and [d, 2]. Raises VaenbError where they do not fit."""
    factors, ranges = np.asarray(factors, np.float64), np.asarray(ranges, np.float64)
    if factors.ndim != 2 or ranges.shape != (factors.shape[1], 2):
        raise VaenbError(f"factors {list(factors.shape)} and ranges {list(ranges.shape)} do not "
                         f"fit: [N, d] and [d, 2] are needed")
    low, high = ranges.T
    wrong = ~((low <= factors) & (factors <= high)).all(0)
    if wrong.any():
        k = int(wrong.argmax())
        raise VaenbError(f"factor {k} has values outside its range {low[k]:g} to {high[k]:g}: "
                         f"give the ranges that the factors were drawn from")
    return factors, ranges
