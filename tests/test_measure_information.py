"""Information against sets of posteriors whose answers are known."""

import math
import sys

import numpy as np
import pytest
import torch

from vaenb import VaenbError, measure
from vaenb.train import Rng


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
    assert (found.batch, found.batch_ceiling) == (32, math.log(32))


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


def test_chunks_points_and_types(monkeypatch):
    rng = Rng.of(4)
    mean, log_std = rng.normal(500, 5), 0.3 * rng.normal(500, 5) - 1
    whole = measure.information(mean, log_std)
    monkeypatch.setattr(sys.modules["vaenb.measure.information"], "PAIRS", 3000)
    assert measure.information(mean, log_std) == pytest.approx(whole, abs=1e-10)
    some = measure.information(mean, log_std, points=100)
    assert some.rate == whole.rate and some.ceiling == whole.ceiling
    assert 0 < abs(some.mi - whole.mi) < 4 * some.mi_error
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
    assert measure.active_units(means, threshold=0.005)[0] == 2
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
        lambda: measure.information(mean, mean, points=0),
        lambda: measure.active_units(mean[:1]),
    ):
        with pytest.raises(VaenbError):
            bad()
