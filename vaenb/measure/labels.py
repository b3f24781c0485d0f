"""What codes say about labels: the information, the accuracy it allows, and what probes reach."""

import math
from typing import NamedTuple

import numpy as np
import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.information import PAIRS, _log_mean, _scores
from vaenb.train import Rng


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
    labels = torch.from_numpy(checked_labels(labels, mean)).to(mean.device)
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


def checked_labels(labels, rows):
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
