"""Discrete decoding distributions: a mass for each of the 256 grey values.

The interface is that of `vaenb.models.likelihoods`. Sections are those of Rybkin, Daniilidis &
Levine, *Simple and Effective VAE Training with Calibrated Decoders*.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import at_least_one
from vaenb.models.likelihoods import Likelihood, Pixelwise, soft_clip


def grey_levels(x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as their 256 grey values, int64."""
    return (x * 255).round().long()


class Categorical(Likelihood):
    """A free distribution over the 256 grey values of each pixel and channel (section 3.2)."""

    discrete = True

    def channels(self, c):
        return 256 * c

    def _logits(self, out):
        return out.unflatten(1, (-1, 256))  # [B, C, 256, H, W]

    def log_prob(self, out, x):
        logits = out.movedim(1, -1).reshape(-1, 256)  # a view of channels-last output, and fast
        levels = grey_levels(x).movedim(1, -1).reshape(-1)
        return -F.cross_entropy(logits, levels, reduction="none").view(len(x), -1).sum(1)

    def mean(self, out):
        levels = torch.arange(256, device=out.device, dtype=out.dtype) / 255
        return torch.einsum("bclhw,l->bchw", self._logits(out).softmax(2), levels)

    def sample(self, out, rng):
        cumulative = self._logits(out).softmax(2).cumsum(2)
        u = rng.uniform(*cumulative[:, :, 0].shape, dtype=out.dtype).unsqueeze(2)
        return (cumulative < u).sum(2).clamp(max=255).to(out.dtype) / 255


class BitwiseCategorical(Likelihood):
    """Eight independent bits for each pixel and channel (appendix C); bit 0 is the lowest."""

    discrete = True

    def channels(self, c):
        return 8 * c

    def _logits(self, out):
        return out.unflatten(1, (-1, 8))  # [B, C, 8, H, W]

    def _weights(self, out):
        return 2 ** torch.arange(8, device=out.device).view(8, 1, 1)

    def log_prob(self, out, x):
        logits = self._logits(out)
        bits = (grey_levels(x).unsqueeze(2) & self._weights(out)).ne(0).to(out.dtype)
        return (bits * logits - F.softplus(logits)).flatten(1).sum(1)

    def mean(self, out):
        return (self._logits(out).sigmoid() * self._weights(out)).sum(2) / 255

    def sample(self, out, rng):
        return (rng.bernoulli(self._logits(out).sigmoid()) * self._weights(out)).sum(2) / 255


def _edges(x):
    """The bin of each grey value: half a level to each side, and which bins are the end ones."""
    level = grey_levels(x).to(x.dtype)
    return (level - 0.5) / 255, (level + 0.5) / 255, level == 0, level == 255


def _log_logistic_mass(x, mean, log_scale):
    """Log mass of the bins of ``x`` under a logistic; the end bins reach to infinity.

    Exact: S(b) - S(a) = S(b) S(-a) (1 - exp(a - b)) for the logistic function S.
    """
    low, high, first, last = _edges(x)
    a, b = ((edge - mean) * (-log_scale).exp() for edge in (low, high))
    upper = F.logsigmoid(b).masked_fill(last, 0.0)
    lower = F.logsigmoid(-a).masked_fill(first, 0.0)
    width = (-log_scale).exp() / 255
    inner = torch.log(-torch.expm1(-width)).expand_as(a).masked_fill(first | last, 0.0)
    return upper + lower + inner


class LogisticMixture(Likelihood):
    """A mixture of discretised logistics, by default ten, for each pixel and channel (appendix C).

    PixelCNN++ (Salimans et al. 2017) without any coupling of the channels: weights, centres and
    scales are each channel's own. (There the channels share their weights too; then a narrow
    network is already far below the masses that the paper prints, so it cannot have done so.) As
    there, centres and log scales are those of [-1, 1], the centres linear, the log scales above
    -7. The paper does not give the number of components; Seybold et al. (2019) take five. Raises
    VaenbError for fewer than one.
    """

    discrete = True
    LOWEST = -7.0  # of the log scales, on [-1, 1]

    def __init__(self, components: int = 10):
        super().__init__()
        at_least_one(components=components)
        self.components = components

    def extra_repr(self):  # part of a checkpoint's name
        return f"components={self.components}, linear"

    def channels(self, c):
        return 3 * self.components * c

    def _split(self, out):
        weights, centre, log_scale = out.unflatten(1, (3, -1, self.components)).unbind(1)
        log_scale = soft_clip(log_scale, self.LOWEST) - math.log(2)
        return weights.log_softmax(2), (centre + 1) / 2, log_scale  # [B, C, K, H, W]

    def log_prob(self, out, x):
        log_weight, centre, log_scale = self._split(out)
        mass = _log_logistic_mass(x.unsqueeze(2), centre, log_scale)
        return (log_weight + mass).logsumexp(2).flatten(1).sum(1)

    def mean(self, out):
        log_weight, centre, _ = self._split(out)
        return (log_weight.exp() * centre.clamp(0, 1)).sum(2)

    def sample(self, out, rng):
        log_weight, centre, log_scale = self._split(out)
        cumulative = log_weight.exp().cumsum(2)
        u = rng.uniform(*cumulative[:, :, :1].shape, dtype=out.dtype)
        chosen = (cumulative < u).sum(2, keepdim=True).clamp(max=self.components - 1)
        centre, log_scale = (v.gather(2, chosen).squeeze(2) for v in (centre, log_scale))
        u = rng.uniform(*centre.shape, dtype=out.dtype)
        return _to_grey(centre + log_scale.exp() * (u.log() - (-u).log1p()))


def _to_grey(x):
    return (x * 255).round().clamp(0, 255) / 255


class DiscretisedLogistic(Pixelwise):
    """A logistic with one learned scale, summed over the bins of the grey values (Table 5)."""

    discrete = True

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def log_prob(self, out, x):
        return _log_logistic_mass(x, out.sigmoid(), self.log_scale).flatten(1).sum(1)

    def sample(self, out, rng):
        u = rng.uniform(*out.shape, dtype=out.dtype)
        return _to_grey(out.sigmoid() + self.log_scale.exp() * (u.log() - (-u).log1p()))


def discretised_gaussian(mean, x, log_sigma):
    """Log mass [B] of grey values under N(mean, sigma^2) with 256 bins, the end ones to infinity.

    Worked on the side of the mean where both tails are small, so that no bin far away is lost.
    """
    low, high, first, last = _edges(x)
    a, b = ((edge - mean) * (-log_sigma).exp() for edge in (low, high))
    right = (a + b) > 0
    a, b = torch.where(right, -b, a), torch.where(right, -a, b)  # now a < b and a + b <= 0
    first, last = torch.where(right, last, first), torch.where(right, first, last)
    upper = torch.special.log_ndtr(b)
    gap = (torch.special.log_ndtr(a) - upper).clamp(max=-1e-6)
    inner = upper + torch.log(-torch.expm1(gap))
    edge = torch.special.log_ndtr(-a)  # the far end bin, when the mean lies beyond the interval
    return torch.where(first, upper, torch.where(last, edge, inner)).flatten(1).sum(1)


class DiscretisedGaussian(Pixelwise):
    """A Gaussian with one learned sigma, summed over the bins of the grey values (Table 5)."""

    discrete = True

    def __init__(self):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def log_prob(self, out, x):
        return discretised_gaussian(out.sigmoid(), x, self.log_sigma)

    def sample(self, out, rng):
        return _to_grey(out.sigmoid() + self.log_sigma.exp() * rng.normal_like(out))
