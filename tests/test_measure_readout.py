"""The read-out of codes, held against densities that are known and against scikit-learn."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from vaenb import VaenbError, measure, train


def two_clusters(n, distance, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    z = rng.normal(size=(n, 2))
    z[:, 0] += distance * (y - 0.5)
    return torch.from_numpy(z * [5.0, 0.1] + 3.0), torch.from_numpy(y)  # scales do not matter


def test_two_gaussians_are_read_as_well_as_can_be():
    told = measure.read_out(*two_clusters(8000, 2.0, 0), *two_clusters(20000, 2.0, 1))
    assert told.accuracy == pytest.approx(norm.cdf(1), abs=0.008)
    t = np.linspace(-12, 12, 20001)  # H(y|z): the posterior is a logistic of 2 z
    density = 0.5 * (norm.pdf(t - 1) + norm.pdf(t + 1))
    p = 1 / (1 + np.exp(-2 * t))
    entropy = -(p * np.log(p + 1e-300) + (1 - p) * np.log1p(-p + 1e-300))
    assert told.label_distortion == pytest.approx(np.trapezoid(density * entropy, t), abs=0.01)


def test_the_linear_one_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    train, test = two_clusters(2000, 1.0, 0), two_clusters(2000, 1.0, 1)
    other = LogisticRegression(C=1e6).fit(train[0] - 3, train[1])
    theirs = (other.predict(test[0] - 3) == test[1].numpy()).mean()
    assert measure.read_out(*train, *test).accuracy == pytest.approx(theirs, abs=0.01)


def test_the_learning_rate_falls_to_nothing(monkeypatch):
    seen = {}

    def fit(*given, lr, **options):
        seen.update(lr=lr)
        return train.fit(*given, lr=lr, **options)

    monkeypatch.setattr(sys.modules["vaenb.measure.readout"], "fit", fit)
    halves = two_clusters(200, 1.0, 0), two_clusters(200, 1.0, 1)
    measure.read_out(*halves[0], *halves[1], steps=100)
    at = [float(seen["lr"](SimpleNamespace(step=torch.tensor(s)))) for s in (0, 50, 100)]
    assert at == pytest.approx([3e-3, 1.5e-3, 0], abs=1e-9)


def test_only_hidden_layers_read_a_ring():
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(4000, 2)))
    y = (z.square().sum(1) > 2 * math.log(2)).long()
    halves = z[:3000], y[:3000], z[3000:], y[3000:]
    assert measure.read_out(*halves).accuracy < 0.6
    assert measure.read_out(*halves, hidden=(200, 200), steps=1000).accuracy > 0.97


def test_codes_that_say_nothing_leave_the_entropy_of_the_labels():
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.choice(3, p=[0.5, 0.3, 0.2], size=6000))
    z = torch.from_numpy(rng.normal(size=(6000, 2)))
    told = measure.read_out(z[:4000], y[:4000], z[4000:], y[4000:], steps=1000)
    entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    assert told.label_distortion == pytest.approx(entropy, abs=0.03)
    again = measure.read_out(z[:4000], y[:4000], z[4000:], y[4000:], steps=1000)
    assert again == told


def test_a_number_that_was_constant_in_training_does_no_harm():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(2, (600,), generator=g)
    z = torch.stack([2.0 * y + torch.randn(600, generator=g) / 10, torch.full((600,), 5.0)], 1)
    new = z + torch.tensor([0.0, 0.01])  # it moves
    told = measure.read_out(z, y, new, y, steps=1500)
    assert told.accuracy > 0.99 and told.label_distortion < 0.2


@pytest.mark.parametrize(("change", "sentence"), [
    (dict(labels=None), "no labels to read"),
    (dict(labels=torch.zeros(10)), "one class"),
    (dict(labels=torch.arange(10) - 1), "a label is below 0"),
    (dict(labels=torch.zeros(9)), r"\[10, 2\] and labels \[9\]"),
    (dict(codes=torch.zeros(10)), "give"),
    (dict(test_codes=torch.zeros(10, 3)), "training codes have 2 numbers and test codes 3"),
    (dict(codes=torch.full((10, 2), torch.nan)), "some training codes are not finite"),
])  # fmt: skip
def test_what_cannot_be_read_is_told(change, sentence):
    z, y = torch.zeros(10, 2), torch.arange(10)
    given = dict(codes=z, labels=y, test_codes=z, test_labels=y) | change
    with pytest.raises(VaenbError, match=sentence):
        measure.read_out(**given)


def test_the_read_out_is_of_the_test_codes_by_the_training_scale():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(2, (600,), generator=g)
    z = 4.0 * y[:, None] + torch.randn(600, 1, generator=g)
    one = y == 1
    told = measure.read_out(z, y, z[one], y[one], steps=300)
    assert told.accuracy > 0.95  # by its own scale half of it would be the other class
    wrong = measure.read_out(z, y, z, 1 - y, steps=300)
    assert wrong.accuracy < 0.05 and wrong.label_distortion > 1
