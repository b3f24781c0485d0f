"""The networks of Bozkurt et al. (2021): MLPs and CNNs of one to three layers a side."""

import math

from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.conv import VAE


def _check(image, depth, width, latents):
    at_least_one(depth=depth, width=width, latents=latents)
    channels, height, wide = image
    at_least_one(image_channels=channels, image_height=height, image_width=wide)


def mlp_vae(
    likelihood: nn.Module,
    image: tuple[int, int, int],
    depth: int,
    latents: int = 10,
    width: int = 512,
) -> VAE:
    """A VAE of fully connected ReLU layers: ``depth`` hidden layers of ``width`` a side.

    ``image`` is (channels, height, width). Section 4.3; for 3x32x32 images and ten codes it has
    3165204, 3690516 or 4215828 parameters with one, two or three layers, for 1x28x28 820004,
    1345316 or 1870628. Raises VaenbError for a depth, width or code below 1.
    """
    _check(image, depth, width, latents)
    outputs = (likelihood.channels(image[0]), *image[1:])
    encoder = nn.Sequential(nn.Flatten(), *_layers(math.prod(image), width, depth),
                            nn.Linear(width, 2 * latents))  # fmt: skip
    decoder = nn.Sequential(*_layers(latents, width, depth),
                            nn.Linear(width, math.prod(outputs)),
                            nn.Unflatten(1, outputs))  # fmt: skip
    return VAE(encoder, decoder, likelihood, latents)


def cnn_vae(
    likelihood: nn.Module,
    image: tuple[int, int, int],
    depth: int,
    latents: int = 10,
    width: int = 64,
) -> VAE:
    """A VAE of ``depth`` convolutions a side: kernel 4, stride 2, ReLU, then one linear layer.

    ``width`` channels in all layers (64 in section 4.3; padding 1 and no further linear layer are
    our reading). For 3x32x32 images it has 514135 parameters with one layer and 300375 with three.
    Raises VaenbError for a side that 2^depth does not divide, or a size below 1.
    """
    _check(image, depth, width, latents)
    channels, *sides = image
    if any(side % 2**depth for side in sides):
        raise VaenbError(
            f"images of {sides[0]}x{sides[1]} cannot be halved {depth} times: resize them, or "
            f"take fewer layers"
        )
    small = (width, *(side // 2**depth for side in sides))
    down, up = [], []
    for i in range(depth):
        down += [nn.Conv2d(width if i else channels, width, 4, 2, 1), nn.ReLU()]
        up += [nn.ReLU(), nn.ConvTranspose2d(width, width, 4, 2, 1)]
    up[-1] = nn.ConvTranspose2d(width, likelihood.channels(channels), 4, 2, 1)
    flat = math.prod(small)
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, 2 * latents))
    decoder = nn.Sequential(nn.Linear(latents, flat), nn.Unflatten(1, small), *up)
    return VAE(encoder, decoder, likelihood, latents)


def _layers(inputs, width, depth):
    found = []
    for i in range(depth):
        found += [nn.Linear(width if i else inputs, width), nn.ReLU()]
    return found
