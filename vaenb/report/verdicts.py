"""Verdicts by rule: ``book/targets/tests.csv`` says what decides a claim, this module obeys.

Comparisons are paired over shared seeds; where a side is the best of several settings, each seed
is judged at the setting that is best on the others. Every test gives two one-sided p-values, that
the claim holds and that it fails; each family is corrected after Holm over all tests of the
chapter that could be computed. A claim holds when all its tests hold and fails when one fails.

A test wants runs that have come to rest. Where the training still moved at its end, what holds
after all its steps must hold after half of them or fewer too: if the same models were also
trained so much shorter, both tests are made and the larger p counts. A test over the models of a
grid is made with those that moved and without them, if enough are left, and again the larger p
counts. Runs of the paper's own length need no rest, since the claim speaks of them, unless the
rule says "rest=always": then it is about the end of slow runs. Of runs at several scales, the
largest that has the seeds and values a test asks for decides it.

Beside an undecided claim stands on which side the means lie, which is no verdict: one seed has it.
"""

import itertools
import math
import re
import statistics
from collections import Counter

from vaenb.errors import VaenbError
from vaenb.report import association, targets
from vaenb.report import records as rec
from vaenb.report.paired import holm, interval, p_below, p_within, rounding
from vaenb.report.selectors import best, best_by_others, chosen, mean, measured, parse, shorter

PAIRED = "below", "above", "within", "apart", "fisher", "always below"
OF_MODELS = (  # over the cells of a grid
    "correlates", "anticorrelates", "depends", "varies more", "explains", "explains less", "bends")
STATES = {"holds": ("supported", "reproduced"), "fails": ("contradicted", "not reproduced")}


# --- one test -------------------------------------------------------------------------------

def _side(found: list[dict], selector: dict, metric: str):
    """{(seed, settings left free): value}, the records used, the value that was best, and the
    variance that the choice of it hides."""
    said, fixed = "", {k for k, _ in selector["is_"]} | {"model"}
    if selector["best"]:
        key, by, sign = selector["best"]
        _, value = best(found, key, by or metric, sign)
        found = best_by_others(found, key, by or metric, sign)
        told = ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else value
        said, fixed = f"best {key} {told}", fixed | set(key.split("+"))
    if selector["argbest"]:
        key, by, sign = selector["argbest"]
        scale = math.log10 if metric.startswith("log10 ") else float
        winners = {seed: best([r for r in found if r["seed"] == seed], key, by, sign)[1]
                   for seed in {r["seed"] for r in found}}
        values = {(seed, ()): scale(value) for seed, value in winners.items()}
        hidden = rounding(values.values(), {scale(r["settings"][key]) for r in found})
        told = Counter(winners.values()).most_common(1)[0][0]
        return values, found, f"best {key} by {by} {told}", hidden
    free = sorted({k for r in found for k in r["settings"]} - fixed)
    values = {}
    for record in found:
        place = tuple((k, record["settings"].get(k)) for k in free)
        values[record["seed"], place] = measured(record, metric)
    return values, found, said, 0.0


def _paired(a: dict, b: dict) -> dict[int, list[float]]:
    """Differences A - B by seed, matched on the settings that both sides leave free."""
    keys = {k for _, place in a for k, _ in place} & {k for _, place in b for k, _ in place}
    sides = []
    for side in (a, b):
        reduced = {(s, tuple(kv for kv in place if kv[0] in keys)): v
                   for (s, place), v in side.items()}
        if len(reduced) < len(side):
            raise VaenbError("the rule is ambiguous: a setting varies on one side only")
        sides.append(reduced)
    differences: dict[int, list[float]] = {}
    for place in sides[0].keys() & sides[1].keys():
        d = sides[0][place] - sides[1][place]
        if math.isfinite(d):
            differences.setdefault(place[0], []).append(d)
    return differences


def _compare(rule, a, b, sa, sb):
    metrics = [m.strip() for m in rule["metric"].split("|")]
    values_a, used_a, said_a, hidden_a = _side(a, sa, metrics[0])
    values_b, used_b, said_b, hidden_b = _side(b, sb, metrics[-1])
    if rule["b"].startswith("number:"):
        values_b = dict.fromkeys(values_a, float(rule["b"].removeprefix("number:")))
    margin = float(rule["margin"] or 0)
    out = dict(used=used_a + used_b, said=", ".join(filter(None, (said_a, said_b))))
    if rule["test"] == "fisher":
        table = []
        for values in (values_a, values_b):
            valid = [v for v in values.values() if math.isfinite(v)]
            table.append([int(sum(valid)), len(valid) - int(sum(valid))])
        from scipy.stats import fisher_exact

        p = [float(fisher_exact(table, side)[1]) for side in ("greater", "less")]
        counts = [f"{t[0]} of {sum(t)}" for t in table]
        return out | dict(n=min(map(sum, table)), p=p, text=" against ".join(counts))
    by_seed = _paired(values_a, values_b)
    of_seed = {"within": lambda v: max(v, key=abs), "always below": max}.get(
        rule["test"], statistics.fmean)
    d = [of_seed(v) for _, v in sorted(by_seed.items())]
    out["n"] = len(d)
    if d:
        effect, kind = statistics.fmean(d), rule["test"].removeprefix("always ")
        near = abs(effect) <= margin
        out["leans"] = dict(below=effect < -margin, above=effect > margin, within=near,
                            apart=not near)[kind]
        out["text"] = f"difference {effect:.4g}"
    if len(d) < 2:
        return out
    flipped, hidden = [-x for x in d], hidden_a + hidden_b
    if rule["test"] in ("within", "apart"):
        p = p_within(d, margin, hidden)[::-1 if rule["test"] == "apart" else 1]
    elif rule["test"] in ("below", "always below"):
        p = p_below(d, -margin, hidden), p_below(flipped, margin, hidden)
    else:
        p = p_below(flipped, -margin, hidden), p_below(d, margin, hidden)
    low, high = interval(d, hidden)
    return out | dict(p=p, effect=effect, low=low, high=high,
                      text=f"{out['text']} [{low:.4g}, {high:.4g}]")


def _trend(rule, found, selector):
    """Page's L, seeds as blocks, exact for few of them."""
    from scipy.stats import page_trend_test, spearmanr

    at: dict[int, dict] = {}
    for record in found:
        row, key = at.setdefault(record["seed"], {}), record["settings"].get(selector["over"])
        if key in row:
            raise VaenbError("the rule is ambiguous: another setting varies too")
        row[key] = measured(record, rule["metric"])
    settings = sorted({k for row in at.values() for k in row})
    rows = [[row[k] for k in settings] for _, row in sorted(at.items())
            if all(math.isfinite(row.get(k, math.nan)) for k in settings)]
    out = dict(used=found, n=len(rows), said=f"Page's L over {selector['over']} {settings}")
    if len(settings) < 3 or not rows:
        return out
    sign = {"increasing": 1, "decreasing": -1}[rule["b"]]
    effect = statistics.fmean(float(spearmanr(settings, row)[0]) for row in rows)
    out |= dict(effect=effect, leans=sign * effect > 0, text=f"mean rank correlation {effect:.2f}")
    if len(rows) < 2:
        return out
    out["p"] = [float(page_trend_test([[s * sign * v for v in row] for row in rows]).pvalue)
                for s in (1, -1)]
    return out


def _place(record) -> tuple:
    return tuple(sorted((k, v) for k, v in record["settings"].items() if k != "model"))


def _cells(rule, found, selector, other=None):
    """What goes with what over the cells of a grid; a cell is a model, its seeds averaged."""
    names = [m.strip() for m in rule["metric"].split("|")]
    sides = [found, found if other is None else other, found][:len(names)]
    if selector["given"]:
        names, sides = [*names, selector["given"]], [*sides, found]
    columns = []
    for name, side in zip(names, sides, strict=True):
        at: dict[tuple, list] = {}
        for r in side:
            at.setdefault(_place(r), []).append(measured(r, name))
        columns.append({place: mean(values) for place, values in at.items()})
    places = [p for p in columns[0] if all(math.isfinite(c.get(p, math.nan)) for c in columns)]
    out = dict(used=found + (other or []), n=len(places), said=f"over {len(places)} cells")
    if len(places) < 4:
        return out
    values = [[c[p] for p in places] for c in columns]
    if rule["test"] == "depends":
        effect, *p = association.depends_more(*values)
        said = f"rank correlations differ by {effect:.2f}"
    elif rule["test"] == "varies more":
        effect, *p = association.varies_more(*values)
        said = f"variances as {math.exp(effect):.3g} to 1"
    elif rule["test"] in ("explains", "explains less"):
        effect, *p = association.explains(*values, float(rule["margin"]))
        said = f"r² = {effect:.2f}"
    elif rule["test"] == "bends":
        effect, *p = association.bends(*values, *map(float, rule["margin"].split()))
        said = f"bends at {effect:.3g}" if math.isfinite(effect) else "does not bend down"
    else:
        effect, *p = association.rank_correlation(*values)
        said = f"rank correlation {effect:.2f}"
    turned = rule["test"] in ("anticorrelates", "explains less")
    return out | dict(p=p[::-1] if turned else p, effect=effect, text=said)


def _ranks(rule, found, selector):
    """Spearman over the methods' means, ours against a printed column or another experiment."""
    from scipy.stats import norm, spearmanr

    def means(records, key):
        models, order = {}, {}
        for record in records:
            models.setdefault(record["settings"]["model"], []).append(record)
        for name, group in models.items():
            if key and any(key[0] in r["settings"] for r in group):
                group, _ = best(group, key[0], key[1] or rule["metric"], key[2])
            order[name] = mean(measured(r, rule["metric"]) for r in group)
        return order

    ours, sides = means(found, selector["best"]), [found]
    if rule["b"].startswith("printed:"):
        table, dataset, metric = rule["b"].removeprefix("printed:").strip().split("|")
        theirs = {c["model"].removesuffix(" (Ours)"): targets.number(c["value"])
                  for c in targets.cells() if c["paper"] == found[0]["paper"]
                  and (c["table"], c["dataset"], c["metric"]) == (table, dataset, metric)}
    else:
        other = parse(rule["b"], rule["experiment"])
        there = rec.groups(chosen(rule["all"], other))
        if not there:
            return dict(used=found, n=0)  # "too few seeds"
        theirs, sides = means(there[0], other["best"]), [found, there[0]]
    names = [m for m in ours if math.isfinite(ours[m]) and math.isfinite(theirs.get(m, math.nan))]
    seeds = [len({r["seed"] for r in side if r["settings"]["model"] == m})
             for side in sides for m in names]
    out = dict(used=sum(sides, []), n=min(seeds, default=0),
               said=f"Spearman over {len(names)} methods")
    if len(names) < 5:
        return out
    rho = float(spearmanr([ours[m] for m in names], [theirs[m] for m in names])[0])
    least, inner = float(rule["margin"] or 0), max(-0.999, min(0.999, rho))
    holds = float(norm.sf(math.atanh(inner) * math.sqrt((len(names) - 3) / 1.06)))
    fails = float(norm.cdf((math.atanh(inner) - math.atanh(least))
                           * math.sqrt((len(names) - 3) / 1.06)))
    return out | dict(p=(holds if rho >= least else 1.0, fails), effect=rho, text=f"rho {rho:.2f}")


def _alike(a: list[dict], b: list[dict]) -> bool:
    one, two = a[0].get("scale") or {}, b[0].get("scale") or {}
    return all(one[k] == two[k] for k in one.keys() & two.keys()) \
        and a[0]["data"].get("sha256") == b[0]["data"].get("sha256")


def run_test(rule: dict, found: list[dict]) -> dict:
    """One rule on records: state ("holds" and "fails" await ``verdicts`` and Holm: "computed"),
    reason, p (for, against), effect with its 95 % interval, n, and the records used."""
    out = {k: rule[k] for k in ("claim", "test", "metric", "a", "b")} | dict(used=[], n=0)
    sides = [parse(rule["a"], rule["experiment"])]
    pair, cells = rule["test"] in PAIRED, rule["test"] in OF_MODELS
    if pair and (not rule["b"] or rule["b"].startswith("number:")):
        sides *= 2  # two metrics of the same records, or one against a number
    elif pair or (cells and rule["b"]):
        sides.append(parse(rule["b"], rule["experiment"]))
    sets = [chosen(found, side) for side in sides]
    for text, here in zip((rule["a"], rule["b"]), sets, strict=False):
        if not here:
            told = text.strip() if ":" in text else f"{rule['experiment']}: {text.strip()}"
            return out | dict(state="not run", reason=f"no record of {told}")
    choices = [[group for _, group in c] for c in sorted(
        itertools.product(*(list(enumerate(rec.groups(s))) for s in sets)),
        key=lambda c: sum(i for i, _ in c)) if len(c) == 1 or _alike(c[0][1], c[1][1])]
    if not choices:
        scales = " against ".join(rec.scale_text(s) for s in sets)
        return out | dict(state="undecided", reason=f"run at different scales: {scales}")
    first = told = _decide(rule, choices[0], sides, found)
    while told["lacks"] == "values" and choices[1:]:
        choices = choices[1:]
        told = _decide(rule, choices[0], sides, found)
    if told["lacks"] == "values":
        return out | first
    if told["lacks"] != "rest":
        return out | told
    for others, said in _again(rule, choices, told["used"]):
        second = _decide(rule, others, sides, found)
        if second["lacks"] == "rest" or second["state"] == "computed":
            return out | told | _both(told, second, said)
        told["reason"] += f"; {said}: {second['reason']}"
    return out | told


def _again(rule, choices, used):
    """What a test whose runs still moved must hold for too, in words beside: over a grid without
    them, else runs of half the steps or fewer."""
    if rule["test"] in OF_MODELS:
        moving = {_place(r) for r in used if not _rests(r)}
        kept = [[r for r in group if _place(r) not in moving] for group in choices[0]]
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
    rests = bool((record.get("convergence") or {}).get("converged"))
    return rests or not strict and rec.is_full(record)


def _cells_to_come(group, found) -> str:
    """What a square grid lacks before a cell of it can be called the best, in words."""
    same = [r for r in found if all(r.get(k) == group[0].get(k) for k in ("experiment", "scale"))]
    whole = ((group[0].get("scale") or {}).get("grid") or [0])[0] ** 2
    have = len(rec.seeds_of(same))
    return f"{have} of {whole} cells have run, and one to come may be the best" * (have < whole)


def _decide(rule, sets, sides, found) -> dict:
    """The test on one group of records a side, and what it lacks: "values" where these or seeds
    are missing, "rest" where only that is."""
    cells = rule["test"] in OF_MODELS
    out = dict(used=[], n=0, lacks="")
    for group, side in zip(sets, sides, strict=False):
        if side["best"] and (reason := _cells_to_come(group, found)):
            return out | dict(state="undecided", reason=reason, lacks="values")
    try:
        if rule["test"] in PAIRED:
            out |= _compare(rule, *sets, *sides)
        elif cells:
            out |= _cells(rule, sets[0], sides[0], *sets[1:])
        else:
            more = {**rule, "all": found}
            out |= (_trend if rule["test"] == "trend" else _ranks)(more, sets[0], sides[0])
    except VaenbError as error:
        return out | dict(state="undecided", reason=str(error))
    out |= dict(alpha=float(rule["alpha"]))
    if "p" in out:
        out.setdefault("leans", out["p"][0] < out["p"][1])
    wrong = {r["data"].get("name") for r in out["used"]} - {rule["data"]}
    loose = [r for r in out["used"] if not _rests(r, sides[0]["rest"])]
    if rule["data"] and wrong:
        out["leans"] = None
        reason = f"run on {', '.join(map(str, wrong))}, the claim speaks of {rule['data']}"
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


def _told(results: list[dict]) -> str:
    """The tests in words, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for t in results:
        a, b = (re.sub(r"model=|(^|(?<=; ))[\w ]+: ", "", t[k]).replace("; ", ", ") for k in "ab")
        named = " ".join(filter(None, (a, t["test"], b, "in", t["metric"])))
        reasons.setdefault(t["reason"], []).append(named.replace("sigma-", "σ-"))
    return "; ".join(f"{' and '.join(tests)}: {reason}" for reason, tests in reasons.items())


def _sides(results: list[dict]) -> str:
    """Whether the means of all tests lie on the claim's side, or those of one on the other."""
    sides = {t.get("leans") for t in results}
    if False in sides:
        return "means disagree"
    return "means agree" + " so far" * (None in sides) if True in sides else ""


def _incomparable(test: dict, record: dict) -> bool:
    """Whether the record says that a metric of the test is not what the paper measured."""
    return any(name in (record.get("incomparable") or {})
               for name in re.findall(r"\w+", test["metric"]))


def _claim(row: dict, results: list[dict]) -> dict:
    out = {k: row[k] for k in ("id", "paper", "where", "claim", "note")} | dict(tests=results)
    states = Counter(t["state"] for t in results)
    deciding = [t for t in results if t["state"] == "fails"] or results
    used = [r for t in deciding for r in t["used"]]
    profiles = sorted({r["profile"] for r in used})
    out |= dict(scale=rec.scale_text(used), profile=", ".join(profiles), leans="")
    if not results or states["not run"] == len(results):
        reason = results[0]["reason"] if results else "this book has no experiment for it yet"
        return out | dict(state="not run", reason=reason)
    if not states["fails"] and states["holds"] < len(results):
        told = _told([t for t in results if t["state"] != "holds"])
        return out | dict(state="undecided", reason=told, leans=_sides(results))
    full = all(rec.is_full(r) and not _incomparable(t, r) for t in deciding for r in t["used"])
    told = f"{states['holds']} of {len(results)} tests hold; {_told(results)}"
    return out | dict(state=STATES["fails" if states["fails"] else "holds"][full], reason=told)


def verdicts(paper: str, found: list[dict] | None = None, only=()) -> list[dict]:
    """Every claim of a paper: id, claim, where, note, state, leans (of an undecided one: "means
    agree", "means agree so far" where not all of its tests have values, "means disagree", or ""),
    reason, scale, profile and its tests.

    States: "not run", "undecided", "supported" or "contradicted" (by reduced runs), "reproduced"
    or "not reproduced" (at full scale). ``found``: records (default: the book's); ``only``: ids
    of the claims to return (Holm's correction still counts all tests of the paper).
    """
    found = rec.read() if found is None else found
    found = [r for r in found if r.get("paper") == paper]
    results = [run_test(rule, found) for rule in targets.rules(paper)]
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
