"""The two-layer models of Xiao & Bamler (2023): a top code z2, a lower code z1, and the image.

p(z2) = N(0, I), p(z1|z2) a diagonal Gaussian, and x depends on z1 alone. Inference goes from the
top down: q(z2|x), then q(z1|z2, x). The text's tables are garbled in places; these layers have
exactly the totals that they print.
"""

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.conv import Nats
from vaenb.models.latents import Gaussian


def _log_softplus(x: torch.Tensor) -> torch.Tensor:
    """log of softplus(x), finite however small softplus(x) is."""
    return torch.where(x > -30, F.softplus(x.clamp(min=-30)).log(), x)


class _Heads(nn.Module):
    """Two layers of one form: the mean, and the number whose softplus is the scale, both flat."""

    def __init__(self, make):
        super().__init__()
        self.mean, self.scale = make(), make()

    def forward(self, h):
        return self.mean(h).flatten(1), _log_softplus(self.scale(h).flatten(1))


class Hierarchy(nn.Module):
    """A VAE of two layers of codes, z2 [B, ``top``] above z1 [B, ``latents``].

    ``layers`` names them, the top first: ``rates``, ``z`` and ``posterior`` of its `Nats` are in
    that order. ``lower`` gives q(z1|z2, x) from x, the features of q(z2|x), z2 and p(z1|z2).
    """

    layers = ("z2", "z1")

    def __init__(self, likelihood, image, top, width, last, lower):
        super().__init__()
        self.likelihood, self.top, self.latents = likelihood, top, 16 * width
        self.stem = _stem(image[0], width)
        self.reduce = nn.Sequential(nn.Conv2d(width, width, *last), nn.ReLU(), nn.Flatten())
        self.heads = _Heads(lambda: nn.Linear(16 * width, top))
        self.lower = lower
        self.prior_body = nn.Sequential(nn.Linear(top, 8 * width), nn.ReLU())
        self.prior_heads = _Heads(lambda: nn.Linear(8 * width, 16 * width))
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (width, 4, 4)),
            nn.ConvTranspose2d(width, width, *last), nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(width, likelihood.channels(image[0]), 4, 2, 1))  # fmt: skip

    def posterior(self, x: torch.Tensor) -> Gaussian:
        """q(z2|x) for images [B, C, H, W]."""
        return Gaussian(*self.heads(self.reduce(self.stem(x))))

    def prior(self, z2: torch.Tensor) -> Gaussian:
        """p(z1|z2) for codes [B, top]."""
        return Gaussian(*self.prior_heads(self.prior_body(z2)))

    def decode(self, z1: torch.Tensor) -> torch.Tensor:
        """Raw decoder output [B, k, H, W] for codes [B, latents]."""
        return self.decoder(z1)

    def _infer(self, x, rng):
        features = self.stem(x)
        q2 = Gaussian(*self.heads(self.reduce(features)))
        z2 = q2.mean if rng is None else q2.sample(rng)
        p1 = self.prior(z2)
        q1 = self.lower(x, features, z2, p1)
        return (z2, q1.mean if rng is None else q1.sample(rng)), (q2, q1), p1

    def code(self, x: torch.Tensor) -> torch.Tensor:
        """z1 [B, latents] of images, by the modes of both layers."""
        return self._infer(x, None)[0][1]

    def prior_code(self, count: int, rng) -> torch.Tensor:
        """z1 [count, latents] drawn from the prior, by way of z2."""
        like = self.prior_body[0].weight
        return self.prior(rng.normal(count, self.top, dtype=like.dtype)).sample(rng)

    def forward(self, x: torch.Tensor, rng) -> Nats:
        """Distortion (one draw of z2 and z1) and both rates, in closed form given z2 (Eq. 7)."""
        z, (q2, q1), p1 = self._infer(x, rng)
        out = self.decode(z[1])
        rates = q2.rate(), q1.kl(p1)
        return Nats(-self.likelihood.log_prob(out, x), rates, out, z, (q2, q1))


class _Free(nn.Module):
    """q(z1|z2, x) of the generalised hierarchy: a network of its own of x and z2 (Table 2)."""

    def __init__(self, channels, top, width, last):
        super().__init__()
        self.of_x = _stem(channels, width)
        self.of_z2 = nn.Sequential(
            nn.Linear(top, 16 * width), nn.ReLU(), nn.Unflatten(1, (width, 4, 4)),
            nn.ConvTranspose2d(width, width, *last), nn.ReLU())  # fmt: skip
        self.joint = nn.Sequential(nn.Conv2d(2 * width, width, *last), nn.ReLU())
        self.heads = _Heads(lambda: nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x, features, z2, prior):
        both = torch.cat([self.of_z2(z2), self.of_x(x)], 1)
        return Gaussian(*self.heads(self.joint(both)))


class _PrecisionWeighted(nn.Module):
    """q(z1|z2, x) of the ladder: what x says of z1 times p(z1|z2), normalised (Table 3).

    Both are Gaussian: precisions add, and means are weighted by them. Here the softplus gives
    the variance of what x says, not its root.
    """

    def __init__(self, width, last):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, *last), nn.ReLU())
        self.heads = _Heads(lambda: nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x, features, z2, prior):
        mean, log_variance = self.heads(self.body(features))
        share = torch.sigmoid(2 * prior.log_std - log_variance)  # of the precision, due to x
        log_std = 0.5 * (log_variance + F.logsigmoid(2 * prior.log_std - log_variance))
        return Gaussian(prior.mean + share * (mean - prior.mean), log_std)


def _stem(channels, width):
    return nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(),
                         nn.Conv2d(width, width, 4, 2, 1), nn.ReLU())  # fmt: skip


def _last(image, top, width):
    """Kernel, stride, padding of the layer between a quarter of the side and 4x4."""
    side, other = image[1:]
    if side != other or side not in (28, 32):
        raise VaenbError(f"images are {side}x{other} and must be 28x28 or 32x32: resize them")
    at_least_one(top=top, width=width)
    return (4, 2, 1) if side == 32 else (4, 1, 0)


def ghvae(
    likelihood: nn.Module, image: tuple[int, int, int], top: int = 32, width: int = 32
) -> Hierarchy:
    """The generalised hierarchical VAE (Table 2), whose q(z1|z2, x) is a network of its own.

    ``image`` is (channels, side, side), the side 28 or 32; ``top`` the size of z2; z1 has 16
    ``width``. It has 475811 parameters for 3x32x32 images, and 122713 for 1x28x28 with top 20
    and width 16. Raises VaenbError for other sides and sizes below 1.
    """
    last = _last(image, top, width)
    return Hierarchy(likelihood, image, top, width, last, _Free(image[0], top, width, last))


def lvae(
    likelihood: nn.Module, image: tuple[int, int, int], top: int = 32, width: int = 32
) -> Hierarchy:
    """The ladder VAE (Table 3), whose q(z1|z2, x) is weighted with p(z1|z2) by precision.

    As `ghvae`; 408131 parameters for 3x32x32 images.
    """
    last = _last(image, top, width)
    return Hierarchy(likelihood, image, top, width, last, _PrecisionWeighted(width, last))
