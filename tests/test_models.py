"""The networks: exact parameter counts, shapes, closed forms, and noise from nowhere else."""

import math

import pytest
import torch
from torch import distributions as dist
from torch import nn

from vaenb import VaenbError, models
from vaenb.models import Gaussian, standard_normal_log_prob
from vaenb.train import Rng


def count(module):
    return sum(p.numel() for p in module.parameters())


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("channels", "expected"), [(3, 992427), (1, 990249)])
def test_the_small_vae_has_the_papers_parameter_counts(channels, expected):
    image = (channels, 28, 28)
    assert count(models.small_vae(models.UnitGaussian(), image)) == expected
    assert count(models.small_vae(models.OptimalGaussian(), image)) == expected
    assert count(models.small_vae(models.SharedGaussian(), image)) == expected + 1
    assert count(models.small_vae(models.StudentT(), image)) == expected + 2


@pytest.mark.parametrize(
    ("likelihood", "last"),
    [
        (models.UnitGaussian, 2403),
        (models.Categorical, 615168),
        (models.BitwiseCategorical, 19224),
    ],
)
def test_the_last_layer_is_as_wide_as_the_likelihood_needs(likelihood, last):
    vae = models.small_vae(likelihood(), (3, 28, 28))
    assert count(vae.decoder[-1]) == last
    assert count(vae) == 992427 - 2403 + last


def test_the_layers_of_the_small_vae():
    vae = models.small_vae(models.UnitGaussian(), (3, 28, 28)).eval()
    shapes, x = [], torch.zeros(1, 3, 28, 28)
    with torch.no_grad():
        for layer in vae.encoder:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
        assert shapes == [
            (32, 28, 28), (32, 28, 28), (64, 14, 14), (64, 14, 14), (128, 7, 7), (128, 7, 7),
            (6272,), (40,)]  # fmt: skip
        shapes, z = [], torch.zeros(1, 20)
        for layer in vae.decoder:
            z = layer(z)
            shapes.append(tuple(z.shape[1:]))
    assert shapes == [(6272,), (128, 7, 7), (64, 14, 14), (64, 14, 14), (32, 28, 28),
                      (32, 28, 28), (3, 28, 28)]  # fmt: skip


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("likelihood", [models.SharedGaussian, models.LogisticMixture])
def test_shapes(likelihood, channels, side):
    vae = models.small_vae(likelihood(), (channels, side, side), latents=5, width=4)
    assert vae.latents == 5
    x = randn(2, channels, side, side, dtype=torch.float32).sigmoid()
    q = vae.posterior(x)
    assert q.mean.shape == q.log_std.shape == (2, 5)
    nats = vae(x, Rng.of(0))
    assert nats.distortion.shape == nats.rate.shape == (2,) and nats.z.shape == (2, 5)
    assert nats.out.shape == (2, vae.likelihood.channels(channels), side, side)
    assert torch.equal(nats.rate, nats.rates[0]) and len(nats.rates) == 1
    assert vae.likelihood.mean(nats.out).shape == x.shape


def test_forward_is_the_sum_of_its_parts():
    vae = models.small_vae(models.SharedGaussian(), (1, 28, 28), latents=3, width=4).double()
    x = randn(4, 1, 28, 28).sigmoid()
    nats = vae(x, Rng.of(7))
    mean, log_variance = vae.encoder(x)[:, :3], vae.encoder(x)[:, 3:]
    z = mean + (log_variance / 2).exp() * Rng.of(7).normal(4, 3, dtype=torch.float64)
    assert torch.allclose(nats.z, z, rtol=1e-12)
    pixels = dist.Normal(vae.decoder(z).sigmoid(), 1.0).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(nats.distortion, -pixels, rtol=1e-10)
    q = dist.Normal(mean, (log_variance / 2).exp())
    rate = dist.kl_divergence(q, dist.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(nats.rate, rate, rtol=1e-10)
    prior = dist.Normal(0.0, 1.0).log_prob(z).sum(1)
    assert torch.allclose(vae.log_joint(x, z), pixels + prior, rtol=1e-10)
    nats.distortion.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in vae.parameters())


def test_rates_of_several_layers_add_up():
    rates = (torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
    nats = models.Nats(torch.zeros(2), rates, None, None, None)
    assert nats.rate.tolist() == [11.0, 22.0]


def test_the_rate_is_torchs_kl_and_the_average_log_ratio():
    q = Gaussian(randn(3, 2, 6), randn(3, 2, 6, seed=1))
    theirs = dist.kl_divergence(dist.Normal(q.mean, q.log_std.exp()), dist.Normal(0.0, 1.0))
    assert torch.allclose(q.rate(), theirs.sum(-1), rtol=1e-12)
    assert float(Gaussian(torch.zeros(4), torch.zeros(4)).rate()) == 0
    wide = Gaussian(q.mean[0, :1].expand(100_000, -1), q.log_std[0, :1].expand(100_000, -1))
    z = wide.sample(Rng.of(0))
    ratio = wide.log_prob(z) - standard_normal_log_prob(z)
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - q.rate()[0, 0]) < 4.5 * error


def test_log_prob_is_torchs():
    q, z = Gaussian(randn(3, 2, 6), 2 * randn(3, 2, 6, seed=1)), randn(3, 2, 6, seed=2)
    theirs = dist.Normal(q.mean, q.log_std.exp()).log_prob(z).sum(-1)
    assert torch.allclose(q.log_prob(z), theirs, rtol=1e-10)
    theirs = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert torch.allclose(standard_normal_log_prob(z), theirs, rtol=1e-12)


def test_draws_of_the_posterior_have_its_moments():
    mean, log_std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, -1.0])
    n = 200_000
    z = Gaussian(mean.expand(n, 2), log_std.expand(n, 2)).sample(Rng.of(1))
    assert ((z.mean(0) - mean).abs() < 4.5 * log_std.exp() / math.sqrt(n)).all()
    assert ((z.std(0) / log_std.exp() - 1).abs() < 4.5 / math.sqrt(2 * n)).all()


def test_noise_is_the_rngs_alone():
    vae = models.small_vae(models.SharedGaussian(), (1, 28, 28), width=4)
    x = randn(2, 1, 28, 28, dtype=torch.float32).sigmoid()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = vae(x, Rng.of(3, step=5))
    drawn = vae.likelihood.sample(first.out, Rng.of(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again = vae(x, Rng.of(3, step=5))
    assert torch.equal(first.z, again.z) and torch.equal(first.distortion, again.distortion)
    assert torch.equal(drawn, vae.likelihood.sample(first.out, Rng.of(3)))
    assert not torch.equal(first.z, vae(x, Rng.of(3, step=6)).z)
    assert not torch.equal(first.z, vae(x, Rng.of(4, step=5)).z)


@pytest.mark.parametrize(
    ("image", "sizes", "said"),
    [
        ((1, 30, 30), {}, "30x30 and must be square with a side that 4 divides"),
        ((1, 28, 32), {}, "28x32"),
        ((1, 28, 28), dict(latents=0), "latents is 0"),
        ((1, 28, 28), dict(width=0), "width is 0"),
    ],
)
def test_impossible_networks(image, sizes, said):
    with pytest.raises(VaenbError, match=said):
        models.small_vae(models.UnitGaussian(), image, **sizes)


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_classifier(channels, side):
    network = models.Classifier(channels, classes=7, features=16)
    x = randn(3, channels, side, side, dtype=torch.float32).sigmoid()
    features = network.features(x)
    assert features.shape == (3, 16) and features.min() >= 0
    assert network(x).shape == (3, 7)
    assert torch.allclose(network(x), network.head(features))
    nn.functional.cross_entropy(network(x), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


# --- the networks of Bozkurt et al. -------------------------------------------------------------


@pytest.mark.parametrize(("make", "image", "depth", "count"), [
    (models.mlp_vae, (3, 32, 32), 1, 3165204), (models.mlp_vae, (3, 32, 32), 2, 3690516),
    (models.mlp_vae, (3, 32, 32), 3, 4215828), (models.mlp_vae, (1, 28, 28), 1, 820004),
    (models.mlp_vae, (1, 28, 28), 2, 1345316), (models.mlp_vae, (1, 28, 28), 3, 1870628),
    (models.cnn_vae, (3, 32, 32), 1, 514135), (models.cnn_vae, (3, 32, 32), 3, 300375),
])  # fmt: skip
def test_mlps_and_cnns_have_the_papers_size(make, image, depth, count):
    model = make(models.Bernoulli(), image, depth)
    assert sum(p.numel() for p in model.parameters()) == count
    x = torch.rand(2, *image)
    nats = model(x, Rng.of(0))
    assert nats.out.shape == x.shape and nats.z.shape == (2, 10)
    assert nats.distortion.shape == nats.rate.shape == (2,)
    relus = sum(isinstance(m, torch.nn.ReLU) for m in model.modules())
    assert relus == 2 * depth


def test_impossible_mlps_and_cnns():
    with pytest.raises(VaenbError, match="images of 28x28 cannot be halved 3 times"):
        models.cnn_vae(models.Bernoulli(), (1, 28, 28), 3)
    with pytest.raises(VaenbError, match="depth is 0 and must be at least 1"):
        models.mlp_vae(models.Bernoulli(), (1, 28, 28), 0)
    with pytest.raises(VaenbError, match="width is 0 and must be at least 1"):
        models.cnn_vae(models.Bernoulli(), (1, 28, 28), 1, width=0)
    for image, told in (((0, 28, 28), "image_channels is 0"), ((1, 0, 28), "image_height is 0")):
        for make in (models.mlp_vae, models.cnn_vae):
            with pytest.raises(VaenbError, match=told):
                make(models.Bernoulli(), image, 1)
    for image, told in (((0, 28, 28), "image_channels is 0"), ((1, 0, 0), "image_side is 0")):
        with pytest.raises(VaenbError, match=told):
            models.small_vae(models.SharedGaussian(), image)
