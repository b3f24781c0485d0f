"""Posteriors and priors over latent codes, and the rate between them."""

import math
from typing import NamedTuple

import torch

LOG_2PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A diagonal Gaussian over codes; ``mean`` and ``log_std`` have shape [..., Z]."""

    mean: torch.Tensor
    log_std: torch.Tensor

    def sample(self, rng) -> torch.Tensor:
        """One reparameterised draw [..., Z]; the noise comes from ``rng`` (`vaenb.train.Rng`)."""
        return self.mean + self.log_std.exp() * rng.normal_like(self.mean)

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


def standard_normal_log_prob(z: torch.Tensor) -> torch.Tensor:
    """Log density of codes ``z`` [..., Z] under N(0, I) in nats, summed over Z: shape [...]."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)
