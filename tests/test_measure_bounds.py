"""Bounds against a linear-Gaussian VAE, whose log p(x) and posterior are closed forms."""

import math

import pytest
import torch
from torch import nn

from vaenb import VaenbError, measure
from vaenb.data import unit
from vaenb.measure.chunks import RowRng, evaluating
from vaenb.models import VAE, Categorical, OptimalGaussian, SharedGaussian, ghvae, small_vae
from vaenb.train import Rng, key

SIDE, LATENTS, SIGMA = 4, 3, 0.3
WIDE = (0.2, math.log(1.4))  # a worse posterior: means moved by 0.2, deviations times 1.4


class Linear(nn.Module):
    """x = decoder output + SIGMA noise, on [B, 1, 4, 4]."""

    discrete, proper = False, True

    def channels(self, c):
        return c

    def log_prob(self, out, x):
        normal = torch.distributions.Normal(out, SIGMA)
        return normal.log_prob(x).flatten(1).sum(1)

    def mean(self, out):
        return out

    def sample(self, out, rng):
        return out + SIGMA * rng.normal_like(out)


class World:
    """W has orthogonal columns, so the true posterior is diagonal and an encoder can be exact."""

    def __init__(self, shift=0.0, widen=0.0):
        d = SIDE * SIDE
        g = torch.Generator().manual_seed(1)
        q = torch.linalg.qr(torch.randn(d, LATENTS, generator=g, dtype=torch.float64)).Q
        self.w = q * torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
        self.b = torch.rand(d, generator=g, dtype=torch.float64)
        self.variance = 1 / (1 + self.w.square().sum(0) / SIGMA**2)  # of the true posterior, [Z]
        encoder = nn.Linear(d, 2 * LATENTS).double()
        decoder = nn.Linear(LATENTS, d).double()
        with torch.no_grad():
            encoder.weight.zero_()
            encoder.weight[:LATENTS] = self.variance[:, None] * self.w.T / SIGMA**2
            encoder.bias[:LATENTS] = shift - encoder.weight[:LATENTS] @ self.b
            encoder.bias[LATENTS:] = self.variance.log() + 2 * widen
            decoder.weight.copy_(self.w)
            decoder.bias.copy_(self.b)
        encoder = nn.Sequential(nn.Flatten(), encoder)
        decoder = nn.Sequential(decoder, nn.Unflatten(1, (1, SIDE, SIDE)))
        self.model = VAE(encoder, decoder, Linear(), LATENTS)
        self.shift, self.widen = shift, widen

    def images(self, n):
        rng = Rng.of(5)
        z = rng.normal(n, LATENTS, dtype=torch.float64)
        x = z @ self.w.T + self.b + SIGMA * rng.normal(n, SIDE * SIDE, dtype=torch.float64)
        return x.view(n, 1, SIDE, SIDE)

    def nll(self, x):
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(SIDE * SIDE, dtype=torch.float64)
        return -torch.distributions.MultivariateNormal(self.b, covariance).log_prob(x.flatten(1))

    def gap(self):
        """KL(q || true posterior), the same for all x."""
        r = math.exp(2 * self.widen)
        return float(0.5 * (r - 1 - math.log(r) + self.shift**2 / self.variance).sum())

    def chi_square(self):
        """E_q[(posterior / q)^2] - 1, in closed form for two Gaussians."""
        s2, t2 = self.variance * math.exp(2 * self.widen), self.variance
        each = s2.sqrt() / (t2 * (2 / t2 - 1 / s2).sqrt())
        return float((each * (self.shift**2 / (2 * s2 - t2)).exp()).prod() - 1)


def test_exact_posterior_gives_log_p_for_any_sample_count():
    world = World()
    x = world.images(40)
    for samples, rows in ((1, None), (5, 7), (50, 13)):
        found = measure.iw_nll(world.model, x, samples, max_rows=rows)
        torch.testing.assert_close(found, world.nll(x), rtol=0, atol=1e-9)


def test_elbo_gap_is_the_posteriors_divergence():
    for world in (World(), World(*WIDE)):
        x = world.images(50)
        draws = 300
        spent = measure.nats(world.model, x, draws=draws)
        q = world.model.posterior(x)
        prior = torch.distributions.Normal(0, torch.ones((), dtype=torch.float64))
        rate = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.mean, q.log_std.exp()), prior
        ).sum(1)
        torch.testing.assert_close(spent.rate, rate)
        assert spent.rates.shape == (50, 1) and not spent.rates.requires_grad
        torch.testing.assert_close(spent.neg_elbo, spent.distortion + spent.rate)
        gap = spent.neg_elbo - world.nll(x)
        error = float(gap.std() / 50**0.5)
        assert 0 < error < 0.05
        assert abs(float(gap.mean()) - world.gap()) < 4 * error


def test_worse_posterior_bound_falls_towards_log_p_at_the_known_rate():
    world = World(*WIDE)
    x = world.images(3000)
    exact = world.nll(x)
    gaps = {k: measure.iw_nll(world.model, x, k, max_rows=20000) - exact for k in (1, 4, 60)}
    means = {k: float(g.mean()) for k, g in gaps.items()}
    errors = {k: float(g.std() / len(x) ** 0.5) for k, g in gaps.items()}
    assert means[1] > means[4] + 4 * errors[1] > means[60] + 8 * errors[1] > 0
    assert abs(means[1] - world.gap()) < 4 * errors[1]  # one sample is the ELBO
    leading = world.chi_square() / (2 * 60)  # Taylor: Var(mean weight) / 2
    assert abs(means[60] - leading) < 4 * errors[60] + 0.1 * leading


def test_no_chunk_changes_a_value_and_more_samples_extend_fewer():
    world = World(*WIDE)
    x = world.images(23)
    whole = measure.iw_nll(world.model, x, 30)
    for rows in (1, 7, 31, 200):
        torch.testing.assert_close(
            measure.iw_nll(world.model, x, 30, max_rows=rows), whole, rtol=0, atol=1e-10
        )
    assert not torch.equal(measure.iw_nll(world.model, x, 30, seed=1), whole)
    spent = measure.nats(world.model, x, draws=2)
    for chunk in (1, 5):
        part = measure.nats(world.model, x, draws=2, chunk=chunk)
        torch.testing.assert_close(part, spent, rtol=0, atol=1e-10)
    first = measure.nats(world.model, x[:9], draws=2)
    torch.testing.assert_close(first.neg_elbo, spent.neg_elbo[:9])
    short, long = (RowRng(3, 10, 4).normal(4, s, 2) for s in (5, 8))
    assert torch.equal(short, long[:, :5])
    assert torch.equal(RowRng(3, 12, 2).normal(2, 8, 2), long[2:])


def test_row_noise_is_each_keys_own_stream():
    rows = RowRng(7, 3, 2)
    first, second = rows.normal(2, 6), rows.uniform(2, 4)
    for i in range(2):
        alone = Rng(key(7, "evaluation", 3 + i))
        assert torch.equal(alone.normal(6), first[i]) and torch.equal(alone.uniform(4), second[i])


def test_bytes_and_floats_agree_and_the_model_stays_as_it_was():
    likelihood = OptimalGaussian()
    model = small_vae(likelihood, (1, 8, 8), latents=4, width=2)
    x = Rng.of(2).bits(11, 1, 8, 8).bitwise_and(255).to(torch.uint8)
    model(unit(x), Rng.of(0))  # a training step's worth of running average
    model.decoder.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    spent, bound = measure.nats(model, x), measure.iw_nll(model, x, 3)
    assert torch.equal(spent.neg_elbo, measure.nats(model, unit(x)).neg_elbo)
    assert torch.equal(bound, measure.iw_nll(model, x.numpy(), 3))
    assert torch.equal(bound, measure.iw_nll(model, x.flip(0).numpy()[::-1], 3))
    with pytest.raises(VaenbError, match="int64"):
        measure.nats(model, x.long())
    torch.testing.assert_close(bound, measure.iw_nll(model, x, 3, max_rows=4))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert likelihood.training and model.training and not model.decoder[0].training
    posterior = measure.posteriors(model, x, chunk=4)
    torch.testing.assert_close(posterior.mean, model.posterior(unit(x)).mean.detach())
    assert posterior.log_std.shape == (11, 4)


def test_products_are_not_rounded_while_measuring():
    model = small_vae(OptimalGaussian(), (1, 8, 8), latents=4, width=2)
    for rounded in (False, True):
        torch.backends.cudnn.allow_tf32 = rounded
        with evaluating(model):
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32 == rounded


def test_large_outputs_are_decoded_in_fewer_rows(monkeypatch):
    from vaenb.measure.chunks import rows_at_once

    small = small_vae(SharedGaussian(), (1, 28, 28), width=2)
    large = small_vae(Categorical(), (3, 28, 28), width=2)
    assert rows_at_once(small, None) == 200 and rows_at_once(small, 17) == 17
    assert rows_at_once(large, None) == 2**25 // (256 * 3 * 28 * 28)
    most, decode = [], small.decode
    monkeypatch.setattr(small, "decode", lambda z: most.append(len(z)) or decode(z))
    measure.iw_nll(small, torch.zeros(5, 1, 28, 28), 12, max_rows=8)
    assert max(most) == 8 and sum(most) == 60


def test_a_hierarchy_is_bounded_but_not_weighted():
    model, x = ghvae(SharedGaussian(), (1, 28, 28), width=1), torch.zeros(2, 1, 28, 28)
    assert measure.nats(model, x).rates.shape == (2, 2)
    with pytest.raises(VaenbError, match="a Hierarchy has no log_joint.* bound it with nats"):
        measure.iw_nll(model, x, 3)


def test_impossible_requests_are_refused():
    model, x = World().model, World().images(2)
    for call in (
        lambda: measure.iw_nll(model, x, 0),
        lambda: measure.iw_nll(model, x[:0]),
        lambda: measure.nats(model, x, draws=0),
        lambda: measure.nats(model, x, chunk=0),
        lambda: measure.iw_nll(model, x, 3, max_rows=0),
        lambda: measure.samples(model, 0),
        lambda: measure.posteriors(model, x[:0]),
    ):
        with pytest.raises(VaenbError):
            call()


def test_samples_and_reconstructions():
    world = World()
    n = 20000
    drawn = measure.samples(world.model, n).flatten(1)
    covariance = world.w @ world.w.T
    variance = float(covariance.diag().max())
    assert (drawn.mean(0) - world.b).abs().max() < 4.5 * (variance / n) ** 0.5
    assert (drawn.T.cov() - covariance).abs().max() < 4.5 * variance * (2 / n) ** 0.5
    means = measure.samples(world.model, 50)
    torch.testing.assert_close(measure.samples(world.model, 20, chunk=7), means[:20])
    assert torch.linalg.matrix_rank(means.flatten(1) - world.b, atol=1e-9) == LATENTS
    assert not torch.equal(measure.samples(world.model, 50, seed=1), means)

    x = world.images(30)
    projected = world.b + world.model.posterior(x).mean.detach() @ world.w.T
    torch.testing.assert_close(measure.reconstructions(world.model, x).flatten(1), projected)
    torch.testing.assert_close(
        measure.reconstructions(world.model, x, chunk=4).flatten(1), projected)


def test_mse_and_psnr():
    a = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    b = torch.tensor([0.1, 0.5]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    torch.testing.assert_close(measure.mse(a, b), torch.tensor([0.01, 0.25]).double())
    assert measure.psnr(a, b) == pytest.approx(-10 * math.log10(0.13))  # pooled, not (20 + 6) / 2
    assert measure.psnr(a[:1], b[:1]) == pytest.approx(20) and measure.psnr(a, a) == math.inf
    with pytest.raises(VaenbError):
        measure.mse(a, b[:1])
