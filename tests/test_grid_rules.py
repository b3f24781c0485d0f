"""Rules over the cells of a grid: their statistics, and the verdicts they lead to."""

import math

import numpy as np
import pytest
from scipy import stats

from vaenb import VaenbError, report
from vaenb.report import records
from vaenb.report.association import (
    bends,
    depends_more,
    explains,
    rank_correlation,
    varies_more,
)
from vaenb.report.comparisons import above_line
from vaenb.report.selectors import best, best_by_others, chosen, parse
from vaenb.report.verdicts import run_test

BETAS = (0.1, 0.3162, 1.0, 3.1623, 10.0)


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 25))
    y[:5] = y[5]  # ties
    rho, up, down = rank_correlation(x, y + x)
    theirs = stats.spearmanr(x, y + x, alternative="greater")
    assert rho == pytest.approx(theirs.statistic) and up == pytest.approx(theirs.pvalue)
    assert down == pytest.approx(1 - up)
    assert rank_correlation(x, x)[1] < 1e-12 and rank_correlation(x, -x)[2] < 1e-12
    assert rank_correlation(x, np.ones(25)) == (0.0, 0.5, 0.5)


def test_a_partial_correlation_takes_the_given_out():
    """By the formula for one given variable, and on x and y that only share that one."""
    rng = np.random.default_rng(1)
    g, x, y = rng.normal(size=(3, 400))
    x, y = x + 3 * g, y + 3 * g
    a, b, c = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, g), (y, g)))
    rho, up, down = rank_correlation(x, y, g)
    assert rho == pytest.approx((a - b * c) / math.sqrt((1 - b * b) * (1 - c * c)))
    t = rho * math.sqrt(397 / (1 - rho * rho))
    assert up == pytest.approx(stats.t.sf(t, 397)) and rank_correlation(x, y)[1] < 1e-50
    assert min(up, down) > 1e-3


def test_the_p_values_of_a_rank_correlation_are_uniform_without_one():
    rng = np.random.default_rng(2)
    found = [rank_correlation(*rng.normal(size=(3, 12)))[1] for _ in range(1000)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_which_of_two_it_depends_on():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 25))
    y = -2 * a + 0.3 * b
    effect, more, less = depends_more(y, a, b, draws=999)
    assert effect > 0.4 and more == 0.001 and less > 0.99
    assert depends_more(y, b, a, draws=999) == pytest.approx((-effect, less, more), abs=0.02)
    assert min(depends_more(a + b, a, b, draws=999)[1:]) > 0.05


def test_which_of_two_varies_more():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 30))
    effect, more, less = varies_more(3 * x, y)
    assert effect == pytest.approx(math.log(9 * x.var() / y.var()))
    assert more < 1e-5 and less == pytest.approx(1 - more)
    assert varies_more(y, 3 * x)[2] == pytest.approx(more)
    found = [varies_more(*rng.normal(size=(2, 10)))[1] for _ in range(1000)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_how_much_a_line_explains():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 30))
    r2, more, less = explains(x, y - 2 * x, 0.5)
    assert r2 == pytest.approx(stats.linregress(x, y - 2 * x).rvalue ** 2)
    assert more == pytest.approx(1 - less) and more < 1e-3
    assert explains(x, y - 2 * x, r2) == pytest.approx((r2, 0.5, 0.5))
    assert explains(x, 3 - x, 0.9)[1] < 1e-12 and explains(x, y, 0.9)[2] < 1e-6
    drawn = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], (4000, 20))
    found = np.array([explains(*pair.T, 0.64)[1] for pair in drawn])
    assert 0.03 < (found < 0.05).mean() < 0.07  # r^2 is 0.64 in truth


def test_where_a_rise_slows():
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 30, 40)

    def bend(at):
        return np.minimum(x, at) * 0.08 + rng.normal(size=40) / 50

    place, inside, outside = bends(x, bend(11), 8, 15)
    assert place == pytest.approx(11, abs=1) and inside <= 0.001 and outside > 0.99
    for at in (3, 21):
        place, inside, outside = bends(x, bend(at), 8, 15)
        assert place == pytest.approx(at, abs=1) and inside > 0.99 and outside <= 0.001
    place, inside, outside = bends(x, -bend(11), 8, 15)  # steeper, not flatter
    assert math.isnan(place) and inside > 0.99 and outside <= 0.001
    straight = 0.1 * x + rng.normal(size=40) / 50
    assert bends(x, straight, 8, 15)[1] > 0.5  # nowhere
    y = bend(11)
    assert bends(x, y, 8, 15) == bends(x, y, 8, 15)
    exact = bends([0, 4, 6, 10, 16, 20, 30], [0, 4, 6, 10, 10, 10, 10], 8, 15)
    assert exact[0] == pytest.approx(10, abs=0.2)
    with pytest.raises(VaenbError, match="fewer than two models below 8 or above 30: no slope"):
        bends(x, straight, 8, 30)


# --- in verdicts ----------------------------------------------------------------------------

def grid(metrics, experiment="svhn", model="GHVAE", seeds=3, data="svhn"):
    """Records of the 5 x 5 grid; ``metrics`` gives each from (beta_z2, beta_z1, noise)."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        for b2 in BETAS:
            for b1 in BETAS:
                settings = dict(model=model, beta_z2=b2, beta_z1=b1)
                values = metrics(math.log10(b2), math.log10(b1), rng.normal() / 50)
                found.append(records.new(
                    "03_information_trading", experiment, "cpu", settings, seed,
                    dict(beta_z2=b2, beta_z1=b1) | values, scale={"steps": [10, 100]}, steps=10,
                    data={"name": data, "sha256": "a", "complete": True, "note": ""})
                    | {"convergence": {"converged": True}})
    return found


def state(claim, found):
    [verdict] = report.verdicts("information-trading", found, [claim])
    return verdict["state"]


def test_layerwise_control_by_partial_correlations():
    def falling(b2, b1, e):
        return dict(rate_z2=9 - b2 + b1 + e, rate_z1=9 + b2 - b1 + e)

    assert state("I15", grid(falling, seeds=1)) == "supported"  # the cells are what counts
    swapped = grid(lambda b2, b1, e: falling(b1, b2, e), seeds=1)
    assert state("I15", swapped) == "contradicted"
    assert state("I15", grid(falling, seeds=1)[:15]) == "undecided"  # 15 cells


def test_cells_that_still_moved_must_make_no_difference():
    def falling(b2, b1, e):
        return dict(rate_z2=9 - b2 + b1 + e, rate_z1=9 + b2 - b1 + e)

    def moving(found, *cells):
        return [r | {"convergence": {"converged": k % 25 not in cells}}
                for k, r in enumerate(found)]

    found = grid(falling, seeds=2)
    [verdict] = report.verdicts("information-trading", moving(found, 3, 24), ["I15"])
    assert verdict["state"] == "supported" and verdict["tests"][0]["n"] == 23
    assert "; without 2 that still moved: rank correlation" in verdict["reason"]
    one = [r | {"convergence": {"converged": k != 3}} for k, r in enumerate(found)]
    [verdict] = report.verdicts("information-trading", one, ["I15"])
    assert verdict["tests"][0]["n"] == 24  # one seed of a cell takes the cell out
    assert state("I15", moving(found, *range(5))) == "supported"  # 20 are left
    assert state("I15", moving(found, *range(6))) == "undecided"
    # the cells that moved carry it alone: the larger p counts
    alone = grid(lambda b2, b1, e: falling(b2, b1, e) if b2 > 0.4 else dict(
        rate_z2=9 + 9 * e, rate_z1=9 - 9 * e), seeds=1)
    rule = [r for r in report.targets.rules("information-trading") if r["claim"] == "I15"][0]
    every, rest = run_test(rule, alone), run_test(rule, moving(alone, 20, 21, 22, 23, 24))
    assert rest["p"][0] > every["p"][0]


def test_a_bend_that_only_a_model_that_moved_shows_is_not_decided():
    rule = dict(claim="X", test="bends", metric="rate|mlp_accuracy", a="over=beta_z2", b="",
                margin="8 15", alpha="0.05", seeds="16", experiment="svhn", data="svhn")
    found = grid(lambda b2, b1, e: dict(rate=4 - 3 * b2 + e, mlp_accuracy=(4 - 3 * b2) / 10),
                 seeds=1)
    for k in (0, 1):
        found[k]["metrics"]["rate"] = 20.0 + k
    assert run_test(rule, found)["state"] == "computed"
    for k in (0, 1):
        found[k] |= {"convergence": {"converged": False}}
    told = run_test(rule, found)
    assert told["state"] == "undecided" and "2 of 25 runs have not" in told["reason"]


def test_dependence_and_correlation():
    def labels(shuffled):
        return lambda b2, b1, e: dict(mi_labels=3 - b2 + e, rate_z2=5 - b2, rate_z1=5 - b1,
                                      mi_shuffled=3 - b2 if shuffled else 0.1)

    found = grid(labels(False))
    assert state("I07", found) == "undecided"  # CIFAR-10 is missing
    assert state("I07", found + grid(labels(False), "cifar10", data="cifar10")) == "supported"
    # where shuffled labels give the same estimate, it follows the rate and says nothing
    empty = found + grid(labels(True), "cifar10", data="cifar10")
    assert state("I07", empty) == "undecided"


def test_the_best_cells_of_three_tasks():
    def tasks(b2, b1, e):
        return dict(psnr=20 - abs(b1 + 1) - abs(b2 + 1) + e, inception=3 - abs(b2 + 1) - b1 + e,
                    rbf_svm_mu2=0.5 - b2 + b1 + e)

    found = grid(lambda b2, b1, e: tasks(b2, b1, e) | dict(
        inception=4 - abs(b2 - 1) - abs(b1 + 1) + e))
    assert state("I01", found) == "supported"
    same = grid(lambda b2, b1, e: dict.fromkeys(
        ("psnr", "inception", "rbf_svm_mu2"), -b2 - b1 + e))
    assert state("I01", same) == "contradicted"  # one cell is the best at all
    winners, cell = best(found, "beta_z2+beta_z1", "psnr", -1)
    assert cell == (0.1, 0.1) and len(winners) == 3


def test_the_best_cell_off_the_diagonal():
    def peak(at2, at1):
        return grid(lambda b2, b1, e: dict.fromkeys(
            ("psnr", "inception", "rbf_svm_mu2"), 20 - abs(b2 - at2) - abs(b1 - at1) + e))

    assert state("I02", peak(1, -1)) == "supported"
    assert state("I02", peak(0, 0)) == "contradicted"


def above_the_diagonal(gain, past=0.0, sets=("svhn", "cifar10"), **kw):
    """PSNR rises with the total; cells with beta1 < beta2 are ``gain`` above the line."""
    def cells(b2, b1, e):
        total = 9 - b2 - b1 - (b1 < b2) * 0.3 + past * (b2 == 1 and b1 == -1)
        return dict(rate=total, psnr=2 * total + e + gain * (b1 < b2) + 9 * (total > 11)
                    - 3 * (b1 > b2))

    return sum((grid(cells, where, data=where, **kw) for where in sets), [])


def test_a_gain_over_the_line_through_the_diagonal():
    assert state("I04", above_the_diagonal(0.5)) == "supported"
    assert state("I04", above_the_diagonal(-0.5)) == "contradicted"
    assert state("I04", above_the_diagonal(0.5, seeds=1)) == "undecided"
    [verdict] = report.verdicts("information-trading", above_the_diagonal(0.5, seeds=1), ["I04"])
    assert verdict["leans"] == "means agree" and "best gain 0.5" in verdict["reason"]
    # further seeds of a corner alone: the others might pass the line
    corner = [r | {"scale": r["scale"] | {"grid": [5, 21]}} for r in above_the_diagonal(-0.5)]
    assert state("I04", corner) == "contradicted"
    corner = [r for r in corner for s in [r["settings"]] if r["seed"] == 0
              or s["beta_z1"] >= s["beta_z2"] or s["beta_z2"] > 99 * s["beta_z1"]]
    [verdict] = report.verdicts("information-trading", corner, ["I04"])
    assert verdict["state"] == "undecided" and "1 of 10 cells have all seeds" in verdict["reason"]
    # 9 dB more, but past the end of the diagonal: against whom?
    assert state("I04", above_the_diagonal(-0.5, past=4.0)) == "contradicted"
    # most of the way it is below, and one cell passes the line
    rule = [r for r in report.targets.rules("information-trading") if r["claim"] == "I04"][0]
    found = above_the_diagonal(-0.5, sets=("svhn",))
    for r in found:
        if r["settings"]["beta_z2"] == 1.0 and r["settings"]["beta_z1"] == 0.1:
            r["metrics"]["psnr"] += 0.9
    told = run_test(rule, found)
    assert told["effect"] == pytest.approx(0.4, abs=0.1) and told["p"][0] < 0.02
    assert told["n"] == 3 and told["p"][1] > 0.9


def test_above_a_line():
    line = [(10.0, 20.0), (0.0, 10.0), (20.0, 22.0)]  # in any order
    assert above_line(line, 5.0, 16.0) == 1 and above_line(line, 15.0, 20.0) == -1
    assert above_line(line, 20.0, 22.0) == 0 and above_line([(3.0, 4.0)], 3.0, 5.0) == 1
    assert all(math.isnan(above_line(*none)) for none in (
        (line, 20.1, 30.0), (line, -0.1, 30.0), ([], 1.0, 1.0), (line, 5.0, math.nan)))
    assert above_line([*line, (12.0, 3.0)], 15.0, 20.5) == -0.25  # no easier beside a bad one
    assert above_line([*line, (15.0, math.nan), (math.nan, 99.0)], 15.0, 20.0) == -1


def test_the_best_that_still_moved_must_be_the_best_without_too():
    def one(b2, b1, e):
        return dict.fromkeys(("psnr", "inception", "rbf_svm_mu2"),
                             20 - abs(b2 - 1) - abs(b1 + 1) + e)

    def moving(found):
        return [r | {"scale": r["scale"] | {"grid": [5, 21]}, "convergence": {
            "converged": r["seed"] > 0 or r["settings"] != dict(
                model="GHVAE", beta_z2=10.0, beta_z1=0.1)}} for r in found]

    def alone(b2, b1, e):
        return {k: v - 3 * (b2 != b1 and (b2, b1) != (1, -1)) for k, v in one(b2, b1, e).items()}

    assert state("I02", moving(grid(one))) == "supported"  # the next best is off it as well
    assert state("I02", grid(alone)) == "supported"
    assert state("I02", moving(grid(alone))) == "undecided"


def test_a_grid_of_which_cells_are_missing_has_no_best_one():
    found = grid(lambda b2, b1, e: dict(
        psnr=20 - abs(b1 + 1) - abs(b2 + 1) + e, rbf_svm_mu2=0.5 - b2 + b1 + e,
        inception=4 - abs(b2 - 1) - abs(b1 + 1) + e))
    for r in found:
        r["scale"] = r["scale"] | {"grid": [5, 21]}
    assert state("I01", found) == "supported"
    shard = [r for r in found if r["settings"]["beta_z2"] != 10]
    [verdict] = report.verdicts("information-trading", shard, ["I01"])
    assert verdict["state"] == "undecided" and "20 of 25 cells have run" in verdict["reason"]
    few = [r for r in found if r["settings"]["beta_z2"] != 10 or r["seed"] == 0]
    [verdict] = report.verdicts("information-trading", few, ["I01"])
    assert verdict["state"] == "undecided" and "20 of 25 cells have all seeds" in verdict["reason"]


def test_only_values_with_the_most_seeds_compete():
    found = grid(lambda b2, b1, e: dict(m=b2))
    kept = [r for r in found if r["settings"]["beta_z2"] != 0.1 or r["seed"] == 0]
    assert best(kept, "beta_z2", "m")[1] == 0.3162 and best(found, "beta_z2", "m")[1] == 0.1


def test_each_seed_is_judged_at_what_is_best_on_the_others():
    def made(seed, beta, value):
        return dict(seed=seed, settings=dict(beta=beta), metrics=dict(m=value))

    table = {1.0: (9, 0, 0), 2.0: (3, 3, 3)}  # seed 0 loves what the others do not
    found = [made(s, b, v) for b, row in table.items() for s, v in enumerate(row)]
    kept = best_by_others(found, "beta", "m", -1)
    assert {r["seed"]: r["settings"]["beta"] for r in kept} == {0: 2.0, 1: 1.0, 2: 1.0}
    low = best_by_others(found, "beta", "m")
    assert {r["seed"]: r["settings"]["beta"] for r in low} == {0: 1.0, 1: 2.0, 2: 2.0}
    assert len(best_by_others(found[:1], "beta", "m")) == 1


def test_choosing_gains_nothing():
    """On noise the best of 25 cells is no better than another cell more often than alpha says."""
    rule = dict(claim="", test="above", metric="m", a="best=beta_z2+beta_z1 max",
                b="beta_z2=1; beta_z1=1", margin="", alpha="0.05", seeds="3", experiment="svhn",
                data="", note="")
    rng, holds, count = np.random.default_rng(0), 0, 200
    found = grid(lambda b2, b1, e: dict(m=0.0))
    for _ in range(count):
        for r, value in zip(found, rng.normal(size=len(found)), strict=True):
            r["metrics"]["m"] = value
        holds += run_test(rule, found)["p"][0] < 0.05
    assert holds < 0.05 * count + 3 * (0.05 * 0.95 * count) ** 0.5


def test_a_selector_compares_two_settings():
    found = grid(lambda b2, b1, e: {})
    for sign, count in (("<", 30), ("=", 15), (">", 30), ("!=", 60), ("<=", 45), (">=", 45)):
        assert len(chosen(found, parse(f"where=beta_z2 {sign} beta_z1", "svhn"))) == count


def test_the_worst_cell_decides_a_bound():
    def bounded(worst):
        def one(where, by):
            return grid(lambda b2, b1, e: dict(
                best_accuracy_mu2=0.3, accuracy_bound=0.5 + e + (by if b2 == b1 == 0 else 0)),
                where, data=where)

        return [r | {"scale": r["scale"] | {"grid": [5, 21]}} for r in (
            *one("svhn", 0), *one("cifar10", 0), *one("mnist", worst))]

    assert state("I11", bounded(0)) == "supported"
    assert state("I11", bounded(-0.4)) == "contradicted"
    moved = [r | {"convergence": {"converged": k != 3}} for k, r in enumerate(bounded(0))]
    [verdict] = report.verdicts("information-trading", moved, ["I11"])
    assert verdict["state"] == "supported" and verdict["tests"][0]["n"] == 3


def test_two_models_cell_by_cell():
    def alike(b2, b1, e):
        return dict.fromkeys(("psnr", "inception", "rbf_svm_mu2"), b2 - 2 * b1 + e)

    ours = grid(alike, seeds=1)
    assert state("I13", ours + grid(alike, "svhn_lvae", "LVAE", seeds=1)) == "supported"
    other = grid(lambda b2, b1, e: alike(-b2, -b1, e), "svhn_lvae", "LVAE", seeds=1)
    assert state("I13", ours + other) == "contradicted"


def test_two_metrics_at_their_own_best_cells():
    def table1(better):
        names = ("logistic", "linear_svm", "rbf_svm", "knn")
        mu1 = dict(zip(names, (1, 1, -1, -1), strict=True))
        return lambda b2, b1, e: (
            {f"{n}_mu2": 0.5 - b2 / 10 + e / 50 for n in names}
            | {f"{n}_mu1": 0.5 - b1 / 10 + better * mu1[n] / 20 - e / 50 for n in names})

    cifar = grid(lambda b2, b1, e: {
        f"{n}_mu{i}": 0.4 + i / 10 + e / 50 for i in (1, 2)
        for n in ("logistic", "linear_svm", "rbf_svm", "knn")}, "cifar10", data="cifar10")
    assert state("I10", grid(table1(1)) + cifar) == "supported"
    assert state("I10", grid(table1(-1)) + cifar) == "contradicted"
