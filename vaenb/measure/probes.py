"""How well simple classifiers read labels off codes: scikit-learn's, fitted side by side."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.labels import checked_labels

PROBES = "logistic", "linear SVM", "RBF SVM", "kNN"
ROWS = 1000  # that are scored together


def probes(
    features, labels, seed: int = 42, jobs: int = 0, only: tuple[str, ...] = PROBES
) -> dict[str, float]:
    """Accuracies of simple classifiers on ``features`` [N, F] with ``labels`` [N], by `PROBES` or
    those of them in ``only``.

    Of the rows, as NumPy's RandomState(``seed``) shuffles them, the last 20 % (rounded down) are
    predicted from the others; no scaling. The classifiers are scikit-learn's: LogisticRegression
    by saga (100 passes at most; the mean over seeds 0 to 4), SVC with linear and RBF kernel
    (C = 1, gamma by scale), KNeighborsClassifier (k = 5) (Xiao & Bamler 2023, section 5.6).
    Everything runs in ``jobs`` threads (0: one a core), on which no result depends: the pairs of
    classes that SVC solves one after another are solved apart, on inner products that both kernels
    share, and vote as there. An accuracy a on n rows has the standard error sqrt(a (1 - a) / n).

    Raises VaenbError for a name that is no probe's, no labels, lengths that differ, values that
    are not finite, and a training part of one class or of fewer than five rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from threadpoolctl import threadpool_limits

    for name in only:
        if name not in PROBES:
            raise VaenbError(f"there is no probe {name!r}: take some of {', '.join(PROBES)}")
    x = torch.as_tensor(features).detach().cpu().double().numpy()
    y = checked_labels(labels, x)
    jobs = jobs or os.cpu_count() or 1
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
            f"give at least 6 images and 2 classes"
        )
    kernels = {"linear SVM": lambda dots, a, b: dots, "RBF SVM": _gaussian(x)}
    kernels = {name: kernels[name] for name in only if name in kernels}

    def score(model):
        return model.fit(x, y).score(new, truth)

    with (
        threadpool_limits(1),
        warnings.catch_warnings(),  # of all threads
        ThreadPoolExecutor(jobs) as pool,
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)  # saga's
        margins = _margins(kernels, x, y, new, pool) if kernels else {}
        whole = {"logistic": [LogisticRegression(solver="saga", random_state=k)
                              for k in range(5)], "kNN": [KNeighborsClassifier(5)]}
        found = {name: np.mean(list(pool.map(score, models)))
                 for name, models in whole.items() if name in only}
        found |= {name: np.mean(classes[_vote(sides)] == truth)
                  for name, sides in margins.items()}
    return {name: float(found[name]) for name in only}


def _gaussian(x):
    """SVC's RBF kernel with gamma by scale, of all classes, from inner products [A, B] of rows
    whose squared lengths are a [A, 1] and b [B]."""
    gamma = 1 / (x.shape[1] * x.var() or 1)

    def kernel(dots, a, b):
        return np.exp(-gamma * (a + b - 2 * dots).clip(0))

    return kernel


def _margins(kernels, x, y, new, pool):
    """For each kernel the decisions [pairs, T] on ``new`` [T, F] of the SVCs of all pairs of
    classes; positive ones are the second class's."""
    from sklearn.svm import SVC

    rows = [np.flatnonzero(y == c) for c in np.unique(y)]
    pairs = list(combinations(range(len(rows)), 2))
    length = np.square(x).sum(1)
    own = list(pool.map(lambda of: x[of] @ x[of].T, rows))

    def solve(pair):
        a, b = pair
        across = x[rows[a]] @ x[rows[b]].T
        dots = np.block([[own[a], across], [across.T, own[b]]])
        of = np.concatenate([rows[a], rows[b]])
        side, solved = np.repeat([0, 1], [len(rows[a]), len(rows[b])]), {}
        for name, kernel in kernels.items():
            svm = SVC(kernel="precomputed", cache_size=500)
            svm.fit(kernel(dots, length[of, None], length[of]), side)
            solved[name] = of[svm.support_], svm.dual_coef_[0], svm.intercept_[0]
        return solved

    weights = {name: np.zeros((len(x), len(pairs))) for name in kernels}
    shifts = {name: np.zeros(len(pairs)) for name in kernels}
    for k, solved in enumerate(pool.map(solve, pairs)):
        for name, (of, weight, shift) in solved.items():
            weights[name][of, k], shifts[name][k] = weight, shift

    def decide(part):
        dots, here = part @ x.T, np.square(part).sum(1)[:, None]
        return {name: kernel(dots, here, length) @ weights[name] + shifts[name]
                for name, kernel in kernels.items()}

    parts = list(pool.map(decide, np.split(new, range(ROWS, len(new), ROWS))))
    return {name: np.concatenate([part[name] for part in parts]).T for name in kernels}


def _vote(margins):
    """Winners [T] of all pairs; positive ``margins`` [pairs, T] are the second's; ties as SVC."""
    count = round((0.25 + 2 * len(margins)) ** 0.5 + 0.5)
    votes = np.zeros((count, len(margins[0])), int)
    for (a, b), margin in zip(combinations(range(count), 2), margins, strict=True):
        votes[a] += margin <= 0
        votes[b] += margin > 0
    return votes.argmax(0)
