"""The VampPrior: an even mixture of the posteriors of learned images (Tomczak & Welling 2018)."""

import math

import torch
from torch import nn

from vaenb.errors import at_least_one
from vaenb.models.latents import FullGaussian, standard_normal_log_prob


class PseudoInputs(nn.Module):
    """K learned images u [K, 1, side, side], clipped to [0, 1]; the prior is 1/K sum_k q(z|u_k).

    They start at N(0.05, 0.01^2) a pixel, as in the public code of Tomczak & Welling. 219520
    parameters for 280 images of 28x28. Raises VaenbError for fewer than one.
    """

    def __init__(self, count: int, side: int):
        super().__init__()
        at_least_one(pseudo_inputs=count)
        self.raw = nn.Parameter(0.05 + 0.01 * torch.randn(count, 1, side, side))

    def forward(self) -> torch.Tensor:
        return self.raw.clamp(0, 1)


def log_mixture(z: torch.Tensor, parts: FullGaussian) -> torch.Tensor:
    """Log density of codes ``z`` [..., Z] in nats under the even mixture of ``parts`` [K]: [...].

    A part too far from a code for its distance to be a number weighs nothing, in the value and in
    the gradient. That is common with many latents: to solve with a triangular matrix can grow by
    a factor at each of its rows. By two batched solves, which hold K x Z numbers a code.
    """
    count, latents = parts.mean.shape
    shift = z.reshape(-1, latents).T - parts.mean[:, :, None]  # [K, Z, codes]
    rough = torch.linalg.solve_triangular(parts.factor.detach(), shift.detach(), upper=False)
    far = ~rough.square().sum(1).isfinite()  # [K, codes]
    # before the solve, not after: the gradient of an infinite u is not a number, even times 0
    shift = shift.masked_fill(far[:, None], 0.0)
    u = torch.linalg.solve_triangular(parts.factor, shift, upper=False)
    log_parts = standard_normal_log_prob(u.mT) - parts.log_volume[:, None]
    log_parts = log_parts.masked_fill(far, -torch.inf)
    return (log_parts.logsumexp(0) - math.log(count)).view(z.shape[:-1])


def sample_mixture(count: int, rng, parts: FullGaussian) -> torch.Tensor:
    """Codes [count, Z] drawn from the even mixture of ``parts`` [K]."""
    k = (rng.uniform(count, dtype=parts.mean.dtype) * len(parts.mean)).long()
    return FullGaussian(parts.mean[k], parts.factor[k]).sample(rng)
