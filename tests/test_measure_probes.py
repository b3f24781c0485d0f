"""Probes: scikit-learn's own answers, whatever the threads."""

import numpy as np
import pytest
import torch

from vaenb import VaenbError
from vaenb.measure.probes import PROBES, _vote, probes


def clouds(count, size, features, distance, seed=0):
    g = np.random.default_rng(seed)
    labels = g.choice(count, size, p=np.arange(1, count + 1) / (count * (count + 1) / 2))
    widths = np.exp(0.7 * g.normal(size=(count, features)))
    x = distance * g.normal(size=(count, features))[labels]
    return (x + widths[labels] * g.normal(size=(size, features))).astype(np.float32), labels


def test_separable_classes_and_threads():
    x, y = clouds(4, 300, 6, 60.0)
    assert probes(torch.from_numpy(x), torch.from_numpy(y), jobs=1) == dict.fromkeys(PROBES, 1.0)
    x, y = clouds(3, 300, 6, 0.5)
    assert len(set(probes(x, y, jobs=1).values())) > 1
    assert probes(x, y, jobs=1) == probes(x, y, jobs=3) != probes(x, y, seed=1)


def test_labels_by_chance():
    x, _ = clouds(4, 800, 3, 1.0)
    found = probes(x, np.random.default_rng(1).integers(0, 4, 800))
    assert all(abs(a - 0.25) < 4 * (0.1875 / 160) ** 0.5 for a in found.values())


def test_the_probes_are_scikit_learns():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    x, y = clouds(5, 503, 6, 0.7)
    order = np.random.RandomState(42).permutation(503)
    train, test = order[:403], order[403:]
    models = [LogisticRegression(solver="saga", random_state=k) for k in range(5)]
    models += [SVC(kernel="linear"), SVC(), KNeighborsClassifier(5)]
    x64 = x.astype(np.float64)
    expected = [m.fit(x64[train], y[train]).score(x64[test], y[test]) for m in models]
    expected = [np.mean(expected[:5]), *expected[5:]]
    assert list(probes(x, y).values()) == pytest.approx(expected, abs=1e-12)
    assert list(probes(x, y)) == list(PROBES) and len(set(expected)) > 2
    few = probes(x, y, only=("kNN", "logistic"))
    assert list(few.items()) == [(name, probes(x, y)[name]) for name in ("kNN", "logistic")]


def test_the_pairs_vote_as_in_svc():
    """Six classes that overlap: ties between votes, thousands of points."""
    from sklearn.svm import SVC

    x, y = clouds(6, 300, 4, 0.5)
    new = 2 * np.random.default_rng(5).normal(size=(3000, 4))
    margins = []
    for a in range(6):
        for b in range(a + 1, 6):
            of = (y == a) | (y == b)
            margins.append(SVC(gamma=0.3).fit(x[of], y[of]).decision_function(new))
    assert np.mean(_vote(margins) == SVC(gamma=0.3).fit(x, y).predict(new)) > 0.9995
    assert _vote([np.array([0.0]), np.array([1.0]), np.array([-1.0])]) == [0]  # one vote each


def test_codes_that_have_collapsed_name_the_largest_class():
    y = np.arange(200) % 5 // 2
    y[:50] = 0
    truth = y[np.random.RandomState(42).permutation(200)][160:]
    found = probes(np.zeros((200, 3)), y)
    assert found["linear SVM"] == found["RBF SVM"] == found["logistic"] == np.mean(truth == 0)


def test_a_class_that_only_the_scored_part_has():
    x, y = clouds(2, 100, 3, 50.0)
    y[np.random.RandomState(42).permutation(100)[-1]] = 2
    assert probes(x, y) == pytest.approx(dict.fromkeys(PROBES, 0.95))


def test_features_that_cannot_be_probed():
    x, y = clouds(2, 30, 2, 1.0)
    with pytest.raises(VaenbError, match="this data set has no labels: take one that has"):
        probes(x, None)
    with pytest.raises(VaenbError, match="no probe 'svm': take some of logistic, linear SVM, RBF"):
        probes(x, y, only=("svm",))
    with pytest.raises(VaenbError, match=r"labels \(29,\) do not fit rows \(30, 2\)"):
        probes(x, y[:29])
    with pytest.raises(VaenbError, match="features are not finite: the model has diverged"):
        probes(x * np.inf, y)
    with pytest.raises(VaenbError, match="30 images and 1 classes to train on are too few"):
        probes(x, 0 * y)
    with pytest.raises(VaenbError, match="5 images and . classes to train on are too few"):
        probes(x[:5], y[:5])
    with pytest.raises(VaenbError, match="jobs is -1 and must be at least 1"):
        probes(x, y, jobs=-1)
    assert set(probes(x[:6], [0, 1] * 3)) == set(PROBES)  # the least that can be probed
