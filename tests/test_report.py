"""Targets, verdicts, the scoreboard, tables and figures, held against known answers."""

import html.parser
import io
import json
import math
import random
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from vaenb import VaenbError, report
from vaenb.report import board, extent, figures, records, tables, targets
from vaenb.report.paired import holm, interval, p_below, p_within, rounding
from vaenb.report.selectors import best, chosen, measured, parse
from vaenb.report.verdicts import _claim, run_test

PAPER, CHAPTER = "calibrated-decoders", "01_calibrated_decoders"
REDUCED, FULL = {"steps": [3000, 5723], "width": [8, 32]}, {"steps": [5723, 5723]}


def made(experiment, model, seed, metrics, data="svhn", scale=REDUCED, converged=True, cells=(),
         complete=True, **settings):
    record = records.new(
        CHAPTER, experiment, "full" if scale == FULL else "cpu", {"model": model} | settings, seed,
        metrics, scale=scale, steps=scale["steps"][0], cells=dict(cells),
        data={"name": data, "sha256": "ab" * 32, "complete": complete, "note": "a note"})
    return {**record, "convergence": {"converged": converged},
            "when": f"2026-01-01T00:00:{seed:02d}"}


def ablation(elbo=-100.0, frechet=50.0, seeds=4, **same):
    """Table 3's per-pixel against shared variance: C09 holds by ``elbo`` and ``frechet``."""
    noise, found = random.Random(0), []
    for seed in range(seeds):
        found += [
            made("table3", "Shared sigma-VAE", seed, dict(
                neg_elbo=-900 + noise.gauss(0, 1), frechet=30 + noise.gauss(0, 1)),
                **{"data": "mnist"} | same),
            made("table3", "Per-pixel sigma-VAE", seed, dict(
                neg_elbo=-900 + elbo + noise.gauss(0, 1),
                frechet=30 + frechet + noise.gauss(0, 1)),
                **{"data": "mnist"} | same)]
    return found


def claim(number, found):
    [verdict] = report.verdicts(PAPER, found, [number])
    return verdict


# --- targets --------------------------------------------------------------------------------

def test_what_profiles_mean():
    table = tables.scales(dict(quick=dict(steps=3, text=dict(units=4)), full=dict(
        steps=0, lr=1e-3, text=dict(units=9, layers=(5, 3)))))
    assert [[text for text, *_ in row] for row in table.rows] == [
        ["steps", "3", "0"], ["text: units", "4", "9"], ["lr", "–", "0.001"],
        ["text: layers", "–", "5, 3"]]


def test_every_printed_cell_has_its_own_id():
    counts = {paper: len(targets.cells(paper)) for paper in targets.PAPERS}
    assert counts == {"calibrated-decoders": 182, "dueling-decoders": 369,
                      "lagging-inference": 562, "information-trading": 92,
                      "rate-regularization": 78}
    cells = targets.cells()
    assert len(cells) == 1283 == len({(c["paper"], c["id"]) for c in cells})
    [first] = [c for c in cells if c["id"] == "Table 1|SVHN|beta-VAE|beta=0.01|-log p"]
    assert first["value"] == "-3186" and targets.target_id(first) == first["id"]
    assert sum(c["id"].endswith("#2") for c in cells) == 12
    kinds = Counter(c["kind"] for c in cells)
    assert kinds == {"result": 880, "setup": 403}
    assert not any(c["kind"] == "setup" and c["std"] for c in cells)
    assert len(targets.claims()) == 83 and len(targets.claims(PAPER)) == 18
    with pytest.raises(VaenbError, match="no paper 'vae'.*calibrated-decoders"):
        targets.cells("vae")


def test_printed_places_and_spreads():
    for text, half in [("22.25", 0.005), ("9179", 0.5), ("-49.78", 0.005), ("1e-3", 5e-4),
                       ("104.0", 0.05)]:
        assert targets.half_unit(text) == pytest.approx(half)
    assert math.isnan(targets.number("sqrt(beta/2)")) and targets.number("-3333") == -3333
    row = {"paper": "lagging-inference", "table": "Table 7", "std": "0.0009"}  # a variance
    assert targets.spread(row) == pytest.approx(0.03)
    assert targets.spread(row | {"table": "Table 1"}) == pytest.approx(0.0009)
    [row] = [c for c in targets.cells("dueling-decoders") if (
        c["table"], c["dataset"], c["model"], c["metric"]) == (
            "Table 1", "MNIST", "CNN", "distortion")]
    assert row["std"] == "" and targets.spread(row) == 73.2  # which Table 8 prints


CELLS = dict.fromkeys(
    ("correlates", "anticorrelates", "varies more", "explains", "explains less", "bends"),
    2) | {"depends": 3}


def test_the_rules_are_well_formed():
    rules, claims = targets.rules(), {c["id"] for c in targets.claims()}
    named = {f"C{i:02d}" for i in range(1, 19)} | {f"R{i:02d}" for i in range(1, 15)}
    named |= {f"I{i:02d}" for i in range(1, 16)} | {f"L{i:02d}" for i in range(1, 17)}
    named |= {f"D{i:02d}" for i in range(1, 21)}
    assert {r["claim"] for r in rules} == named and len(rules) > 100
    for rule in rules:
        assert rule["claim"] in claims and int(rule["seeds"]) >= 3 and float(rule["alpha"]) == 0.05
        test = rule["test"].removeprefix("given ")
        assert test in ("below", "above", "within", "apart", "fisher", "trend", "ranks",
                        "always below", "beyond", *CELLS)
        sides = [parse(rule["a"], rule["experiment"])]
        if rule["test"] == "trend":
            assert rule["b"] in ("increasing", "decreasing") and sides[0]["over"]
        elif rule["b"].startswith("number:"):
            assert test in ("below", "above") and float(rule["b"].partition(":")[2]) > 0
        elif not rule["b"].startswith("printed:"):
            sides.append(parse(rule["b"], rule["experiment"]))
        assert all(side["experiments"] for side in sides)
        assert rule["metric"].count("|") + 1 in (CELLS.get(rule["test"], 1), 2)
        if rule["test"] in CELLS:
            assert int(rule["seeds"]) >= (8 if "where=" in rule["a"] else 16)
        if rule["test"] == "within":
            assert float(rule["margin"]) > 0 and rule["note"] or rule["claim"] == "C15"
    with pytest.raises(VaenbError, match="'beta' of .* is not key=value"):
        parse("model=x; beta", "table1")


# --- statistics -----------------------------------------------------------------------------

def test_paired_t_agrees_with_scipy():
    a, b = [3.1, 2.9, 4.0, 3.3], [3.9, 3.4, 4.1, 4.4]
    d = [x - y for x, y in zip(a, b, strict=True)]
    assert p_below(d) == pytest.approx(stats.ttest_rel(a, b, alternative="less").pvalue, rel=1e-9)
    shifted = stats.ttest_1samp(d, -0.2, alternative="less").pvalue
    assert p_below(d, -0.2) == pytest.approx(shifted, rel=1e-9)
    assert interval(d) == pytest.approx(stats.ttest_rel(a, b).confidence_interval(0.95))
    noisy = [-2.1, -1.9, -2.0]  # variance 0.01
    assert p_below([-2.0] * 3, -1, hidden=0.01) == pytest.approx(p_below(noisy, -1))
    assert interval([-2.0] * 3, 0.01) == pytest.approx(interval(noisy))
    assert p_below([-2.001, -1.999, -2.0], -1, hidden=0.01) == pytest.approx(p_below(noisy, -1))
    assert p_below(noisy, -1, hidden=1e-4) == p_below(noisy, -1)  # the larger of the two counts
    assert p_within([0.0] * 3, 1, 0.01) == pytest.approx(p_within([-0.1, 0.1, 0.0], 1))
    assert rounding([0, 1, 3], [0, 1, 3]) == pytest.approx((1 + 1.5**2 + 2**2) / 36)
    assert rounding([5], [5]) == 0
    assert p_below([-2.0] * 3) == 0 and p_below([0.0] * 3) == 1 and p_below([2.0] * 3) == 1


def test_holm_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.9]) == [1, 1, 1] and holm([]) == []


def test_equivalence_by_two_one_sided_tests():
    d = [0.1, -0.2, 0.05, 0.15]
    upper = stats.ttest_1samp(d, 1, alternative="less").pvalue
    lower = stats.ttest_1samp(d, -1, alternative="greater").pvalue
    assert p_within(d, 1)[0] == pytest.approx(max(upper, lower)) and p_within(d, 1)[0] < 0.01
    inside, outside = p_within([5.1, 4.9, 5.0, 5.2], 1)
    assert inside > 0.99 and outside < 1e-3
    assert p_within([-x for x in (5.1, 4.9, 5.0, 5.2)], 1) == pytest.approx((inside, outside))
    inside, outside = p_within([9.0, -8.0, 3.0], 1)  # neither equal nor different
    assert inside > 0.05 and outside > 0.05


def test_selectors_choose_and_find_the_best():
    found = [made("table1", "beta-VAE", s, {"m": abs(math.log10(b) + 2) + s}, beta=b)
             for b in (0.001, 0.01, 1) for s in range(2)]
    found.append(made("table2", "Gaussian VAE", 0, {"m": 9.0}))
    assert len(chosen(found, parse("model=beta-VAE; beta=0.01", "table1"))) == 2
    assert len(chosen(found, parse("model=beta-VAE; beta!=1.0", "table1"))) == 4
    assert len(chosen(found, parse("table2: model=Gaussian VAE", "table1"))) == 1
    winners, value = best(found[:6], "beta", "m")
    assert value == 0.01 and [r["settings"]["beta"] for r in winners] == [0.01, 0.01]
    assert best(found[:6], "beta", "m", -1)[1] == 1
    found[2]["metrics"] = found[3]["metrics"] = {"m": None}  # NaN never wins
    assert best(found[:6], "beta", "m")[1] == 0.001


# --- verdicts: each state -------------------------------------------------------------------

def test_a_reduced_run_supports_or_contradicts():
    verdict = claim("C09", ablation())
    assert verdict["state"] == "supported" and verdict["reason"].startswith("2 of 2 tests hold; ")
    assert verdict["scale"] == "cpu: 3000 of 5723 steps, width 8 of 32, 4 seeds"
    test = verdict["tests"][0]
    assert test["n"] == 4 and test["low"] < test["effect"] < test["high"]
    assert test["effect"] == pytest.approx(-100, abs=3) and test["p"][0] < 1e-4
    verdict = claim("C09", ablation(frechet=-20))
    assert verdict["state"] == "contradicted"
    assert [t["state"] for t in verdict["tests"]] == ["holds", "fails"]
    assert verdict["reason"].startswith(
        "1 of 2 tests hold; −ELBO: Per-pixel σ-VAE below Shared σ-VAE → difference −")
    assert "; Fréchet distance: Per-pixel σ-VAE above Shared σ-VAE → " in verdict["reason"]
    assert [(t["state"], t["leans"]) for t in verdict["lines"]] == [("holds", ""), ("fails", "")]


def test_differences_without_spread_have_no_p_to_print():
    found = ablation()
    for record in found:
        sign = -1 if record["settings"]["model"] == "Per-pixel sigma-VAE" else 1
        record["metrics"] = {"neg_elbo": 50.0 * sign, "frechet": -50.0 * sign}
    verdict = claim("C09", found)
    assert verdict["state"] == "supported" and "p = " not in verdict["reason"]
    assert "difference −100 [−100, −100], no spread, so no p to give, n = 4" in verdict["reason"]


def test_only_a_full_run_reproduces_or_refutes():
    assert claim("C09", ablation(scale=FULL))["state"] == "reproduced"
    assert claim("C09", ablation(scale=FULL, elbo=+50))["state"] == "not reproduced"
    assert claim("C09", ablation(scale=FULL, complete=False))["state"] == "supported"
    short = FULL | {"images": [59999, 60000]}
    assert claim("C09", ablation(scale=short))["state"] == "supported"


def test_a_metric_that_is_not_the_papers_reproduces_nothing():
    found = [r | {"incomparable": {"frechet": "other features"}} for r in ablation(scale=FULL)]
    assert claim("C09", found)["state"] == "supported"
    other = [r | {"incomparable": {"mse": "another"}} for r in ablation(scale=FULL)]
    assert claim("C09", other)["state"] == "reproduced"


def test_a_claim_on_the_end_of_slow_runs_wants_rest_at_any_scale():
    def runs(converged):
        return [made("sigma_rate", "Shared sigma-VAE", seed,
                     {"neg_elbo": -rate + 0.01 * seed, "steps_to_sigma": -rate},
                     scale=FULL, converged=converged, sigma_rate=rate)
                for seed in range(4) for rate in (0.1, 0.3, 1.0, 3.0)]

    assert claim("C18", runs(True))["state"] == "not reproduced"
    verdict = claim("C18", runs(False))
    assert verdict["state"] == "undecided" and "16 of 16 runs have not conv" in verdict["reason"]


@pytest.mark.parametrize(("change", "why"), [
    (dict(seeds=2), "too few seeds, 2 of 3"),
    (dict(converged=False), "8 of 8 runs have not converged"),
    (dict(data="digits"), "run on digits, the claim speaks of mnist"),
    (dict(elbo=-0.01), "neither p is small: difference"),
])
def test_what_cannot_be_decided_says_why(change, why):
    verdict = claim("C09", ablation(**change))
    assert verdict["state"] == "undecided" and why in verdict["reason"]


def test_distances_of_other_features_are_not_compared():
    def noted(accuracy, frechet, said="the data"):
        told = (f"2000 samples; Frechet distance: classifier of {said}, last hidden layer, 64 "
                f"dimensions, test accuracy {accuracy}; as decoder means")
        return [r | {"notes": [told, "no Inception weights are used"]}
                for r in ablation() if ("Per" in r["settings"]["model"]) == frechet]

    assert claim("C09", noted(0.98, True) + noted(0.98, False, "the same data"))["state"] \
        == "supported"
    mixed = claim("C09", noted(0.98, True) + noted(0.97, False))
    assert mixed["state"] == "undecided"
    assert "→ measured with features of different classifiers" in mixed["reason"]
    [no_frechet] = [t for t in mixed["tests"] if t["metric"] == "neg_elbo"]
    assert no_frechet["state"] == "holds"


def test_beside_an_undecided_claim_stands_where_the_means_lie():
    def leans(name, found):
        verdict = claim(name, found)
        assert verdict["state"] == "undecided"
        return verdict["leans"]

    assert leans("C09", ablation(seeds=2)) == "means agree"
    assert leans("C09", ablation(seeds=2, elbo=+50)) == "means disagree"
    assert leans("C09", ablation(converged=False)) == "means agree"
    assert leans("C09", ablation(data="digits")) == ""  # which the claim does not speak of
    alone = ablation(seeds=1)
    assert leans("C09", alone) == "means agree"
    assert "too few seeds, 1 of 3: difference −" in claim("C09", alone)["reason"]
    assert leans("C09", ablation(seeds=1, frechet=-20)) == "means disagree"  # one of two tests
    for record in alone:
        del record["metrics"]["frechet"]
    assert leans("C09", alone) == "means agree so far"
    assert claim("C09", ablation())["leans"] == ""

    def rates(sign):
        return [made("sigma_rate", "Shared sigma-VAE", 0, sigma_rate=rate, metrics={
            "neg_elbo": sign * rate, "steps_to_sigma": -rate}) for rate in (0.1, 0.3, 1.0, 3.0)]

    assert [leans("C18", rates(sign)) for sign in (1, -1)] == ["means agree", "means disagree"]


def test_what_still_moved_must_hold_after_fewer_steps_too():
    def at(steps, **more):
        return ablation(scale=REDUCED | {"steps": [steps, 5723]}, **more)

    moving = at(3000, converged=False, elbo=-50)
    assert "8 of 8 runs have not converged" in claim("C09", moving)["reason"]
    verdict = claim("C09", moving + at(1500, converged=False))
    assert verdict["state"] == "supported"
    assert verdict["scale"] == ("cpu: 3000 of 5723 steps, width 8 of 32, 4 seeds; "
                                "cpu: 1500 of 5723 steps, width 8 of 32, 4 seeds")
    alone, early, both = (claim("C09", found)["tests"][0] for found in (
        at(3000, elbo=-50), at(1500), moving + at(1500)))
    assert both["p"] == [max(pair) for pair in zip(alone["p"], early["p"], strict=True)]
    assert both["effect"] == alone["effect"]
    assert f"{alone['text']}; after 1500 steps: {early['text']}" in both["reason"]

    def undecided(*found):
        verdict = claim("C09", moving + list(found))
        assert verdict["state"] == "undecided"
        return verdict["reason"]

    assert "neither p is small" in undecided(*at(1500, elbo=+50))  # the sign has turned
    assert "converged; after 1500 steps: too few seeds" in undecided(*at(1500, seeds=2))
    assert "have not converged" in undecided(*at(1501))  # more than half
    narrow = ablation(scale=REDUCED | {"steps": [1500, 5723], "width": [4, 32]})
    assert "have not converged" in undecided(*narrow)
    assert "have not converged" in undecided(*(r | {"profile": "quick"} for r in at(1500)))
    rested = [r | {"convergence": {"converged": True}} for r in moving]
    assert claim("C09", rested + at(1500, elbo=+50))["state"] == "supported"  # at rest: no need


def test_the_largest_scale_with_enough_seeds_decides():
    def at(width, **more):
        return ablation(scale=REDUCED | {"width": [width, 32]}, **more)

    few, enough = at(16, seeds=2), at(8)
    assert "too few seeds" in claim("C09", few + at(8, seeds=2))["reason"]
    verdict = claim("C09", few + enough)
    assert (verdict["state"], verdict["scale"]) == (
        "supported", "cpu: 3000 of 5723 steps, width 8 of 32, 4 seeds")
    assert claim("C09", at(16, elbo=+50) + enough)["state"] == "contradicted"  # larger
    assert "8 of 8 runs have not converged" in claim(
        "C09", few + at(8, converged=False))["reason"]


def test_runs_of_the_papers_own_length_need_no_rest():
    assert claim("C09", ablation(scale=FULL, converged=False))["state"] == "reproduced"


def test_a_value_that_is_missing_is_no_seed():
    found = ablation(seeds=4)
    found[1]["metrics"]["neg_elbo"] = found[2]["metrics"]["neg_elbo"] = math.nan
    assert "too few seeds, 2 of 3" in claim("C09", found)["reason"]


def test_different_scales_are_not_compared():
    found = ablation()
    for record in found[1::2]:
        record["scale"] = REDUCED | {"width": [4, 32]}
    verdict = claim("C09", found)
    assert verdict["state"] == "undecided" and "run at different scales" in verdict["reason"]
    both = found + ablation(scale=REDUCED | {"steps": [100, 5723]}, seeds=3)  # these are alike
    assert claim("C09", both)["scale"].startswith("cpu: 100 of 5723 steps")


def test_one_sided_settings_make_a_rule_ambiguous():
    found = ablation() + [made("table3", "Shared sigma-VAE", 0, {"neg_elbo": 1.0, "frechet": 1.0},
                               data="mnist", clip=1)]
    verdict = claim("C09", found)
    assert verdict["state"] == "undecided" and "the rule is ambiguous" in verdict["reason"]


def test_claims_without_records_or_rules_are_not_run(monkeypatch):
    verdict = claim("C09", [])
    assert verdict["state"] == "not run" and "no record of table3: model=" in verdict["reason"]
    half = [r for r in ablation() if r["settings"]["model"] == "Shared sigma-VAE"]
    assert claim("C09", half)["state"] == "not run"
    monkeypatch.setattr(targets, "rules", lambda paper=None: [])
    [other] = report.verdicts("dueling-decoders", [], ["D01"])
    assert other["state"] == "not run" and "no experiment" in other["reason"]


def test_holm_counts_every_test_of_the_chapter():
    found = ablation(elbo=-3)
    alone = claim("C09", found)["tests"][0]
    more = found + [made("table3", "Bernoulli VAE", s, {"frechet": 31.0 + 7 * (-1) ** s},
                         data="mnist") for s in range(4)]
    beside = claim("C09", more)["tests"][0]
    assert beside["p"] == alone["p"]  # the largest of two is the second of three
    assert beside["holm"][0] == pytest.approx(2 * alone["holm"][0])


def test_the_best_beta_and_the_learned_one():
    found = []
    for seed in range(16):
        for beta, elbo in [(0.001, 20), (0.01, -3186), (0.1, -1223), (1.0, 1381), (10.0, 4056)]:
            found.append(made("table1", "beta-VAE", seed, beta=beta, metrics=dict(
                neg_elbo=elbo + seed, frechet=28 + abs(math.log10(beta) + 2) * 9 + seed % 2,
                mi=10 - math.log10(beta) + 0.1 * seed, marginal_kl=5 - math.log10(beta) + seed)))
        found.append(made("table1", "Shared sigma-VAE", seed, dict(
            neg_elbo=-3349 + 2 * seed, frechet=22 + 0.1 * seed)))
        found.append(made("table1", "Optimal sigma-VAE", seed, dict(
            neg_elbo=-3333 + 2 * seed, beta_equiv=0.006 + 1e-4 * seed, mi=13.0 + 0.1 * seed)))
    c01, c02 = claim("C01", found), claim("C02", found)
    assert c01["state"] == c02["state"] == "supported"
    assert ["best beta 0.01" in t["reason"] for t in c01["tests"]] == [True, True]
    assert "best beta by neg_elbo 0.01" in c02["tests"][0]["reason"]
    assert c02["tests"][0]["effect"] == pytest.approx(math.log10(0.00675 / 0.01), abs=0.01)
    few = [r for r in found if r["seed"] < 4]  # what a grid of decades hides weighs more
    assert claim("C02", few)["state"] == "undecided" and claim("C01", few)["state"] == "supported"
    trends = [t for t in claim("C07", found)["tests"] if t["test"] == "trend"]
    assert [t["state"] for t in trends] == ["holds", "holds"]
    exact = stats.page_trend_test([[-1, 0, 1, 2, 3]] * 16).pvalue
    assert trends[0]["p"][0] == pytest.approx(exact) and trends[0]["effect"] == pytest.approx(-1)
    far = [r | {"metrics": r["metrics"] | {"beta_equiv": 0.06 + 1e-3 * r["seed"]}} for r in found]
    assert claim("C02", far)["state"] == "contradicted"


def test_counts_of_divergence():
    found = [made("clip", model, seed, {"diverged": float(model[0] == "P" and clip == 0)},
                  data="mnist", clip=clip, converged=False)
             for seed in range(8) for model, clip in [
                 ("Per-pixel sigma-VAE", 0), ("Per-pixel sigma-VAE", 1), ("Shared sigma-VAE", 0)]]
    verdict = claim("C10", found)
    assert verdict["state"] == "supported"
    assert verdict["tests"][0]["p"][0] == pytest.approx(1 / math.comb(16, 8))
    assert "8 of 8 against 0 of 8" in verdict["tests"][0]["reason"]
    few = [r for r in found if r["seed"] < 3]
    assert claim("C10", few)["state"] == "undecided"  # 1 in 20 at best


def test_the_order_of_the_methods():
    names = ["Gaussian VAE", "Bernoulli VAE", "Categorical VAE", "Logistic mixture VAE",
             "bitwise-categorical VAE", "Shared sigma-VAE", "Optimal sigma-VAE", "Student-t VAE"]

    printed = {c["model"].removesuffix(" (Ours)"): float(c["value"]) for c in targets.cells(PAPER)
               if c["id"].startswith("Table 2|CIFAR HVAE|") and c["metric"] == "FID"}
    names.sort(key=printed.get)

    def column(order):
        return [made("table4_cifar", name, seed, {"frechet": place + 0.01 * seed}, data="cifar10")
                for name, place in zip(names, order, strict=True) for seed in range(3)]

    same = claim("C14", column([0, 1, 3, 2, 4, 5, 6, 7]))
    assert same["state"] == "supported" and same["tests"][0]["effect"] == pytest.approx(82 / 84)
    assert claim("C14", column(list(range(8))[::-1]))["state"] == "contradicted"
    assert claim("C14", column([3, 0, 5, 1, 7, 2, 6, 4]))["state"] == "undecided"


# --- the scoreboard -------------------------------------------------------------------------

def test_an_empty_scoreboard_says_not_run_everywhere(tmp_path):
    found = report.scoreboard(records.read(root=tmp_path))
    assert {row["state"] for row in found["claims"]} == {"not run"}
    assert {(row["kind"], row["state"]) for row in found["numbers"]} == {
        ("result", "not run"), ("setup", "setup")}
    assert (len(found["claims"]), len(found["numbers"])) == (83, 1283)
    assert found["counts"]["lagging-inference"] == {
        "claims": {"not run": 16}, "numbers": {"not run": 482, "setup": 80}}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = report.scoreboard_text(found)
    assert text.count("  562 numbers  482 not run, 80 setup") == 1
    assert "Table 1|SVHN|beta-VAE" in text


NLL = "Table 3|MNIST|Shared sigma-VAE (Ours)||-log p"
FID = "Table 3|MNIST|Shared sigma-VAE (Ours)||FID"


def shared(values, cells=((NLL, "neg_elbo"),), **more):
    return [made("table3", "Shared sigma-VAE", seed, {"neg_elbo": v, "frechet": 32.2}, cells=cells,
                 **{"data": "mnist", "scale": FULL} | more) for seed, v in enumerate(values)]


def state_of(target, found):
    [row] = [r for r in report.scoreboard(found)["numbers"] if r["id"] == target]
    return row


def test_a_printed_number_is_met_within_two_spreads_at_full_scale_only():
    row = state_of(NLL, shared([-899.0, -895.0, -897.0]))
    assert (row["state"], row["n"], row["theirs"]) == ("reproduced", 3, "-896.1")
    assert row["ours"] == -897 and row["spread"] == 2 and row["profile"] == "full"
    assert state_of(NLL, shared([-899.0, -903.0, -901.0]))["state"] == "not reproduced"
    assert state_of(NLL, shared([-896.06]))["state"] == "reproduced"  # the last printed digit
    assert state_of(NLL, shared([-896.3]))["state"] == "undecided"  # of one seed
    assert state_of(NLL, shared([-896.3] * 2))["state"] == "not reproduced"
    row = state_of(NLL, shared([-896.1] * 3, scale=REDUCED))
    assert (row["state"], row["reason"], row["ours"]) == ("undecided", "reduced scale", -896.1)
    row = state_of(NLL, shared([math.nan] * 3))
    assert row["state"] == "undecided" and row["ours"] is None and "no value" in row["reason"]


def test_what_cannot_be_compared_is_shown_and_not_judged():
    found = [r | {"incomparable": {"frechet": "other features"}}
             for r in shared([-896.1] * 3, cells=((FID, "frechet"),))]
    row = state_of(FID, found)
    assert (row["state"], row["reason"], row["ours"]) == ("undecided", "other features", 32.2)
    small = [r | {"scale": REDUCED} for r in found]
    assert state_of(FID, small)["reason"] == "reduced scale, other features"


def test_the_best_setting_answers_a_tuned_cell():
    target = "Table 3|MNIST|beta-VAE||-log p"
    found = [made("table3", "beta-VAE", seed, {"neg_elbo": value}, data="mnist", beta=beta,
                  cells=[(target, "neg_elbo")])
             for seed in range(3) for beta, value in [(0.1, -300.0), (0.01, -796.0), (1.0, 200.0)]]
    row = state_of(target, found)
    assert row["ours"] == -796 and row["n"] == 3 and "best beta 0.01" in row["reason"]


def test_a_grid_that_is_not_whole_has_no_best_cell_and_one_seed_no_spread():
    def cell(value, side, cells, seeds=3):
        runs = [made("svhn", "GHVAE", seed, {"neg_elbo": value + 0.1 * k}, data="svhn",
                     beta=float(k), cells=[("Table 1|SVHN|Optimal sigma-VAE", "neg_elbo")])
                for seed in range(seeds) for k in range(cells)]
        return board.ours(dict(targets.cells(PAPER)[0], id="Table 1|SVHN|Optimal sigma-VAE"), [
            r | {"scale": FULL | {"grid": [side, side]}} for r in runs])

    theirs = targets.number(targets.cells(PAPER)[0]["value"])
    assert cell(theirs, 2, 4)["state"] == "reproduced"
    assert cell(theirs + 9, 2, 4)["state"] == "not reproduced"
    told = cell(theirs, 2, 3)
    assert told["state"] == "undecided"
    assert told["reason"].endswith("; 3 of 4 cells have all seeds")
    alone = cell(theirs + 9, 2, 4, seeds=1)
    assert alone["state"] == "undecided" and "one seed has no spread" in alone["reason"]
    assert cell(theirs, 2, 4, seeds=1)["state"] == "reproduced"


def test_an_id_that_no_paper_prints_is_an_error():
    with pytest.raises(VaenbError, match="answers 'Table 9|x' .*book/targets"):
        report.scoreboard(shared([1.0], cells=[("Table 9|x", "neg_elbo")]))


def test_the_group_to_believe_has_seeds_then_scale():
    reduced, full = shared([-1.0] * 3, scale=REDUCED), shared([-2.0])
    assert extent.groups(reduced + full)[0] == reduced  # three seeds before one
    assert extent.groups(reduced + shared([-2.0] * 3))[0][0]["scale"] == FULL
    assert board.ours(targets.cells(PAPER)[1], reduced)["state"] == "not run"


def test_a_scale_with_less_than_half_of_the_settings_is_not_shown_in_place_of_the_whole():
    def runs(scale, *models):
        return [made("table1", m, seed, {"neg_elbo": 1.0}, scale=scale)
                for m in models for seed in range(3)]

    whole = runs(REDUCED, "a", "b", "c")
    assert extent.largest(runs(FULL, "a") + whole) == whole
    assert extent.largest(runs(FULL, "a", "b") + whole)[0]["scale"] == FULL
    assert extent.largest(runs(FULL, "a") + whole[:6])[0]["scale"] == FULL
    assert extent.largest([]) == []


# --- tables and figures ---------------------------------------------------------------------

class Reader(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.words, self.titles = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.titles += [value for name, value in attrs if name == "title"]

    def handle_data(self, data):
        self.words.append(data)


def test_no_printed_cell_is_lost_where_settings_differ_in_words_alone():
    table = tables.theirs_and_ours("lagging-inference", "Table 9", "Yahoo", [])
    printed = [c for c in targets.cells("lagging-inference")
               if (c["table"], c["dataset"]) == ("Table 9", "Yahoo") and c["value"]]
    shown = sum(kind == "theirs" and text != "–" for row in table.rows for text, _, kind in row)
    assert shown == len(printed) > 20 and len({row[0][0] for row in table.rows}) == len(table.rows)


def test_settings_stand_in_the_names_and_not_in_columns():
    table = tables.theirs_and_ours("dueling-decoders", "Table 8", "Fashion MNIST", [])
    assert [name for name, _ in table.over[1:]] == [
        "negative ELBO", "distortion", "rate", "semantic reconstruction accuracy"]
    assert all("latent=" in row[0][0] for row in table.rows) and len(table.rows) == 5
    learned = tables.theirs_and_ours(PAPER, "Table 1", "SVHN", [])  # a result in one row
    assert [name for name, _ in learned.over[1:]][0] == "beta"
    assert all(row[1][1] != "the paper prints none" for row in learned.rows)


def test_theirs_and_ours_shows_both_and_where_ours_is_from():
    found = shared([-899.0, -895.0, -897.0], scale=REDUCED)
    table = tables.theirs_and_ours(PAPER, "Table 3", "MNIST", found)
    page = Reader(table._repr_html_())
    assert {"table", "caption", "thead", "tbody"} <= set(page.seen)
    assert page.seen.count("tr") == 2 + 5
    assert 'class="dataframe vae-table"' in table._repr_html_()
    assert {"< −896.1", "−897.0 ± 2.0 ", "(cpu, n=3)"} <= set(page.words)
    told = [t for t in page.titles if t.startswith("undecided: reduced scale. cpu: 3000 of 5723")]
    assert len(told) == 1 and "sha256 abababababab" in told[0] and "seeds [0, 1, 2]" in told[0]
    assert any(t.startswith("not run: no record") for t in page.titles)
    assert "3000 of 5723 steps, width 8 of 32, 3 seeds" in table.caption
    lines = repr(table).splitlines()
    assert len(lines) == 1 + 5 + 1 and "-log p theirs" in lines[0] and "FID ours" in lines[0]
    with pytest.raises(VaenbError, match="prints no Table 3 for 'SVHN'"):
        tables.theirs_and_ours(PAPER, "Table 3", "SVHN", found)


def test_a_blank_cell_says_why():
    table = tables.theirs_and_ours(PAPER, "Table 3", "MNIST", [])
    [bernoulli] = [row for row in table.rows if row[0][0] == "Bernoulli VAE"]
    assert bernoulli[1] == ("–", "the paper prints none", "theirs")
    assert bernoulli[4][0] == "–" and bernoulli[4][1].startswith("not run")
    assert table.caption == "ours: not run in this profile"


def test_text_from_outside_is_escaped():
    evil = '<script>alert("x")</script>&'
    rows = [[(evil, evil, ""), (evil, evil, "ours")]]
    page = tables.Table(["a", evil], rows, evil, [(evil, 2)])._repr_html_()
    reader = Reader(page)
    assert "<script" not in page and "script" not in reader.seen
    assert reader.titles == [evil, evil] and reader.words.count(evil) == 5


def test_a_verdict_is_a_word_and_a_sign():
    table = tables.verdicts(report.verdicts(PAPER, ablation(), ["C01", "C09"]))
    assert {"✓ supported", "– not run"} <= set(Reader(table._repr_html_()).words)
    assert "✓ supported" in repr(table) and "– not run" in repr(table)


def test_what_a_verdict_is_stands_under_the_table_of_all_claims(monkeypatch):
    chapter = report.Chapter("01_calibrated_decoders", PAPER, "recorded")
    monkeypatch.setattr(chapter, "read", ablation)
    whole, some = chapter.verdicts(), chapter.verdicts("C01")
    assert "Holm's correction" in whole.caption and "tests.csv" in whole.caption
    assert "✗ it fails" in some.caption and "table of all claims" in some.caption
    assert len(some.rows) == 1 and len(some.caption) < len(whole.caption) / 2


def test_ours_alone():
    found = [made("kl_weight", "Optimal sigma-VAE", seed, {"frechet": 10 * w + seed}, kl_weight=w)
             for seed in range(3) for w in (0.5, 2)]
    table = tables.ours(found, ["frechet", "rate"], lambda s: f"weight {s['kl_weight']:g}")
    assert [[cell[0] for cell in row] for row in table.rows] == [
        ["weight 0.5", "6.0 ± 1.0 (cpu, n=3)", "–"], ["weight 2", "21.0 ± 1.0 (cpu, n=3)", "–"]]
    assert tables.ours([], ["rate"], str).rows == []


@pytest.mark.parametrize(("mean", "spread", "text"), [
    (-775.123, 2.34, "−775.1 ± 2.3"), (2706.2, 183.0, "2706 ± 183"), (0.001, 0.0, "0.001"),
    (-3061.21, 0.0123, "−3061.21 ± 0.01"), (0.0, math.nan, "0"), (math.nan, 1.0, "–"),
    (32.2, math.nan, "32.2"), (1e6, math.nan, "1000000"), (-0.00797316, math.nan, "−0.007973"),
    (-3e-9, math.nan, "0")])
def test_numbers_are_as_precise_as_they_are_known(mean, spread, text):
    assert tables.number(mean, spread) == text


def test_each_model_has_its_colour():
    from matplotlib.colors import to_rgb

    names = sorted({c["model"].removesuffix(" (Ours)") for c in targets.cells(PAPER)
                    if c["table"] in ("Table 2", "Table 3")} - {"sigma-VAE"})
    assert len(names) == 11
    colours = [to_rgb(figures.colour(name)) for name in names]
    assert min(math.dist(a, b) for i, a in enumerate(colours) for b in colours[:i]) > 0.15
    assert len({(figures.colour(n), figures.marker(n)) for n in names}) == 11
    assert figures.colour("GHVAE") == figures.colour("GHVAE") and figures.marker("GHVAE")


def test_the_style_is_opaque_and_light():
    import matplotlib

    with matplotlib.rc_context():
        figures.style()
        assert matplotlib.colors.to_rgba(matplotlib.rcParams["figure.facecolor"]) == (1, 1, 1, 1)
        assert tuple(matplotlib.rcParams["figure.figsize"]) == figures.WIDE


def test_a_notebook_gets_the_style_sheet_of_the_book(monkeypatch):
    import matplotlib

    shown = []
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("IPython.display.display", shown.append)
    with matplotlib.rc_context():
        figures.style()
    assert shown[0].data.startswith("<style>") and ".vae-pages" in shown[0].data


def test_one_legend_names_each_thing_once():
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2)
    figures.legend(fig)
    assert not fig.legends  # nothing has a name
    for ax, names in zip(axes, (("a", "b"), ("b", "_hidden", "c")), strict=True):
        for name in names:
            ax.plot([0, 1], label=name)
    figures.legend(fig, ncols=3)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b", "c"]
    plt.close(fig)


def test_a_strip_places_images_row_by_row_on_white():
    images = np.stack([np.full((1, 2, 3), v, np.uint8) for v in (10, 20, 30)])
    sheet = figures.strip(images, cols=2)
    assert sheet.shape == (6, 8, 3) and sheet.dtype == np.uint8
    assert (sheet[:2, :3] == 10).all() and (sheet[:2, 5:] == 20).all()
    assert (sheet[4:, :3] == 30).all() and (sheet[4:, 5:] == 255).all()
    assert (sheet[2:4] == 255).all() and (sheet[:, 3:5] == 255).all()
    colour = np.zeros((1, 3, 2, 2))
    colour[0, 1] = 0.5
    assert figures.strip(colour, 1)[0, 0].tolist() == [0, 128, 0]
    assert figures.strip(np.array([[[[1.7, -0.3]]]]), 1)[0, :, 0].tolist() == [255, 0]
    with pytest.raises(VaenbError, match="a strip needs images"):
        figures.strip(np.zeros((2, 2)), 1)


def test_a_png_comes_back_as_it_was():
    from PIL import Image

    sheet = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    content = figures.png(sheet)
    assert (np.asarray(Image.open(io.BytesIO(content))) == sheet).all()


# --- a rule by itself -----------------------------------------------------------------------

RULE = dict(claim="", metric="m", margin="", alpha="0.05", seeds="3", experiment="t", data="",
            b="model=B")


def other(found):
    return [r | {"data": r["data"] | {"sha256": "cd" * 32}} for r in found]


def test_a_difference_beyond_the_margin_counts_both_sides():
    d = [5.1, 4.9, 5.0, 5.2]
    above = stats.ttest_1samp(d, 1, alternative="greater").pvalue
    assert p_within(d, 1)[1] == pytest.approx(2 * above)


def test_a_list_that_all_seeds_choose_alike_from_hides_its_variance_on_either_side():
    found = [made("t", "A", s, dict(beta=b, loss=abs(math.log10(b) + 1)), beta=b)
             for s in range(3) for b in (0.01, 0.1, 1.0)]
    here, chosen = "model=A; beta=0.1", "model=A; argbest=beta by loss"
    expected = p_within([0.0] * 3, 0.5, 1 / 12)
    for a, b in ((here, chosen), (chosen, here)):
        rule = RULE | dict(test="within", metric="log10 beta", a=a, b=b, margin="0.5")
        assert run_test(rule, found)["p"] == pytest.approx(expected)


def test_a_test_that_nobody_knows_is_named():
    found = [made("t", m, s, dict(m=1.0)) for m in "AB" for s in range(3)]
    told = run_test(RULE | dict(test="bellow", a="model=A"), found)
    assert told["state"] == "undecided"
    assert "has the test 'bellow', which is unknown: mend it in" in told["reason"]


def test_each_seed_chooses_its_own_best_setting():
    found = [made("t", "A", s, dict(beta=b, loss=abs(b - (1, 1, 3)[s])), beta=b)
             for s in range(3) for b in (1.0, 2.0, 3.0)]
    rule = RULE | dict(test="within", metric="beta", a="model=A; argbest=beta by loss",
                       b="number:1", margin="9")
    assert run_test(rule, found)["effect"] == pytest.approx(2 / 3)


def test_the_worst_setting_decides_what_is_within():
    def p(shift):  # two settings that differ the opposite way
        found = [made("t", m, s, dict(m=(m == "A") * (shift if b else -0.9 * shift)
                                      + 0.01 * s * (m == "A")), beta=b)
                 for m in "AB" for s in range(4) for b in (0, 1)]
        return run_test(RULE | dict(test="within", a="model=A", margin="0.5"), found)["p"]

    assert p(0.2)[0] < 1e-3 and p(2.0)[0] > 0.999 and p(2.0)[1] < 1e-3


@pytest.mark.parametrize(("gap", "place"), [(0.4, 0), (0.2, 1)])
def test_above_wants_the_margin(gap, place):
    found = [made("t", m, s, dict(m=(m == "A") * (gap + 0.01 * s))) for m in "AB"
             for s in range(4)]
    above = run_test(RULE | dict(test="above", a="model=A", margin="0.3"), found)["p"]
    assert above[place] < 0.01 < 0.99 < above[1 - place]
    below = run_test(RULE | dict(test="below", a="model=B", b="model=A", margin="0.3"), found)["p"]
    assert below == pytest.approx(above)


def test_a_full_run_that_fails_refutes_whatever_the_others_were():
    row = dict.fromkeys(("id", "paper", "where", "claim", "note"), "")
    test = dict(a="", b="number: 1", test="below", metric="m", reason="", experiment="", data="",
                margin="")
    told = _claim(row, [test | dict(state="fails", used=ablation(scale=FULL)),
                        test | dict(state="undecided", used=ablation())])
    assert told["state"] == "not reproduced" and told["profile"] == "full"


def test_numbers_made_of_metrics():
    r = dict(metrics=dict(a=100.0, b=5.0, none=0.0))
    told = [measured(r, e) for e in ("a - b", "a / b", "log10 a", "a - b - b")]
    assert told == [95, 20, 2, 90]
    assert math.isnan(measured(r, "a / none")) and math.isnan(measured(r, "log10 none"))


def test_methods_that_rank_alike_by_the_transform_of_fisher(monkeypatch):
    found = [made("t", n, s, dict(m=float(v))) for s in range(3) for v, n in enumerate("ABCDEFGH")]
    monkeypatch.setattr(targets, "cells", lambda paper: [
        dict(table="T", dataset="d", metric="m", model=n, value=str(v))
        for v, n in enumerate("ABDCEFGH")])
    p = run_test(RULE | dict(test="ranks", a="", b="printed: T|d|m", margin="0.5"), found)["p"]
    z, spread = math.atanh(82 / 84), math.sqrt(5 / 1.06)  # Fieller, Hartley & Pearson 1957
    assert p == pytest.approx((stats.norm.sf(z * spread),
                               stats.norm.cdf((z - math.atanh(0.5)) * spread)))


def test_a_printed_bound_is_met_from_its_own_side_and_more_is_better_where_it_is():
    cells = report.targets.cells("dueling-decoders")
    high = next(c for c in cells if c["direction"] == "higher" and not c["bound"]
                and c["value"].replace(".", "").isdigit())
    found = [made("t", "A", s, dict(m=v), scale=FULL, cells={high["id"]: "m"}, beta=v)
             | dict(paper=high["paper"]) for s in range(3) for v in (0.1, 0.3)]
    assert board.ours(high, found)["mean"] == pytest.approx(0.3)
    cell = high | dict(bound=">", value="0.2")
    assert board.ours(cell, found)["state"] == "reproduced"
    assert board.ours(cell | dict(value="0.5", std=""), found)["state"] == "not reproduced"


def test_a_cell_is_the_mean_of_its_seeds():
    off = (3, -5, 2)  # sums to nothing
    found = [made("t", "A", s, dict(m=b + off[s] * (-1) ** k, other=float(b)), beta=float(b))
             for s in range(3) for k, b in enumerate(range(20))]
    told = run_test(RULE | dict(test="correlates", metric="m | other", a="model=A", b="",
                                seeds="16"), found)
    assert told["effect"] == pytest.approx(1)


def test_models_of_other_data_are_not_compared():
    found = ablation()
    found[1::2] = other(found[1::2])
    assert claim("C09", found)["state"] == "undecided"


def test_a_shorter_run_on_other_data_proves_nothing():
    def at(steps):
        return ablation(scale=REDUCED | {"steps": [steps, 5723]}, converged=False)

    assert claim("C09", at(3000) + at(1500))["state"] == "supported"
    assert claim("C09", at(3000) + other(at(1500)))["state"] == "undecided"
