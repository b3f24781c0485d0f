"""Chapter 5's own lines, taken from its notebook: the objective, the pace, which cell is whose."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cells import cells

from vaenb.models import Bernoulli, dueling_vae
from vaenb.report import targets
from vaenb.train import Rng


@pytest.fixture(scope="module")
def chapter():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VAENB_PROFILE", raising=False)
        return cells("05_dueling_decoders", until="budget")


def hp(step=0, **more):
    given = dict(beta=0.3, lam=0.7, off=100.0, warm=10.0) | more
    values = {k: torch.tensor(float(v)) for k, v in given.items()}
    return SimpleNamespace(rng=Rng.of(0, "noise", 5), step=torch.tensor(step), **values)


def parts_of(chapter, price, x, model, **more):
    loss = chapter["dueling"](price, lambda x, rng: x, lambda x, seen: None)
    whole, told = loss(model, x, hp(**more))
    nats = model(x, Rng.of(0, "noise", 5))
    return float(whole.detach()), *(float(t.detach()) for t in (
        told["D"], told["beside"], told["R"], nats.distortion.mean()))  # fmt: skip


def test_the_objective_is_equation_8_until_the_second_decoder_leaves(chapter):
    torch.manual_seed(0)
    model = dueling_vae(2, width=2, filters=2, pseudo_inputs=3, side=8)
    x = (torch.rand(4, 1, 8, 8) > 0.5).float()
    whole, d, beside, rate, check = parts_of(chapter, "beta", x, model)
    assert whole == pytest.approx(d + 0.7 * beside + 0.3 * rate, rel=1e-6) and d == check
    whole, *_ = parts_of(chapter, "beta", x, model, step=100)
    assert whole == pytest.approx(d + 0.3 * rate, rel=1e-6)
    assert isinstance(model.likelihood, Bernoulli) and beside > 0


def test_what_a_nat_of_rate_costs(chapter):
    price = chapter["PRICES"]
    for rate, free, penalty in ((4.0, 10.0, 60.0), (12.0, 12.0, 20.0)):
        r = torch.tensor(rate, requires_grad=True)
        assert float(price["Free Bits"](r, hp()).detach()) == free
        assert float(price["Penalty-VAE"](r, hp()).detach()) == penalty
        [slope] = torch.autograd.grad(price["Free Bits"](r, hp()), r)
        assert slope == (rate > 10)
    costs = [float(price["KL Annealing"](torch.tensor(2.0), hp(step))) for step in (0, 5, 10, 50)]
    assert costs == pytest.approx([0, 1, 2, 2])


def test_the_learning_rate_has_the_resolved_values(chapter):
    lr = chapter["pace"](20000)
    at = {0: 1e-10, 100: 4.05e-5, 1000: 3.26e-4, 5771: 7.15e-4, 10000: 6.50e-4, 20000: 4.35e-4}
    for step, value in at.items():
        found = float(lr(SimpleNamespace(step=torch.tensor(step))))
        assert found == pytest.approx(value, rel=5e-3)
    short = chapter["pace"](2000)
    peak = float(short(SimpleNamespace(step=torch.tensor(577))))
    assert peak == pytest.approx(7.15e-4, rel=5e-3)


def test_each_printed_cell_has_its_model(chapter):
    wanted = [c for c in targets.cells("dueling-decoders") if c["metric"] in chapter["KEYS"]
              and c["table"] in ("Table 1", "Table 2", "Table 3", "Table 8")]
    answered = {}
    for name, (form, rows) in chapter["PLAN"].items():
        for settings in rows:
            for cell in chapter["answers"](settings, form):
                answered.setdefault(cell, []).append((name, settings["model"]))
    missing = [c["id"] for c in wanted if c["id"] not in answered]
    assert not missing
    assert all(len(rows) == 1 for rows in answered.values())


def test_the_grid_is_the_papers(chapter):
    grid = chapter["GRID"]
    count = {name: sum(r["model"] == name for r in grid)
             for name in ("PixelCNN", "CNN", "Dueling Decoder")}
    assert count == {"PixelCNN": 4, "CNN": 4, "Dueling Decoder": 8}  # 2 of 3 codes, 1 of 2 batches
    first = grid[:3]  # those of Table 8, whatever else a run has no time for
    assert all(any(c.items() <= r.items() for r in first) for c in chapter["CHOSEN"])


def test_what_the_targets_say(chapter):
    x = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    x[0, 0, 1] = 255  # a white row
    of = chapter["target_of"]
    assert of("conv", x).sum() == 3 and of("histogram", x).tolist() == [[3]]
    assert of("marginals", x).tolist() == [[1, 1, 1, 0, 3, 0]]
    assert of("gradient", x).tolist() == [[1, 1, 1, -1, -1, -1] + [0] * 6]
    x[0, 0, 0, 0] = 7
    grey = of("histogram of grey values", x)
    assert grey.shape == (1, 256) and grey[0, [0, 7, 255]].tolist() == [5, 1, 3]


def test_the_papers_selection(chapter):
    def run(name, beta, rate, mlp, seed):
        return dict(settings=dict(model=name, beta=beta), seed=seed, profile="cpu", scale={},
                    experiment="table1", data={}, when="",
                    metrics=dict(rate=rate, mlp_accuracy=mlp))

    rows = [("PixelCNN", 1.0, 1, 0.2), ("PixelCNN", 0.1, 9, 0.5), ("PixelCNN", 0.01, 11, 0.9),
            ("CNN", 1.0, 12, 0.8)]
    found = [run(*row, seed) for row in rows for seed in range(2)]
    assert chapter["chosen_by_the_rule"](found) == [dict(model="PixelCNN", beta=0.1)]
    assert chapter["chosen_by_the_rule"]([]) == []


def test_a_batch_is_the_printed_one_in_full_alone(chapter):
    [chosen] = [c for c in chapter["CHOSEN"] if c["model"] == "CNN"]
    assert chapter["scale"]["batch"] == 32
    assert chapter["batch_of"](chosen, "thresholded") == (32, 64)  # ours, the paper's
    chapter["profile"] = "full"
    try:
        assert chapter["batch_of"](chosen, "thresholded") == (64, 64)
        assert chapter["batch_of"](chapter["GRID"][-1], "thresholded") == (32, 0)  # not in Table 8
    finally:
        chapter["profile"] = "recorded"


@pytest.mark.parametrize("form", ["thresholded", "stochastic", "mnist", "fashion"])
def test_full_trains_the_papers_grid_on_each_set_and_nothing_twice(form, monkeypatch):
    monkeypatch.setenv("VAENB_PROFILE", "full")
    plan = cells("05_dueling_decoders", until="run")["PLAN"]
    plain = [r | dict(cnn=int(r["model"] == "CNN")) for name, (where, rows) in plan.items()
             if where == form and name not in ("targets", "figure4") for r in rows]
    assert len({repr(sorted(r.items())) for r in plain}) == len(plain)
    counts = {name: sum(r["model"] == name for r in plain)
              for name in ("PixelCNN", "CNN", "Dueling Decoder")}
    assert counts == {"PixelCNN": 12, "CNN": 12, "Dueling Decoder": 24}  # section 4


def test_codes_that_are_all_the_same_are_laid_out_too(chapter):
    same = np.full((500, 16), -0.49064717, np.float32)
    assert same.std(0).any()  # by rounding
    nearly = same.copy()
    nearly[7, 3] = np.nextafter(nearly[7, 3], np.float32(1))
    for codes in (np.ones((30, 16)), same, nearly):  # t-SNE started at NaN kills the process
        placed = chapter["plane"](codes)
        assert placed.shape == (len(codes), 2) and np.isfinite(placed).all()


def test_codes_of_about_one_rate_stand_side_by_side(chapter):
    def run(name, beta, rate, mlp, seed):
        return dict(settings=dict(model=name, beta=beta, lam=float(name[0] == "D"), latents=2),
                    seed=seed, profile="cpu", scale={}, experiment="table1", data={}, when="",
                    metrics=dict(rate=rate, mlp_accuracy=mlp, distortion=60.0,
                                 reconstruction_accuracy=mlp / 2))

    rows = [("PixelCNN", 0.1, 5.0, 0.4), ("PixelCNN", 1.0, 0.0, 0.1),
            ("Dueling Decoder", 1.0, 5.8, 0.7), ("Dueling Decoder", 0.1, 6.2, 0.8),
            ("Dueling Decoder", 0.5, 0.1, 0.2), ("CNN", 1.0, 5.0, 0.9)]
    table = chapter["matched"]([run(*row, seed) for row in rows for seed in range(2)])
    [cells] = table.rows  # not where the code is empty, nor more than a nat apart
    assert [text for text, _, _ in cells] == [
        "PixelCNN, β 0.1, 2 latents", "Dueling Decoder, β 1, λ 1, 2 latents",
        "5.0", "5.8", "60.0", "60.0", "0.40", "0.70", "0.20", "0.35"]
    assert len(table.header) == 10 and "less than 1 nat apart" in table.caption
