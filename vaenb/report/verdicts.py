"""Verdicts by rule: ``book/targets/tests.csv`` says what decides a claim, this module obeys.

Comparisons are paired over shared seeds; where a side is the best of several settings, each seed
is judged at the setting that is best on the others. Every test gives two one-sided p-values, that
the claim holds and that it fails; each family is corrected after Holm over all tests of the
chapter that could be computed. A claim holds when all its tests hold and fails when one fails. A
"given" test is a premise: where it does not hold, the claim's tests on the same experiment are
about nothing.

A test wants runs that have come to rest. Where the training still moved at its end, what holds
after all its steps must hold after half of them or fewer too: if the same models were also
trained so much shorter, both tests are made and the larger p counts. A test on the models of a
grid, over them or of the best of them, is made with those that moved and without them, if enough
are left, and again the larger p counts. Runs of the paper's own length need no rest, since the
claim speaks of them, unless the rule says "rest=always": then it is about the end of slow runs. Of
runs at several scales, the largest that has the seeds and values a test asks for decides it.

Beside an undecided claim stands on which side the means lie, which is no verdict: one seed has it.
Where nothing ran on the data that a rule speaks of, its column "stand_in" may name others that say
so in their place; they decide nothing.
"""

import itertools
import re
from collections import Counter

from vaenb.errors import VaenbError
from vaenb.report import extent, targets
from vaenb.report import records as rec
from vaenb.report.comparisons import OF_MODELS, PAIRED, cell_of, compared
from vaenb.report.paired import holm
from vaenb.report.selectors import chosen, parse, shorter
from vaenb.report.words import asked, named

POINTS = 25  # of a loss that tell rest from noise; the first records of chapter 5 have ten
STATES = {"holds": ("supported", "reproduced"), "fails": ("contradicted", "not reproduced")}


def _alike(a: list[dict], b: list[dict]) -> bool:
    one, two = a[0]["scale"], b[0]["scale"]
    return all(one[k] == two[k] or one[k][0] == one[k][1] and two[k][0] == two[k][1]
               for k in one.keys() & two.keys()) \
        and a[0]["data"].get("sha256") == b[0]["data"].get("sha256")


def _ask(rule: dict, found: list[dict]) -> dict:
    """A rule on records; where nothing ran on its data, what the runs that stand in say."""
    told, other = run_test(rule, found), targets.stood_in(rule)
    ran = ((r["experiment"], r["data"].get("name")) for r in found)
    if other is None or (rule["experiment"], rule["data"]) in ran:
        return told
    hint = run_test(other, found)
    if hint["state"] == "not run":
        return told
    stood = f"{other['data']} in place of {rule['data']}"
    said = hint["reason"] or hint["text"]
    return hint | dict(state="undecided", reason=f"{stood}, a hint: {said}", stood=stood)


def run_test(rule: dict, found: list[dict]) -> dict:
    """One rule on records: state ("holds" and "fails" await ``verdicts`` and Holm: "computed"),
    reason, p (for, against), effect with its 95 % interval, n, and the records used."""
    out = {k: rule[k] for k in (
        "claim", "test", "metric", "a", "b", "margin", "experiment", "data")}
    out |= dict(used=[], n=0)
    rule = rule | dict(test=rule["test"].removeprefix("given "))
    sides = [parse(rule["a"], rule["experiment"])]
    pair, cells = rule["test"] in PAIRED, rule["test"] in OF_MODELS
    if pair and (not rule["b"] or rule["b"].startswith("number:")):
        sides *= 2  # two metrics of the same records, or one against a number
    elif pair or (cells and rule["b"]):
        sides.append(parse(rule["b"], rule["experiment"]))
    sets = [[r for r in here if r["data"].get("name") == rule["data"]] or here
            for here in (chosen(found, side) for side in sides)]
    for text, here in zip((rule["a"], rule["b"]), sets, strict=False):
        if not here:
            told = text.strip() if ":" in text else f"{rule['experiment']}: {text.strip()}"
            return out | dict(state="not run", reason=f"no record of {told}")
    choices = [[group for _, group in c] for c in sorted(
        itertools.product(*(list(enumerate(extent.groups(s))) for s in sets)),
        key=lambda c: sum(i for i, _ in c)) if len(c) == 1 or _alike(c[0][1], c[1][1])]
    if not choices:
        scales = " against ".join(extent.scale_text(s) for s in sets)
        return out | dict(state="undecided", reason=f"run at different scales: {scales}")
    first = told = _decide(rule, choices[0], sides, found)
    while told["lacks"] == "values" and choices[1:]:
        choices = choices[1:]
        told = _decide(rule, choices[0], sides, found)
    if told["lacks"] == "values":
        return out | first
    if told["lacks"] != "rest":
        return out | told
    for others, said in _again(rule, choices):
        second = _decide(rule, others, sides, found)
        if second["lacks"] == "rest" or second["state"] == "computed":
            return out | told | _both(told, second, said)
        told["reason"] += f"; {said}: {second['reason']}"
    return out | told


def _again(rule, choices):
    """What a test whose runs still moved must hold for too, in words beside: over a grid without
    them, else runs of half the steps or fewer."""
    if rule["test"] in OF_MODELS or any(extent.grid_cells(group[0]) for group in choices[0]):
        moving = {cell_of(r) for group in choices[0] for r in group if not _rests(r)}
        kept = [[r for r in group if cell_of(r) not in moving] for group in choices[0]]
        if all(kept):
            yield kept, f"without {len(moving)} that still moved"
    early = next((c for c in choices[1:] if shorter(c[0][0], choices[0][0][0])), None)
    if early:
        yield early, f"after {early[0][0]['steps']} steps"


def _both(a: dict, b: dict, said: str) -> dict:
    """What holds only if two tests do: the larger p of each side, both texts, the fewer values."""
    p = [max(pair) for pair in zip(a["p"], b["p"], strict=True)]
    return dict(state="computed", reason="", p=p, text=f"{a['text']}; {said}: {b['text']}",
                n=min(a["n"], b["n"]), used=a["used"] + b["used"])


def _rests(record, strict=None) -> bool:
    """Whether a run had come to rest, or, unless ``strict``, was as long as the paper's own."""
    told = record["convergence"]
    rests = bool(told.get("converged")) and (told.get("points") or POINTS) >= POINTS
    return rests or not strict and extent.is_full(record)


def _cells_to_come(group, found) -> str:
    """What a square grid lacks before a cell of it can be called the best, in words."""
    whole = extent.grid_cells(group[0])
    if not whole:
        return ""
    same = [r for r in found if all(r.get(k) == group[0].get(k) for k in ("experiment", "scale"))]
    have = len(extent.seeds_of(same))
    if have < whole:
        return f"{have} of {whole} cells have run, and one to come may be the best"
    full, rivals = extent.with_all_seeds(group), len(extent.seeds_of(group))
    return (f"{full} of {rivals} cells have all seeds, and one of the others may be the best"
            * (full < rivals))


def _decide(rule, sets, sides, found) -> dict:
    """The test on one group of records a side, and what it lacks: "values" where these or seeds
    are missing, "rest" where only that is."""
    cells = rule["test"] in OF_MODELS
    out = dict(used=[], n=0, lacks="")
    for group, side in zip(sets, sides, strict=True):
        wants = side["best"] or rule["test"] in ("beyond", "always below")
        if wants and (reason := _cells_to_come(group, found)):
            return out | dict(state="undecided", reason=reason, lacks="values")
    try:
        out |= compared(rule, sets, sides)
    except VaenbError as error:
        return out | dict(state="undecided", reason=str(error))
    out |= dict(alpha=float(rule["alpha"]))
    wrong = {r["data"].get("name") for r in out["used"]} - {rule["data"]}
    loose = [r for r in out["used"] if not _rests(r, sides[0]["rest"])]
    if rule["data"] and wrong:
        out["leans"] = None
        reason = f"run on {', '.join(map(str, wrong))}, the claim speaks of {rule['data']}"
    elif "frechet" in rule["metric"] and len({extent.features(r) for r in out["used"]}) > 1:
        out["leans"] = None
        reason = "measured with features of different classifiers, which do not compare"
    elif out["n"] < int(rule["seeds"]):
        what, out["lacks"] = "cells" if cells else "seeds", "values"
        reason = f"too few {what}, {out['n']} of {rule['seeds']}"
        reason = ": ".join(filter(None, (reason, out.get("text"))))
    elif "p" not in out:
        reason, out["lacks"] = f"too few values to compare ({out['said']})", "values"
    elif loose and rule["test"] != "fisher":
        reason = f"{len(loose)} of {len(out['used'])} runs have not converged"
        return out | dict(state="undecided", reason=reason, lacks="rest")
    else:
        return out | dict(state="computed", reason="")
    return out | dict(state="undecided", reason=reason)


def _told(results: list[dict]) -> list[dict]:
    """The tests in words, a line each or one for those with the same reason: its state, on which
    side the means of an undecided one lie, its text. More than two that have not run are
    counted."""
    lines: dict[tuple, list[str]] = {}
    runs = {(t["experiment"], t["data"]) for t in results}
    place = "data" if len({data for _, data in runs}) == len(runs) else "experiment"
    for t in results:
        leans = {True: "means agree", False: "means disagree"}.get(t.get("leans"), "")
        reason = t["reason"].partition(":")[0] if t["state"] == "not run" else t["reason"]
        key = t["state"], leans if t["state"] == "undecided" else "", reason
        lines.setdefault(key, []).append(
            asked(t) + f", {'on' if place == 'data' else 'in'} {t[place]}" * (len(runs) > 1))
    told = []
    for (state, leans, reason), tests in lines.items():
        what = f"{len(tests)} tests" if state == "not run" and tests[2:] else "; ".join(tests)
        told.append(dict(state=state, leans=leans, text=f"{what} → {named(reason)}"))
    return told


def _leaning(results: list[dict]) -> str:
    """Whether the means of all tests lie on the claim's side, or those of one on the other."""
    sides = {t.get("leans") for t in results}
    if not sides & {True, False}:
        return ""
    told = "means disagree" if False in sides else "means agree" + " so far" * (None in sides)
    return ", ".join([told, *sorted({t["stood"] for t in results if "stood" in t})])


def _incomparable(test: dict, record: dict) -> bool:
    """Whether the record says that a metric of the test is not what the paper measured."""
    return any(name in record.get("incomparable", ())
               for name in re.findall(r"\w+", test["metric"]))


def _claim(row: dict, results: list[dict]) -> dict:
    out = {k: row[k] for k in ("id", "paper", "where", "claim", "note")} | dict(tests=results)
    states = Counter(t["state"] for t in results)
    without = [t for t in results if t["test"].startswith("given ") and t["state"] != "holds"]
    void = {t["experiment"] for t in without}
    failed = [t for t in results if t["state"] == "fails" and t["experiment"] not in void]
    deciding = failed or results
    used = [r for t in deciding for r in t["used"]]
    profiles = sorted({r["profile"] for r in used})
    out |= dict(scale=extent.scale_text(used), profile=", ".join(profiles), leans="",
                lines=_told(results))
    if not results or states["not run"] == len(results):
        reason = results[0]["reason"] if results else "this book has no experiment for it yet"
        lines = out["lines"] or [dict(state="not run", leans="", text=reason)]
        return out | dict(state="not run", reason=reason, lines=lines)
    if not failed and states["holds"] < len(results):
        unsettled = without or [t for t in results if t["state"] != "holds"]
        real = [t for t in results if not t["test"].startswith("given ")]
        moot = any(t.get("leans") is False for t in without)
        return out | dict(state="undecided", reason="; ".join(t["text"] for t in _told(unsettled)),
                          leans="" if moot else _leaning(real))
    full = all(extent.is_full(r) and not _incomparable(t, r) for t in deciding for r in t["used"])
    told = "; ".join(t["text"] for t in out["lines"])
    return out | dict(state=STATES["fails" if failed else "holds"][full],
                      reason=f"{states['holds']} of {len(results)} tests hold; {told}")


def verdicts(paper: str, found: list[dict] | None = None, only=()) -> list[dict]:
    """Every claim of a paper: id, claim, where, note, state, leans (of an undecided one: "means
    agree", "means agree so far" where not all of its tests have values, "means disagree", each
    with the data that stood in, or ""), reason, scale, profile, its tests, and these in words:
    ``lines``, dicts of state, leans and text.

    States: "not run", "undecided", "supported" or "contradicted" (by reduced runs), "reproduced"
    or "not reproduced" (at full scale). ``found``: records (default: the book's); ``only``: ids
    of the claims to return (Holm's correction still counts all tests of the paper).
    """
    found = rec.read() if found is None else found
    found = [r for r in found if r.get("paper") == paper]
    results = [_ask(rule, found) for rule in targets.rules(paper)]
    computed = [t for t in results if t["state"] == "computed"]
    for index in (0, 1):
        for test, p in zip(computed, holm([t["p"][index] for t in computed]), strict=True):
            test.setdefault("holm", []).append(p)
    for test in computed:
        holds, fails = test["holm"]
        test["state"] = ("holds" if holds <= test["alpha"] else
                         "fails" if fails <= test["alpha"] else "undecided")
        p = fails if test["state"] == "fails" else holds
        told = f"p = {p:.2g} after Holm" if p else "no spread, so no p to give"
        test["reason"] = ", ".join(
            filter(None, (test["text"], told, f"n = {test['n']}", test["said"])))
        if test["state"] == "undecided":
            test["reason"] = f"neither p is small: {test['reason']}"
    return [_claim(row, [t for t in results if t["claim"] == row["id"]])
            for row in targets.claims(paper) if not only or row["id"] in only]
