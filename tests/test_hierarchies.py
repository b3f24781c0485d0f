"""The two-layer models: printed sizes, closed forms, and what may depend on what."""

import pytest
import torch
import torch.nn.functional as F
from torch import distributions as dist
from torch import nn

from vaenb import VaenbError, measure, models, train
from vaenb.models.hierarchies import _log_softplus
from vaenb.train import Rng


def count(module):
    return sum(p.numel() for p in module.parameters())


def images(n, c=3, side=32, dtype=torch.float64):
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


def small(make=models.ghvae, c=3, side=32):
    """Narrow, in float64, with weights that leave no layer dead."""
    torch.manual_seed(0)
    model = make(models.LinearGaussian(0.71), (c, side, side), top=5, width=2).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.abs().mean() * torch.randn_like(p) + 0.1)
    return model


def normal(q):
    return dist.Normal(q.mean, q.log_std.exp())


BOTH = pytest.mark.parametrize("make", [models.ghvae, models.lvae])


def test_the_printed_parameter_counts():
    gaussian, image = models.LinearGaussian(0.71), (3, 32, 32)
    g, ladder = models.ghvae(gaussian, image), models.lvae(gaussian, image)
    digits = models.ghvae(models.Bernoulli(), (1, 28, 28), top=20, width=16)
    assert [count(m) for m in (g, ladder, digits)] == [475811, 408131, 122713]
    def parts(m):
        return {name: count(part) for name, part in m.named_children() if count(part)}

    assert parts(g.lower) == dict(of_x=17984, of_z2=33312, joint=32800, heads=18496)
    for m, q2, lower, prior, decoder in ((g, 67232, 102592, 271616, 34371),
                                         (ladder, 67232, 34912, 271616, 34371),
                                         (digits, 18776, 26720, 68736, 8481)):
        p = parts(m)
        assert p["stem"] + p["reduce"] + p["heads"] == q2 and p["lower"] == lower
        assert p["prior_body"] + p["prior_heads"] == prior and p["decoder"] == decoder


@BOTH
@pytest.mark.parametrize(("c", "side"), [(1, 28), (3, 32), (1, 32)])
def test_shapes(make, c, side):
    model, x = small(make, c, side), images(3, c, side)
    nats = model(x, Rng.of(0))
    assert [len(r) for r in nats.rates] == [3, 3] and nats.distortion.shape == (3,)
    assert [z.shape for z in nats.z] == [(3, 5), (3, 32)] and model.latents == 32
    assert [q.mean.shape for q in nats.posterior] == [(3, 5), (3, 32)]
    assert nats.out.shape == x.shape
    assert model.layers == ("z2", "z1")


@BOTH
def test_both_rates_are_torchs_divergences(make):
    model, x = small(make), images(4)
    nats = model(x, Rng.of(1))
    q2, q1 = nats.posterior
    top = dist.kl_divergence(normal(q2), dist.Normal(0.0, 1.0)).sum(1)
    low = dist.kl_divergence(normal(q1), normal(model.prior(nats.z[0]))).sum(1)
    assert torch.allclose(nats.rates[0], top, rtol=1e-10)
    assert torch.allclose(nats.rates[1], low, rtol=1e-10)
    pixels = dist.Normal(model.decode(nats.z[1]), 0.71).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(nats.distortion, -pixels, rtol=1e-6)  # 0.71 is kept in float32
    assert torch.allclose(nats.rate, top + low, rtol=1e-10)


def test_the_ladder_multiplies_two_densities():
    """q(z1|z2, x) is proportional to N(mean of x, variance of x) p(z1|z2), along lines."""
    model, x = small(models.lvae), images(2)
    nats = model(x, Rng.of(2))
    lower = model.lower
    mean, log_variance = lower.heads(lower.body(model.stem(x)))
    prior = normal(model.prior(nats.z[0]))
    ours = normal(nats.posterior[1])
    line = ours.mean + torch.linspace(-9, 9, 19, dtype=torch.float64).view(-1, 1, 1) * ours.stddev
    product = dist.Normal(mean, (0.5 * log_variance).exp()).log_prob(line) + prior.log_prob(line)
    left = product - ours.log_prob(line)  # the logarithm of a constant
    assert ((left - left[0]).abs() < 1e-9 * product.abs().amax(0)).all()
    assert (ours.stddev < prior.stddev).all()


def test_a_softplus_that_vanishes_has_a_finite_logarithm():
    x = torch.tensor([-200.0, -31.0, -29.0, 0.0, 50.0], requires_grad=True)
    y = _log_softplus(x)
    assert torch.allclose(y[:2], x[:2]) and torch.allclose(
        y[2:], torch.nn.functional.softplus(x[2:].double()).log().float(), atol=1e-6)
    y.sum().backward()
    assert x.grad.isfinite().all() and x.grad[0] == 1


@BOTH
def test_the_image_depends_on_z1_alone_and_inference_goes_downwards(make):
    model, x = small(make), images(1).requires_grad_()
    z1 = model.code(x)
    out = model.decode(z1.detach().requires_grad_())
    assert out.grad_fn is not None
    nats = model(x, Rng.of(0))
    q2, q1 = nats.posterior
    grad = torch.autograd.grad(q1.mean.sum(), nats.z[0], retain_graph=True)[0]
    assert (grad != 0).all()  # z1 hears of z2
    inputs = [p for p in model.lower.parameters()]
    unused = torch.autograd.grad(q2.mean.sum(), inputs, allow_unused=True)
    assert all(g is None for g in unused)  # and z2 not of z1
    assert (torch.autograd.grad(q1.mean.sum(), x)[0] != 0).any()


def test_codes_of_images_are_modes_and_those_of_the_prior_are_draws():
    model, x = small(), images(3)
    z2 = model.posterior(x).mean
    q1 = model.lower(x, model.stem(x), z2, model.prior(z2))
    assert torch.equal(model.code(x), q1.mean)
    rng = Rng.of(4)
    z2 = rng.normal(6, 5, dtype=torch.float64)
    assert torch.equal(model.prior_code(6, Rng.of(4)), model.prior(z2).sample(rng))
    made = measure.samples(model, 6, seed=1, chunk=4)
    assert made.shape == (6, 3, 32, 32) and torch.allclose(
        made, measure.samples(model, 6, seed=1), rtol=1e-10)
    back = measure.reconstructions(model, x)
    assert torch.allclose(back, model.decode(model.code(x)), rtol=1e-10)


def test_the_posteriors_of_all_layers_whatever_the_chunk():
    model, x = small(), images(5)
    q2, q1 = measure.layer_posteriors(model, x, seed=2)
    assert q2.mean.shape == (5, 5) and q1.mean.shape == (5, 32)
    assert torch.allclose(q2.mean, model.posterior(x).mean, rtol=1e-12)
    again = measure.layer_posteriors(model, x, seed=2, chunk=2)
    assert torch.allclose(q1.mean, again[1].mean, rtol=1e-12)
    assert not torch.allclose(q1.mean, measure.layer_posteriors(model, x, seed=3)[1].mean)
    spent = measure.nats(model, x, seed=2)
    assert torch.allclose(spent.rates[:, 0], q2.rate()) and spent.rates.shape == (5, 2)


def test_a_tighter_beta_lowers_its_own_rate():
    def loss(model, x, hp):
        nats = model(x, hp.rng)
        z2, z1 = nats.rates
        return (nats.distortion + hp.beta_z2 * z2 + hp.beta_z1 * z1).mean(), {}

    x = (images(64, dtype=torch.float32) * 255).byte()
    rows = [dict(beta_z2=a, beta_z1=b) for a in (0.1, 10.0) for b in (0.1, 10.0)]
    runs = train.fit(lambda: models.ghvae(models.LinearGaussian(0.71), (3, 32, 32), 5, 4), loss,
                     x, rows, 150, batch=16, lr=3e-3, progress=False)
    rates = torch.stack([measure.nats(m, x).rates.mean(0) for m in runs.models]).view(2, 2, 2)
    assert (rates[0, :, 0] > rates[1, :, 0]).all() and (rates[:, 0, 1] > rates[:, 1, 1]).all()


@pytest.mark.parametrize(("change", "words"), [
    (dict(image=(3, 30, 30)), "30x30 and must be 28x28 or 32x32"),
    (dict(image=(3, 32, 28)), "32x28 and must be"),
    (dict(top=0), "top is 0 and must be at least 1"),
    (dict(width=-1), "width is -1 and must be at least 1"),
])
def test_impossible_sizes(change, words):
    sizes = dict(image=(3, 32, 32)) | change
    for make in (models.ghvae, models.lvae):
        with pytest.raises(VaenbError, match=words):
            make(models.LinearGaussian(0.71), **sizes)
    with pytest.raises(VaenbError, match="sigma is 0 and must be above 0"):
        models.LinearGaussian(0)


@BOTH
def test_a_softplus_is_the_deviation_of_both_codes(make):
    model, x = small(make), images(2)
    h = model.reduce(model.stem(x))
    q2 = model.posterior(x)
    assert torch.allclose(q2.log_std.exp(), F.softplus(model.heads.scale(h)))
    p1, body = model.prior(q2.mean), model.prior_body(q2.mean)
    assert torch.allclose(p1.log_std.exp(), F.softplus(model.prior_heads.scale(body)))


def test_the_ladders_softplus_is_the_variance():
    model, x = small(models.lvae), images(2)
    h = model.lower.body(model.stem(x))
    assert torch.allclose(model.lower.heads(h)[1].exp(),
                          F.softplus(model.lower.heads.scale(h).flatten(1)))


def test_each_hidden_layer_has_its_relu():
    def relus(module):
        return sum(isinstance(m, nn.ReLU) for m in module.modules())

    gaussian, image = models.LinearGaussian(0.71), (3, 32, 32)
    found = [models.ghvae(gaussian, image), models.lvae(gaussian, image), models.full_encoder(2),
             models.conv_decoder(2, 1), models.small_vae(models.UnitGaussian(), (1, 28, 28))]
    assert [relus(m) for m in found] == [11, 7, 5, 6, 5]
