"""The image VAE of He et al. (2019): a residual encoder and a PixelCNN that also sees the code.

A masked PixelCNN gives each pixel of a binary image its logit from the pixels before it in raster
order (van den Oord et al. 2016), and, in the VAE, from z. Layer sizes are those of the authors'
code; the paper calls the decoder a "Gated PixelCNN", the code has no gates. No convolution has a
bias (batch norm follows each but the last), both linear layers have one.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.conv import VAE, check_images
from vaenb.models.likelihoods import Bernoulli

KERNELS = (7,) * 5 + (5,) * 4 + (3,) * 4  # of the thirteen layers
ROWS, ROWS_ON_GPU = 100, 4096  # codes decoded at once
MAPS = 4  # images of one channel that a code is unfolded into
Image = tuple[int, int, int]


def _conv(inputs, outputs, kernel=1, stride=1, padding=0):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)


def _norm_elu(width):
    return nn.BatchNorm2d(width), nn.ELU()


def _initialise(module):
    """Convolutions N(0, 2 / (k k outputs)), linear layers Xavier uniform with bias 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            fan = math.prod(m.kernel_size) * m.out_channels
            nn.init.normal_(m.weight, 0, math.sqrt(2 / fan))
        elif isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)


class _Residual(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside a 1x1 short cut; ELU of the sum."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, 3, 2, 1), *_norm_elu(outputs),
            _conv(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs))  # fmt: skip
        self.short = nn.Sequential(_conv(inputs, outputs, 1, 2), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.elu(self.body(x) + self.short(x))


def resnet_encoder(
    latents: int = 32, width: int = 64, hidden: int = 512, image: Image = (1, 28, 28)
) -> nn.Module:
    """Images [B, C, side, side] to [B, 2 latents]: three residual blocks, then one convolution
    over all that is left (4x4 of 28x28) to ``hidden`` channels, then a linear layer.

    752448 parameters as it stands. Raises VaenbError for images that are not square, and sizes
    below 1.
    """
    _sizes(image, latents=latents, width=width, hidden=hidden)
    left = math.ceil(image[1] / 8)
    encoder = nn.Sequential(
        *(_Residual(width if i else image[0], width) for i in range(3)),
        _conv(width, hidden, left), *_norm_elu(hidden),
        nn.Flatten(), nn.Linear(hidden, 2 * latents))  # fmt: skip
    _initialise(encoder)
    return encoder


class _Causal(nn.Conv2d):
    """A convolution whose kernel covers the pixels before the middle one in raster order, and
    with ``middle`` (type B, else A) that one too.

    The weights are the full square's; the rows below the middle, all masked, are never multiplied.
    """

    def __init__(self, inputs, outputs, kernel, middle):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        mask = torch.ones(kernel // 2 + 1, kernel)
        mask[-1, kernel // 2 + middle :] = 0
        self.middle = middle
        self.register_buffer("mask", mask)

    def extra_repr(self):  # part of a checkpoint's name
        return f"{super().extra_repr()}, mask={'B' if self.middle else 'A'}"

    def forward(self, x):
        half = self.padding[0]
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.weight[:, :, : half + 1] * self.mask)


class _Bottleneck(nn.Module):
    """1x1 down to ``narrow``, masked convolution, 1x1 up again; ELU of the sum with its input."""

    def __init__(self, width, narrow, kernel):
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, narrow), *_norm_elu(narrow),
            _Causal(narrow, narrow, kernel, True), *_norm_elu(narrow),
            _conv(narrow, width), nn.BatchNorm2d(width))  # fmt: skip

    def forward(self, h):
        return F.elu(self.body(h) + h)


class PixelCNN(nn.Module):
    """p(x|z), or p(x) without ``latents``, of binary images x [B, 1, side, side]; see `pixel_cnn`.

    The first layer's part for z, ``of_z``, is not masked: every pixel hears of all of z. In
    training mode batch norm looks at the whole batch, all pixels of it, so only in evaluation mode
    is log_prob a likelihood.
    """

    def __init__(self, side, latents, width, bottleneck, kernels):
        super().__init__()
        self.side, self.latents, self.likelihood = side, latents, Bernoulli()
        self.of_x = _Causal(1, width, kernels[0], False)
        self.of_z = latents and nn.Sequential(
            nn.Linear(latents, MAPS * side**2), nn.Unflatten(1, (MAPS, side, side)),
            _conv(MAPS, width, kernels[0], 1, kernels[0] // 2))  # fmt: skip
        self.first = nn.Sequential(*_norm_elu(width))
        self.layers = nn.ModuleList(_Bottleneck(width, bottleneck, k) for k in kernels[1:])
        self.skips = nn.ModuleList(_Bottleneck(width, bottleneck, k) for k in kernels[1:-1])
        _initialise(self)
        self.last = nn.Sequential(  # torch's own initialisation, as in the authors' code
            _conv(width, width), *_norm_elu(width), _conv(width, 1))  # fmt: skip

    def _logits(self, h):
        """From the sum of what the first layer makes of x and of z."""
        found = [self.first(h)]
        for layer, skip in zip(self.layers, [None, None, *self.skips[:-1]], strict=True):
            h = found[-1] if skip is None else found[-1] + skip(found[-3])
            found.append(layer(h))
        return self.last(found[-1] + self.skips[-1](found[-3]))

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        """The logit of each pixel given those before it (and z [B, Z]): [B, 1, side, side].

        Raises VaenbError for images of another shape, and a code that is missing or not asked for.
        """
        self._check(x, z)
        return self._logits(self.of_x(x) if z is None else self.of_x(x) + self.of_z(z))

    def log_prob(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        """log p(x|z) in nats, summed over pixels: [B] for z [B, Z], [B, S] for z [B, S, Z].

        Several codes an image are decoded 100 at a time on a CPU and 4096 on a GPU, which changes
        no value; what the first layer makes of x is computed once. Raises VaenbError as `forward`
        does, and in training mode for several codes.
        """
        if z is None or z.ndim == 2:
            return self.likelihood.log_prob(self(x, z), x)
        self._check(x, z)
        self._evaluating("several codes an image")
        rows = ROWS_ON_GPU if x.is_cuda else ROWS
        of_x, found = self.of_x(x), []
        for part in z.split(max(1, rows // len(x)), 1):
            shape = part.shape[:2]
            h = of_x[:, None] + self.of_z(part.flatten(0, 1)).unflatten(0, shape)
            out = self._logits(h.flatten(0, 1)).unflatten(0, shape)
            found.append((x[:, None] * out - F.softplus(out)).flatten(2).sum(2))
        return torch.cat(found, 1)

    @torch.no_grad()
    def sample(self, count: int, rng, z: torch.Tensor | None = None) -> torch.Tensor:
        """Binary images [count, 1, side, side] drawn from p(x|z), z [count, Z], or p(x).

        One pixel after another, exactly, each by a pass over the rows down to its own. Equal
        ``rng`` gives equal images. Raises VaenbError in training mode.
        """
        self._evaluating("sampling")
        side = self.side
        u = rng.uniform(count, 1, side, side, dtype=self.of_x.weight.dtype)
        x = torch.zeros_like(u)
        self._check(x, z)
        of_z = None if z is None else self.of_z(z)
        for i in range(side):
            above = x[:, :, : i + 1]  # a view: the pixels drawn below are seen at once
            for j in range(side):
                h = self.of_x(above)
                out = self._logits(h if z is None else h + of_z[:, :, : i + 1])
                x[:, :, i, j] = (u[:, :, i, j] < out[:, :, i, j].sigmoid()).to(x.dtype)
        return x

    def _check(self, x, z):
        check_images(x, self.side)
        if (z is None) != (not self.latents) or (z is not None and z.shape[-1] != self.latents):
            given = "none was given" if z is None else f"one of {z.shape[-1]} was given"
            raise VaenbError(f"this net takes codes of {self.latents} numbers and {given}")

    def _evaluating(self, what):
        if self.training:
            raise VaenbError(f"{what} needs batch norm's running averages: call model.eval()")


def pixel_cnn(
    latents: int = 0,
    width: int = 64,
    bottleneck: int = 32,
    kernels: tuple[int, ...] = KERNELS,
    image: Image = (1, 28, 28),
) -> PixelCNN:
    """The masked PixelCNN of thirteen layers, without a code the autoregressive baseline.

    A type A convolution, then residual bottlenecks with type B ones, ``kernels`` in all. From the
    fourth layer on the output of the layer three before joins the input, through a bottleneck of
    its own; so it does at the end. z enters by a linear layer to four maps beside the image.
    778368 parameters, and 894400 with 32 latents.

    Raises VaenbError for images that are not square and of one channel, sizes below 1, kernels
    that are even or fewer than three.
    """
    _sizes(image, width=width, bottleneck=bottleneck)
    if image[0] != 1 or latents < 0:
        raise VaenbError(f"channels={image[0]} must be 1 and latents={latents} at least 0")
    if len(kernels) < 3 or any(k < 1 or k % 2 == 0 for k in kernels):
        raise VaenbError(f"kernels are {kernels} and must be odd sizes, at least three of them")
    return PixelCNN(image[1], latents, width, bottleneck, kernels)


class PixelVAE(VAE):
    """A VAE whose decoder also sees the pixels before."""

    decode = None  # the decoder needs pixels too: log_prob(x, z) and sample(z, rng)

    def log_prob(self, x, z):
        """log p(x|z) in nats, [B] for z [B, Z] and [B, S] for [B, S, Z]: `PixelCNN.log_prob`."""
        return self.decoder.log_prob(x, z)

    def sample(self, z, rng):
        """Binary images [B, 1, side, side] drawn from p(x|z) of codes [B, Z]."""
        return self.decoder.sample(len(z), rng, z)

    def _out(self, x, z):
        return self.decoder(x, z)


def pixel_vae(
    latents: int = 32,
    width: int = 64,
    bottleneck: int = 32,
    hidden: int = 512,
    kernels: tuple[int, ...] = KERNELS,
    image: Image = (1, 28, 28),
) -> PixelVAE:
    """The image VAE of He et al. (2019, appendix B): `resnet_encoder`, `pixel_cnn`, Bernoulli.

    1646848 parameters. Raises VaenbError as those two do.
    """
    _sizes(image, latents=latents)
    encoder = resnet_encoder(latents, width, hidden, image)
    decoder = pixel_cnn(latents, width, bottleneck, kernels, image)
    return PixelVAE(encoder, decoder, decoder.likelihood, latents)


def _sizes(image, **sizes):
    if image[1] != image[2]:
        raise VaenbError(f"images are {image[1]}x{image[2]} and must be square: resize them")
    at_least_one(channels=image[0], side=image[1], **sizes)
