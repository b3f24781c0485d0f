"""The VAE of Seybold et al. (2019), *Dueling Decoders*: two decoders on one code.

A convolutional encoder with a full-covariance Gaussian (Table 5), a VampPrior, a decoder by
transposed convolutions (Table 6) or an autoregressive one (Table 7), and for training alone an
auxiliary decoder (Eq. 8). Images have one channel; all widths are arguments, and the defaults the
paper's.
"""

from typing import NamedTuple

import torch
from torch import nn

from vaenb.errors import VaenbError, at_least_one
from vaenb.models.auxiliary import Auxiliary, Bags, Gradient, check_pixels
from vaenb.models.conv import VAE, check_images
from vaenb.models.discrete import LogisticMixture
from vaenb.models.latents import FullGaussian, standard_normal_log_prob
from vaenb.models.likelihoods import Bernoulli
from vaenb.models.shifted import check_sizes, shifted_pixel_cnn
from vaenb.models.vamp import PseudoInputs, log_mixture, sample_mixture

AUXILIARIES = "conv", "gradient", "marginals", "histogram"


class Dueled(NamedTuple):
    """As `Nats`, with the auxiliary decoder's distortion beside.

    ``distortion`` [B] is -log d(x|z), ``rates`` ([B],) the draw log e(z|x) - log m(z),
    ``auxiliary`` [B] is -log d'(x|z), zero where there is no such decoder.
    """

    distortion: torch.Tensor
    rates: tuple[torch.Tensor]
    auxiliary: torch.Tensor
    out: torch.Tensor
    z: torch.Tensor
    posterior: FullGaussian

    @property
    def rate(self) -> torch.Tensor:
        """Nats of the code, one draw an image: [B]."""
        return self.rates[0]


class DuelingVAE(VAE):
    """A VAE with a full-covariance posterior, a VampPrior and a decoder of the code alone.

    ``prior`` holds the pseudo-inputs, ``auxiliary`` is None or an `Auxiliary`. The rate is a Monte
    Carlo estimate, unbiased and at times below zero. All else is that of `VAE`.
    """

    def __init__(self, encoder, decoder, likelihood, latents, prior, auxiliary=None):
        super().__init__(encoder, decoder, likelihood, latents)
        self.prior, self.auxiliary = prior, auxiliary

    def posterior(self, x: torch.Tensor) -> FullGaussian:
        """e(z|x) for images [B, 1, side, side]. Raises VaenbError for images of another side."""
        check_images(x, self.prior.raw.shape[-1])
        return FullGaussian.of(self.encoder(x), self.latents)

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log m(z) of codes [..., Z] in nats: [...]."""
        return log_mixture(z, self.posterior(self.prior()))

    def prior_code(self, count: int, rng) -> torch.Tensor:
        """z [count, Z] drawn from m(z)."""
        return sample_mixture(count, rng, self.posterior(self.prior()))

    def sample(self, z: torch.Tensor, rng) -> torch.Tensor:
        """Images [B, 1, side, side] drawn from d(x|z) of codes [B, Z]."""
        return self.likelihood.sample(self.decode(z), rng)

    def forward(self, x: torch.Tensor, rng, target: torch.Tensor | None = None) -> Dueled:
        """Where the nats of images [B, 1, side, side] went, by one draw of z.

        ``target`` [B, 1, side, side] takes the images' place for the auxiliary decoder (the 8-bit
        images of binary ones, for one that reads grey values). That pixels are such as both
        decoders read is not looked at here: see `check`. Raises VaenbError for images of another
        side and a target of another shape.
        """
        if target is not None and target.shape != x.shape:
            shapes = ("x".join(map(str, v.shape)) for v in (target, x))
            raise VaenbError(
                "the auxiliary decoder's target is {} and the images are {}: give it one image "
                "each, of their side".format(*shapes)
            )
        q = self.posterior(x)
        u = rng.normal_like(q.mean)
        z = q.place(u[:, None])[:, 0]
        out = self._out(x, z)
        distortion = -self.likelihood.log_prob(out, x)
        # e(z|x) by the noise itself: to solve for it again costs digits where L is nearly singular
        rate = standard_normal_log_prob(u) - q.log_volume - self.log_prior(z)
        beside = torch.zeros_like(rate)
        if self.auxiliary is not None:
            beside = -self.auxiliary.log_prob(x if target is None else target, z)
        return Dueled(distortion, (rate,), beside, out, z, q)

    def check(self, x: torch.Tensor, target: torch.Tensor | None = None) -> None:
        """Whether images (uint8, or float in [0, 1]) have the pixels that both decoders read.

        Once before training, over the whole set: no step looks. Raises VaenbError where not, for
        images or targets of another side than the model's, and for more or fewer targets.
        """
        check_images(x, self.prior.raw.shape[-1])
        check_pixels(x, not isinstance(self.likelihood, Bernoulli), "the decoder")
        if self.auxiliary is not None:
            target = x if target is None else target
            check_images(target, x.shape[-1])
            if len(target) != len(x):
                raise VaenbError(
                    f"{len(x)} images and {len(target)} targets of the auxiliary decoder: give "
                    f"one each"
                )
            check_pixels(target, self.auxiliary.grey, "the auxiliary decoder")


class PixelDuelingVAE(DuelingVAE):
    """The same with a decoder that also sees the pixels before, `ShiftedPixelCNN`."""

    decode = None  # the decoder needs pixels too: log_prob(x, z) and sample(z, rng)

    def log_prob(self, x, z):
        """log d(x|z) in nats, [B] for z [B, Z] and [B, S] for [B, S, Z]."""
        return self.decoder.log_prob(x, z)

    def sample(self, z, rng):
        """Images [B, 1, side, side] drawn from d(x|z) of codes [B, Z], pixel by pixel."""
        return self.decoder.sample(z, rng)

    def _out(self, x, z):
        return self.decoder(x, z)


def full_encoder(latents: int, width: int = 32, side: int = 28) -> nn.Module:
    """Images [B, 1, side, side] to the raw numbers of a `FullGaussian` (Table 5).

    659205, 678168 or 935136 parameters for 2, 16 or 64 latents. Raises VaenbError for a side that
    4 does not divide, and sizes below 1.
    """
    check_sizes(side, latents=latents, width=width)
    return nn.Sequential(
        nn.Conv2d(1, width, 5, 1, 2), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 5, 1, 2), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, side // 4), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * width, latents * (latents + 3) // 2))  # fmt: skip


def semantic_classifier(width: int = 32) -> nn.Module:
    """Images [B, 1, 28, 28] to logits [B, 10]: the encoder's trunk under a linear layer.

    659850 parameters. Raises VaenbError as `full_encoder` does.
    """
    trunk = list(full_encoder(1, width))[:-1]
    return nn.Sequential(*trunk, nn.Linear(4 * width, 10))


def conv_decoder(latents: int, outputs: int, width: int = 32, side: int = 28) -> nn.Module:
    """Codes [B, latents] to [B, outputs, side, side] (Table 6).

    1191489, 1279297 or 1580353 parameters for 2, 16 or 64 latents and one output, 801 more for
    each further one. Raises VaenbError as `full_encoder` does.
    """
    check_sizes(side, latents=latents, width=width, outputs=outputs)

    def up(inputs, outputs, stride):
        return nn.ConvTranspose2d(inputs, outputs, 5, stride, 2, stride - 1), nn.ReLU()

    return nn.Sequential(
        nn.Unflatten(1, (latents, 1, 1)),
        nn.ConvTranspose2d(latents, 4 * width, side // 4), nn.ReLU(),
        *up(4 * width, 4 * width, 1), *up(4 * width, 4 * width, 2),
        *up(4 * width, 2 * width, 1), *up(2 * width, 2 * width, 2),
        *up(2 * width, width, 1), nn.Conv2d(width, outputs, 5, 1, 2))  # fmt: skip


def auxiliary(
    name: str, latents: int, grey: bool, width: int = 32, hidden: int = 256, side: int = 28
) -> Auxiliary:
    """One of `AUXILIARIES` for images of 256 ``grey`` values, or of 0 and 1.

    "conv" is `conv_decoder` of the image itself (Bernoulli, or a mixture of five logistics),
    "gradient" the same net for `Gradient`; "marginals" and "histogram" are two layers of
    ``hidden`` ReLU for `Bags`. Raises VaenbError for another name and impossible sizes.
    """
    check_sizes(side, latents=latents, width=width, hidden=hidden)
    if name not in AUXILIARIES:
        raise VaenbError(
            f"the auxiliary decoder {name!r} is unknown: take {', '.join(AUXILIARIES)} or None"
        )
    if name in ("conv", "gradient"):
        target = LogisticMixture(5) if grey else Bernoulli()
        target = target if name == "conv" else Gradient(7 if grey else 1)
        return Auxiliary(conv_decoder(latents, target.channels(1), width, side), target, grey)
    target = Bags(256 if grey else 2, name == "marginals")
    network = nn.Sequential(
        nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, target.numbers(side)))  # fmt: skip
    return Auxiliary(network, target, grey)


def dueling_vae(
    latents: int = 16,
    decoder: str = "pixelcnn",
    beside: str | None = "conv",
    *,
    grey: bool = False,
    grey_target: bool | None = None,
    width: int = 32,
    filters: int = 64,
    more: int = 0,
    hidden: int = 256,
    pseudo_inputs: int = 280,
    side: int = 28,
) -> DuelingVAE:
    """The model of Seybold et al. (2019).

    decoder: "pixelcnn" (`shifted_pixel_cnn` of ``filters``, and ``more`` blocks) or "cnn"
        (`conv_decoder`). beside: the auxiliary decoder, one of `AUXILIARIES`, or None.
    grey: 256 grey values under a mixture of five logistics, else binary pixels; ``grey_target``
        says so for the auxiliary decoder alone (None: the same).
    width: of the encoder and of all convolutional decoders (its first layer's 32).

    All layers start as Glorot & Bengio (2010) have it, uniform, with biases of zero. The paper
    gives no start; torch's own leaves the CNN decoder deaf to the code for longer. What brings the
    code to the PixelCNN's streams is one layer here, and starts with a deviation of 0.03 at the
    full size (PixelCNN++'s public code: 0.05; as a layer for each stream it would be 0.12).

    Before training call its ``check`` on the images. Raises VaenbError for other names, a side
    that 4 does not divide, and sizes below 1.
    """
    likelihood = LogisticMixture(5) if grey else Bernoulli()
    encoder, prior = full_encoder(latents, width, side), PseudoInputs(pseudo_inputs, side)
    if decoder == "pixelcnn":
        at_least_one(filters=filters)
        kind, net = PixelDuelingVAE, shifted_pixel_cnn(likelihood, latents, filters, more, side)
    elif decoder == "cnn":
        kind, net = DuelingVAE, conv_decoder(latents, likelihood.channels(1), width, side)
    else:
        raise VaenbError(f"the decoder {decoder!r} is unknown: take pixelcnn or cnn")
    if beside is not None:
        target = grey if grey_target is None else grey_target
        beside = auxiliary(beside, latents, target, width, hidden, side)
    model = kind(encoder, net, likelihood, latents, prior, beside)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model.to(memory_format=torch.channels_last)  # up to a fifth faster on a CPU
