"""The plans of the chapters against the rules of the claims: what is planned must decide them.

For each rule the models that its chapter plans are given made-up numbers that fulfil it, and then
their opposite: the rule must hold on the first and, where nothing is chosen by the best, fail on
the second.
"""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from cells import cells

from vaenb import report
from vaenb.report import records, targets
from vaenb.report.comparisons import OF_MODELS
from vaenb.report.selectors import chosen, parse
from vaenb.report.verdicts import run_test

CHAPTERS = {
    "01_calibrated_decoders": "driver", "02_rate_regularization": "run",
    "03_information_trading": "run", "04_lagging_inference": "run",
    "05_dueling_decoders": "run"}  # the cell after the plan
RULES = [r for r in targets.rules() if r["test"] != "ranks"  # over printed columns too
         and "best=" not in r["a"].partition("best=")[2] + r["b"] * ("best=" in r["a"])]


@cache
def planned(chapter, profile):
    """One record, without numbers, for each model and seed that the profile would train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAENB_PROFILE", profile)
        space, found = cells(chapter, until=CHAPTERS[chapter]), []
    seeds = space["SCALES"][profile]["seeds"]
    for name, (where, rows, *more) in space["PLAN"].items():
        where = space.get("FORMS", {}).get(where, where)
        if "cells_of" in space:
            rows = [dict(model=space["PLAN"][name][1]) | row for row in space["cells_of"](name, 0)]
        for row in rows:
            rest = {k: v for k, v in row.items() if k != "betas"}
            for beta in row.get("betas", [None]):
                settings = rest if beta is None else rest | dict(beta=beta)
                twice = 1 + ("twice the seeds" in (more or [()])[0])
                found += [records.new(
                    chapter, name, profile, settings, seed, {}, scale={"steps": [1, 2]}, steps=1,
                    data=dict(name=where, sha256="a", complete=True))
                    | dict(convergence=dict(converged=True))
                    for seed in range(seeds * twice)]
    return found


@pytest.mark.parametrize("profile", ["cpu", "full"])
@pytest.mark.parametrize("rule", [r for r in RULES if " " in r["experiment"]],
                         ids=lambda r: f"{r['claim']}-{r['test']}-{r['metric']}")
def test_experiments_that_a_rule_takes_together_train_different_models(rule, profile):
    names = rule["experiment"].split()
    together = [repr((sorted(r["settings"].items()), r["seed"], r["data"]["name"]))
                for r in planned(chapter_of(rule), profile) if r["experiment"] in names]
    assert len(set(together)) == len(together) > 0


def chapter_of(rule):
    for name in CHAPTERS:
        if rule["claim"] in (c["id"] for c in targets.claims(name[3:].replace("_", "-"))):
            return name


def give(record, metric, value):
    """Let ``measured(record, metric)`` be ``value``."""
    if metric.startswith("log10 "):
        return give(record, metric[6:], 10.0**value)
    if " / " in metric:
        record["metrics"] |= dict(zip(metric.split(" / "), (float(value), 1.0), strict=True))
        return None
    first, *others = (name.strip() for name in metric.split(" - "))
    record["metrics"] |= {first: float(value)} | dict.fromkeys(others, 0.0)


def fulfil(rule, found, sign):
    """Numbers that fulfil the rule (``sign`` 1), or its opposite (-1)."""
    sides = [parse(rule["a"], rule["experiment"])]
    if "=" in rule["b"]:
        sides.append(parse(rule["b"], rule["experiment"]))
    names = [m.strip() for m in rule["metric"].split("|")]
    if rule["test"] == "beyond":
        for r in chosen(found, sides[1]):
            beta = r["settings"].get("beta_z1", r["settings"].get("beta"))
            give(r, names[1], np.log(beta)), give(r, names[0], 1.0)
        for k, r in enumerate(chosen(found, sides[0])):
            give(r, names[1], 0.0), give(r, names[0], 1.0 + sign * (1 + r["seed"] / 9 + k / 1e6))
    elif rule["test"] == "trend":
        sign *= {"increasing": 1, "decreasing": -1}[rule["b"]]
        for r in chosen(found, sides[0]):
            give(r, names[0], sign * r["settings"][sides[0]["over"]])
    elif rule["test"] == "fisher":
        for side, value in ((sides[1], sign < 0), (sides[0], sign > 0)):
            for r in chosen(found, side):
                give(r, names[0], value)
    elif rule["test"] in OF_MODELS:
        over_models(rule["test"], chosen(found, sides[0]), names, sides[0]["given"], sign)
        for r in chosen(found, sides[1]) if sides[1:] else ():  # the same models of another kind
            at = {k: v for k, v in r["settings"].items() if k != "model"}
            [twin] = [t for t in chosen(found, sides[0])
                      if t["seed"] == 0 and at.items() <= t["settings"].items()]
            give(r, names[1], sign * twin["metrics"][names[0]])
    elif sides[1:] and sides[1]["argbest"]:  # the best setting itself is what is compared
        for r in found:
            give(r, names[0], -1.0)
            give(r, sides[1]["argbest"][1], sides[1]["argbest"][2] * abs(
                np.log10(r["settings"].get("beta", 1)) - (-1.0 if sign > 0 else 0.7)))
    else:
        compared(rule, found, sides, names, sign)


def over_models(test, found, names, given, sign):
    rng, at = np.random.default_rng(0), {}
    for r in found:
        place = tuple(sorted((k, v) for k, v in r["settings"].items() if k != "model"))
        x, y, z = at.setdefault(place, rng.normal(size=3))
        told = {"varies more": (9.0**sign * x, y), "depends": (x, x, y) if sign > 0 else (x, y, x),
                "explains": (x, (x if sign > 0 else y)), "explains less": (
                    7 + x, (y if sign > 0 else x)),  # less than 10 nats
                "bends": (11.5 + 4 * x, sign * min(x, 0) + y / 100),
                "correlates": (x, sign * x), "anticorrelates": (x, -sign * x)}[test]
        if names[1] in r["settings"]:  # a setting among the metrics: the first one follows it
            x = np.log(r["settings"][names[1]])
            told, z = (told[1] / told[0] * x, x), np.log(r["settings"][given])
        for name, value in zip([*names, given or ""], [*told, z], strict=True):
            give(r, name, value)


def compared(rule, found, sides, names, sign):
    rng, margin = np.random.default_rng(0), abs(float(rule["margin"] or 0))
    away = {"below": 1, "always below": 1, "above": -1, "within": sign < 0,
            "apart": sign > 0}[rule["test"]]
    apart = (sign if rule["test"] not in ("within", "apart") else 1) * away * (10 + 3 * margin)
    of_a, of_b = chosen(found, sides[0]), chosen(found, sides[-1])
    best = sides[-1]["best"] if sides[1:] else None
    if best:  # of several: one that is not A
        of_b = [r for r in of_b if not any(r is x for x in of_a)] or of_b
    for r in found:
        noise = rng.normal() / 1e3
        if rule["b"].startswith("number:"):
            give(r, names[0], float(rule["b"].partition(":")[2]) - apart + noise)
        elif not sides[1:]:  # two metrics of the same records
            give(r, names[0], noise), give(r, names[1], apart + noise / 2)
        else:
            for name in filter(None, (*names, (best or (0, None))[1])):
                give(r, name, 3 + noise + apart * any(r is x for x in of_b))


STOOD_IN = [*filter(None, map(targets.stood_in, RULES))]


@pytest.mark.parametrize("rule", RULES + STOOD_IN, ids=lambda r: "-".join(
    [r["claim"], r["test"], r["metric"], *filter(None, [r.get("instead_of")])]))
def test_the_planned_models_can_decide(rule):
    chapter, profile = chapter_of(rule), "full" if rule["data"] == "yelp" else "cpu"
    rule = rule | dict(test=rule["test"].removeprefix("given "))
    found = [r | dict(metrics={}, data=r["data"] | dict(name=rule["data"]))
             for r in planned(chapter, profile)
             if rule["data"] in ("", *r["data"]["name"].split())]  # such as "mnist thresholded"
    free = not any(word in rule["a"] + rule["b"] for word in ("best=", "where="))
    for sign in (1, -1) if free else (1,):
        for r in found:
            r["metrics"] = dict(rate=5.0)  # for those that speak of low rates alone
        fulfil(rule, found, sign)
        told = run_test(rule, found)
        assert told["state"] == "computed", (sign, told["reason"])
        assert told["p"][sign < 0] < 0.05 and told["p"][sign > 0] > 0.2, (sign, told)


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("profile", ["quick", "cpu"])
def test_every_planned_experiment_is_asked_for(chapter, profile, monkeypatch, tmp_path):
    """The chapter's figures and tables call for what is planned; `quick` for its headlines."""
    asked = []

    def experiment(self, name, run, wanted=True):
        asked.extend([name] * wanted)
        return []

    monkeypatch.setenv("VAENB_PROFILE", profile)
    monkeypatch.setenv("VAENB_DATA", str(tmp_path))
    monkeypatch.setattr(report.Chapter, "experiment", experiment)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    space = cells(chapter, until="try")
    plan = space["PLAN"]
    assert set(asked) == (set(space["QUICK"]) if profile == "quick" else set(plan))
    assert len(asked) == len(set(asked)) and set(asked) <= set(plan)
    assert all(plan[name][1] for name in asked)
