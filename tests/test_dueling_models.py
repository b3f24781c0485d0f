"""Dueling decoders: sizes, full-covariance codes, the VampPrior, auxiliary targets, the whole."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from test_sweep import distance
from torch import distributions as dist
from torch import nn

from vaenb import VaenbError, measure, models, train
from vaenb.models import FullGaussian, LogisticMixture, auxiliary, dueling_vae, semantic_classifier
from vaenb.models.auxiliary import Bags, Gradient
from vaenb.models.vamp import PseudoInputs, log_mixture, sample_mixture
from vaenb.train import Rng

SMALL = dict(width=2, filters=3, hidden=5, pseudo_inputs=6, side=8)
CASES = list(itertools.product(("pixelcnn", "cnn"), (False, True)))


def count(module):
    return sum(p.numel() for p in module.parameters())


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full(*batch, latents=3, seed=0):
    return FullGaussian.of(2 * randn(*batch, latents * (latents + 3) // 2, seed=seed), latents)


def normal(q):
    return dist.MultivariateNormal(q.mean, scale_tril=q.factor)


def vae(decoder="cnn", beside="conv", latents=3, **options):
    torch.manual_seed(0)
    model = dueling_vae(latents, decoder, beside, **SMALL | options).double()
    model.prior.raw.data.uniform_(0, 1)  # pseudo-inputs that differ
    model.encoder[-1].weight.data *= 10
    return model


def images(n, grey=False, side=8, seed=9):
    x = (255 * randn(n, 1, side, side, seed=seed).sigmoid()).round() / 255
    return x if grey else x.round()


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("latents", "encoder", "decoder"), [
    (2, 659205, 1191489), (16, 678168, 1279297), (64, 935136, 1580353)])  # fmt: skip
def test_the_counts_of_tables_5_and_6(latents, encoder, decoder):
    model = dueling_vae(latents, "cnn", "conv")
    assert count(model.encoder) == encoder and count(model.prior) == 219520
    assert count(model.decoder) == count(model.auxiliary) == decoder
    assert count(semantic_classifier()) == 659850
    grey = dueling_vae(latents, "cnn", "gradient", grey=True)
    assert count(grey.decoder) == decoder + 11214 and count(grey.auxiliary) == decoder + 29 * 801
    assert [count(auxiliary(name, latents, False)) for name in ("gradient", "marginals")] == [
        decoder + 5 * 801, 256 * (latents + 1) + 256 * 257 + 112 * 257]
    assert count(auxiliary("histogram", latents, True)) == 256 * (latents + 1) + 2 * 256 * 257


def test_the_start_is_glorots():
    torch.manual_seed(0)
    model = dueling_vae(16, filters=16, width=8)
    kinds = nn.Conv2d, nn.ConvTranspose2d, nn.Linear
    layers = [m for m in model.modules() if isinstance(m, kinds)]
    assert len(layers) == 6 + 7 + 1 + 20 + 14 + 1 and model.decoder.of_z in layers
    assert all(layer.bias is None or not layer.bias.any() for layer in layers)
    for layer in layers:
        bound = math.sqrt(6 / (layer.weight[0, 0].numel() * sum(layer.weight.shape[:2])))
        assert 0.9 * bound < layer.weight.abs().max() <= bound
    assert model.prior.raw.max() < 0.1


def test_sides_of_the_layers():
    def sides(net, h):
        found = []
        for layer in net:
            h = layer(h)
            if h.ndim == 4 and isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                found.append(tuple(h.shape[1:3]))
        return found, h.shape

    encoder, decoder = models.full_encoder(16), models.conv_decoder(16, 15)
    down = [(32, 28), (64, 14), (64, 14), (64, 7), (128, 1)]
    assert sides(encoder, torch.rand(2, 1, 28, 28)) == (down, (2, 152))
    up = [(128, 7), (128, 7), (128, 14), (64, 14), (64, 28), (32, 28), (15, 28)]
    assert sides(decoder, torch.randn(2, 16)) == (up, (2, 15, 28, 28))


# --- codes with a full covariance ---------------------------------------------------------------


def test_a_full_gaussian_is_torchs():
    q, z = full(4), randn(4, 3, seed=1)
    same = normal(q)
    assert torch.allclose(q.log_prob(z), same.log_prob(z), rtol=1e-11)
    prior = dist.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    assert torch.allclose(q.rate(), dist.kl_divergence(same, prior), rtol=1e-11)
    one = dist.Normal(q.mean, same.variance.sqrt()).log_prob(z).sum(-1)
    assert torch.allclose(q.marginals().log_prob(z), one, rtol=1e-11)
    diagonal = FullGaussian(q.mean, torch.diag_embed(q.marginals().log_std.exp()))
    assert torch.allclose(diagonal.rate(), q.marginals().rate(), rtol=1e-11)


def test_the_network_fills_a_triangle_with_each_number_once():
    raw = torch.arange(1.0, 21).double()
    q = FullGaussian.of(raw, 5)
    assert torch.equal(q.mean, raw[:5]) and not q.factor.triu(1).any()
    diagonal = q.factor.diagonal()
    rows, columns = torch.tril_indices(5, 5, -1)
    inside = torch.cat([q.factor[rows, columns], (diagonal - 1e-4).expm1().log()])
    assert torch.allclose(inside.sort()[0], raw[5:], rtol=1e-6)
    dark = FullGaussian.of(torch.full((20,), -100.0), 5)
    assert torch.allclose(dark.factor.diagonal(), torch.tensor(1e-4), atol=1e-8)


def test_draws_are_the_mean_and_the_factor_times_noise():
    q = full(4)
    u = Rng.of(2).normal(4, 3, dtype=torch.float64)
    expected = q.mean + torch.einsum("bij,bj->bi", q.factor, u)
    assert torch.allclose(q.sample(Rng.of(2)), expected)
    several = randn(4, 7, 3)
    for wide in (q, q.marginals()):
        z = wide.place(several)
        density = models.standard_normal_log_prob(several) - wide.log_volume[:, None]
        for s in range(7):
            assert torch.allclose(wide.log_prob(z[:, s]), density[:, s], rtol=1e-10)


class Exact(models.VAE):
    """x = W z + 0.3 noise with W that mixes the codes: the true posterior is correlated."""

    def __init__(self):
        w = randn(16, 2) * torch.tensor([0.1, 0.2]) + 0.1
        likelihood = SimpleNamespace(
            log_prob=lambda out, x: dist.Normal(out, 0.3).log_prob(x).flatten(1).sum(1))
        decoder = nn.Sequential(nn.Linear(2, 16, bias=False).double(), nn.Unflatten(1, (1, 4, 4)))
        decoder[0].weight.data = w
        super().__init__(nn.Identity(), decoder, None, 2)
        self.likelihood = likelihood
        covariance = (torch.eye(2) + w.T @ w / 0.09).inverse()
        self.factor, self.gain = torch.linalg.cholesky(covariance), covariance @ w.T / 0.09
        self.log_p = dist.MultivariateNormal(torch.zeros(16).double(),
                                             w @ w.T + 0.09 * torch.eye(16).double())

    def posterior(self, x):
        return FullGaussian(x.flatten(1) @ self.gain.T, self.factor.expand(len(x), 2, 2))


def test_the_bounds_take_a_full_covariance():
    """With the exact posterior one sample is enough."""
    model, x = Exact(), randn(5, 1, 4, 4)
    assert abs(model.factor[1, 0]) > 0.1 * model.factor[1, 1]
    for samples in (1, 3):
        found = measure.iw_nll(model, x, samples, max_rows=2)
        assert torch.allclose(found, -model.log_p.log_prob(x.flatten(1)), rtol=1e-10)
    q = measure.posteriors(model, x, chunk=2)
    assert isinstance(q, FullGaussian) and q.factor.shape == (5, 2, 2)
    assert torch.allclose(q.mean, model.posterior(x).mean)


# --- the prior ----------------------------------------------------------------------------------


def test_the_mixture_is_torchs_and_integrates_to_one():
    parts = full(5, latents=2)
    even = dist.Categorical(logits=torch.zeros(5).double())
    z = 3 * randn(4, 7, 2)
    expected = dist.MixtureSameFamily(even, normal(parts)).log_prob(z)
    assert torch.allclose(log_mixture(z, parts), expected, rtol=1e-11)
    parts = FullGaussian(parts.mean, parts.factor + 0.5 * torch.eye(2))
    line = torch.linspace(-25, 25, 501, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    assert abs(log_mixture(grid, parts).exp().sum() * 0.1**2 - 1) < 1e-6


def test_a_part_too_far_off_for_a_number_weighs_nothing():
    torch.manual_seed(0)
    below = torch.ones(64, 64).tril(-1)
    near, steep = torch.eye(64) + 0.01 * below, 0.1 * torch.eye(64) - 0.4 * below
    mean, factor = torch.randn(2, 64), torch.stack([near, steep])  # u grows fivefold at each row
    z = mean[:1] + torch.randn(3, 64)
    u = torch.linalg.solve_triangular(steep, (z - mean[1]).T, upper=False)
    assert not u.square().sum(0).isfinite().any()
    both = [v.clone().requires_grad_() for v in (mean, factor, z)]
    value = log_mixture(both[2], FullGaussian(*both[:2]))
    one = [v.clone().requires_grad_() for v in (mean[:1], factor[:1], z)]
    alone = log_mixture(one[2], FullGaussian(*one[:2]))
    assert torch.allclose(value, alone - math.log(2), rtol=1e-5)
    for total in (value, alone):
        total.sum().backward()
    for with_it, without in zip(both, one, strict=True):
        assert torch.allclose(with_it.grad[: len(without)], without.grad, rtol=1e-4, atol=1e-5)
    assert not both[0].grad[1].any() and not both[1].grad[1].any()
    assert log_mixture(z, FullGaussian(mean[1:], factor[1:])).eq(-torch.inf).all()


def test_draws_from_the_mixture():
    mean, factor = torch.arange(5.0)[:, None].expand(5, 2), 1e-3 * torch.eye(2)
    parts = FullGaussian(mean, factor.expand(5, 2, 2))
    z = sample_mixture(4000, Rng.of(3), parts)
    k = z.round()
    assert (z - k).std() < 2e-3 and torch.equal(k[:, 0], k[:, 1])
    frequency = k[:, 0].long().bincount(minlength=5)
    assert len(frequency) == 5 and (frequency - 800).abs().max() < 4.5 * math.sqrt(4000 * 0.16)
    model = vae()
    z = model.prior_code(9, Rng.of(1))
    parts = model.posterior(model.prior())
    assert torch.equal(z, sample_mixture(9, Rng.of(1), parts)) and z.shape == (9, 3)
    assert torch.allclose(model.log_prior(z), log_mixture(z, parts))


def test_pseudo_inputs_start_nearly_black_and_are_clipped():
    torch.manual_seed(0)
    prior = PseudoInputs(280, 28)
    assert prior().shape == (280, 1, 28, 28) and abs(prior.raw.mean() - 0.05) < 1e-4
    assert abs(prior.raw.std() - 0.01) < 1e-4 and torch.equal(prior(), prior.raw)
    prior.raw.data[:2] = torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1)
    assert prior()[0].eq(0).all() and prior()[1].eq(1).all()
    prior().sum().backward()
    assert not prior.raw.grad[:2].any() and prior.raw.grad[2:].eq(1).all()


def test_the_rate_is_zero_where_all_pseudo_inputs_are_the_image():
    model, x = vae(), images(1)
    assert model(x, Rng.of(0)).rate.abs() > 0.01
    model.prior.raw.data.copy_(x.expand(6, -1, -1, -1))
    rates = torch.cat([model(x, Rng.of(seed)).rate for seed in range(5)])
    assert rates.abs().max() < 1e-12


def test_the_rate_is_that_of_the_code_that_was_drawn():
    model, x = vae(), images(3)
    nats = model(x, Rng.of(0))
    q = model.posterior(x)
    assert torch.equal(nats.z, q.place(Rng.of(0).normal_like(q.mean)[:, None])[:, 0])
    expected = normal(q).log_prob(nats.z) - model.log_prior(nats.z)
    assert torch.allclose(nats.rate, expected, rtol=1e-9, atol=1e-9)


# --- what a decoder says ------------------------------------------------------------------------


def test_five_logistics_sum_to_one_over_256_values():
    five, out = LogisticMixture(5), 4 * randn(1, 15, 3, 3)
    assert five.channels(1) == 15
    levels = torch.arange(256, dtype=torch.float64) / 255
    masses = []
    for level in levels:
        log_p = [five.log_prob(out[:, :, i : i + 1, j : j + 1], level.view(1, 1, 1, 1))
                 for i in range(3) for j in range(3)]
        masses.append(torch.cat(log_p).exp())
    assert (torch.stack(masses).sum(0) - 1).abs().max() < 1e-9
    assert repr(LogisticMixture()) != repr(five)  # which names checkpoints
    assert "components=5" in repr(five)
    with pytest.raises(VaenbError, match="components is 0 and must be at least 1"):
        LogisticMixture(0)


@pytest.mark.parametrize(("levels", "grey"), [(1, False), (7, True)])
def test_a_gradient_is_a_categorical_for_each_difference(levels, grey):
    target, x, values = Gradient(levels), images(2, grey, 4), 2 * levels + 1
    assert target.channels(1) == 2 * values
    out, expected = randn(2, 2 * values, 4, 4, seed=3), torch.zeros(2).double()
    seen = set()
    for b, i, j in itertools.product(range(2), range(4), range(4)):
        for part, (a, c) in enumerate(((i - 1, j), (i, j - 1))):
            if a >= 0 and c >= 0:
                found = round(float(levels * (x[b, 0, i, j] - x[b, 0, a, c]))) + levels
                logits = out[b, part * values : (part + 1) * values, i, j]
                expected[b] += logits.log_softmax(0)[found]
                seen.add(found)
    assert torch.allclose(target.log_prob(out, x), expected, rtol=1e-12)
    assert seen == {0, 1, 2} if not grey else len(seen) > 5


@pytest.mark.parametrize("values", [2, 256])
@pytest.mark.parametrize("lines", [False, True])
def test_bags_count_intensities(values, lines):
    target, x = Bags(values, lines), images(2, values == 256, 4)
    assert target.numbers(4) == (8 if lines else 1) * values
    out, expected = randn(2, target.numbers(4), seed=3), torch.zeros(2).double()
    for b, i, j in itertools.product(range(2), range(4), range(4)):
        level = round(float(x[b, 0, i, j]) * (values - 1))
        log_p = out[b].view(-1, values).log_softmax(1)
        expected[b] += log_p[i, level] + log_p[4 + j, level] if lines else log_p[0, level]
    assert torch.allclose(target.log_prob(out, x), expected, rtol=1e-12)
    moved = x.flip(2).roll(1, 3)
    same = torch.allclose(target.log_prob(out, moved), expected, rtol=1e-12)
    assert same != lines  # a histogram does not know where


@pytest.mark.parametrize("name", models.AUXILIARIES)
@pytest.mark.parametrize("grey", [False, True])
def test_auxiliary_decoders_hear_the_code_alone(name, grey):
    torch.manual_seed(0)
    decoder = auxiliary(name, 3, grey, 2, 5, 8).double()
    x, z = images(4, grey), randn(4, 3)
    log_p = decoder.log_prob(x, z)
    assert log_p.shape == (4,) and (log_p < 0).all()
    whole = decoder.target.log_prob(decoder.network(z), x)
    assert torch.equal(log_p, whole) and decoder.log_prob(x, 2 * z).ne(log_p).all()
    if name == "conv":
        kind = LogisticMixture if grey else models.Bernoulli
        assert isinstance(decoder.target, kind)


# --- the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("decoder", "grey"), CASES)
def test_forward_is_the_sum_of_its_parts(decoder, grey):
    model, x = vae(decoder, grey=grey), images(4, grey)
    nats = model(x, Rng.of(7))
    q, parts = model.posterior(x), model.posterior(model.prior())
    assert torch.equal(nats.z, q.sample(Rng.of(7))) and torch.equal(nats.posterior.mean, q.mean)
    even = dist.MixtureSameFamily(dist.Categorical(logits=torch.zeros(6).double()), normal(parts))
    rate = normal(q).log_prob(nats.z) - even.log_prob(nats.z)
    assert torch.allclose(nats.rate, rate, rtol=1e-8) and nats.rates[0] is nats.rate
    out = model.decoder(x, nats.z) if decoder == "pixelcnn" else model.decoder(nats.z)
    pixels = model.likelihood.log_prob(out, x)
    assert torch.allclose(-nats.distortion, pixels, rtol=1e-12)
    assert torch.allclose(-nats.auxiliary, model.auxiliary.log_prob(x, nats.z), rtol=1e-12)
    joint = pixels + even.log_prob(nats.z)
    assert torch.allclose(model.log_joint(x, nats.z), joint, rtol=1e-10)
    both = torch.stack([nats.z, 2 * nats.z], 1)
    assert torch.allclose(model.log_joint(x, both)[:, 0], joint, rtol=1e-10)
    assert (model.decode is None) == (decoder == "pixelcnn")
    alone = vae(decoder, None, grey=grey)
    assert torch.equal(alone(x, Rng.of(7)).auxiliary, torch.zeros(4).double())


@pytest.mark.parametrize(("decoder", "grey"), CASES)
def test_the_measures_take_it(decoder, grey):
    model, x = vae(decoder, None, grey=grey), images(5, grey)
    spent = measure.nats(model, x, chunk=2)
    assert torch.allclose(spent.neg_elbo, measure.nats(model, x).neg_elbo, rtol=1e-10)
    nll = measure.iw_nll(model, x, 3, max_rows=4)
    assert torch.allclose(nll, measure.iw_nll(model, x, 3, max_rows=100), rtol=1e-10)
    one = measure.iw_nll(model, x, 1)
    u = model(x, measure.chunks.RowRng(0, 0, 5))  # the same noise
    assert torch.allclose(one, u.distortion + u.rate, rtol=1e-8)
    z = model.prior_code(3, Rng.of(0))
    drawn = model.sample(z, Rng.of(1))
    out = model.decoder(drawn, z) if decoder == "pixelcnn" else model.decode(z)
    assert torch.equal(drawn, model.likelihood.sample(out, Rng.of(1)))


def test_the_auxiliary_decoder_may_read_other_pixels():
    model, x = vae("cnn", "histogram", grey_target=True), images(4)
    grey, nats = images(4, True), model(x, Rng.of(0), images(4, True))
    assert torch.allclose(-nats.auxiliary, model.auxiliary.log_prob(grey, nats.z))
    assert torch.equal(nats.distortion, model(x, Rng.of(0)).distortion)
    model.check(x, grey)
    with pytest.raises(VaenbError, match="the auxiliary decoder reads grey values and all"):
        model.check(x)


def loss(model, x, hp):
    nats = model(x, hp.rng)
    value = nats.distortion + hp.weight * nats.auxiliary + hp.beta * nats.rate
    return value.mean(), dict(D=nats.distortion.mean(), R=nats.rate.mean())


@pytest.mark.parametrize(("decoder", "beside", "grey"), [
    ("pixelcnn", "conv", False), ("cnn", "gradient", True), ("pixelcnn", "marginals", True),
    ("cnn", "histogram", False)])  # fmt: skip
def test_stacked_is_one_by_one(decoder, beside, grey, capsys):
    rows = [dict(beta=b, weight=w, seed=s) for b, w, s in ((0.5, 1.0, 0), (1.0, 0.1, 1))]
    sizes = dict(width=1, filters=2, hidden=3, pseudo_inputs=3, side=4)

    def make():
        return dueling_vae(2, decoder, beside, grey=grey, **sizes).double()

    def go(chunk):
        return train.fit(make, loss, images(16, grey, 4), rows, 4, batch=4, every=4, lr=3e-3,
                         chunk=chunk, progress=True, device="cpu")

    wide, plain = go(2), go(1)
    assert "2 members, 2 at a time: as asked" in capsys.readouterr().out
    assert all(distance(a, b) < 1e-10 for a, b in zip(wide.models, plain.models, strict=True))
    torch.manual_seed(0)
    assert distance(wide[0], make()) > 1e-3


def test_the_auxiliary_decoder_brings_the_rate_back():
    """Black or white images: to the PixelCNN, which knows after one pixel, a code is too dear at
    beta 2; to the marginals, which hear of nothing else, it is worth its log 2."""
    x = torch.tensor([0.0, 1.0])[torch.arange(32) % 2].view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    rows = [dict(beta=2.0, weight=w, seed=1) for w in (0.0, 1.0)]
    sizes = dict(width=8, filters=4, hidden=16, pseudo_inputs=4, side=4)
    runs = train.fit(lambda: dueling_vae(2, beside="marginals", **sizes), loss, x.contiguous(),
                     rows, 120, batch=8, lr=1e-2, progress=False, chunk=1, device="cpu", every=15)
    alone, dueling = ({name: told[-1] for name, told in h.items()} for h in runs.history)
    assert abs(alone["R"]) < 0.05 and abs(alone["D"] - math.log(2)) < 0.2
    assert dueling["R"] > 0.5 and dueling["D"] < 0.5 and alone["D"] > dueling["D"]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "words"), [
    (dict(latents=0), "latents is 0 and must be at least 1"),
    (dict(latents=1.5), "latents is 1.5 and must be a whole number"),
    (dict(width=0), "width is 0"), (dict(filters=0), "filters is 0"),
    (dict(more=-1), "more is -1"), (dict(more=1.5), "more is 1.5 and must be a whole number"),
    (dict(beside="histogram", hidden=0), "hidden is 0"),
    (dict(pseudo_inputs=0), "pseudo_inputs is 0 and must be at least 1"),
    (dict(side=27), "the side is 27 and must be one that 4 divides"),
    (dict(decoder="mlp"), "the decoder 'mlp' is unknown: take pixelcnn or cnn"),
    (dict(beside="pixels"), "the auxiliary decoder 'pixels' is unknown: take conv, gradient, mar"),
])  # fmt: skip
def test_impossible_models(change, words):
    with pytest.raises(VaenbError, match=words):
        dueling_vae(**change)


def test_targets_of_another_shape():
    model, x, rng = vae("cnn", "histogram"), images(4), Rng.of(0, "noise")
    for target in (x[:2], x[:, :, :2], torch.zeros(4, 1, 16, 16)):
        with pytest.raises(VaenbError, match="target is .* and the images are 4x1x8x8: give it o"):
            model(x, rng, target)


def test_targets_that_do_not_fit_the_pixels():
    binary, grey = images(4), images(4, True)
    with pytest.raises(VaenbError, match="images are 1x12x12 and this net was made for 1x8x8"):
        vae("cnn", "gradient").check(torch.zeros(2, 1, 12, 12))
    for x, y in ((binary, grey), ((255 * binary).byte(), (255 * grey).byte())):
        vae("cnn", "gradient").check(x)
        vae("cnn", "gradient", grey=True).check(y)
        with pytest.raises(VaenbError, match="the decoder reads binary pixels and the images"):
            vae("cnn", "gradient").check(y)
        with pytest.raises(VaenbError, match="the decoder reads grey values and all pixels are b"):
            vae("cnn", None, grey=True).check(x)
        with pytest.raises(VaenbError, match="the auxiliary decoder reads binary pixels and"):
            vae("cnn", "gradient", grey_target=False).check(x, y)
    with pytest.raises(VaenbError, match="floats in .0, 1. and the images reach from 0 to 255"):
        vae("cnn", None).check(255 * binary)
    with pytest.raises(VaenbError, match="reach from nan to nan: divide 8-bit values by 255"):
        vae("cnn", None).check(binary * torch.nan)
    for name in ("conv", "gradient", "marginals", "histogram"):
        with pytest.raises(VaenbError, match="images are 1x5x8 and this net was made for 1x8x8"):
            vae("cnn", name).check(binary, binary[:, :, :5])
        with pytest.raises(VaenbError, match="4 images and 2 targets of the auxiliary decoder"):
            vae("cnn", name).check(binary, binary[:2])
    with pytest.raises(VaenbError, match="images are 1x12x12 and this net was made for 1x8x8"):
        vae("cnn", None)(torch.zeros(2, 1, 12, 12), None)
