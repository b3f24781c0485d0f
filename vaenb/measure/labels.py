"""What codes say about labels: the information, the accuracy it allows, and what probes reach."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from vaenb.errors import VaenbError
from vaenb.measure.chunks import at_least_one
from vaenb.measure.information import PAIRS, _log_mean, _scores
from vaenb.train import Rng

PROBES = "logistic", "linear SVM", "RBF SVM", "kNN"


class LabelInformation(NamedTuple):
    """In nats: mi <= ceiling."""

    mi: float
    error: float  # standard error over images of mi
    ceiling: float  # the labels' entropy H(y)


def label_information(mean, log_std, labels, draws: int = 1, seed: int = 0) -> LabelInformation:
    """I(y; z) for the posteriors N(mean, exp(2 log_std)), both [N, Z], and ``labels`` [N].

    Estimator (Xiao & Bamler 2023, section 5): the mean of log q(z|y) - log q(z) over ``draws``
    codes z ~ q(z|x) of each image; q(z|y) and q(z) are the mixtures of the posteriors of the
    image's class and of all, the image's own among them.

    Bias and ceiling: unbiased for these N images (each equally likely), where no z says more than
    H(y). As an estimate for the images' population it is too high: a code is always in its own
    image's class, so posteriors that hardly overlap give H(y) whatever the labels. In float64 on
    the device of ``mean``; takes N x N x draws x 11 ns on one core (32 codes).

    Raises VaenbError for no labels, shapes that differ, and values that are not finite.
    """
    mean, log_std = (torch.as_tensor(v).detach().double() for v in (mean, log_std))
    labels = torch.from_numpy(_labels(labels, mean)).to(mean.device)
    if mean.shape != log_std.shape:
        shapes = f"{tuple(mean.shape)} and {tuple(log_std.shape)}"
        raise VaenbError(f"means and log deviations must be [images, codes] both, got {shapes}")
    if not (mean.isfinite().all() and log_std.isfinite().all()):
        raise VaenbError("some posteriors are not finite: the model has diverged")
    at_least_one(draws=draws)
    count, order = len(mean), labels.argsort(stable=True)  # classes become slices
    mean, log_std = (mean - mean.mean(0))[order], log_std[order]  # small numbers: see information
    precision = (-2 * log_std).exp()
    table = torch.cat([-0.5 * precision, mean * precision], 1)
    constant = (-0.5 * mean.square() * precision - log_std).sum(1)
    sizes = labels.bincount()
    sizes = sizes[sizes > 0]
    rng, found = Rng.of(seed, "evaluation", device=mean.device), torch.zeros_like(mean[:, 0])
    for _ in range(draws):
        u = rng.normal(*mean.shape, dtype=torch.float64)[order]
        z = mean + log_std.exp() * u
        own = -(0.5 * u.square() + log_std).sum(1)
        for members in torch.arange(count, device=mean.device).split(sizes.tolist()):
            for rows in members.split(max(1, PAIRS // count)):
                scores = _scores(z[rows], own[rows], rows, table, constant)
                of_class = scores[:, members[0] : members[-1] + 1]
                found[rows] += (_log_mean(of_class) - _log_mean(scores)) / draws
    error = found.std(unbiased=False) / max(count - 1, 1) ** 0.5
    return LabelInformation(float(found.mean()), float(error), _entropy(sizes.cpu().numpy()))


def accuracy_bound(information, label_counts):
    """The largest accuracy that any classifier can have on ``information`` nats about the label.

    The inverse of f(a) = H(y) + a log a + (1 - a) log((1 - a) / (M - 1)) on [1/M, 1] (Eq. 11 of
    Xiao & Bamler 2023), for M labels with the counts or probabilities ``label_counts`` [M].
    H(y) nats or more give 1, f(1/M) = H(y) - log M or less 1/M, and NaN gives NaN. A float for a
    number, else an array [...]. Raises VaenbError for fewer than two labels, and counts that are
    negative or add up to nothing.
    """
    from scipy.optimize import brentq

    counts = np.asarray(label_counts, dtype=np.float64)
    if counts.ndim != 1 or len(counts) < 2 or counts.min() < 0 or not 0 < counts.sum() < np.inf:
        raise VaenbError(
            f"label counts must be two or more, none negative, and not all 0, got {label_counts}"
        )
    most, least = _entropy(counts), 1 / len(counts)

    def spare(a, nats):  # f(a) less the information
        return most + _xlogx(a) + _xlogx(1 - a) - (1 - a) * math.log(len(counts) - 1) - nats

    def one(nats):
        if math.isnan(nats):
            return math.nan
        if nats >= most or spare(least, nats) >= 0:
            return 1.0 if nats >= most else least
        return brentq(spare, least, 1.0, args=(nats,), xtol=1e-15)

    nats = np.asarray(information, dtype=np.float64)
    found = np.array([one(v) for v in nats.ravel().tolist()]).reshape(nats.shape)
    return found if nats.ndim else float(found)


def probes(features, labels, seed: int = 42, jobs: int = 2) -> dict[str, float]:
    """Accuracies of simple classifiers on ``features`` [N, F] with ``labels`` [N], by `PROBES`.

    Of the rows, as NumPy's RandomState(``seed``) shuffles them, the last 20 % (rounded down) are
    predicted from the others, features as they are. The classifiers are scikit-learn's (Xiao &
    Bamler 2023, section 5.6): LogisticRegression by saga (at most 100 passes; the mean over seeds
    0 to 4), SVC with linear and with RBF kernel (C = 1), KNeighborsClassifier (k = 5). In float64,
    in ``jobs`` threads, on which no result depends.

    The SVMs' pairs of classes are solved apart and vote, as in SVC. The RBF's end where SVC ends,
    up to rounding; the linear ones at the same minimum as SVC, but nearer to it: SVC's accuracy
    to about 1 / 1000, and up to 100 times faster. 26032 rows with 32 features take 9 s of one
    core, with 512 features 95 s. An accuracy a on n rows has the standard error
    sqrt(a (1 - a) / n).

    Raises VaenbError for no labels, lengths that differ, values that are not finite, and a
    training part of one class or of fewer than five rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from threadpoolctl import threadpool_limits

    x = torch.as_tensor(features).detach().cpu().double().numpy()
    y = _labels(labels, x)
    at_least_one(jobs=jobs)
    if not np.isfinite(x).all():
        raise VaenbError("some features are not finite: the model has diverged")
    order, test = np.random.RandomState(seed).permutation(len(x)), int(0.2 * len(x))
    x, y = x[order], y[order]
    x, new, y, truth = x[:-test], x[-test:], y[:-test], y[-test:]
    classes = np.unique(y)
    if test == 0 or len(x) < 5 or len(classes) < 2:
        raise VaenbError(
            f"{len(order)} images and {len(classes)} classes to train on are too few for probes: "
            f"give at least 7 images and 2 classes"
        )
    middle, gamma = x.mean(0), 1 / (x.shape[1] * x.var() or 1)  # SVC's "scale"
    groups = [x[y == k] - middle for k in classes]  # the shift changes no SVM, but its rounding
    models = [LogisticRegression(solver="saga", random_state=k) for k in range(5)]
    models.append(KNeighborsClassifier(5))
    with (
        threadpool_limits(1),
        warnings.catch_warnings(),  # of all threads
        ThreadPoolExecutor(jobs) as pool,
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = pool.map(lambda m: m.fit(x, y).score(new, truth), models)
        svms = [svm(pool.map, groups, new - middle, gamma) for svm in (_linear, _rbf)]
        linear, rbf = (np.mean(classes[_vote(margins)] == truth) for margins in svms)
        *logistic, neighbours = scores
    found = np.mean(logistic), linear, rbf, neighbours
    return dict(zip(PROBES, map(float, found), strict=True))


def _vote(margins):
    """Winners [T] of all pairs, negative ``margins`` [T, pairs] being the first's; ties as SVC."""
    count = round((0.25 + 2 * margins.shape[1]) ** 0.5 + 0.5)
    votes = np.zeros((count, len(margins)), int)
    for (a, b), margin in zip(combinations(range(count), 2), margins.T, strict=True):
        votes[a] += margin < 0
        votes[b] += margin >= 0
    return votes.argmax(0)


def _linear(each, groups, new, _gamma):
    """Margins [T, pairs] of linear SVMs; ``each`` is a map, ``groups`` the rows of the classes."""
    planes = np.stack(list(each(_plane, *zip(*combinations(groups, 2), strict=True))))
    return new @ planes[:, :-1].T + planes[:, -1]


def _plane(first, second):
    """(w, b) of the least |w|^2 / 2 + sum max(0, 1 - sign (w x + b)): [F + 1].

    A primal-dual interior point method (Mehrotra 1992). With multipliers 0 < a < 1, distances
    s > 0 beyond the margin and h > 0 short of it, a Newton step for a s = (1 - a) h = mu needs one
    system of F + 1 equations (as in Ferris & Munson 2002): 10 to 30 steps, however the classes
    overlap, where SVC's method takes up to a million. Ends 1e-10 from the minimum (relative).
    """
    x = np.concatenate([first, second])
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    x[: len(first)] *= -1  # rows times signs
    penalty = np.diag(np.arange(x.shape[1]) < x.shape[1] - 1).astype(float)
    v, (a, s, h) = np.zeros(x.shape[1]), np.full((3, len(x)), 1.0)
    a *= 0.5
    for _ in range(200):
        gap = (a @ s + (1 - a) @ h) / len(x)
        short, tilt = 1 - x @ v - h + s, x.T @ a - penalty @ v
        if max(gap, abs(tilt).max() / len(x)) < 1e-10 * a.mean() and abs(short).max() < 1e-8:
            return v
        weight = 1 / (s / a + h / (1 - a))
        root = x * np.sqrt(weight)[:, None]
        matrix = root.T @ root + penalty
        to_s, to_h = -a * s, -(1 - a) * h  # first a step to mu = 0, to see how far it can go
        for step in range(2):
            right = short + to_s / a - to_h / (1 - a)
            dv = np.linalg.solve(matrix, tilt + x.T @ (weight * right))
            da = weight * (right - x @ dv)
            ds, dh = (to_s - s * da) / a, (to_h + h * da) / (1 - a)
            inward = da / -a, da / (1 - a), ds / -s, dh / -h
            size = 1 / max(1, *(part.max() for part in inward))
            if step == 0:
                left = (a + size * da) @ (s + size * ds) + (1 - a - size * da) @ (h + size * dh)
                mu = gap / 2 * (left / len(x) / gap) ** 3
                to_s, to_h = to_s + mu - da * ds, to_h + mu + da * dh
        v, a, s, h = (z + 0.995 * size * d for z, d in ((v, dv), (a, da), (s, ds), (h, dh)))
    raise VaenbError("a linear SVM did not converge: divide the features by their deviation")


def _rbf(each, groups, new, gamma):
    """Margins [T, pairs] of SVMs with kernel exp(-gamma |x - y|^2), from matrix products."""
    from sklearn.svm import SVC

    own = list(each(lambda g: _kernel(g, g, gamma), groups))
    starts = np.cumsum([0, *map(len, groups)])

    def fit(pair):
        a, b = pair
        sides = np.repeat([0, 1], [len(own[a]), len(own[b])])
        whole, cut = np.empty((len(sides), len(sides))), len(own[a])
        whole[:cut, :cut], whole[cut:, cut:] = own[a], own[b]
        whole[cut:, :cut] = _kernel(groups[a], groups[b], gamma, whole[:cut, cut:]).T
        svm = SVC(kernel="precomputed").fit(whole, sides)
        weights = np.zeros(starts[-1])
        place = svm.support_ + np.where(sides[svm.support_], starts[b] - cut, starts[a])
        weights[place] = svm.dual_coef_[0]
        return weights, svm.intercept_[0]

    weights, bias = zip(*each(fit, combinations(range(len(groups)), 2)), strict=True)
    weights, x = np.stack(weights, 1), np.concatenate(groups)
    parts = np.array_split(new, -(-len(new) * len(x) // PAIRS // 8))
    return np.concatenate(list(each(lambda p: _kernel(p, x, gamma) @ weights, parts))) + bias


def _kernel(a, b, gamma, out=None):
    """exp(-gamma |a - b|^2): [A, B]."""
    out = np.matmul(2 * gamma * a, b.T, out=out)
    out -= gamma * (a * a).sum(1)[:, None]
    out -= gamma * (b * b).sum(1)
    return np.exp(np.minimum(out, 0, out=out), out=out)


def _labels(labels, rows):
    """``labels`` as int64 [N] for ``rows`` [N, ...], or VaenbError."""
    if labels is None:
        raise VaenbError("this data set has no labels: take one that has, such as svhn or mnist")
    labels = torch.as_tensor(labels).cpu().long().numpy()
    if rows.ndim != 2 or len(rows) == 0 or labels.shape != (len(rows),):
        raise VaenbError(
            f"labels {labels.shape} do not fit rows {tuple(rows.shape)}: give [N] and [N, F]"
        )
    return labels


def _entropy(counts):
    p = counts / counts.sum()
    return -sum(map(_xlogx, p.tolist()))


def _xlogx(p):
    return p * math.log(p) if p > 0 else 0.0
