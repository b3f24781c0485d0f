"""Information against sets of posteriors whose answers are known."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from vaenb import VaenbError, measure
from vaenb.models import Gaussian
from vaenb.train import Rng


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_image_says_nothing_and_wastes_all():
    mean, log_std = torch.tensor([[1.0, -2.0]]), torch.tensor([[-0.5, 0.3]])
    found = measure.information(mean, log_std)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum()
    assert found.mi == found.mi_batch == found.ceiling == found.mi_error == 0
    assert found.marginal_kl == found.rate == pytest.approx(float(kl), rel=1e-6)


@pytest.mark.parametrize("log_std", [-3.0, -14.0])
def test_separated_posteriors_reach_both_ceilings(log_std):
    mean = torch.arange(300.0)[:, None].repeat(1, 2)
    found = measure.information(mean, torch.full((300, 2), log_std), batch=32)
    assert found.mi == pytest.approx(math.log(300), abs=1e-12) and found.ceiling == math.log(300)
    assert found.mi_batch == pytest.approx(math.log(32), abs=1e-12)
    assert found.batch == 32 and found.batch_ceiling == pytest.approx(math.log(32), rel=1e-14)


def test_equal_posteriors_say_nothing():
    found = measure.information(torch.full((200, 3), 40.0), torch.full((200, 3), -4.0), draws=2)
    assert abs(found.mi) < 1e-9 and abs(found.mi_batch) < 1e-9
    assert found.marginal_kl == pytest.approx(found.rate)


def test_gaussian_channel():
    """Means are N(b, V) over images and q(z|x) = N(mean, S): q(z) is N(b, V + S)."""
    n, rng = 6000, Rng.of(1)
    root = torch.tensor([[0.6, 0.0], [0.4, 0.3]], dtype=torch.float64)
    b = torch.tensor([0.5, -0.2], dtype=torch.float64)
    s = torch.tensor([0.16, 0.49], dtype=torch.float64)
    mean = b + rng.normal(n, 2, dtype=torch.float64) @ root.T
    found = measure.information(mean, (0.5 * s.log()).expand(n, 2), draws=2, batch=100)
    total = root @ root.T + s.diag()
    mi = 0.5 * float(total.logdet() - s.log().sum())
    kl = 0.5 * float(total.trace() + b @ b - 2 - total.logdet())
    assert 0 < found.mi_error < 0.02
    assert abs(found.mi - mi) < 4 * found.mi_error
    # the rate of these n images differs from the population's by its own sampling error
    rates = 0.5 * (mean.square().sum(1) + s.sum() - 2 - s.log().sum())
    assert abs(found.marginal_kl - kl) < 4 * (found.mi_error + float(rates.std()) / n**0.5)
    assert found.rate == pytest.approx(found.mi + found.marginal_kl, abs=1e-12)
    assert 0 < found.mi_batch < found.mi + 4 * found.mi_error


def test_three_images_against_quadrature():
    mean = torch.tensor([[0.0], [0.7], [-1.5]], dtype=torch.float64)
    std = torch.tensor([[0.5], [1.2], [0.3]], dtype=torch.float64)
    z = np.linspace(-12, 12, 200001)
    m, s = mean.numpy(), std.numpy()
    each = np.exp(-0.5 * ((z - m) / s) ** 2) / (s * math.sqrt(2 * math.pi))
    q, prior = each.mean(0), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    step = z[1] - z[0]
    safe = each > 1e-300
    mi = np.where(safe, each * np.log(np.where(safe, each, 1) / q), 0).sum() * step / 3
    kl = (q * np.log(q / prior)).sum() * step
    draws = 3000
    found = measure.information(mean, std.log(), draws=draws)
    tolerance = 4 / (3 * draws) ** 0.5  # the log ratio's deviation is below 1
    assert abs(found.mi - mi) < tolerance and abs(found.marginal_kl - kl) < tolerance
    assert found.batch == 3 and found.mi_batch == pytest.approx(found.mi, abs=1e-9)


def test_chunks_and_types(monkeypatch):
    rng = Rng.of(4)
    mean, log_std = rng.normal(500, 5), 0.3 * rng.normal(500, 5) - 1
    whole = measure.information(mean, log_std)
    monkeypatch.setattr(sys.modules["vaenb.measure.information"], "PAIRS", 3000)
    assert measure.information(mean, log_std) == pytest.approx(whole, abs=1e-10)
    assert measure.information(mean, log_std, seed=1).mi != whole.mi
    far = measure.information(mean.double() + 1e6, log_std)  # centred first, or 1e-3 would be lost
    assert far.mi == pytest.approx(whole.mi, abs=1e-7)


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_minibatch_is_a_lower_estimate_below_its_ceiling(scale):
    mean = scale * Rng.of(6).normal(1000, 4)
    found = measure.information(mean, torch.full_like(mean, -1.0), batch=16, draws=3)
    assert found.mi_batch <= found.batch_ceiling + 1e-12
    assert found.mi <= found.ceiling + 1e-12
    assert found.mi_batch <= found.mi + 3 * found.mi_error + 1e-12


def test_active_units():
    wave = torch.linspace(-1, 1, 1000)
    means = torch.stack([0.15 * wave, 0.2 * wave, 0 * wave + 7], 1)  # variances 0.0075, 0.0133, 0
    count, variances = measure.active_units(means)
    assert count == 1
    torch.testing.assert_close(variances, means.double().var(0))
    assert float(variances[1]) == pytest.approx(0.04 / 3, rel=5e-3)


def test_impossible_requests_are_refused():
    mean = torch.zeros(4, 2)
    nan = mean.clone()
    nan[1, 1] = math.nan
    for bad in (
        lambda: measure.information(mean, mean[:3]),
        lambda: measure.information(mean[:0], mean[:0]),
        lambda: measure.information(nan, mean),
        lambda: measure.information(mean, nan),
        lambda: measure.information(mean, mean, draws=0),
        lambda: measure.active_units(mean[:1]),
        lambda: measure.active_units(nan),
    ):
        with pytest.raises(VaenbError):
            bad()


# --- the minibatch mixture weighted for the whole set -------------------------------------------


def test_the_weighted_mixture_is_unbiased_over_all_batches():
    count, size = 6, 3
    q = Gaussian(randn(count, 2, seed=1), 0.3 * randn(count, 2, seed=2))
    z = q.mean + 0.1
    everyone = Gaussian(q.mean[None], q.log_std[None]).log_prob(z[:, None])
    exact = everyone.logsumexp(1) - math.log(count)
    for own in range(count):
        others = [k for k in range(count) if k != own]
        densities = []
        for pair in itertools.combinations(others, size - 1):
            rows = torch.tensor([own, *pair])
            part = Gaussian(q.mean[rows], q.log_std[rows])
            densities.append(measure.log_aggregate(z[rows], part, count)[0].exp())
        assert torch.allclose(torch.stack(densities).mean().log(), exact[own], rtol=1e-12)


def test_a_batch_of_the_whole_set_is_the_plain_mixture():
    q = Gaussian(randn(7, 2, seed=1), 0.3 * randn(7, 2, seed=2))
    z = q.mean + 0.1
    pairs = Gaussian(q.mean[None], q.log_std[None]).log_prob(z[:, None])
    exact = pairs.logsumexp(1) - math.log(7)
    assert torch.allclose(measure.log_aggregate(z, q, 7), exact, rtol=1e-12)
    counts = torch.tensor([5, 7])  # a sweep's: one program, which never reads them back
    both = torch.func.vmap(lambda count: measure.log_aggregate(z, q, count))(counts)
    assert torch.allclose(both[1], exact, rtol=1e-12) and not torch.allclose(both[0], exact)
    one = measure.log_aggregate(z[:1], Gaussian(q.mean[:1], q.log_std[:1]), 1)
    assert torch.allclose(one, q.log_prob(z)[:1])


def test_its_gradient_is_right_and_it_can_be_stacked():
    def loss(numbers):
        mean, log_std, z = numbers.view(3, 5, 2)
        return measure.log_aggregate(z, Gaussian(mean, log_std), 40).sum()

    numbers = randn(30, seed=3)
    assert torch.autograd.gradcheck(loss, numbers.clone().requires_grad_())
    many = torch.stack([numbers, numbers + 0.1])
    stacked = torch.vmap(torch.func.grad(loss))(many)
    assert torch.allclose(stacked[1], torch.func.grad(loss)(many[1]), rtol=1e-10)


def test_codes_that_tell_all_images_apart():
    mean = 1000.0 * torch.arange(64, dtype=torch.float64)[:, None]
    found = measure.information(mean, torch.zeros_like(mean), batch=16)
    assert found.mi_corrected == pytest.approx(math.log(64), abs=1e-9)
    assert found.mi == pytest.approx(math.log(64), abs=1e-9)
    assert found.mi_batch == pytest.approx(math.log(16), abs=1e-9)


def test_the_weighted_estimate_lies_near_the_closed_form():
    count, slope, noise = 4096, 0.8, 0.5
    x = randn(count, 1, seed=9)
    x = (x - x.mean()) / x.std()
    found = measure.information(slope * x, torch.full_like(x, math.log(noise)), batch=512, draws=4)
    exact = 0.5 * math.log(1 + slope**2 / noise**2)  # Gaussian x through a Gaussian channel
    assert found.mi == pytest.approx(exact, abs=0.02)
    assert found.mi_corrected == pytest.approx(exact, abs=0.03)
    assert found.mi_batch <= found.mi_corrected


def test_batches_are_taken_from_all_over_the_set():
    """The first half of the images share a posterior, the others have one each."""
    mean = torch.cat([torch.zeros(200), 1e3 * torch.arange(1.0, 201)])[:, None]
    found = measure.information(mean, torch.zeros_like(mean), batch=20)
    exact = (math.log(2) + math.log(400)) / 2
    assert found.mi_error < 0.3 and abs(found.mi - exact) < 4 * found.mi_error
    shares = stats.hypergeom(400, 200, 20)
    exact = sum(shares.pmf(k) * (k * math.log(20 / max(k, 1)) + (20 - k) * math.log(20)) / 20
                for k in range(21))  # in the order of the file it is log(20) / 2
    assert found.mi_batch == pytest.approx(exact, abs=0.1)


def test_the_errors_are_those_that_repetitions_show():
    """Sets drawn again and again: the estimates vary as much as they say they do."""
    told = []
    for seed in range(60):
        rng = Rng.of(seed)
        x = rng.normal(200, 2, dtype=torch.float64)
        y = (x[:, 0] + 0.7 * rng.normal(200, dtype=torch.float64) > 0).long()
        wide = torch.full_like(x, -0.2)
        of_images = measure.information(x, wide, seed=1000 + seed)
        of_labels = measure.label_information(x, wide, y, seed=1000 + seed)
        told.append((of_images.mi, of_images.mi_error, of_labels.mi, of_labels.error))
    mi, mi_error, label, error = torch.tensor(told, dtype=torch.float64).T
    for found, said in ((mi, mi_error), (label, error)):  # 60 repetitions know it to 9 %
        assert 0.75 < found.std() / said.mean() < 1.3


def test_an_empty_group_is_told():
    x = torch.zeros(4, 2)
    with pytest.raises(VaenbError, match="images_in_a_group is 0"):
        measure.information(x, x, groups=[[0, 1], []])
