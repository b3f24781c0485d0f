"""Where the rate goes: what codes say about images, and what they waste on missing the prior.

E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)) with the aggregate posterior q(z), the average
of q(z|x) over the set (Hoffman & Johnson 2016; section 5.2 of Rybkin et al.). All in nats.
"""

import math
from typing import NamedTuple

import torch

from vaenb.errors import VaenbError, at_least_one
from vaenb.models import Gaussian
from vaenb.train import Rng

PAIRS = 2**20  # densities held at once: 8 MiB


class Information(NamedTuple):
    """In nats: rate = mi + marginal_kl, mi <= ceiling, mi_batch <= batch_ceiling."""

    rate: float
    mi: float
    marginal_kl: float
    mi_error: float  # standard error over images of mi, and so of marginal_kl
    ceiling: float  # log N
    mi_batch: float  # with mixtures over minibatches
    batch: int
    batch_ceiling: float  # log of batch, or the mean over groups
    mi_corrected: float  # with the batch's mixture weighted for the whole set; may pass `ceiling`


def information(
    mean, log_std, *, draws: int = 1, batch: int = 128, seed: int = 0, groups=None
) -> Information:
    """I(x; z) and KL(q(z) || N(0, I)) for the posteriors N(mean, exp(2 log_std)), both [N, Z].

    Estimator: the mean of log q(z|x) - log q(z) over ``draws`` codes z ~ q(z|x) of each image,
    where q(z) is the mixture of all N posteriors, the code's own among them (Rosca,
    Lakshminarayanan & Mohamed 2018). The rate is in closed form and the marginal KL is the rest,
    so the identity holds exactly and both carry the same error, ``mi_error``; noise may take the
    marginal KL a little below 0.

    Bias and ceiling: unbiased for these N images (each equally likely); as an estimate for the
    images' population it is too low on average, and never above log N. ``mi_batch`` puts only a
    random batch of ``batch`` images into the mixture, as is often done: lower again, and never
    above log ``batch`` (a set smaller than a batch is one batch; images left over are dropped).
    ``groups``, a list of rows, takes the place of random batches: as where sentences of one length
    make a batch (He et al. 2019). Their means count by their sizes, their ceiling is the mean of
    log size, and ``batch`` in the answer is the largest.
    ``mi_corrected`` weighs the same batches for the whole set, as `log_aggregate` does; its
    mixture's density is unbiased, its logarithm too low on average, so the information comes out
    too high. It saturates at log N.

    In float64 on the device of ``mean``; a density is off by about 1e-16 (|z| / std)^2. Takes
    N x N x draws x 7 ns on one core (20 codes). Raises VaenbError for shapes that differ
    and values that are not finite.
    """
    mean, log_std = checked_posteriors(mean, log_std)
    at_least_one(draws=draws, batch=batch)
    rate, count = Gaussian(mean, log_std).rate().mean(), len(mean)
    mean = mean - mean.mean(0)  # changes no difference of densities, and keeps the numbers small
    table, constant = densities(mean, log_std)

    batch = min(batch, count)
    rng = Rng.of(seed, "evaluation", device=mean.device)
    order = rng.uniform(count, dtype=torch.float64).argsort()
    if groups is None:
        groups = order[: count - count % batch].split(batch)
    groups = [torch.as_tensor(rows, device=mean.device) for rows in groups]
    grouped, batch = sum(map(len, groups)), max(map(len, groups), default=0)
    at_least_one(groups=len(groups), images_in_a_group=min(map(len, groups), default=1))
    found, found_batch, corrected = torch.zeros_like(mean[:, 0]), 0.0, 0.0
    for _ in range(draws):
        u = rng.normal(*mean.shape, dtype=torch.float64)
        z = mean + log_std.exp() * u
        own = -(0.5 * u.square() + log_std).sum(1)
        mixture = [log_mean(scores(z[rows], own[rows], rows, table, constant))
                   for rows in order.split(max(1, PAIRS // count))]
        found += (own[order] - torch.cat(mixture)) / draws
        for rows in groups:
            within = torch.arange(len(rows), device=mean.device)
            pairs = scores(z[rows], own[rows], within, table[rows], constant[rows])
            found_batch += (own[rows] - log_mean(pairs)).sum() / (draws * grouped)
            mixture = (pairs + _log_weights(len(rows), count, pairs)).logsumexp(1)
            corrected += (own[rows] - mixture).sum() / (draws * grouped)
    mi, error = found.mean(), found.std(unbiased=False) / max(len(found) - 1, 1) ** 0.5
    whole = (float(v) for v in (rate, mi, rate - mi, error))
    ceiling = sum(len(rows) * math.log(len(rows)) for rows in groups) / grouped
    return Information(*whole, math.log(count), float(found_batch), batch, ceiling,
                       float(corrected))


def checked_posteriors(mean, log_std):
    """``mean`` and ``log_std`` [N, Z] in float64, or VaenbError."""
    mean, log_std = (torch.as_tensor(v).detach().double() for v in (mean, log_std))
    if mean.ndim != 2 or mean.shape != log_std.shape or len(mean) == 0:
        shapes = f"{tuple(mean.shape)} and {tuple(log_std.shape)}"
        raise VaenbError(f"means and log deviations must be [images, codes] both, got {shapes}")
    if not (mean.isfinite().all() and log_std.isfinite().all()):
        raise VaenbError("some posteriors are not finite: the model has diverged")
    return mean, log_std


def densities(mean, log_std):
    """What `scores` reads of N posteriors N(mean, exp(2 log_std)), both [N, Z]: a table [N, 2Z]
    and a constant [N]."""
    precision = (-2 * log_std).exp()
    constant = (-0.5 * mean.square() * precision - log_std).sum(1)
    return torch.cat([-0.5 * precision, mean * precision], 1), constant


def scores(z, own, place, table, constant):
    """Log densities of ``z`` [b, Z] under N posteriors, each plus Z/2 log 2 pi: [b, N], by one
    matrix product.

    The density under a code's own posterior, which stands at ``place`` and weighs most, is put in
    exactly (``own``).
    """
    found = torch.addmm(constant, torch.cat([z.square(), z], 1), table.T)
    found[torch.arange(len(z), device=z.device), place] = own
    return found


def log_mean(scores):
    """log of the mean of exp(``scores``) [b, N]: [b]."""
    top = scores.amax(1, keepdim=True)
    return (scores - top).exp_().sum(1).log() + top[:, 0] - math.log(scores.shape[1])


def _log_weights(batch, count, like):
    """Weights [B, B] of a batch's mixture for a set of ``count``: own 1 / N, others alike."""
    if batch == 1:
        return like.new_zeros(1, 1)
    count = torch.as_tensor(count, device=like.device).double()  # of a sweep: never read back
    others = ((count - 1) / (count * (batch - 1))).log()
    own = torch.eye(batch, dtype=torch.bool, device=like.device)
    return torch.where(own, -count.log(), others).to(like.dtype)


def log_aggregate(z, q: Gaussian, count) -> torch.Tensor:
    """log q(z) of a batch's own codes ``z`` [B, Z], for a set of ``count`` images (a number or a
    tensor []): [B].

    The batch's posteriors ``q`` [B, Z] stand for all others: q(z) ~ q(z|x_b) / N + (N - 1) /
    (N (B - 1)) times the sum of q(z|x_b') over the others (the estimator of Esmaeili et al. 2019,
    used by Bozkurt et al. 2021 with B = 512). The density is unbiased over batches; its logarithm
    is too low on average. Differentiable, and fit for `torch.func`.
    """
    pairs = Gaussian(q.mean[None], q.log_std[None]).log_prob(z[:, None])
    return (pairs + _log_weights(len(z), count, pairs)).logsumexp(1)


def active_units(means: torch.Tensor) -> tuple[int, torch.Tensor]:
    """How many codes have a posterior mean that varies over images, and all variances [Z].

    Active is Var_x E[z|x] > 0.01 (Burda et al. 2016), over the posterior means [N, Z] of a set,
    divided by N - 1. Raises VaenbError for fewer than two images, and means that are not finite.
    """
    means = torch.as_tensor(means)
    if means.ndim != 2 or len(means) < 2:
        raise VaenbError(f"active units need means [images >= 2, codes], got {tuple(means.shape)}")
    if not means.isfinite().all():
        raise VaenbError("some posterior means are not finite: the model has diverged, train it "
                         "with a smaller learning rate")
    variances = means.detach().double().var(0)
    return int((variances > 0.01).sum()), variances
