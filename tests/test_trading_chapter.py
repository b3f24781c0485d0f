"""Chapter 3's own lines, taken from its notebook: the objective and the ladder's warm-up, which
cells of a grid are trained, on which data, what a record answers, and who is above the bound."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cells import cells

from vaenb import VaenbError, data, measure, models, train
from vaenb.report import extent, records, targets
from vaenb.train import Rng

PLANNED = "parameters", "imports", "scale", "data", "plan"


def chapter_of(profile, *ids):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAENB_PROFILE", profile)
        return cells("03_information_trading", ids, until="" if ids else "figure1")


@pytest.fixture(scope="module")
def chapter():
    return chapter_of("smoke")


@pytest.fixture(scope="module")
def planned():
    return {profile: chapter_of(profile, *PLANNED) for profile in ("quick", "cpu", "full")}


def spent(chapter, name, kind, **settings):
    """Loss, D, R(z2) and R(z1|z2) by the chapter's objective; the last three as the model says."""
    torch.manual_seed(0)
    model = kind(models.LinearGaussian(0.71), (3, 32, 32), width=2)
    x = torch.rand(4, 3, 32, 32)
    hp = SimpleNamespace(rng=Rng.of(0), **{k: torch.tensor(v) for k, v in settings.items()})
    with torch.no_grad():
        loss, told = chapter[name](model, x, hp)
        nats = model(x, Rng.of(0))
    own = [nats.distortion.mean(), *(r.mean() for r in nats.rates)]
    assert [float(told[k]) for k in ("D", "R2", "R1")] == [float(v) for v in own]
    return float(loss), *(float(v) for v in own), nats


def test_each_layer_has_its_own_weight(chapter):
    loss, d, top, low, nats = spent(chapter, "layered", models.ghvae, beta_z2=3.0, beta_z1=0.2)
    assert loss == pytest.approx(d + 3 * top + 0.2 * low, rel=1e-6)
    assert abs(top - low) > 0.01  # else swapped weights would not show
    loss, *_, nats = spent(chapter, "layered", models.ghvae, beta_z2=1.0, beta_z1=1.0)
    assert loss == pytest.approx(float((nats.distortion + nats.rate).mean()), rel=1e-6)


def test_the_ladder_warms_up(chapter):
    for step, weight in ((0, 0), (10, 0.5), (20, 1), (21, 1), (500, 1)):
        loss, d, top, low, _ = spent(chapter, "warmed", models.lvae, beta_z2=3.0, beta_z1=0.2,
                                     step=step, warm=20.0)
        assert loss == pytest.approx(d + weight * (3 * top + 0.2 * low), rel=1e-6)


@pytest.mark.parametrize("name, loss, warm", [
    ("svhn", "layered", None), ("mnist", "layered", None), ("svhn_lvae", "warmed", 20),
])  # fmt: skip
def test_only_the_ladder_is_trained_with_it(chapter, name, loss, warm, monkeypatch):
    class Asked(Exception):
        pass

    def fit(make, loss, x, sweep, steps, **more):
        raise Asked(make(), loss, x, sweep, steps)

    monkeypatch.setitem(chapter["scale"], "steps", 100)
    monkeypatch.setattr(chapter["train"], "fit", fit)
    with pytest.raises(Asked) as asked:
        chapter["run"](name)
    model, objective, _, sweep, steps = asked.value.args
    assert objective is chapter[loss] and steps == 100
    assert [row.get("warm") for row in sweep] == [warm] * 4  # the smoke test's 2 x 2 grid
    assert model.top == (20 if name == "mnist" else 32)


def on_the_edge(rows, betas):
    """Those on the diagonal, those in the corners."""
    places = [(r["beta_z2"], r["beta_z1"]) for r in rows]
    ends = {min(betas), max(betas)}
    return sum(a == b for a, b in places), sum({a, b} <= ends for a, b in places)


@pytest.mark.parametrize("profile, side, few", [("quick", 3, 5), ("cpu", 5, 7), ("full", 21, 441)])
def test_the_cells_of_a_grid(planned, profile, side, few):
    chapter = planned[profile]
    betas = chapter["BETAS"]
    assert len(betas) == side and betas[0] == 0.1 and betas[-1] == 10 and 1 in betas
    assert np.allclose(np.diff(np.log10(betas)), 2 / (side - 1), atol=1e-3)
    for name in ("svhn", "svhn_lvae", "cifar10", "mnist"):
        for seed in (0, 1, 2):
            rows = chapter["cells_of"](name, seed)
            every = seed == 0 or name != "svhn_lvae"
            assert len({tuple(r.items()) for r in rows}) == len(rows)
            assert len(rows) == (side * side if every else few)
            assert on_the_edge(rows, betas) == (side, 4)
    seeds = chapter["scale"]["seeds"]
    assert chapter["planned"]["svhn_lvae"] == ("svhn", side * side + (seeds - 1) * few)
    assert chapter["planned"]["mnist"] == ("mnist", side * side * seeds)


def test_a_shard_is_named_by_its_betas(planned, monkeypatch):
    chapter = planned["cpu"]
    monkeypatch.setitem(chapter, "betas_z2", "0.1 1")
    rows = chapter["cells_of"]("mnist", 0)
    assert len(rows) == 10 and {r["beta_z2"] for r in rows} == {0.1, 1}
    rows = [tuple(r.values()) for r in chapter["cells_of"]("svhn_lvae", 1)]
    assert rows == [(0.1, 0.1), (0.1, 10), (1, 1)]


def test_full_is_the_papers_protocol_and_is_logged_often(chapter, monkeypatch):
    full = chapter["SCALES"]["full"]
    monkeypatch.setitem(chapter, "scale", full)
    for where, steps in (("svhn", 143500), ("cifar10", 98000), ("mnist", 117500)):
        assert chapter["steps_of"](where) == (steps, steps)
        assert steps // full["every"] >= 1280
        ours, theirs = chapter["classifier_steps"](where)[2]
        assert ours == theirs
    assert theirs == 14 * 60000  # MNIST's
    monkeypatch.setitem(chapter, "scale", full | dict(classifier=(8000, 64)))
    assert chapter["classifier_steps"]("svhn") == (8000, 64, [512000, 14 * 73257])


def test_a_short_classifier_is_not_the_papers_protocol(chapter, monkeypatch):
    class Asked(Exception):
        pass

    def missing(name, entries):
        raise Asked(entries)

    x, told = torch.empty(60000, 1), dict(complete=True)
    betas = [round(10 ** (k / 10 - 1), 4) for k in range(21)]
    for name, value in (("profile", "full"), ("BETAS", betas),
                        ("images", lambda where: (x, x, x[:10000], x, told))):
        monkeypatch.setitem(chapter, name, value)
    monkeypatch.setattr(chapter["chapter"], "missing", missing)
    full = chapter["SCALES"]["full"]
    for given, whole in ((full, True), (full | dict(classifier=(8000, 64)), False)):
        monkeypatch.setitem(chapter, "scale", given)
        with pytest.raises(Asked) as asked:
            chapter["run"]("mnist")
        assert len(asked.value.args[0]) == 441
        assert {extent.is_full(entry) for entry in asked.value.args[0]} == {whole}


def test_images_are_cut_and_mnist_is_black_and_white(chapter, monkeypatch):
    grey = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    told = data.DataSet("own", grey, np.arange(4), None, None, grey[::-1].copy(),
                        np.arange(4)[::-1].copy(), "whole", True, "")
    monkeypatch.setattr(chapter["data"], "load", lambda name, size: told)
    monkeypatch.setitem(chapter, "scale", chapter["scale"] | dict(images=3, test=2))
    chapter["images"].cache_clear()
    try:
        x, y, test_x, test_y, said = chapter["images"]("mnist")
        assert len(x) == 3 and y.tolist() == [0, 1, 2] and test_y.tolist() == [3, 2]
        assert x.flatten().tolist() == [0] * 128 + [255] * 64 and test_x.min() == 255
        assert said["note"] == "whole; binarised at 128"
        x, *_, said = chapter["images"]("svhn")
        assert torch.equal(x, torch.from_numpy(grey[:3])) and "binarised" not in said["note"]
        chapter["images"].cache_clear()
        for labels, said in ((None, "has none"), (np.array([0, 1, 2, 10]), "goes up to 10")):
            other = replace(told, test_y=labels)
            monkeypatch.setattr(chapter["data"], "load", lambda name, size, other=other: other)
            with pytest.raises(VaenbError, match=f"labels 0 to 9 are needed and test_y .*{said}"):
                chapter["images"]("svhn")
        with pytest.raises(VaenbError, match="train_y of the set own has a label below 0"):
            replace(told, train_y=np.arange(4) - 1)
    finally:
        chapter["images"].cache_clear()


def test_the_printed_cells_have_their_metric(chapter):
    printed = [c for c in targets.cells("information-trading") if c["table"] == "Table 1"]
    asked = {name: chapter["answers"](name) for name in chapter["PLAN"]}
    assert asked["mnist"] == asked["svhn_lvae"] == {}
    assert len(asked["svhn"]) == len(asked["cifar10"]) == 8
    assert asked["svhn"] | asked["cifar10"] == {c["id"]: found for c in printed for found in [
        {"log. reg.": "logistic", "lin. SVM": "linear_svm", "RBF SVM": "rbf_svm", "kNN": "knn"}[
            c["metric"].removeprefix("classification accuracy ")] + "_" + c["setting"][9:12]]}


def test_the_mean_of_a_silent_code_is_read_and_a_draw_is_not(chapter):
    """Means that lean with the label, far less than they are noisy: I(y; z) is nearly nothing."""
    y = torch.arange(1000) % 2
    mean = 1e-3 * (2.0 * y[:, None] - 1)
    narrow, wide = (models.latents.Gaussian(mean, torch.full_like(mean, math.log(s)))
                    for s in (1e-4, 1.0))
    assert chapter["read_drawn"](wide, y, 0) < 60
    assert measure.probes(wide.mean, y)["kNN"] == 1
    labels = measure.label_information(*wide, y)
    assert 100 * measure.accuracy_bound(labels.mi, [500, 500]) < 60
    scaled = models.latents.Gaussian(1e3 * narrow.mean, narrow.log_std + math.log(1e3))
    assert chapter["read_drawn"](scaled, y, 0) == 100
    noisy = models.latents.Gaussian(mean * 1000, torch.zeros_like(mean))
    drawn = noisy.sample(Rng.of(3, "evaluation"))
    probe = 100 * measure.probes(drawn, y)["logistic"]
    assert chapter["read_drawn"](noisy, y, 3) == pytest.approx(probe) and 60 < probe < 95


def test_cells_above_the_bound_are_found(chapter, capsys):
    def record(b2, b1, best, bound):
        metrics = dict(psnr=1.0, best_accuracy_mu2=best, accuracy_bound=bound, mi_labels=0.1,
                       rate_z2=0.2)
        return dict(settings=dict(beta_z2=b2, beta_z1=b1), seed=0, metrics=metrics, profile="cpu",
                    experiment="mnist", scale=dict(tested=[2000, 10000]), data={}, when="2026")

    found = [record(1.0, 1.0, 50.0, 60.0), record(10.0, 1.0, 50.0, 45.0)]
    assert chapter["beyond_bound"](chapter["means"](found)) == {(10.0, 1.0): 5.0}
    chapter["display"] = lambda table: print(table)
    chapter["bound_table"](found)
    told = capsys.readouterr().out
    assert "10, 1" in told and "1 of 2 cells" in told and "on 400 images" in told
    assert told.splitlines()[1].split()[-1] == "2.0"  # 5 points are two standard errors of 2.5


def test_what_is_gained_over_the_diagonal_at_the_same_total(chapter):
    def cell(rate, psnr):
        return dict(rate=rate, psnr=psnr)

    cells = {(1.0, 1.0): cell(10, 20), (0.1, 0.1): cell(30, 24), (1.0, 0.1): cell(20, 22.5),
             (10.0, 1.0): cell(15, 20.5), (0.1, 1.0): cell(20, 30), (10.0, 0.1): cell(31, 30)}
    assert chapter["above_diagonal"](cells) == {  # nothing past the end of the line
        (1.0, 0.1): (0.5, 20), (10.0, 1.0): (-0.5, 15)}
    assert chapter["above_diagonal"]({(10.0, 0.1): cell(31, 30)}) == {}


def test_shuffled_labels_tell_what_the_estimate_is_without_any(chapter):
    """Narrow posteriors give H(y) whatever the labels; wide ones nothing."""
    torch.manual_seed(0)
    y, mean = torch.arange(400) % 10, torch.randn(400, 8)
    for log_std, told in ((-9.0, math.log(10)), (4.0, 0.0)):
        q = models.latents.Gaussian(mean, torch.full_like(mean, log_std))
        assert chapter["shuffled_information"](q, y, 0) == pytest.approx(told, abs=0.02)
    means = 4.0 * torch.nn.functional.one_hot(y, 10)
    q = models.latents.Gaussian(means, torch.zeros_like(means))
    assert measure.label_information(*q, y).mi > 1.8
    assert chapter["shuffled_information"](q, y, 0) < 0.2


def test_a_piece_of_a_grid_without_the_diagonal_has_its_table(chapter, capsys):
    chapter["display"] = lambda table: print(table)
    one = dict(settings=dict(beta_z2=0.1, beta_z1=10.0), seed=0, profile="cpu", when="2026",
               metrics=dict(psnr=20.0, rate_z2=1.0, rate_z1=2.0), experiment="svhn", scale={},
               data={}, device="", torch="", version="", code="")
    chapter["best_table"]([one], {"psnr": "bound"})
    bound = capsys.readouterr().out.splitlines()[1].split()
    assert bound[0] == "bound" and bound[-3:] == ["–"] * 3


def test_cells_compare_at_the_seeds_that_all_of_them_have(chapter, monkeypatch):
    def record(b2, b1, seed, psnr):
        return dict(settings=dict(beta_z2=b2, beta_z1=b1), seed=seed, metrics=dict(psnr=psnr),
                    profile="cpu", experiment="mnist", scale={}, data={}, when="2026")

    def means(found):
        monkeypatch.setattr(chapter["chapter"], "experiment", lambda *args, **kept: found)
        return chapter["means"](chapter["experiment"]("mnist"))

    corner = [record(1.0, 1.0, 0, 20.0), record(1.0, 1.0, 1, 10.0)]
    assert means(corner) == {(1.0, 1.0): dict(psnr=15.0)}
    both = [*corner, record(1.0, 0.1, 0, 18.0)]  # a bad seed of one is no merit of the other
    assert means(both) == {(1.0, 1.0): dict(psnr=20.0), (1.0, 0.1): dict(psnr=18.0)}
    apart = [record(1.0, 1.0, 0, 20.0), record(1.0, 0.1, 1, 18.0)]
    assert means(apart) == {(1.0, 1.0): dict(psnr=20.0), (1.0, 0.1): dict(psnr=18.0)}
    assert means([]) == {}


@pytest.mark.parametrize("text", ["0.1,1,10", "low"])
def test_betas_that_are_no_numbers(planned, text):
    typed, every = planned["cpu"]["typed"], planned["cpu"]["BETAS"]
    with pytest.raises(VaenbError, match=r"betas_z2 is '.*' and must be numbers with blanks"):
        typed("z2", text)
    assert typed("z2", "0.1 10") == [0.1, 10.0] and typed("z1", "") == every
    with pytest.raises(VaenbError, match="betas_z1 has 0.37, which is not in this profile's grid"):
        typed("z1", "0.1 0.37")
    with pytest.raises(VaenbError, match=r"layer z1 has a beta twice in \[0.1, 10.0, 0.1\]"):
        typed("z1", "0.1 10 0.1")


def test_a_cell_that_cannot_be_measured_is_marked_and_the_next_goes_on(chapter, monkeypatch):
    def measure_one(model, where, seed):
        if model == "broken":
            raise VaenbError("some logits are not finite")
        return dict(psnr=20.0), ["fine"], {}

    kept = []
    monkeypatch.setitem(chapter, "measure_one", measure_one)
    monkeypatch.setitem(chapter, "classifier", lambda where: None)
    monkeypatch.setattr(records, "finish", lambda entry, *cost: kept.append(entry))
    history = dict(step=[1, 2], loss=[2.0, 1.0])

    runs = train.Runs([{}] * 3)
    runs.models, runs.history = ["broken", "dead", "whole"], [history] * 3
    runs.alive = [True, False, True]
    for k in range(3):
        cell = dict(settings=dict(model="GHVAE", beta_z2=1.0, beta_z1=0.1), seed=1)
        chapter["finish_one"](cell, "svhn", 1, runs, k)
    assert [r["metrics"]["diverged"] for r in kept] == [0, 1, 0]
    assert kept[0]["notes"] == ["not measured: some logits are not finite"]
    assert [r["metrics"].get("psnr") for r in kept] == [None, None, 20]


@pytest.mark.parametrize("rows", [1, 3, 21])
def test_the_explorer_of_a_whole_grid_stays_small(chapter, rows, monkeypatch):
    """Pictures that are all different, as those of real models are."""
    rng, shown, betas = np.random.default_rng(0), [], chapter_of("full", *PLANNED)["BETAS"]
    numbers = dict.fromkeys(
        [*chapter["EXPLORED"], *chapter["TOLD"], *chapter["TASKS"], "rate"], 12.3456789)

    def strips(record, name):
        return dict(x=np.zeros((4, 3, 32, 32), np.uint8), **{
            k: rng.integers(0, 256, (4, 3, 32, 32), np.uint8)
            for k in ("samples", "reconstructions")})

    monkeypatch.setattr(records, "read_artefact", strips)
    monkeypatch.setitem(chapter, "display", shown.append)
    found = [records.new(
        "03_information_trading", "svhn", "full", dict(model="GHVAE", beta_z2=b2, beta_z1=b1), 0,
        numbers | dict(rate_z2=20 - 6 * math.log10(b2), rate_z1=99 - 40 * math.log10(b1)),
        scale={}, data={"name": "svhn", "note": ""}, steps=9) | dict(
            artefacts={"pictures": "x"}, notes=["inception score: of ResNet-18"])
        for b2 in betas[:rows] for b1 in betas]
    chapter["show_explorer"](found, "SVHN")
    page = shown[0]._repr_html_()
    assert len(page) < 1e6 and page.count("data:image/png") >= 9 * min(rows, 3) // 3
