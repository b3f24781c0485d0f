"""Frechet distance, features and convergence against known answers."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from vaenb import VaenbError, measure
from vaenb.models import Classifier
from vaenb.train import Rng


def with_moments(n, mean, root, seed):
    """Features whose sample mean and sample covariance (root root') are exactly the given ones."""
    raw = Rng.of(seed).normal(n, root.shape[1], dtype=torch.float64)
    raw = torch.linalg.qr(raw - raw.mean(0)).Q * (n - 1) ** 0.5
    return raw @ root.T + mean


def test_commuting_covariances():
    a, b = torch.tensor([4.0, 0.09, 1.0]).double(), torch.tensor([1.0, 0.25, 1.0]).double()
    shift = torch.tensor([0.0, 2.0, 1.0]).double()
    x = with_moments(40, 0 * shift, a.sqrt().diag(), 1)
    y = with_moments(90, shift, b.sqrt().diag(), 2)
    expected = 5.0 + float((a.sqrt() - b.sqrt()).square().sum())
    assert measure.frechet(x, y) == pytest.approx(expected, rel=1e-12)
    assert measure.frechet(y.numpy(), x.numpy()) == pytest.approx(expected, rel=1e-12)


def test_agrees_with_the_matrix_square_root_and_rotation():
    scipy_linalg = pytest.importorskip("scipy.linalg")
    rng = Rng.of(3)
    x = rng.normal(80, 6, dtype=torch.float64) @ rng.normal(6, 6, dtype=torch.float64)
    y = rng.normal(70, 6, dtype=torch.float64) @ rng.normal(6, 6, dtype=torch.float64) + 1
    a, b = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a) + np.trace(b)
    expected -= 2 * np.trace(scipy_linalg.sqrtm(a @ b)).real
    assert measure.frechet(x, y) == pytest.approx(expected, rel=1e-10)
    turn = torch.linalg.qr(rng.normal(6, 6, dtype=torch.float64)).Q
    assert measure.frechet(x @ turn, y @ turn) == pytest.approx(expected, rel=1e-10)
    assert measure.frechet(x, x) < 1e-10 and measure.frechet(x, x.flip(0)) < 1e-10


def test_deficient_ranks():
    """One covariance lives on the first axis, the other on the second or on a shared diagonal."""
    e = torch.eye(3, dtype=torch.float64)
    x = with_moments(30, e[0] * 0, 2 * e[:, :1], 1)
    assert measure.frechet(x, with_moments(30, e[0] * 0, 3 * e[:, 1:2], 2)) == pytest.approx(13)
    tilted = (e[:, :1] + e[:, 1:2]) * 3 / math.sqrt(2)  # tr root = 2 * 3 * cos 45 degrees
    expected = 13 - 2 * 6 / math.sqrt(2)
    assert measure.frechet(x, with_moments(30, e[0] * 0, tilted, 3)) == pytest.approx(expected)
    assert measure.frechet(x, x.clone()) < 1e-12
    assert measure.frechet(x, x[:1].expand(30, 3) * 0) == pytest.approx(4)  # all images equal


def test_frechet_refuses_what_it_cannot_measure():
    x = torch.randn(10, 11, generator=torch.Generator().manual_seed(0))
    with pytest.raises(VaenbError, match="11 features need 11"):
        measure.frechet(x, torch.zeros(50, 11))
    with pytest.raises(VaenbError, match="there are 10"):
        measure.frechet(torch.zeros(50, 11), x)
    assert measure.frechet(x[:, :10], x[:, :10] + 1) == pytest.approx(10)
    with pytest.raises(VaenbError):
        measure.frechet(x[:, :4], x[:, :5])
    with pytest.raises(VaenbError, match="finite"):
        measure.frechet(x[:, :4] / 0, x[:, :4])


def test_classifier_features():
    classifier = Classifier(1, features=16)
    x = Rng.of(0).bits(13, 1, 28, 28).bitwise_and(255).to(torch.uint8)
    found = measure.features(classifier, x)
    assert found.shape == (13, 16) and not found.requires_grad
    torch.testing.assert_close(found, classifier.features(x / 255).detach())
    torch.testing.assert_close(measure.features(classifier, x, chunk=4), found)


class FakeInception(nn.Module):
    """Pooled channel means, in the form of pytorch-fid's network."""

    BLOCK_INDEX_BY_DIM = {2048: 3}

    def __init__(self, blocks):
        super().__init__()
        assert blocks == [3]
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return [self.scale * x.mean((2, 3), keepdim=True)]


class NoWeights(FakeInception):
    def __init__(self, blocks):
        raise OSError("no route to host")


def install(monkeypatch, network):
    module = types.ModuleType("pytorch_fid.inception")
    module.InceptionV3 = network
    monkeypatch.setitem(sys.modules, "pytorch_fid", types.ModuleType("pytorch_fid"))
    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", module)


def test_inception_features(monkeypatch):
    install(monkeypatch, FakeInception)
    extract, told = measure.inception_features()
    assert "Inception v3" in told and "2048 dimensions" in told
    x = torch.tensor([0.5, 1.5, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    torch.testing.assert_close(extract(x), torch.tensor([0.5, 1.0, 0.0])[:, None].expand(3, 3))
    install(monkeypatch, NoWeights)
    with pytest.raises(VaenbError, match="no route to host.*checkpoints"):
        measure.inception_features()
    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", None)
    with pytest.raises(VaenbError, match=r"pip install -e '.\[inception\]'"):
        measure.inception_features()


def test_convergence_of_known_lines():
    step = np.arange(0, 100000, 100)
    noise = Rng.of(1).normal(1000, dtype=torch.float64).numpy()
    flat = measure.convergence(step, 5 + 0.1 * noise)
    assert flat["converged"] is True and flat["noise"] == pytest.approx(0.1, rel=0.25)
    steep = measure.convergence(step, 5 - 1e-4 * step + 0.1 * noise)
    assert steep["converged"] is False
    assert steep["slope"] == pytest.approx(-1e-4, rel=0.15)
    assert steep["drift"] == pytest.approx(abs(steep["slope"]) * 9900)
    assert measure.convergence(step, 5 + 1e-4 * step + 0.1 * noise)["converged"] is False
    early = np.where(step < 80000, 100 - step / 1000, 20) + 0.1 * noise
    assert measure.convergence(step, early)["converged"] is True  # only the last tenth counts
    exact = measure.convergence(step, 2.0 * step)
    assert exact["slope"] == pytest.approx(2) and exact["converged"] is False
    assert measure.convergence(step, 0 * step + 0.1)["converged"] is True


@pytest.mark.parametrize("points", [25, 40, 128])
def test_how_often_a_flat_loss_is_called_moving(points):
    from scipy.stats import t

    count, step = 4000, np.arange(10 * points)
    noise = Rng.of(points).normal(count, len(step), dtype=torch.float64).numpy()
    found = [measure.convergence(step, loss) for loss in noise]
    assert {f["points"] for f in found} == {points}
    alarms = np.mean([not f["converged"] for f in found])
    error = (12 * (points - 1) / (points * (points + 1))) ** 0.5  # of the drift, noise being one
    expected = 2 * t.sf(max(3, 1 / error), points - 2)
    assert abs(alarms - expected) < 4 * (expected / count) ** 0.5


def test_convergence_of_short_and_broken_histories():
    step, loss = np.arange(28.0), np.array([9.0] * 3 + [1.0, 1.1] * 12 + [1.0])
    found = measure.convergence(list(step), list(loss))
    slope, _ = np.polyfit(step[-25:], loss[-25:], 1)  # 25 points though a tenth is two
    assert found["slope"] == pytest.approx(slope, abs=1e-12) and found["converged"] is True
    residuals = loss[-25:] - np.polyval(np.polyfit(step[-25:], loss[-25:], 1), step[-25:])
    assert found["noise"] == pytest.approx(math.sqrt((residuals**2).sum() / 23))
    falling = measure.convergence(step, 1e-5 * np.arange(28.0)[::-1])  # 0.0003 nats in all
    assert falling["converged"] is True
    assert measure.convergence(step, 1e-4 * np.arange(28.0)[::-1])["converged"] is False
    for broken in (math.nan, math.inf):
        loss[-3] = broken
        found = measure.convergence(step, loss)
        assert found["converged"] is False and math.isnan(found["slope"])
    assert measure.convergence([1, 2], [3, 3])["converged"] is False
    assert measure.convergence([], [])["converged"] is False
    with pytest.raises(VaenbError):
        measure.convergence([1, 2, 3], [1, 2])
