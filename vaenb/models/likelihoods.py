"""Decoding distributions p(x | z): how many nats a reconstruction leaves unsaid.

A decoder network puts out raw numbers and does not know what they mean; one of these modules reads
them. What all of them do stands at `Likelihood`.

Numbers in brackets are equations of Rybkin, Daniilidis & Levine, *Simple and Effective VAE
Training with Calibrated Decoders*. Everything is summed over dimensions, never averaged (their
section 3.1).
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError
from vaenb.models.latents import LOG_2PI

MIN_LOG_SIGMA = -6.0  # section 3.1: sigma stays above half a grey level


def soft_clip(log_sigma: torch.Tensor, low: float = MIN_LOG_SIGMA) -> torch.Tensor:
    """A smooth lower bound: ``low + softplus(log_sigma - low)`` (section 3.1)."""
    return low + F.softplus(log_sigma - low)


def _squared_error(mean, x):
    return (x - mean).square().flatten(1).sum(1)


def _gaussian(mean, x, log_sigma):
    """Log density [B] under N(mean, exp(2 log_sigma)), one log sigma for all or one an image."""
    dims = x[0].numel()
    error = _squared_error(mean, x)
    return -0.5 * error * (-2 * log_sigma).exp() - dims * (log_sigma + 0.5 * LOG_2PI)


class Likelihood(nn.Module, ABC):
    """What reads a decoder's output ``out`` [B, k * C, H, W] as a distribution over images.

    ``discrete``: log_prob is a mass over the 256 grey values (else a density on [0, 1]; the two
    differ by about D log 255 nats and are not comparable as they stand). ``proper``: log_prob is
    a likelihood (False: a score that must not be printed as one).
    """

    discrete, proper = False, True

    @abstractmethod
    def channels(self, c: int) -> int:
        """How many channels ``out`` needs for images of ``c`` channels: k * c."""

    @abstractmethod
    def log_prob(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Nats for images ``x`` [B, C, H, W] in [0, 1], summed over dimensions: [B]."""

    @abstractmethod
    def mean(self, out: torch.Tensor) -> torch.Tensor:
        """The distribution's mean: images [B, C, H, W] in [0, 1].

        Of a discretised Gaussian or logistic, and of a mixture of these, the centre: their end
        bins reach to infinity, so a wide one near black or white has its mean further inside.
        """

    @abstractmethod
    def sample(self, out: torch.Tensor, rng) -> torch.Tensor:
        """One draw for each output, images [B, C, H, W]; the noise is `vaenb.train.Rng`'s.

        Draws from a density may leave [0, 1].
        """


class Pixelwise(Likelihood):
    """What the decoders with one output a value share: the mean is the sigmoid of the output."""

    def channels(self, c):
        return c

    def mean(self, out):
        return out.sigmoid()

    @property
    def variance(self):
        """sigma^2, for those with one log sigma (AttributeError for the others)."""
        return (2 * self.log_sigma).exp()

    def sample(self, out, rng):
        return out.sigmoid() + self.log_sigma.exp() * rng.normal_like(out)


class Bernoulli(Pixelwise):
    """Cross-entropy per value; grey values count as probabilities.

    A likelihood only on binary images; on grey ones a score (``proper`` is False).
    """

    discrete, proper = True, False

    def log_prob(self, out, x):
        return (x * out - F.softplus(out)).flatten(1).sum(1)

    def sample(self, out, rng):
        return rng.bernoulli(out.sigmoid())


class ConstantGaussian(Pixelwise):
    """Gaussian of fixed variance (Eq. 4): sigma^2 = beta / 2.

    With it, SSE + beta KL has the same optimum as distortion + rate in nats; the objective printed
    as Eq. 4 (SSE / 2 + beta KL) has it at sigma^2 = beta. Table 1 follows the first reading.
    """

    def __init__(self, beta: float):
        super().__init__()
        if not beta > 0:
            raise VaenbError(
                f"beta is {beta} and must be above 0: it is twice the decoder's variance"
            )
        self.register_buffer("log_sigma", torch.tensor(0.5 * math.log(beta / 2)))

    def log_prob(self, out, x):
        return _gaussian(out.sigmoid(), x, self.log_sigma)


class UnitGaussian(ConstantGaussian):
    """Gaussian of variance 1, the "Gaussian VAE" of the tables (section 3.1)."""

    def __init__(self):
        super().__init__(beta=2.0)


class LinearGaussian(Pixelwise):
    """Gaussian of fixed ``sigma`` whose mean is the output itself, not its sigmoid.

    As in Xiao & Bamler (2023) with sigma 0.71; its mean may leave [0, 1].
    """

    def __init__(self, sigma: float):
        super().__init__()
        if not sigma > 0:
            raise VaenbError(f"sigma is {sigma} and must be above 0")
        self.register_buffer("log_sigma", torch.tensor(math.log(sigma)))

    def log_prob(self, out, x):
        return _gaussian(out, x, self.log_sigma)

    def mean(self, out):
        return out

    def sample(self, out, rng):
        return out + self.log_sigma.exp() * rng.normal_like(out)


class SharedGaussian(Pixelwise):
    """Gaussian of one learned variance for all values (Eq. 2 and 3): the shared sigma-VAE.

    ``rate`` multiplies the learning rate of log sigma under Adam, by learning log sigma / rate.
    """

    def __init__(self, rate: float = 1.0):
        super().__init__()
        self.rate = rate
        self.scaled_log_sigma = nn.Parameter(torch.zeros(()))

    def extra_repr(self):  # part of a checkpoint's name
        return "" if self.rate == 1 else f"rate={self.rate}"

    @property
    def log_sigma(self):
        return self.rate * self.scaled_log_sigma

    def log_prob(self, out, x):
        return _gaussian(out.sigmoid(), x, self.log_sigma)


class OptimalGaussian(Pixelwise):
    """Gaussian whose variance is the mean squared error (Eq. 5): the optimal sigma-VAE.

    In training the variance of a batch is its own error; in evaluation it is the running average
    of the training batches (weight 0.01 a batch, corrected for its start). The gradient is the
    same with and without a stop through sigma*, since sigma* is a stationary point.
    """

    decay = 0.99

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @property
    def log_sigma(self):
        """Log of the running average's root, for evaluation; 0 before the first training step."""
        seen = self.weight > 0
        variance = torch.where(seen, self.average / torch.where(seen, self.weight, 1.0), 1.0)
        return 0.5 * variance.log()

    def log_prob(self, out, x):
        mean = out.sigmoid()
        if not self.training:
            return _gaussian(mean, x, self.log_sigma)
        variance = (x - mean).square().mean()
        with torch.no_grad():
            self.average.mul_(self.decay).add_((1 - self.decay) * variance)
            self.weight.mul_(self.decay).add_(1 - self.decay)
        return _gaussian(mean, x, 0.5 * variance.log())


class PerImageGaussian(Pixelwise):
    """Gaussian whose variance is each image's own mean squared error (section 4, "per-image").

    The variance needs the image itself, so this is no likelihood: ``proper`` is False.
    """

    proper = False

    def log_prob(self, out, x):
        mean = out.sigmoid()
        variance = (x - mean).square().flatten(1).mean(1)
        return _gaussian(mean, x, 0.5 * variance.log())

    def sample(self, out, rng):
        raise VaenbError(
            "a per-image sigma is not known before the image: take the decoder's mean instead"
        )


class PerPixelGaussian(Likelihood):
    """Gaussian with a variance for each value from the network (Eq. 1), softly clipped.

    ``clip=False`` leaves log sigma unbounded below (claim C10: it may diverge).
    """

    def __init__(self, clip: bool = True):
        super().__init__()
        self.clip = clip

    def extra_repr(self):  # part of a checkpoint's name
        return "" if self.clip else "clip=False"

    def channels(self, c):
        return 2 * c

    def mean(self, out):
        return out.chunk(2, 1)[0].sigmoid()

    def log_sigma(self, out):
        raw = out.chunk(2, 1)[1]
        return soft_clip(raw) if self.clip else raw

    def log_prob(self, out, x):
        log_sigma = self.log_sigma(out)
        u = (x - self.mean(out)) * (-log_sigma).exp()
        return -(0.5 * u.square() + log_sigma + 0.5 * LOG_2PI).flatten(1).sum(1)

    def sample(self, out, rng):
        mean = self.mean(out)
        return mean + self.log_sigma(out).exp() * rng.normal_like(mean)


class StudentT(Pixelwise):
    """Student-t with one learned scale and one learned number of degrees of freedom.

    The paper gives neither; shared scalars are its own remedy for the Gaussian (section 3.1).
    The degrees of freedom are 2 + exp(.), so that the variance exists, and start at 5.
    """

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.log_extra = nn.Parameter(torch.tensor(math.log(3.0)))

    @property
    def degrees(self):
        return 2 + self.log_extra.exp()

    def log_prob(self, out, x):
        nu, dims = self.degrees, x[0].numel()
        u = (x - out.sigmoid()) * (-self.log_scale).exp()
        wide = nu.double()  # two large numbers cancel: in float32 0.3 nats an image at nu = 1000
        gammas = torch.lgamma((wide + 1) / 2) - torch.lgamma(wide / 2)
        constant = gammas - 0.5 * (wide * math.pi).log() - self.log_scale
        return dims * constant - (nu + 1) / 2 * (u.square() / nu).log1p().flatten(1).sum(1)

    def sample(self, out, rng):
        nu = self.degrees  # Bailey (1994): a polar form of Student's t from two uniforms
        radius = (nu * (rng.uniform(*out.shape, dtype=out.dtype) ** (-2 / nu) - 1)).sqrt()
        angle = 2 * math.pi * rng.uniform(*out.shape, dtype=out.dtype)
        return out.sigmoid() + self.log_scale.exp() * radius * angle.cos()
