"""Chapter 1: what its rows hand to the trainer, and which printed numbers they answer."""

import numpy as np
import pytest
from cells import cells

from vaenb import data, train


@pytest.fixture(scope="module")
def chapter():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAENB_PROFILE", "full")
        return cells("01_calibrated_decoders", until="show")


def test_the_soft_clip_of_the_variance_is_no_clip_of_the_gradient(chapter, monkeypatch):
    made = []

    def fit(make_model, loss, x, rows, *_, **__):
        made.append((rows[0], make_model().likelihood))

    monkeypatch.setattr(train, "fit", fit)
    digits = data.load("digits", size=28)
    monkeypatch.setitem(chapter, "images", lambda name: digits)
    for settings in chapter["PLAN"]["clip"][1]:
        chapter["fit_one"]("mnist", settings, 5, 10)
    assert [row for row, _ in made] == [dict(kl_weight=1.0, seed=5)] * 3
    clipped, free = (repr(likelihood) for _, likelihood in made[:2])
    assert clipped != free


def test_the_beta_that_is_tuned_covers_the_papers_range_in_full(chapter):
    for name in ("table1", "table3", "table4_cifar", "table4_freyface"):
        betas = sorted(r["beta"] for r in chapter["PLAN"][name][1] if r["model"] == "beta-VAE")
        assert betas == [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0]


def test_inputs_and_numbers_of_other_data_answer_nothing(chapter):
    answers = chapter["cells"]
    fixed = answers("table1", dict(model="beta-VAE", beta=0.01, objective="SSE + beta KL"))
    assert sorted(k.split("|")[-1] for k in fixed if k.startswith("Table 1")) == ["-log p", "FID"]
    assert not any(k.startswith("Table 1") for k in answers("table1", dict(
        model="beta-VAE", beta=100.0, objective="SSE + beta KL")))
    best = answers("table1", dict(model="Optimal sigma-VAE"))
    assert best["text 5.1 / Figure 3|SVHN|optimal sigma-VAE||equivalent beta at convergence"] == (
        "beta_equiv")
    for model in ("Gaussian VAE", "Shared sigma-VAE"):
        found = answers("table4_cifar", dict(model=model))
        assert not any("-log pdf" in k for k in found)
        assert "Table 4|CIFAR VAE (small)|Gaussian VAE||-log p" not in found
        [mass] = [k for k in found if k.startswith("Table 5") and k.endswith("-log p")]
        assert found[mass] == "disc_nll"


def test_a_bound_with_the_variance_of_the_test_images(chapter):
    """Where the variance is the error already, nothing changes; else it is the least there is."""
    def bound(error, sigma2, dims=10, rate=3.0):
        return rate, dims / 2 * np.log(2 * np.pi * sigma2) + dims * error / (2 * sigma2)

    for sigma2 in (0.02, 0.5):
        rate, distortion = bound(0.02, sigma2)
        told, error = chapter["refitted"](
            dict(rate=rate, distortion=distortion, sigma2=sigma2), 10)
        assert error == pytest.approx(0.02)
        assert told == pytest.approx(sum(bound(0.02, 0.02))) and told <= rate + distortion + 1e-9


def test_a_caption_says_whose_distances_are_of_another_classifier(monkeypatch):
    monkeypatch.setenv("VAENB_PROFILE", "recorded")
    chapter, shown = cells("01_calibrated_decoders", until="budget"), []
    chapter["display"] = lambda table: shown.append(table.caption)

    def made(model, accuracy):
        return [r | {"notes": [f"classifier of the data, last hidden layer, test accuracy "
                               f"{accuracy}; 9 samples"]}
                for r in chapter["chapter"].read("table1") if r["settings"]["model"] == model]

    usual, other = made("Shared sigma-VAE", 0.98), made("Optimal sigma-VAE", 0.97)[:1]
    for found in (usual, usual + other):
        chapter["show_table"]("Table 1", "SVHN", found)
    assert "another classifier" not in shown[0]
    assert ("Fréchet distances of Optimal σ-VAE are of another classifier (test accuracy 0.97; "
            "the others' test accuracy 0.98)") in shown[1]
    chapter["show_table"]("ours", "SVHN", usual + other)  # which has no such distances
    assert "another classifier" not in shown[2]
