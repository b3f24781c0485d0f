"""What the test of a rule says of given records: p-values for and against. It decides nothing.

Each gives a dict: ``n`` (seeds, cells or runs with a value), ``used`` (the records) and ``said``
(what was compared); where there are values ``text`` (the effect in words) and ``leans`` (whether
the means lie on the claim's side); where these are enough ``p`` (for, against) and ``effect``.
"""

import math
import statistics
from collections import Counter

import numpy as np

from vaenb.errors import VaenbError
from vaenb.report import association, targets
from vaenb.report.paired import interval, p_below, p_within, rounding
from vaenb.report.selectors import best, best_by_others, mean, measured

PAIRED = "below", "above", "within", "apart", "fisher", "always below", "beyond"
OF_MODELS = (  # over the cells of a grid
    "correlates", "anticorrelates", "depends", "varies more", "explains", "explains less", "bends")


def compared(rule: dict, sets: list, sides: list[dict]) -> dict:
    """The rule's test on one group of records a side; ``sides`` are the selectors that chose
    them. Raises VaenbError where the rule is ambiguous for these records."""
    if rule["test"] == "beyond":
        out = _beyond(rule, *sets)
    elif rule["test"] in PAIRED:
        out = _compare(rule, *sets, *sides)
    elif rule["test"] in OF_MODELS:
        out = _cells(rule, sets[0], sides[0], *sets[1:])
    elif rule["test"] == "trend":
        out = _trend(rule, sets[0], sides[0])
    elif rule["test"] == "ranks":
        out = _ranks(rule, sets[0], sides[0])
    else:
        raise VaenbError(f"a rule of {rule['claim']} has the test {rule['test']!r}, which is "
                         f"unknown: mend it in book/targets/tests.csv")
    if "p" in out:
        out.setdefault("leans", out["p"][0] < out["p"][1])
    return out


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
    used = list({id(r): r for r in used_a + used_b}.values())  # two metrics of one are one record
    out = dict(used=used, said=", ".join(filter(None, (said_a, said_b))))
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
        out["text"] = _effect(rule, effect)
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
                      text=_effect(rule, effect, low, high))


def _effect(rule, mean, *ends):
    """A difference and its interval in words; of logarithms the ratio that it stands for."""
    ratio = rule["metric"].startswith("log10 ")
    mean, *ends = (10**v if ratio else v for v in (mean, *ends))
    told = f"{'ratio' if ratio else 'difference'} {mean:.4g}"
    return told + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def _beyond(rule, cells, line):
    """How far the best of ``cells`` lies above the line through the models of ``line`` that have
    its seed: the metric is "HEIGHT | PLACE", its height against the line's at the same place. A
    cell past an end of the line is left out. For the claim each seed is judged at the cell that
    is best on the other seeds (a single seed at its own best), against it at its own best."""
    metric, along = (m.strip() for m in rule["metric"].split("|"))
    gains: dict[tuple, dict] = {}
    for seed in {r["seed"] for r in cells} & {r["seed"] for r in line}:
        points = [(measured(r, along), measured(r, metric)) for r in line if r["seed"] == seed]
        for r in cells:
            gain = above_line(points, measured(r, along), measured(r, metric))
            if r["seed"] == seed and math.isfinite(gain):
                gains.setdefault(cell_of(r), {})[seed] = gain
    most = max(map(len, gains.values()), default=0)
    gains = {place: of for place, of in gains.items() if len(of) == most}
    seeds = sorted({seed for of in gains.values() for seed in of})
    out = dict(used=cells + line, n=len(seeds), said=f"{len(gains)} cells beside the line")
    if not seeds:
        return out
    d = []
    for seed in seeds:
        here = {place: of for place, of in gains.items() if seed in of}
        others = {place: [v for s, v in of.items() if s != seed] or [of[seed]]
                  for place, of in here.items()}
        d.append(here[max(others, key=lambda place: statistics.fmean(others[place]))][seed])
    largest = [max(of[seed] for of in gains.values() if seed in of) for seed in seeds]
    effect = statistics.fmean(d)
    out |= dict(effect=effect, leans=effect > 0, text=f"best gain {effect:.3g}")
    if len(d) < 2:
        return out
    return out | dict(p=(p_below([-x for x in d]), p_below(largest)))


def above_line(points: list[tuple[float, float]], x: float, y: float) -> float:
    """How far y is above the line through the finite ``points`` (x, y) at x; NaN past their ends.
    A point that is lower than one at a smaller x counts as high as that."""
    points = sorted(p for p in points if all(map(math.isfinite, p)))
    xs, ys = zip(*points, strict=True) if points else ((), ())
    if not points or not xs[0] <= x <= xs[-1]:
        return math.nan
    return y - float(np.interp(x, xs, np.maximum.accumulate(ys)))


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


def cell_of(record: dict) -> tuple:
    """The cell of a grid that a record is of: its settings but for its model."""
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
            at.setdefault(cell_of(r), []).append(measured(r, name))
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
    """Spearman over the methods' means, ours against a printed column."""
    from scipy.stats import norm, spearmanr

    models, ours, key = {}, {}, selector["best"]
    for record in found:
        models.setdefault(record["settings"]["model"], []).append(record)
    for name, group in models.items():
        if key and any(key[0] in r["settings"] for r in group):
            group, _ = best(group, key[0], key[1] or rule["metric"], key[2])
        ours[name] = mean(measured(r, rule["metric"]) for r in group)
    table, dataset, metric = rule["b"].removeprefix("printed:").strip().split("|")
    theirs = {c["model"].removesuffix(" (Ours)"): targets.number(c["value"])
              for c in targets.cells(found[0]["paper"])
              if (c["table"], c["dataset"], c["metric"]) == (table, dataset, metric)}
    names = [m for m in ours if math.isfinite(ours[m]) and math.isfinite(theirs.get(m, math.nan))]
    seeds = [len({r["seed"] for r in models[m]}) for m in names]
    out = dict(used=found, n=min(seeds, default=0), said=f"Spearman over {len(names)} methods")
    if len(names) < 5:
        return out
    rho = float(spearmanr([ours[m] for m in names], [theirs[m] for m in names])[0])
    least, inner = float(rule["margin"] or 0), max(-0.999, min(0.999, rho))
    holds = float(norm.sf(math.atanh(inner) * math.sqrt((len(names) - 3) / 1.06)))
    fails = float(norm.cdf((math.atanh(inner) - math.atanh(least))
                           * math.sqrt((len(names) - 3) / 1.06)))
    return out | dict(p=(holds if rho >= least else 1.0, fails), effect=rho, text=f"rho {rho:.2f}")
