"""What codes say about labels: the information, the accuracy it allows, and what probes reach."""

import math
from typing import NamedTuple

import numpy as np
import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.measure.information import PAIRS, checked_posteriors, densities, log_mean, scores
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
    mean, log_std = checked_posteriors(mean, log_std)
    labels = torch.from_numpy(checked_labels(labels, mean)).to(mean.device)
    at_least_one(draws=draws)
    count, order = len(mean), labels.argsort(stable=True)  # classes become slices
    mean, log_std = (mean - mean.mean(0))[order], log_std[order]  # small numbers: see information
    table, constant = densities(mean, log_std)
    sizes = labels.bincount()
    sizes = sizes[sizes > 0]
    rng, found = Rng.of(seed, "evaluation", device=mean.device), torch.zeros_like(mean[:, 0])
    for _ in range(draws):
        u = rng.normal(*mean.shape, dtype=torch.float64)[order]
        z = mean + log_std.exp() * u
        own = -(0.5 * u.square() + log_std).sum(1)
        for members in torch.arange(count, device=mean.device).split(sizes.tolist()):
            for rows in members.split(max(1, PAIRS // count)):
                of_all = scores(z[rows], own[rows], rows, table, constant)
                of_class = of_all[:, members[0] : members[-1] + 1]
                found[rows] += (log_mean(of_class) - log_mean(of_all)) / draws
    error = found.std(unbiased=False) / max(count - 1, 1) ** 0.5
    ceiling = torch.special.entr(sizes.double() / count).sum()
    return LabelInformation(float(found.mean()), float(error), float(ceiling))


def accuracy_bound(information: float, label_counts) -> float:
    """The largest accuracy that any classifier can have on ``information`` nats about the label.

    The inverse of f(a) = H(y) + a log a + (1 - a) log((1 - a) / (M - 1)) on [1/M, 1] (Eq. 11 of
    Xiao & Bamler 2023), for M labels with the counts or probabilities ``label_counts`` [M].
    H(y) nats or more give 1, f(1/M) = H(y) - log M or less 1/M, and NaN gives NaN. Raises
    VaenbError for fewer than two labels, and counts that are negative or add up to nothing.
    """
    from scipy.optimize import brentq
    from scipy.special import entr

    counts = np.asarray(label_counts, dtype=np.float64)
    if counts.ndim != 1 or len(counts) < 2 or counts.min() < 0 or not 0 < counts.sum() < np.inf:
        raise VaenbError(
            f"label counts must be two or more, none negative, and not all 0, got {label_counts}"
        )
    most, least = entr(counts / counts.sum()).sum(), 1 / len(counts)

    def spare(a):  # f(a) less the information
        return most - entr(a) - entr(1 - a) - (1 - a) * math.log(len(counts) - 1) - information

    if math.isnan(information):
        return math.nan
    if information >= most:
        return 1.0
    return least if spare(least) >= 0 else brentq(spare, least, 1.0, xtol=1e-15)


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
