"""Decoding distributions against enumeration, quadrature, torch.distributions and SciPy."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import distributions as dist

from vaenb import VaenbError, models
from vaenb.models.likelihoods import MIN_LOG_SIGMA, _gaussian
from vaenb.train import Rng, fit

MAKE = {
    "Bernoulli": models.Bernoulli,
    "UnitGaussian": models.UnitGaussian,
    "ConstantGaussian": lambda: models.ConstantGaussian(0.02),
    "SharedGaussian": models.SharedGaussian,
    "OptimalGaussian": models.OptimalGaussian,
    "PerImageGaussian": models.PerImageGaussian,
    "PerPixelGaussian": models.PerPixelGaussian,
    "StudentT": models.StudentT,
    "Categorical": models.Categorical,
    "BitwiseCategorical": models.BitwiseCategorical,
    "LogisticMixture": models.LogisticMixture,
    "DiscretisedGaussian": models.DiscretisedGaussian,
    "DiscretisedLogistic": models.DiscretisedLogistic,
}
FACTOR = {  # decoder channels a channel of the image
    "PerPixelGaussian": 2, "Categorical": 256, "BitwiseCategorical": 8, "LogisticMixture": 30,
}  # fmt: skip
MASSES = ["Categorical", "BitwiseCategorical", "LogisticMixture", "DiscretisedGaussian",
          "DiscretisedLogistic"]  # fmt: skip
DENSITIES = ["UnitGaussian", "ConstantGaussian", "SharedGaussian", "OptimalGaussian",
             "PerPixelGaussian", "StudentT"]  # fmt: skip
LEVELS = torch.arange(256, dtype=torch.float64) / 255


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grey(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).double() / 255


def build(name, spread=None):
    """A float64 likelihood with its parameters set: ``spread`` is the log of its scale."""
    likelihood = MAKE[name]().double()
    with torch.no_grad():
        if name == "OptimalGaussian":
            variance = math.exp(2 * (-1.5 if spread is None else spread))
            likelihood.weight.fill_(0.5)
            likelihood.average.fill_(0.5 * variance)
            likelihood.eval()
        elif spread is not None:
            for p in list(likelihood.parameters())[:1]:  # the scale comes first
                p.fill_(spread)
    return likelihood


# --- the interface ------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("name", MAKE)
def test_interface(name, c):
    likelihood = MAKE[name]()
    assert likelihood.channels(c) == FACTOR.get(name, 1) * c
    assert likelihood.discrete is (name in MASSES or name == "Bernoulli")
    assert likelihood.proper is (name not in ("Bernoulli", "PerImageGaussian"))
    out = randn(5, likelihood.channels(c), 4, 6).float().requires_grad_()
    x = grey(5, c, 4, 6).float()
    value = likelihood.log_prob(out, x)
    assert value.shape == (5,) and value.dtype == torch.float32 and value.isfinite().all()
    if likelihood.discrete:
        assert (value < 0).all()
    mean = likelihood.mean(out)
    assert mean.shape == x.shape and 0 <= mean.min() and mean.max() <= 1
    value.sum().backward()
    assert out.grad.isfinite().all() and out.grad.flatten(1).abs().sum(1).min() > 0
    for parameter in likelihood.parameters():
        assert parameter.grad.isfinite() and parameter.grad != 0
    if name == "PerImageGaussian":
        with pytest.raises(VaenbError, match="mean instead"):
            likelihood.sample(out, Rng.of(0))
        return
    drawn = likelihood.sample(out, Rng.of(0))
    assert drawn.shape == x.shape and drawn.dtype == x.dtype
    assert torch.equal(drawn, likelihood.sample(out, Rng.of(0)))
    assert not torch.equal(drawn, likelihood.sample(out, Rng.of(1)))


@pytest.mark.parametrize("name", MAKE)
def test_nats_are_summed_over_dimensions_and_images_kept_apart(name):
    likelihood = build(name)
    if name == "PerImageGaussian":  # its sigma couples the pixels: only the images are apart
        out, x = randn(3, 1, 4, 4), grey(3, 1, 4, 4)
        single = [likelihood.log_prob(out[i : i + 1], x[i : i + 1]) for i in range(3)]
        assert torch.allclose(likelihood.log_prob(out, x), torch.cat(single), rtol=1e-12)
        return
    out, x = randn(3, likelihood.channels(2), 2, 2), grey(3, 2, 2, 2)
    together = likelihood.log_prob(out, x)
    per_channel = out.unflatten(1, (2, -1)) if name != "PerPixelGaussian" else (
        out.unflatten(1, (2, 2)).transpose(1, 2))  # fmt: skip
    if name == "LogisticMixture":
        per_channel = out.unflatten(1, (3, 2, 10)).transpose(1, 2).flatten(2, 3)
    apart = sum(
        likelihood.log_prob(per_channel[:, c, :, i : i + 1, j : j + 1], x[:, c : c + 1, i : i + 1,
                                                                          j : j + 1])
        for c in range(2) for i in range(2) for j in range(2)
    )  # fmt: skip
    assert torch.allclose(together, apart, rtol=1e-10)


@pytest.mark.parametrize("name", MAKE)
def test_variance(name):
    likelihood = build(name, spread=None if name in ("UnitGaussian", "ConstantGaussian") else -2.0)
    expected = {
        "UnitGaussian": 1.0,
        "ConstantGaussian": 0.01,
        "SharedGaussian": math.exp(-4),
        "OptimalGaussian": math.exp(-4),
        "DiscretisedGaussian": math.exp(-4),
    }
    assert hasattr(likelihood, "variance") is (name in expected)
    if name in expected:
        assert float(likelihood.variance.detach()) == pytest.approx(expected[name], rel=1e-6)


# --- masses sum to one --------------------------------------------------------------------------

OUTPUTS = {
    "random": lambda k: randn(6, k, 1, 1),
    "wide": lambda k: 8 * randn(6, k, 1, 1, seed=1),
    "low": lambda k: torch.full((6, k, 1, 1), -40.0, dtype=torch.float64),
    "high": lambda k: torch.full((6, k, 1, 1), 40.0, dtype=torch.float64),
    "ends": lambda k: 40 * randn(6, k, 1, 1, seed=2).sign(),
}


def masses(likelihood, out):
    """Every grey value's mass for one-pixel outputs [B, k, 1, 1]: [B, 256]."""
    b, k = out.shape[:2]
    rows = out.repeat_interleave(256, 0)
    x = LEVELS.to(out.dtype).repeat(b).view(-1, 1, 1, 1)
    return likelihood.log_prob(rows, x).view(b, 256).exp()


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize(("name", "spread"), [(n, None) for n in MASSES] + [
    (n, s) for n in MASSES if n.startswith("Disc") for s in (-8.0, -5.5, -3.0, 0.8)])  # fmt: skip
def test_masses_sum_to_one(name, outputs, spread):
    likelihood = build(name, spread)
    out = OUTPUTS[outputs](likelihood.channels(1))
    with torch.no_grad():
        total = masses(likelihood, out).sum(1)
        assert (total - 1).abs().max() < 1e-9
        total = masses(likelihood.float(), out.float()).double().sum(1)
        assert (total - 1).abs().max() < 2e-4


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("name", MASSES)
def test_masses_of_whole_images_sum_to_one(name, c):
    """Places are independent given the code, so the sum over all images is a product of sums."""
    likelihood, places = build(name), 4 * c
    out = randn(1, likelihood.channels(c), 2, 2, seed=4)
    base = grey(1, c, 2, 2, seed=5)
    x = base.repeat(places, 256, 1, 1, 1)  # [place, value, C, 2, 2]
    for place in range(places):
        x[place].view(256, places)[:, place] = LEVELS
    with torch.no_grad():
        here = likelihood.log_prob(out, base)
        moved = torch.stack([likelihood.log_prob(out.expand(256, -1, -1, -1), v) for v in x])
        total = moved.logsumexp(1).sum() - (places - 1) * here
        assert abs(total) < 1e-7
        other = grey(1, c, 2, 2, seed=6)
        value = (other.flatten() * 255).round().long()
        steps = moved[torch.arange(places), value].sum() - (places - 1) * here
        assert torch.allclose(likelihood.log_prob(out, other), steps, rtol=1e-9)


def test_bernoulli_sums_to_one_on_binary_images():
    out = 5 * randn(7, 1, 1, 1)
    zero, one = (models.Bernoulli().log_prob(out, torch.full_like(out, v)) for v in (0.0, 1.0))
    assert torch.allclose(zero.exp() + one.exp(), torch.ones(7, dtype=torch.float64), atol=1e-14)


# --- densities integrate to one -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "spread"), [(n, None) for n in DENSITIES] + [
    (n, s) for n in DENSITIES[2:] for s in (-5.5, -2.0, 1.0)])  # fmt: skip
def test_densities_integrate_to_one(name, spread):
    likelihood = build(name, spread)
    out = 2 * randn(4, likelihood.channels(1), 1, 1)
    if name == "PerPixelGaussian" and spread is not None:
        out[:, 1] = spread
    # x = mean + scale * sinh(t) reaches far into the tails of the Student-t
    scale = 0.1 if spread is None else math.exp(spread)
    t = torch.linspace(-16, 16, 8001, dtype=torch.float64)
    centre = likelihood.mean(out).view(4, 1)
    x = centre + scale * t.sinh()
    with torch.no_grad():
        rows = out.repeat_interleave(len(t), 0)
        density = likelihood.log_prob(rows, x.view(-1, 1, 1, 1)).view(4, -1).exp()
    integral = torch.trapezoid(density * scale * t.cosh(), t)
    assert (integral - 1).abs().max() < 1e-8


# --- other people's implementations -------------------------------------------------------------


def per_image(log_prob):
    return log_prob.flatten(1).sum(1)


def test_gaussians_are_torchs_normal():
    out, x = randn(4, 3, 5, 5), grey(4, 3, 5, 5)
    mean = out.sigmoid()
    for beta in (0.001, 0.1, 2.0, 10.0):
        found = models.ConstantGaussian(beta).double().log_prob(out, x)
        expected = per_image(dist.Normal(mean, math.sqrt(beta / 2)).log_prob(x))
        assert torch.allclose(found, expected, rtol=1e-6)  # log sigma is a float32 constant
    unit = models.UnitGaussian().double().log_prob(out, x)
    assert torch.allclose(unit, per_image(dist.Normal(mean, 1.0).log_prob(x)), rtol=1e-12)
    shared = build("SharedGaussian", -3.0)
    expected = per_image(dist.Normal(mean, math.exp(-3)).log_prob(x))
    assert torch.allclose(shared.log_prob(out, x), expected, rtol=1e-12)
    fast = models.SharedGaussian(rate=3.0).double()
    with torch.no_grad():
        fast.scaled_log_sigma.fill_(-1.0)
    assert torch.allclose(fast.log_prob(out, x), expected, rtol=1e-12)


def test_shared_rate_is_a_learning_rate_of_log_sigma():
    def loss(likelihood, x, hp):
        return -likelihood.log_prob(torch.zeros_like(x), x).mean(), {}

    for rate in (1.0, 3.0):  # Adam's first step is the learning rate itself
        make = partial(models.SharedGaussian, rate)
        x = torch.full((2, 1, 4, 4), 0.6)
        runs = fit(make, loss, x, [{}], 1, batch=2, lr=1e-3, progress=False, device="cpu")
        assert float(runs[0].log_sigma.detach()) == pytest.approx(-1e-3 * rate, rel=1e-5)


def test_per_image_and_optimal_in_training_are_normals_with_their_own_error():
    out, x = randn(4, 3, 5, 5), grey(4, 3, 5, 5)
    error = (x - out.sigmoid()).square()
    for likelihood, variance in (
        (models.PerImageGaussian(), error.mean((1, 2, 3), keepdim=True)),
        (models.OptimalGaussian().double(), error.mean()),
    ):
        expected = per_image(dist.Normal(out.sigmoid(), variance.sqrt()).log_prob(x))
        assert torch.allclose(likelihood.log_prob(out, x), expected, rtol=1e-12)
        closed = -x[0].numel() / 2 * (2 * math.pi * variance).log() - (
            error.sum((1, 2, 3), keepdim=True) / (2 * variance))  # fmt: skip
        assert torch.allclose(likelihood.log_prob(out, x), closed.flatten(), rtol=1e-12)


@pytest.mark.parametrize("clip", [True, False])
def test_per_pixel_is_torchs_normal(clip):
    out, x = 3 * randn(4, 6, 5, 5), grey(4, 3, 5, 5)
    mean, raw = out[:, :3].sigmoid(), out[:, 3:]
    log_sigma = torch.log1p(torch.exp(raw + 6)) - 6 if clip else raw
    found = models.PerPixelGaussian(clip=clip).log_prob(out, x)
    assert torch.allclose(found, per_image(dist.Normal(mean, log_sigma.exp()).log_prob(x)))


@pytest.mark.parametrize("nu", [2.01, 5.0, 40.0, 1000.0])
def test_student_t_is_torchs_and_scipys(nu):
    from scipy import stats

    likelihood = build("StudentT", -2.0)
    with torch.no_grad():
        likelihood.log_extra.fill_(math.log(nu - 2))
    out, x = randn(3, 3, 28, 28), grey(3, 3, 28, 28)
    theirs = dist.StudentT(nu, out.sigmoid(), math.exp(-2)).log_prob(x)
    found = likelihood.log_prob(out, x).detach()
    assert torch.allclose(found, per_image(theirs), rtol=1e-11)
    numpy = stats.t(nu, out.sigmoid().numpy(), math.exp(-2)).logpdf(x.numpy())
    assert torch.allclose(found, per_image(torch.from_numpy(numpy)), rtol=1e-10)
    single = likelihood.float().log_prob(out.float(), x.float()).detach()
    assert (single - found).abs().max() < 0.01  # nats of 2352 pixels


def test_student_t_starts_with_five_degrees_of_freedom():
    assert float(models.StudentT().degrees.detach()) == pytest.approx(5, rel=1e-6)


def test_categorical_is_torchs():
    out, x = 3 * randn(4, 3 * 256, 3, 3), grey(4, 3, 3, 3)
    likelihood = models.Categorical()
    logits = out.view(4, 3, 256, 3, 3).movedim(2, -1)
    theirs = dist.Categorical(logits=logits)
    assert torch.allclose(likelihood.log_prob(out, x), per_image(theirs.log_prob(x * 255)))
    assert torch.allclose(likelihood.mean(out), (theirs.probs * LEVELS).sum(-1))


def test_bits_are_torchs_bernoulli():
    out, x = 3 * randn(4, 24, 3, 3), grey(4, 3, 3, 3)
    likelihood = models.BitwiseCategorical()
    shift = np.arange(8).reshape(1, 1, 8, 1, 1)
    bits = (np.round(x.numpy() * 255).astype(np.uint8)[:, :, None] >> shift) & 1
    theirs = dist.Bernoulli(logits=out.view(4, 3, 8, 3, 3))
    expected = per_image(theirs.log_prob(torch.from_numpy(bits).double()))
    assert torch.allclose(likelihood.log_prob(out, x), expected)
    means = (theirs.probs * torch.from_numpy(2.0**shift)).sum(2) / 255
    assert torch.allclose(likelihood.mean(out), means)


def test_bernoulli_is_torchs():
    out, x = 3 * randn(4, 3, 5, 5), grey(4, 3, 5, 5)
    theirs = dist.Bernoulli(logits=out, validate_args=False).log_prob(x)
    assert torch.allclose(models.Bernoulli().log_prob(out, x), per_image(theirs))


def bins(cdf, survival, x):
    """log P(grey value) from a cdf on [0, 1], on whichever side is small, in NumPy float64."""
    level = np.round(x * 255)
    low = np.where(level == 0, -np.inf, (level - 0.5) / 255)
    high = np.where(level == 255, np.inf, (level + 0.5) / 255)
    left, right = cdf(high) - cdf(low), survival(low) - survival(high)
    with np.errstate(divide="ignore"):
        return np.log(np.where(cdf(high) < 0.5, left, right))


@pytest.mark.parametrize("spread", [-6.5, -5.0, -3.0, -1.0, 0.8])
@pytest.mark.parametrize("name", ["DiscretisedGaussian", "DiscretisedLogistic"])
def test_discretised_are_cdf_differences(name, spread):
    from scipy import stats

    likelihood = build(name, spread)
    out, x = 2 * randn(6, 3, 6, 6), grey(6, 3, 6, 6)
    x[0], x[1] = 0, 1  # both end bins
    mean = out.sigmoid().numpy()
    family = stats.norm if name == "DiscretisedGaussian" else stats.logistic
    theirs = family(mean, math.exp(spread))
    mass = bins(theirs.cdf, theirs.sf, x.numpy())
    ours = likelihood.log_prob(
        out.reshape(-1, 1, 1, 1), x.reshape(-1, 1, 1, 1)
    ).detach().numpy()  # fmt: skip
    seen = np.isfinite(mass.ravel()) & (mass.ravel() > -600)  # beyond, cdf differences are lost
    assert seen.sum() > 20
    assert np.allclose(ours[seen], mass.ravel()[seen], rtol=1e-7, atol=1e-9)
    assert np.isfinite(ours).all()
    if seen.all():
        together = likelihood.log_prob(out, x).detach().numpy()
        assert np.allclose(together, mass.reshape(6, -1).sum(1), rtol=1e-8)


def test_logistic_mixture_is_the_sum_of_cdf_differences():
    from scipy import stats

    likelihood = models.LogisticMixture()
    out, x = 2 * randn(5, 90, 4, 4), grey(5, 3, 4, 4)
    x[0], x[1] = 0, 1
    weight, centre, scale = (v.numpy() for v in out.view(5, 3, 3, 10, 4, 4).unbind(1))
    weight = np.exp(weight) / np.exp(weight).sum(2, keepdims=True)
    scale = np.exp(np.log1p(np.exp(scale + 7)) - 7) / 2  # of [0, 1]
    family = stats.logistic((centre + 1) / 2, scale)
    mass = (weight * np.exp(bins(family.cdf, family.sf, x.numpy()[:, :, None]))).sum(2)
    expected = np.log(mass).reshape(5, -1).sum(1)
    assert np.allclose(likelihood.log_prob(out, x).numpy(), expected, rtol=1e-9)
    assert likelihood.components == 10


def test_a_small_bin_is_the_density_times_its_width():
    out, x = randn(3, 3, 6, 6), (100 + 50 * rand(3, 3, 6, 6)).round() / 255
    mean, dims = out.sigmoid(), 108
    mass = models.discretised_gaussian(mean, x, torch.tensor(0.0, dtype=torch.float64))
    density = models.UnitGaussian().double().log_prob(out, x)
    assert (mass - (density - dims * math.log(255))).abs().max() < 1e-3 * dims / 100


# --- far from the mean --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [-10.0, -6.0, 0.0])
@pytest.mark.parametrize("name", [n for n in MAKE if n != "PerImageGaussian"])
def test_far_tails_are_finite_and_so_are_their_gradients(name, spread, dtype):
    likelihood = build(name, spread).to(dtype)
    for value in (-60.0, 60.0):
        out = torch.full((2, likelihood.channels(1), 2, 2), value, dtype=dtype)
        if name == "LogisticMixture":
            out[:, 20:] = spread
        if name == "PerPixelGaussian":
            out[:, 1:] = spread
        out.requires_grad_()
        x = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]).to(dtype)
        likelihood.zero_grad()
        nats = likelihood.log_prob(out, x)
        assert nats.isfinite().all()
        nats.sum().backward()
        assert out.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in likelihood.parameters())


def test_far_tails_of_the_discretised_gaussian_are_right():
    from scipy import stats

    for log_sigma in (-6.0, -4.0):
        mean = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).view(3, 1, 1, 1)
        for level in (0, 255):
            x = torch.full((3, 1, 1, 1), level / 255, dtype=torch.float64)
            found = models.discretised_gaussian(mean, x, torch.tensor(log_sigma).double())
            edge = 0.5 / 255 if level == 0 else 254.5 / 255
            tail = stats.norm.logcdf if level == 0 else stats.norm.logsf
            expected = tail((edge - mean.flatten().numpy()) / math.exp(log_sigma))
            assert np.allclose(found.numpy(), expected, rtol=1e-9)
            single = models.discretised_gaussian(mean.float(), x.float(), torch.tensor(log_sigma))
            assert np.allclose(single.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("name", [*MASSES[1:], "PerPixelGaussian", "StudentT"])
def test_gradients_are_those_of_finite_differences(name):
    likelihood = build(name)
    out = randn(2, likelihood.channels(1), 2, 2, seed=3).requires_grad_()
    x = grey(2, 1, 2, 2, seed=3)
    x[0, 0, 0], x[1, 0, 1, 1] = 0, 1
    assert torch.autograd.gradcheck(lambda o: likelihood.log_prob(o, x), out, atol=1e-6)


# --- sigma --------------------------------------------------------------------------------------


def test_stopping_the_gradient_through_sigma_changes_nothing():
    out = randn(6, 3, 5, 5).requires_grad_()
    x = grey(6, 3, 5, 5)
    through = torch.autograd.grad(models.OptimalGaussian().double().log_prob(out, x).sum(), out)[0]
    error = (x - out.sigmoid()).square()
    sigma = error.mean().sqrt().detach()
    stopped = dist.Normal(out.sigmoid(), sigma).log_prob(x).sum()
    assert torch.allclose(through, torch.autograd.grad(stopped, out)[0], rtol=1e-10, atol=1e-14)
    through = torch.autograd.grad(models.PerImageGaussian().log_prob(out, x).sum(), out)[0]
    sigma = (x - out.sigmoid()).square().mean((1, 2, 3), keepdim=True).sqrt().detach()
    stopped = dist.Normal(out.sigmoid(), sigma).log_prob(x).sum()
    assert torch.allclose(through, torch.autograd.grad(stopped, out)[0], rtol=1e-10, atol=1e-14)


def test_the_optimal_sigma_is_where_the_shared_one_would_stop():
    out, x = randn(6, 3, 5, 5), grey(6, 3, 5, 5)
    best = 0.5 * (x - out.sigmoid()).square().mean().log()
    shared = build("SharedGaussian", float(best))
    gradient = torch.autograd.grad(shared.log_prob(out, x).sum(), list(shared.parameters()))[0]
    assert abs(gradient) < 1e-9
    optimal = models.OptimalGaussian().double().log_prob(out, x)
    assert torch.allclose(shared.log_prob(out, x), optimal, rtol=1e-12)


def test_optimal_sigma_at_test_is_the_running_average_of_training():
    likelihood = models.OptimalGaussian().double()
    assert float(likelihood.log_sigma) == 0  # before any batch: variance 1
    batches = [(randn(4, 1, 3, 3, seed=i), grey(4, 1, 3, 3, seed=i)) for i in range(7)]
    by_hand, weight = 0.0, 0.0
    for out, x in batches:
        likelihood.log_prob(out, x)
        variance = float((x - out.sigmoid()).square().mean())
        by_hand, weight = 0.99 * by_hand + 0.01 * variance, 0.99 * weight + 0.01
        assert float(likelihood.variance) == pytest.approx(by_hand / weight, rel=1e-12)
    assert weight == pytest.approx(1 - 0.99**7)
    likelihood.eval()
    before = {n: b.clone() for n, b in likelihood.named_buffers()}
    out, x = randn(4, 1, 3, 3, seed=50), grey(4, 1, 3, 3, seed=50)
    expected = dist.Normal(out.sigmoid(), math.sqrt(by_hand / weight)).log_prob(x)
    assert torch.allclose(likelihood.log_prob(out, x), per_image(expected), rtol=1e-12)
    likelihood.sample(out, Rng.of(0))
    assert all(torch.equal(before[n], b) for n, b in likelihood.named_buffers())
    alone = likelihood.log_prob(out[:1], x[:1])  # at test no image matters to another
    assert torch.allclose(alone, likelihood.log_prob(out, x)[:1], rtol=1e-12)


def test_beta_is_twice_the_variance_and_its_optimum_is_that_of_sse_plus_beta_kl():
    beta = 0.3
    likelihood = models.ConstantGaussian(beta).double()
    assert float(likelihood.variance) == pytest.approx(beta / 2, rel=1e-6)
    out, x = randn(3, 1, 4, 4).requires_grad_(), grey(3, 1, 4, 4)
    distortion = torch.autograd.grad(-beta * likelihood.log_prob(out, x).sum(), out)[0]
    sse = torch.autograd.grad((x - out.sigmoid()).square().sum(), out)[0]
    assert torch.allclose(distortion, sse, rtol=1e-5)  # times beta, they differ by a constant


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_must_be_above_zero(beta):
    with pytest.raises(VaenbError, match="above 0"):
        models.ConstantGaussian(beta)


TABLE_1 = [  # beta, printed -log p, the rest over the constant at sigma^2 = beta / 2
    (0.001, 21.43, 6798.7), (0.01, -3186, 883.5), (0.1, -1223, 138.6), (1, 1381, 34.8),
    (10, 4056, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("beta", "printed", "rest"), TABLE_1)
def test_the_constant_of_table_1(beta, printed, rest):
    blank = torch.zeros(1, 3, 28, 28, dtype=torch.float64)  # no error: the constant alone
    log_sigma = torch.tensor(0.5 * math.log(beta / 2), dtype=torch.float64)
    constant = -float(_gaussian(blank, blank, log_sigma))
    assert constant == pytest.approx(2352 / 2 * math.log(math.pi * beta), rel=1e-12)
    assert printed - constant == pytest.approx(rest, abs=0.06)
    other = -float(_gaussian(blank, blank, log_sigma + 0.5 * math.log(2)))  # sigma^2 = beta
    assert (printed - other < 0) == (beta in (0.1, 1, 10))  # nats cannot be fewer than none


def test_soft_clip():
    x = torch.linspace(-60, 60, 1201, dtype=torch.float64)
    y = models.soft_clip(x)
    assert torch.allclose(y, -6 + torch.log1p((x + 6).exp()))
    assert (y >= MIN_LOG_SIGMA).all() and MIN_LOG_SIGMA == -6
    assert (y[1:] >= y[:-1]).all() and (y > x - 1e-12).all()
    assert abs(float(models.soft_clip(torch.tensor(20.0)) - 20)) < 1e-5
    assert float(models.soft_clip(torch.tensor(-6.0))) == pytest.approx(-6 + math.log(2))
    assert torch.allclose(models.soft_clip(x, -2.0), -2 + F.softplus(x + 2))


def test_grey_levels_invert_unit():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(models.grey_levels(x.float() / 255), torch.arange(256))


# --- samples ------------------------------------------------------------------------------------

N = 60_000


def drawn(likelihood, out, n=N, seed=0):
    """Many draws for one-pixel outputs [P, k]: [P, n]."""
    rows = out.T.unsqueeze(0).expand(n, -1, -1).unsqueeze(-1)  # [n, k, P, 1]
    with torch.no_grad():
        return likelihood.sample(rows, Rng.of(seed, "samples"))[:, 0, :, 0].T


@pytest.mark.parametrize("name", MASSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_of_masses_follow_them(name, dtype):
    likelihood = build(name, -2.0 if name.startswith("Disc") else None).to(dtype)
    out = (1.5 * randn(3, likelihood.channels(1), seed=8)).to(dtype)
    if name == "LogisticMixture":
        out[:, 20:] -= 3
    with torch.no_grad():
        p = masses(likelihood, out[:, :, None, None]).double()
    n = N // 4 if name == "Categorical" else N  # it takes memory
    x = drawn(likelihood, out, n)
    assert x.dtype == dtype
    levels = models.grey_levels(x)
    assert torch.equal(levels.to(dtype) / 255, x) and levels.min() >= 0 and levels.max() <= 255
    for k in range(3):
        counts = torch.bincount(levels[k], minlength=256).double()
        often = p[k] * n > 5
        expected = torch.cat([p[k][often], p[k][~often].sum()[None]]) * n
        seen = torch.cat([counts[often], counts[~often].sum()[None]])
        chi2 = float(((seen - expected) ** 2 / expected.clamp(min=1)).sum())
        freedom = max(len(seen) - 1, 1)
        assert chi2 < freedom + 5 * math.sqrt(2 * freedom) + 5
        mean, square = (p[k] * LEVELS).sum(), (p[k] * LEVELS**2).sum()
        sd = (square - mean**2).sqrt()
        assert abs(x[k].double().mean() - mean) < 5 * sd / math.sqrt(n)
        if name in ("Categorical", "BitwiseCategorical"):
            found = likelihood.mean(out[:, :, None, None]).flatten()[k]
            assert abs(found - mean) < 1e-5
        else:  # the location: the mass at the ends is folded in, so only nearly the mean
            assert abs(likelihood.mean(out[:, :, None, None]).flatten()[k] - mean) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DENSITIES)
def test_samples_of_densities_follow_them(name, dtype):
    from scipy import stats

    likelihood = build(name).to(dtype)
    out = randn(3, likelihood.channels(1), seed=9).to(dtype)
    x = drawn(likelihood, out).double()
    assert drawn(likelihood, out).dtype == dtype
    mean = out[:, 0].sigmoid().double()
    scale = {
        "PerPixelGaussian": models.soft_clip(out[:, -1]).exp().double(),
        "StudentT": torch.ones(3),
    }.get(name)
    if scale is None:
        scale = likelihood.variance.detach().sqrt().double().expand(3)
    for k in range(3):
        u = ((x[k] - mean[k]) / scale[k]).numpy()
        family = stats.t(5) if name == "StudentT" else stats.norm()
        assert stats.kstest(u, family.cdf).pvalue > 1e-3
        assert abs(u.mean()) < 5 * family.std() / math.sqrt(N)
        kurtosis = float(family.stats("k")) + 3
        assert abs(u.var() / family.var() - 1) < 5 * math.sqrt((kurtosis - 1) / N)
        assert abs(float(likelihood.mean(out[:, :, None, None]).flatten()[k]) - mean[k]) < 1e-6


def test_samples_of_bernoulli():
    out = randn(3, 1, seed=10)
    x, p = drawn(models.Bernoulli(), out), out[:, 0].sigmoid()
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert ((x.mean(1) - p).abs() < 5 * (p * (1 - p) / N).sqrt()).all()


def test_samples_of_neighbouring_pixels_are_independent():
    for name in (*DENSITIES, *MASSES):
        likelihood = build(name)
        out = torch.zeros(1, likelihood.channels(2), 150, 200, dtype=torch.float64)
        with torch.no_grad():
            x = likelihood.sample(out, Rng.of(2))[0]
        x = (x - x.mean()) / x.std()
        for a, b in ((x[0], x[1]), (x[0, 1:], x[0, :-1]), (x[0, :, 1:], x[0, :, :-1])):
            assert abs((a * b).mean()) < 5 / math.sqrt(a.numel())


def test_a_linear_gaussian_is_torchs_and_so_are_its_draws():
    likelihood, out = models.LinearGaussian(0.3).double(), torch.tensor([-2.0, 0.1, 5.0]).double()
    out = out.view(3, 1, 1, 1)
    theirs = dist.Normal(out, 0.3)
    x = theirs.mean + 0.2
    assert torch.allclose(likelihood.log_prob(out, x), theirs.log_prob(x).flatten(), rtol=1e-6)
    assert torch.equal(likelihood.mean(out), out)
    assert float(likelihood.variance) == pytest.approx(0.09)
    drawn = likelihood.sample(out.expand(3, 1, 100, 100), Rng.of(0)).flatten(1)
    for k in range(3):
        assert stats.kstest(((drawn[k] - out[k]) / 0.3).flatten(), "norm").pvalue > 1e-3


def test_the_mean_of_a_mixture_weighs_its_components():
    out = torch.tensor([3.0, 0.0, -0.4, 2.0, -4.0, -4.0]).view(1, 6, 1, 1)
    w, m = torch.tensor([3.0, 0.0]).softmax(0), torch.tensor([0.3, 1.0])
    found = models.LogisticMixture(2).mean(out)  # a centre beyond white is white
    assert float(found) == pytest.approx(float(w @ m))


def test_a_mixture_can_be_sure_of_any_grey_value():
    for level in (0, 1, 128, 255):
        out = torch.tensor([0.0, 2 * level / 255 - 1, -60.0], dtype=torch.float64)
        out[1] *= 3 if level in (0, 255) else 1  # centres beyond the ends
        x = torch.full((1, 1, 1, 1), level / 255, dtype=torch.float64)
        mass = models.LogisticMixture(1).log_prob(out.view(1, 3, 1, 1), x).exp()
        assert mass > (0.79 if 0 < level < 255 else 1 - 1e-9)  # tanh(e^7 / 510) inside
