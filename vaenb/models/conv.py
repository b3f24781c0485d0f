"""The small convolutional networks: the VAE of Rybkin et al. (appendix B) and a classifier."""

from typing import NamedTuple

import torch
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.latents import Gaussian, standard_normal_log_prob


class Nats(NamedTuple):
    """Where the nats of a batch went, and what figures need.

    ``distortion`` [B] is -log p(x|z), ``rates`` holds one [B] for each layer of latents; ``out``
    is the decoder's raw output, ``z`` [B, Z] the code that was drawn from ``posterior`` (for
    several layers both are tuples in the order of ``rates``).
    """

    distortion: torch.Tensor
    rates: tuple[torch.Tensor, ...]
    out: torch.Tensor
    z: torch.Tensor | tuple[torch.Tensor, ...]
    posterior: Gaussian | tuple[Gaussian, ...]

    @property
    def rate(self) -> torch.Tensor:
        """All layers together: [B]."""
        return sum(self.rates)


def check_images(x: torch.Tensor, side: int):
    """Raises VaenbError for images ``x`` that are not [B, 1, side, side]."""
    if x.shape[1:] != (1, side, side):
        raise VaenbError(
            f"images are {'x'.join(map(str, x.shape[1:]))} and this net was made for "
            f"1x{side}x{side}: resize them, or make another net"
        )


class VAE(nn.Module):
    """A VAE with a diagonal Gaussian posterior, the prior N(0, I) and any likelihood.

    ``encoder`` maps images [B, C, H, W] in [0, 1] to [B, 2Z] (means, then log variances);
    ``decoder`` maps codes [B, Z] to the raw numbers [B, k, H, W] that ``likelihood`` reads.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, likelihood: nn.Module, latents: int
    ):
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latents = latents

    def posterior(self, x: torch.Tensor) -> Gaussian:
        """q(z|x) for images [B, C, H, W]."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return Gaussian(mean, 0.5 * log_variance)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Raw decoder output [B, k, H, W] for codes [B, Z]."""
        return self.decoder(z)

    def code(self, x: torch.Tensor) -> torch.Tensor:
        """z [B, Z] of images: the mean of q(z|x)."""
        return self.posterior(x).mean

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z) of codes [..., Z] in nats: [...]."""
        return standard_normal_log_prob(z)

    def prior_code(self, count: int, rng) -> torch.Tensor:
        """z [count, Z] drawn from the prior."""
        like = next(self.parameters())
        return rng.normal(count, self.latents, dtype=like.dtype)

    def log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log p(x|z) in nats, summed over pixels: [B] for z [B, Z], [B, S] for z [B, S, Z]."""
        if z.ndim == 2:
            return self.likelihood.log_prob(self.decode(z), x)
        repeated = x.repeat_interleave(z.shape[1], 0)
        return self.likelihood.log_prob(self.decode(z.flatten(0, 1)), repeated).view(z.shape[:2])

    def log_joint(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log p(x|z) + log p(z) in nats, summed over dimensions: [B] or [B, S], as `log_prob`."""
        return self.log_prob(x, z) + self.log_prior(z)

    def _out(self, x, z):
        return self.decode(z)

    def forward(self, x: torch.Tensor, rng) -> Nats:
        """Distortion (one draw of z) and rate (closed form) of images [B, C, H, W]."""
        q = self.posterior(x)
        z = q.sample(rng)
        out = self._out(x, z)
        return Nats(-self.likelihood.log_prob(out, x), (q.rate(),), out, z, q)


def small_vae(
    likelihood: nn.Module, image: tuple[int, int, int], latents: int = 20, width: int = 32
) -> VAE:
    """The small VAE of Rybkin et al.: three convolutions and a linear layer each way.

    ``image`` is (channels, side, side) with a side that four divides; ``width`` is the number of
    channels of the first layer (32 in the paper; 64 and 128 follow). Without a learned variance
    it has 992427 parameters for 3x28x28 and 990249 for 1x28x28. Layer sizes are those of the
    authors' code.

    Raises VaenbError for a side that the two strides do not divide, or an empty code.
    """
    c, side, other = image
    at_least_one(image_channels=c, image_side=side, latents=latents, width=width)
    if side != other or side % 4:
        raise VaenbError(
            f"images are {side}x{other} and must be square with a side that 4 divides: resize them"
        )
    flat = 4 * width * (side // 4) ** 2
    encoder = nn.Sequential(
        nn.Conv2d(c, width, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 5, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 2 * latents),
    )
    decoder = nn.Sequential(
        nn.Linear(latents, flat),
        nn.Unflatten(1, (4 * width, side // 4, side // 4)),
        nn.ConvTranspose2d(4 * width, 2 * width, 6, 2, 2),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 6, 2, 2),
        nn.ReLU(),
        nn.ConvTranspose2d(width, likelihood.channels(c), 5, 1, 2),
    )
    vae = VAE(encoder, decoder, likelihood, latents)
    return vae.to(memory_format=torch.channels_last)  # a quarter faster on a CPU, the same numbers


class Classifier(nn.Module):
    """A small convolutional classifier whose last hidden layer serves as Frechet features.

    Images [B, C, H, W] in [0, 1] of side 28 or 32, to logits [B, classes]; ``features`` gives
    [B, 64].
    """

    def __init__(self, channels: int, classes: int = 10, features: int = 64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 1, 1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, 1, 1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, 1, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, features),
            nn.ReLU(),
        )
        self.head = nn.Linear(features, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The last hidden layer, [B, features], after its ReLU."""
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))
