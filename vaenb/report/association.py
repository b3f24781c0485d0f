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


def flattens(x, y, at: float):
    """How much the slope of y over x [n] changes at x = ``at``, and p for its falling and rising.

    Least squares of two lines that meet there, by Student's t with n - 3 degrees of freedom.
    Raises VaenbError for fewer than two different x on either side.
    """
    x, y = (np.asarray(v, float) for v in (x, y))
    for side, here in (("below", x[x < at]), ("above", x[x > at])):
        if len(np.unique(here)) < 2:
            raise VaenbError(f"fewer than two models {side} {at:g}: no slope there")
    basis = np.stack([np.ones_like(x), x - at, (x - at).clip(0)], 1)
    spread = np.linalg.pinv(basis.T @ basis)
    line = spread @ basis.T @ y
    freedom = len(x) - 3
    noise = float(np.square(y - basis @ line).sum()) / max(freedom, 1)
    error = (noise * spread[2, 2]) ** 0.5
    change = float(line[2])
    if freedom < 1 or error <= 1e-12 * max(1.0, abs(change)):
        return change, float(freedom < 1 or change >= 0), float(freedom < 1 or change <= 0)
    from scipy.stats import t

    return change, float(t.cdf(change / error, freedom)), float(t.sf(change / error, freedom))
