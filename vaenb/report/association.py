"""Tests over the cells of a grid, each a model of its own: what goes with what, and how strongly.

Every function gives an effect and two one-sided p-values: that the named relation holds, and that
it is the other way round.
"""

import numpy as np

from vaenb.errors import VaenbError


def _ranks(values):
    from scipy.stats import rankdata

    values = np.asarray(values, float)
    return rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2


def _p(r: float, freedom: int) -> tuple[float, float]:
    from scipy.stats import t

    if freedom < 1:
        return 1.0, 1.0
    r = min(max(r, -1 + 1e-12), 1 - 1e-12)
    score = r * (freedom / (1 - r * r)) ** 0.5
    return float(t.sf(score, freedom)), float(t.cdf(score, freedom))


def _pearson(x, y) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float((x @ x) * (y @ y)) ** 0.5
    return float(x @ y) / size if size > 1e-12 else 0.0


def rank_correlation(x, y, given=None):
    """Spearman's correlation of x and y [n], and p for its being positive and negative.

    ``given`` [n]: the partial correlation, of what is left of both ranks once a line in the ranks
    of ``given`` is taken out. p by Student's t with n - 2 (with ``given`` n - 3) degrees of
    freedom.
    """
    x, y = _ranks(x), _ranks(y)
    if given is not None:
        g = _ranks(given)
        x, y = (v - g * (v @ g) / max(g @ g, 1e-12) for v in (x, y))
    rho = _pearson(x, y)
    return rho, *_p(rho, len(x) - (2 if given is None else 3))


def depends_more(y, a, b, draws: int = 9999, seed: int = 0):
    """|Spearman(y, a)| - |Spearman(y, b)|, and p for its being above and below 0.

    By the bootstrap over the n cells: the share of ``draws`` resamples on the other side of 0.
    """
    columns = np.stack([np.asarray(v, float) for v in (y, a, b)])
    count = columns.shape[1]
    drawn = np.random.default_rng(seed).integers(0, count, (draws, count))
    effect, found = (_difference(columns[:, at]) for at in (np.arange(count), drawn))
    return float(effect), *((1 + int(side.sum())) / (draws + 1)
                            for side in (found <= 0, found >= 0))


def _difference(columns):
    """|Spearman(y, a)| - |Spearman(y, b)| of columns [3, ..., n]: [...]."""
    ranks = _ranks(columns)
    size = np.sqrt((ranks * ranks).sum(-1)).clip(1e-12)
    y, a, b = ranks / size[..., None]
    return abs((y * a).sum(-1)) - abs((y * b).sum(-1))


def varies_more(x, y):
    """log of the ratio of the variances of x and y [n], paired, and p for its being above and
    below 0 (Pitman 1939, Morgan 1939: the variances differ as x + y and x - y correlate)."""
    x, y = (np.asarray(v, float) for v in (x, y))
    r = _pearson(x + y, x - y)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where neither varies
        effect = float(np.log(x.var() / y.var()))
    return effect, *_p(r, len(x) - 2)


def explains(x, y, least: float):
    """r^2 of a straight line of y over x [n], and p for its being above and below ``least``.

    By Fisher's transformation of |r|.
    """
    from scipy.stats import norm

    x, y = (np.asarray(v, float) for v in (x, y))
    r = min(abs(_pearson(x, y)), 1 - 1e-12)
    score = float(np.arctanh(r) - np.arctanh(least**0.5)) * (len(x) - 3) ** 0.5
    return r * r, float(norm.sf(score)), float(norm.cdf(score))


def bends(x, y, low: float, high: float, draws: int = 9999, seed: int = 0):
    """Where the rise of y over x [n] slows down, and p for that being between ``low`` and
    ``high``, and for its being elsewhere or nowhere.

    The meeting point of the two lines of least squares, among 49 evenly spaced between the
    second and the last but one of x; by the bootstrap over the n cells: the share of ``draws``
    resamples on the other side. Raises VaenbError where ``low`` to ``high`` is not among x.
    """
    x, y = (np.asarray(v, float) for v in (x, y))
    places = np.unique(x)
    if len(places) < 4 or not places[1] < low < high < places[-2]:
        raise VaenbError(f"fewer than two models below {low:g} or above {high:g}: no slope there")
    drawn = np.random.default_rng(seed).integers(0, len(x), (draws, len(x)))
    weights = np.stack([np.bincount(row, minlength=len(x)) for row in drawn])
    at = np.linspace(places[1], places[-2], 49)
    best, *found = _bend(x, y, np.vstack([np.ones_like(x), weights]), at)
    inside = sum(bool(low <= place <= high) for place in found)  # a NaN is not
    return float(best), (1 + draws - inside) / (draws + 1), (1 + inside) / (draws + 1)


def _bend(x, y, weights, at):
    """The best meeting point for each row of weights [K, n]; NaN where the slope does not fall."""
    beyond = x[:, None] - at
    basis = np.stack([np.ones_like(beyond), beyond, beyond.clip(0)], -1)  # [n, at, 3]
    pairs = basis[..., :, None] * basis[..., None, :]
    products = np.tensordot(weights, pairs, 1) + 1e-9 * np.eye(3)
    sides = np.tensordot(weights * y, basis, 1)
    lines = np.linalg.solve(products, sides[..., None])[..., 0]
    best = (lines * sides).sum(-1).argmax(1)  # what the lines explain
    falls = np.take_along_axis(lines[..., 2], best[:, None], 1)[:, 0] < 0
    return np.where(falls, at[best], np.nan)
