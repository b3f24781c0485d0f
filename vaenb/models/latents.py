"""Posteriors and priors over latent codes, and the rate between them."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

LOG_2PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A diagonal Gaussian over codes; ``mean`` and ``log_std`` have shape [..., Z]."""

    mean: torch.Tensor
    log_std: torch.Tensor

    def sample(self, rng) -> torch.Tensor:
        """One reparameterised draw [..., Z]; the noise comes from ``rng`` (`vaenb.train.Rng`)."""
        return self.mean + self.log_std.exp() * rng.normal_like(self.mean)

    def place(self, u: torch.Tensor) -> torch.Tensor:
        """The codes [B, S, Z] of noise ``u`` [B, S, Z], for a mean [B, Z]."""
        return self.mean[:, None] + self.log_std.exp()[:, None] * u

    @property
    def log_volume(self) -> torch.Tensor:
        """log |dz / du|, by which the density at a code is below that of its noise: [...]."""
        return self.log_std.sum(-1)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log density of codes ``z`` [..., Z] in nats, summed over Z: shape [...]."""
        u = (z - self.mean) * (-self.log_std).exp()
        return -(0.5 * u.square() + self.log_std + 0.5 * LOG_2PI).sum(-1)

    def rate(self) -> torch.Tensor:
        """KL(q || N(0, I)) in nats, summed over Z: shape [...] (Kingma & Welling 2014, App. B)."""
        return 0.5 * (self.mean.square() + (2 * self.log_std).exp() - 1 - 2 * self.log_std).sum(-1)

    def kl(self, prior: "Gaussian") -> torch.Tensor:
        """KL(q || prior) to another diagonal Gaussian in nats, summed over Z: shape [...]."""
        narrow = (-prior.log_std).exp()
        moved = Gaussian((self.mean - prior.mean) * narrow, self.log_std - prior.log_std)
        return moved.rate()


class FullGaussian(NamedTuple):
    """A Gaussian N(m, L L^T) over codes: ``mean`` m [..., Z], ``factor`` L [..., Z, Z].

    L is lower triangular with a diagonal above 0.
    """

    mean: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def of(cls, raw: torch.Tensor, latents: int) -> "FullGaussian":
        """From what a network puts out, [..., Z + Z (Z + 1) / 2]: the mean, then L.

        The diagonal of L is softplus + 1e-4 (our choice: Seybold et al. 2019 do not say).
        """
        mean, packed = raw[..., :latents], raw[..., latents:]
        square = torch.cat([packed[..., latents:], packed.flip(-1)], -1)  # below: each once
        square = square.unflatten(-1, (latents, latents))
        diagonal = F.softplus(square.diagonal(dim1=-2, dim2=-1)) + 1e-4
        return cls(mean, square.tril(-1) + torch.diag_embed(diagonal))

    def sample(self, rng) -> torch.Tensor:
        """One reparameterised draw [..., Z]; the noise comes from ``rng`` (`vaenb.train.Rng`)."""
        return self.mean + (self.factor @ rng.normal_like(self.mean)[..., None])[..., 0]

    def place(self, u: torch.Tensor) -> torch.Tensor:
        """The codes [B, S, Z] of noise ``u`` [B, S, Z], for a mean [B, Z]."""
        return self.mean[:, None] + u @ self.factor.mT

    @property
    def log_volume(self) -> torch.Tensor:
        """log |dz / du|, by which the density at a code is below that of its noise: [...]."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log density of codes ``z`` [..., Z] in nats, summed over Z: shape [...]."""
        shift = (z - self.mean)[..., None]
        u = torch.linalg.solve_triangular(self.factor, shift, upper=False)
        return standard_normal_log_prob(u[..., 0]) - self.log_volume

    def rate(self) -> torch.Tensor:
        """KL(q || N(0, I)) in nats, summed over Z: shape [...]."""
        moments = self.mean.square().sum(-1) + self.factor.square().sum((-2, -1))
        return 0.5 * (moments - self.mean.shape[-1]) - self.log_volume

    def marginals(self) -> Gaussian:
        """The density of each code by itself."""
        return Gaussian(self.mean, 0.5 * self.factor.square().sum(-1).log())


def standard_normal_log_prob(z: torch.Tensor) -> torch.Tensor:
    """Log density of codes ``z`` [..., Z] under N(0, I) in nats, summed over Z: shape [...]."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)
