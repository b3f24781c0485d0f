"""Label information against quadrature, and the bound against channels that reach it."""

import math

import numpy as np
import pytest
import torch

from vaenb import VaenbError
from vaenb.measure import labels as module
from vaenb.measure.labels import accuracy_bound, label_information
from vaenb.train import Rng

SVHN = 1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595  # digits of the test set


def entropy(p):
    p = np.asarray(p, float).ravel()
    p = p[p > 0] / p.sum()
    return float(-(p * np.log(p)).sum())


# --- information --------------------------------------------------------------------------------


def test_equal_posteriors_say_nothing():
    found = label_information(
        torch.full((90, 3), 40.0), torch.full((90, 3), -4.0), torch.arange(90) % 4, draws=2
    )
    assert abs(found.mi) < 1e-12 and found.error < 1e-12


def test_classes_far_apart_say_all():
    labels = np.repeat([4, 1, 7], [50, 30, 20])
    mean = torch.tensor(labels, dtype=torch.float32)[:, None] * 100 + Rng.of(2).normal(100, 2)
    found = label_information(mean, torch.zeros(100, 2), labels)
    assert found.ceiling == pytest.approx(entropy([50, 30, 20]), rel=1e-14)
    assert found.mi == pytest.approx(found.ceiling, rel=1e-12)


def test_narrow_posteriors_say_all_whatever_the_labels():
    """The bias that the docstring warns of: labels drawn at random, and H(y) found."""
    labels = torch.arange(200) * 7919 % 10
    mean = Rng.of(3).normal(200, 4)
    found = label_information(mean, torch.full_like(mean, -12.0), labels)
    assert found.mi == pytest.approx(math.log(10), rel=1e-12)
    wide = label_information(mean, torch.full_like(mean, 2.0), labels)
    assert -4 * wide.error < wide.mi < 0.05


def test_against_quadrature():
    from scipy.integrate import quad

    mean, std, of = np.array([-1.0, 0.3, 2.0]), np.array([0.5, 1.2, 0.3]), np.array([0, 1, 0])
    repeats = np.array([400, 700, 500])
    share = repeats / repeats.sum()

    def density(z, label=None):
        own = share * (label is None or of == label)
        each = np.exp(-0.5 * ((z - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        return (own * each).sum()

    def integrand(z):  # p(y) q(z|y) log of q(z|y) / q(z)
        joint = density(z, 0), density(z, 1)
        chance = share[of == 0].sum(), share[of == 1].sum()
        return sum(j * math.log(j / c / sum(joint)) for j, c in zip(joint, chance, strict=True))

    exact = quad(integrand, -9, 9, epsabs=1e-10, limit=200, points=[-1, 0, 1.5, 2.5])[0]
    place = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], repeats))
    q = [torch.from_numpy(v[place])[:, None] for v in (mean, np.log(std))]
    found = label_information(*q, of[place], draws=4)
    assert 0 < found.error < 0.02 and 0.2 < exact < 0.5
    assert abs(found.mi - exact) < 4 * found.error
    assert found.ceiling == pytest.approx(entropy([900, 700]))


def test_neither_chunks_nor_the_names_of_labels_matter(monkeypatch):
    mean, log_std = Rng.of(4).normal(300, 5), 0.3 * Rng.of(5).normal(300, 5) - 0.5
    labels = (mean[:, 0] > 0).long() + (mean[:, 1] > 1)
    whole = label_information(mean, log_std, labels)
    assert 0.05 < whole.mi < whole.ceiling
    assert label_information(mean, log_std, (9 - 3 * labels).numpy()) == pytest.approx(whole)
    assert label_information(mean, log_std, labels, seed=1).mi != whole.mi
    monkeypatch.setattr(module, "PAIRS", 2000)
    assert label_information(mean, log_std, labels) == pytest.approx(whole, abs=1e-12)
    far = label_information(mean.double() + 1e6, log_std, labels)
    assert far.mi == pytest.approx(whole.mi, abs=1e-7)


def test_posteriors_that_cannot_be_measured():
    mean, labels = torch.zeros(4, 2), [0, 1, 0, 1]
    with pytest.raises(VaenbError, match="this data set has no labels: take one that has"):
        label_information(mean, mean, None)
    with pytest.raises(VaenbError, match=r"labels \(3,\) do not fit rows \(4, 2\)"):
        label_information(mean, mean, labels[:3])
    with pytest.raises(VaenbError, match=r"must be \[images, codes\] both"):
        label_information(mean, mean[:, :1], labels)
    with pytest.raises(VaenbError, match="posteriors are not finite: the model has diverged"):
        label_information(mean, mean + math.inf, labels)
    with pytest.raises(VaenbError, match="draws is 0 and must be at least 1"):
        label_information(mean, mean, labels, draws=0)


# --- the bound ----------------------------------------------------------------------------------


def test_the_bounds_of_the_paper():
    assert entropy(SVHN) == pytest.approx(2.2226, abs=5e-5)
    assert accuracy_bound(0.427, SVHN) == pytest.approx(0.4981, abs=5e-4)
    assert accuracy_bound(1.198, SVHN) == pytest.approx(0.776, abs=5e-4)


@pytest.mark.parametrize("counts", [[1.0] * 10, SVHN, [0.3, 0.7], [5, 0, 1]])
def test_the_bound_inverts_f(counts):
    m = len(counts)
    a = np.linspace(1 / m, 1, 101)[:-1]
    f = [entropy(counts) - entropy([p, *[(1 - p) / (m - 1)] * (m - 1)]) for p in a]
    inside = [(p, nats) for p, nats in zip(a, f, strict=True) if nats > 0]
    assert inside and max(abs(accuracy_bound(nats, counts) - p) for p, nats in inside) < 1e-9
    most = entropy(counts)
    assert accuracy_bound(most, counts) == accuracy_bound(most + 1, counts) == 1.0
    assert math.isnan(accuracy_bound(math.nan, counts))
    blind = accuracy_bound(0.0, counts)  # naming the largest class takes no information
    assert blind >= max(counts) / sum(counts) - 1e-7


def test_no_information_about_equal_classes():
    assert accuracy_bound(0.0, np.ones(10)) == pytest.approx(0.1, abs=1e-7)
    assert accuracy_bound(-0.01, np.ones(10)) == 0.1  # as noise may have it
    assert accuracy_bound(0.0, [30, 70]) == pytest.approx(0.7, abs=1e-12)  # two: it is reached


def test_no_classifier_passes_the_bound():
    """All channels from 4 labels to 5 codes: the best guess, and the information itself."""
    g = np.random.default_rng(0)
    spare = []
    for sharpness in (0.1, 0.3, 1.0, 3.0) * 20:
        joint = g.dirichlet(np.full(20, sharpness)).reshape(4, 5)
        nats = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)
        spare.append(accuracy_bound(nats, joint.sum(1)) - joint.max(0).sum())
    assert -1e-9 < min(spare) < 0.05


def test_counts_that_are_none():
    for counts in ([3], [[1, 2]], [1, -1], [0, 0], [1, math.nan]):
        with pytest.raises(VaenbError, match="label counts must be two or more, none negative"):
            accuracy_bound(0.5, counts)
