"""Chapter 2's own lines, taken from its notebook: the objectives, the plan, the splits by name,
what is measured on which images, which records a figure compares, what its curves show."""

import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from cells import cells
from test_train import Watch, group
from torch.distributions import Normal

from vaenb import measure, models
from vaenb.report import extent, records, targets
from vaenb.train import Rng

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def profiles():
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cpu", "full"):
            patch.setenv("VAENB_PROFILE", name)
            found[name] = cells("02_rate_regularization", until="figure1")
    return found


@pytest.fixture
def cpu(profiles):
    return profiles["cpu"]


@pytest.fixture
def full(profiles):
    return profiles["full"]


def net(seed=0):
    torch.manual_seed(seed)
    return models.mlp_vae(models.Bernoulli(), (1, 4, 4), 1, width=8)


def batch(count=6):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def hp(beta, count=6):
    return SimpleNamespace(beta=torch.tensor(beta), count=count, rng=Rng.of(0, "noise", 5))


def densities(model, x):
    """By enumeration, the batch being the whole set: D, R, log q(z|x), log q(z), log p(z)."""
    nats = model(x, hp(0.0).rng)
    mean, std = nats.posterior.mean, nats.posterior.log_std.exp()
    each = Normal(mean[None], std[None]).log_prob(nats.z[:, None]).sum(2)
    prior = Normal(0.0, 1.0).log_prob(nats.z).sum(1)
    rate = (0.5 * (mean**2 + std**2 - 1) - std.log()).sum(1)
    return nats.distortion, rate, each.diagonal(), each.exp().mean(1).log(), prior


def test_equation_4(cpu):
    d, rate, *_ = densities(net(), batch())
    for beta in (0.0, 2.0):  # at 0 the distortion alone
        loss, told = cpu["beta_vae"](net(), batch(), hp(beta))
        torch.testing.assert_close(loss, (d + beta * rate).mean())
        torch.testing.assert_close(told, dict(D=d.mean(), R=rate.mean()))


def test_the_halves_of_the_rate(cpu):
    model, x = net(), batch()
    with torch.no_grad():
        model.encoder[-1].weight.mul_(20)  # posteriors that differ
    d, rate, own, mixture, prior = densities(model, x)
    _, information, marginal = cpu["halves"](model, x, hp(0.0))
    torch.testing.assert_close(information, own - mixture)
    torch.testing.assert_close(marginal, mixture - prior)
    torch.testing.assert_close(information + marginal, own - prior)  # one draw of the rate
    assert information.mean() > 0.1 and (information.mean() - marginal.mean()).abs() > 0.1
    for name, half in (("only I(x;z)", own - mixture), ("only marginal KL", mixture - prior)):
        loss, told = cpu["OBJECTIVES"][name](model, x, hp(0.7))
        torch.testing.assert_close(loss, (d + 0.7 * half).mean())
        torch.testing.assert_close(told, dict(D=d.mean(), R=rate.mean()))
    _, larger, _ = cpu["halves"](model, x, hp(0.0, count=600))  # the five others stand for 599
    others = 6 * mixture.exp() - own.exp()
    torch.testing.assert_close(larger, own - ((own.exp() + 599 / 5 * others) / 600).log())


def test_the_plan(cpu, full):
    rules = targets.rules("rate-regularization")
    named = {name for rule in rules for name in rule["experiment"].split()}
    grid = [0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1, 2, 3, 5]
    for chapter in (cpu, full):
        plan = chapter["PLAN"]
        assert named <= plan.keys() and all(rows and all(r["betas"] for r in rows)
                                            for _, rows in plan.values())
        assert all(row["betas"] == grid for row in plan["figure3"][1])
        assert {r["objective"] for r in plan["ablation"][1]} == {"only I(x;z)", "only marginal KL"}
        keys = [tuple((k, v) for k, v in row.items() if k != "betas") + (where,)
                for where, rows in plan.values() for row in rows]
        assert len(set(keys)) == len(keys)  # nothing is trained twice
    assert {where for where, _ in cpu["PLAN"].values()} == {
        "tetrominoes", "mnist", "fashion_mnist"}


def test_full_is_the_papers_grid(full):
    plan, scale = full["PLAN"], full["scale"]
    assert all(row["betas"] == full["BETAS"] for _, rows in plan.values() for row in rows)
    sizes = {(r["split"], r["size"]) for name in ("figure3", "figure4") for r in plan[name][1]}
    assert sizes == {(s, k) for s in ("CV", "CD") for k in range(1, 9)} | {("CV", 10)}
    assert {where for name, (where, _) in plan.items() if name.startswith("figure7")} == {
        "mnist", "fashion_mnist", "smallnorb", "shapes3d"}
    assert 3000 == scale["seeds"] * sum(len(r["betas"]) for _, rows in plan.values() for r in rows)
    count = {name: sum(p.numel() for p in full["make_model"](name, (3, 32, 32)).parameters())
             for name in ("1-layer MLP", "3-layer MLP", "1-layer CNN", "3-layer CNN")}
    assert list(count.values()) == [3165204, 4215828, 514135, 300375]


def fake_pool(monkeypatch, chapter, count, factors=4):
    """A pool whose images are their own numbers; parts as lists of these."""
    x = np.arange(count, dtype=np.int64)[:, None, None, None]
    table = np.random.default_rng(0).random((count, factors))
    ranges = np.array([[0.0, 1.0]] * factors)
    monkeypatch.setitem(chapter, "pool", lambda name: (
        (x, None, {}, table, ranges) if name == "tetrominoes" else (x, x + count, {}, None, None)))
    return lambda *place: [p.flatten().tolist() for p in chapter["parts"].__wrapped__(*place)]


def test_sizes_are_shares_of_all_images(cpu, monkeypatch):
    parts = fake_pool(monkeypatch, cpu, 20000)
    for split, size in (("CV", 2), ("CV", 8), ("CD", 2), ("CD", 8), ("checkerboard", 10)):
        seen, held, unseen = parts("tetrominoes", split, size)
        assert len(seen) == pytest.approx(1000 * size, rel=0 if split == "CV" else 0.05)
        assert len(held) == min(500, len(held + unseen) // 4)
        assert not set(seen) & set(held + unseen) and not set(held) & set(unseen)
        assert len(unseen) == 2000 or (split, size) == ("CD", 2) and 1400 < len(unseen) < 1600
        assert seen != sorted(seen) and unseen != sorted(unseen)


def test_full_tests_on_all_images_of_a_split(full, monkeypatch):
    seen, held, unseen = fake_pool(monkeypatch, full, 4000)("tetrominoes", "CV", 2)
    assert sorted(seen + unseen) == list(range(4000)) and unseen[:len(held)] == held
    assert full["scale"]["test"] == 163840 - 8192  # what the smallest training set leaves


def test_other_sets_give_2048_images_at_random(cpu, full, monkeypatch):
    seen, held, unseen = fake_pool(monkeypatch, cpu, 9000)("mnist", "small", 0)
    assert (len(set(seen)), len(held), len(set(unseen))) == (2048, 500, 2000)
    assert max(seen) > 8000 and max(seen) < 9000 <= min(held + unseen)
    assert max(unseen) > 17000 and not set(held) & set(unseen)
    asked = {}

    def load(name, size):
        asked[name] = size
        return SimpleNamespace(train_x=0, test_x=0, describe=lambda: dict(note="complete"))

    monkeypatch.undo()
    monkeypatch.setattr(full["data"], "load", load)
    for where in full["FIGURE7"].values():
        assert full["pool"].__wrapped__(where)[2]["note"].startswith("complete; 2048 training")
    assert asked == dict(mnist=28, fashion_mnist=28, smallnorb=32, shapes3d=32)


def test_what_is_measured_on_which_images(full, monkeypatch):
    seen, unseen = batch(40)[:25], batch(40)[25:]
    model, early = net(0), net(1)
    monkeypatch.setitem(full, "parts", lambda *place: [seen, unseen[:4], unseen])
    monkeypatch.setitem(full, "NEAR", 6)
    monkeypatch.setitem(full, "scale", full["scale"] | dict(iw=3, samples=2))
    found, notes, shown = full["measure_one"](
        "toy", dict(split="CV", size=2), 3, model, early)
    whole, trained = (measure.nats(model, x, seed=3) for x in (unseen, seen[:15]))
    stopped = measure.nats(early, unseen[4:], seed=3)  # not those it was chosen on
    wanted = dict(
        distortion=whole.distortion.mean(), rate=whole.rate.mean(),
        train_distortion=trained.distortion.mean(), train_rate=trained.rate.mean(),
        gap=whole.distortion.mean() - trained.distortion.mean(),
        neg_elbo=whole.neg_elbo.mean(), neg_elbo_iw_images=whole.neg_elbo[:3].mean(),
        early_distortion=stopped.distortion.mean(), early_rate=stopped.rate.mean(),
        floor=measure.bernoulli_floor(unseen[:6]).mean())
    for name, value in wanted.items():
        assert found[name] == pytest.approx(float(value), rel=1e-5), name
    assert found["all_train_rate"] == pytest.approx(found["mi"] + found["marginal_kl"])
    distance = measure.nearest(torch.as_tensor(shown["x"]), seen)[0]
    assert (distance.diff() >= 0).all() and distance[0] < distance[-1]
    assert "15 test and 15 training" in notes[0] and "11 others" in notes[3]


def asked_for(chapter, monkeypatch, experiment, described):
    """What ``run`` would train: the records to be made."""
    entries = []
    monkeypatch.setitem(chapter, "pool", lambda name: (None, None, described, 0, None))
    monkeypatch.setitem(chapter, "fit_row", lambda *a: None)
    monkeypatch.setitem(chapter, "finish_one", lambda entry, *a: entries.append(entry))
    chapter["run"](experiment)
    return entries


def test_no_record_of_the_book_is_trained_again(cpu, monkeypatch):
    assert cpu["LENGTHS"] == [16000, 64000]
    done = [r for r in records.read("02_rate_regularization", "figure3") if (
        r["profile"] == "cpu" and r["steps"] in cpu["LENGTHS"])]
    entries = asked_for(cpu, monkeypatch, "figure3", done[0]["data"])
    assert len(done) and len(done) + len(entries) <= 288
    assert not {records.identity(r) for r in done} & {records.identity(e) for e in entries}
    assert not any(extent.is_full(e) for e in entries)


def test_a_full_record_counts_as_full(full, monkeypatch):
    monkeypatch.setitem(full, "seeds", 1)
    entries = asked_for(full, monkeypatch, "figure5", dict(train=163840, complete=True, sha256=""))
    assert len(entries) == 24 and all(map(extent.is_full, entries))
    assert entries[0]["scale"]["tested"] == [155648, 155648]


def record(model, beta, seed=0, steps=10, split="CV", **metrics):
    return records.new("02_rate_regularization", "figure3", "cpu", dict(
        model=model, beta=beta, split=split, size=2), seed, metrics, steps=steps,
        scale=dict(steps=[steps, 100]), data=dict(name="toy", sha256=""))


def test_figures_compare_runs_of_one_scale(cpu):
    long, short = ([record("1-layer MLP", 1.0, steps=s)] for s in (20, 10))
    other, none = [record("1-layer CNN", 1.0)], [record("1-layer CNN", 1.0, steps=5)]
    assert cpu["alike"](long + short, other) == [short, other]
    assert cpu["alike"](long + short) == [long]
    assert cpu["alike"](long + short, none) == [[], []]
    assert cpu["alike"](long, []) == [long, []]  # what has run is shown
    wide = [record("1-layer MLP", b, steps=10) for b in (0.1, 2.0)]
    assert cpu["alike"](long + short + wide) == [short + wide]  # one long run is not a curve
    assert cpu["alike"](long + short + wide[:1]) == [long]
    assert cpu["at"](long + [record("1-layer MLP", 1.0, split="CD")], ("CV", 2)) == long


def points(line):
    return [tuple(p) for p in line.get_xydata().tolist()]


def test_the_rate_distortion_plane(cpu, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(cpu["chapter"], "finish", lambda fig, *sets: drawn.append((fig, sets)))
    found = [record("3-layer MLP", b, seed=s, rate=10 / b + s, distortion=b + s,
                    train_rate=20 / b, train_distortion=b / 2)
             for b in (1.0, 2.0) for s in (0, 1)]
    other = [record("3-layer CNN", 1.0, rate=1.0, distortion=2.0, train_rate=3.0,
                    train_distortion=4.0)]
    cpu["rd_plane"]({"one": found, "none": []}, together=False)
    cpu["rd_plane"]({"one": found, "two": other})
    cpu["rd_plane"]({"none": []})
    assert "no runs are recorded" in capsys.readouterr().out and len(drawn) == 2
    cpu["rd_plane"]({"one": found, "none": []})  # what has run is shown
    assert len(drawn.pop()[0].axes) == 1
    [ax], axes = drawn[0][0].axes, drawn[1][0].axes
    curves = {line.get_linestyle(): points(line) for line in ax.lines
              if line.get_color() == cpu["SHADES"]["3-layer MLP"]
              and len(line.get_xdata()) == 2 and line.get_marker() == "None"}
    assert curves == {"-": [(10.5, 1.5), (5.5, 2.5)], "--": [(20, 0.5), (10, 1)]}
    totals = [x + y for line in ax.lines if line.get_color() == "0.85" for x, y in points(line)]
    assert len(totals) > 4 and np.allclose(totals[::2], totals[1::2])
    assert [a.get_legend().get_texts()[0].get_text() for a in axes] == [
        "3-layer MLP", "3-layer CNN"]
    assert axes[0].get_xlim() == axes[1].get_xlim() and axes[0].get_ylim() == axes[1].get_ylim()


def test_a_model_that_diverged_is_left_out_of_the_tables(cpu):
    broken = record("3-layer MLP", 0.5, seed=2, diverged=1.0)
    good = [record("3-layer MLP", 0.5, seed=s, active_units=s, rate=1.0, distortion=2.0 - s,
                   train_distortion=1.0, train_rate=1.0, gap=1.0 - s) for s in (0, 1)]
    told = repr(cpu["pairs"]([*good, broken]))
    assert "1, mean 1.0" in told and told == repr(cpu["pairs"](good))
    assert "0, 1, nan" in repr(cpu["beside"](good, [*good, broken]))
    means = cpu["mean"]([math.nan, math.nan])
    assert math.isnan(means)


def test_the_corrected_estimate_is_shown(cpu, monkeypatch):
    figs, shown = [], []
    monkeypatch.setattr(cpu["chapter"], "finish", lambda fig, *sets: figs.append(fig))
    monkeypatch.setitem(cpu, "display", shown.append)
    found = [record("1-layer MLP", b, mi=1.0, mi_corrected=1.5, ceiling=2.0, distortion=9.0,
                    neg_elbo_iw_images=9.5) for b in (0.1, 1.0)]
    cpu["over_beta"](found, {"mi": "I(x;z)"}, ("model",), {("1-layer MLP",): ("one", "red", "-")},
                     ("mi", "mi_corrected", "theirs"))
    [ax] = figs[0].axes
    dashed = [points(line) for line in ax.lines
              if (line.get_linestyle(), line.get_color()) == ("--", "red")]
    assert dashed == [[(0.1, 1.5), (1.0, 1.5)]]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "theirs"]
    cpu["show_table"](found, "mi", "neg_elbo_iw_images")
    row = dict(zip(shown[0].header, (cell[0] for cell in shown[0].rows[0]), strict=True))
    assert row["setting"] == "1 layer, β 0.1"
    assert row["−ELBO of the same (nats)"].startswith("9.5 ")


@pytest.mark.parametrize("name", ["beta_vae", "only_information", "only_marginal_kl"])
def test_each_objective_is_one_program_that_waits_for_nothing(full, name):
    def step(rows):
        member = group(net, full[name], batch(), rows)
        with Watch() as watch:
            member.step()
        assert watch.seen == []
        return member.p

    rows = [dict(beta=beta, seed=0, count=6) for beta in (0.1, 2.0)]
    together = step(rows)
    assert torch.allclose(together, torch.cat([step([row]) for row in rows]), atol=1e-6)
