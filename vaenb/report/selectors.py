"""What a rule of book/targets/tests.csv speaks of: which records, and which of their numbers."""

import math
import operator
import statistics

from vaenb.errors import VaenbError
from vaenb.report import records as rec
from vaenb.report import targets

_COMPARE = {"<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne,
            ">=": operator.ge, ">": operator.gt}


def parse(text: str, experiments: str) -> dict:
    """A selector: "[experiments: ]model=NAME; key=value; key!=value; where=key < key; over=key;
    best=key[+key] [by METRIC] [max]; argbest=key by METRIC [max]; given=METRIC; rest=always" as a
    dict."""
    head, colon, tail = text.partition(":")
    if colon:
        experiments, text = head, tail
    found = dict(experiments=experiments.split(), is_=[], not_=[], where=[], best=None,
                 argbest=None, over=None, given=None, rest=None)
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals:
            raise VaenbError(f"book/targets/tests.csv: {part!r} of {text!r} is not key=value")
        if key in ("best", "argbest"):
            name, _, by = value.removesuffix(" max").partition(" by ")
            found[key] = (name, by or None, -1 if value.endswith(" max") else 1)
        elif key in ("over", "given", "rest"):
            found[key] = value
        elif key == "where":
            found["where"].append(value.split())
        elif key.endswith("!"):
            found["not_"].append((key[:-1], value))
        else:
            found["is_"].append((key, value))
    return found


def _same(setting, text: str) -> bool:
    if isinstance(setting, str):
        return setting == text
    return setting is not None and float(setting) == targets.number(text)


def chosen(found: list[dict], selector: dict) -> list[dict]:
    """The records that a selector speaks of."""
    return [r for r in found if r["experiment"] in selector["experiments"]
            and all(_same(r["settings"].get(k), v) for k, v in selector["is_"])
            and not any(_same(r["settings"].get(k), v) for k, v in selector["not_"])
            and all(_COMPARE[sign](_operand(r, one), _operand(r, other))
                    for one, sign, other in selector["where"])]


def _operand(record: dict, name: str) -> float:
    """A number, else a setting, else a metric of a record."""
    value = targets.number(name)
    if math.isnan(value):
        value = record["settings"].get(name)
    return rec.number(record, name) if value is None else value


def shorter(a: dict, b: dict) -> bool:
    """Whether record a was run like b, but for half its steps at most."""
    one, two = dict(a["scale"]), dict(b["scale"])
    mine, longer = one.pop("steps", None), two.pop("steps", None)
    return bool(mine and longer) and 2 * mine[0] <= longer[0] and one == two \
        and a["profile"] == b["profile"] and a["data"].get("sha256") == b["data"].get("sha256")


def measured(record: dict, expression: str) -> float:
    """A metric, "log10 METRIC", "METRIC - METRIC" or "METRIC / METRIC" (NaN over 0)."""
    if expression.startswith("log10 "):
        value = measured(record, expression[6:])
        return math.log10(value) if value > 0 else math.nan
    if " / " in expression:
        above, below = (rec.number(record, name.strip()) for name in expression.split(" / "))
        return above / below if below else math.nan
    first, *others = (rec.number(record, name.strip()) for name in expression.split(" - "))
    return first - sum(others)


def mean(values) -> float:
    """The mean of the values that are numbers; NaN if there are none."""
    values = [v for v in values if math.isfinite(v)]
    return statistics.fmean(values) if values else math.nan


def best(found: list[dict], key: str, metric: str, sign: int = 1) -> tuple[list[dict], object]:
    """The records at the best value of a setting, by the mean of ``metric`` over seeds, and that
    value; "key+key" is a pair. Only values with the most seeds compete. ``sign`` is 1 where less
    is better. Ties and NaN: the first, never a NaN."""
    at: dict = {}
    for record in found:
        at.setdefault(_value(record, key), []).append(record)
    seeds = {v: len({r["seed"] for r in group}) for v, group in at.items()}
    at = {v: group for v, group in at.items() if seeds[v] == max(seeds.values())}
    means = {v: sign * mean(measured(r, metric) for r in group) for v, group in at.items()}
    value = min(means, key=lambda v: math.inf if math.isnan(means[v]) else means[v])
    return at[value], value


def best_by_others(found: list[dict], key: str, metric: str, sign: int = 1) -> list[dict]:
    """As `best`, but for each seed the records at the value that is best on the other seeds: what
    chooses and what is compared are then not the same numbers, and choosing gains nothing. A
    single seed chooses for itself."""
    kept = []
    for seed in {r["seed"] for r in found}:
        others = [r for r in found if r["seed"] != seed] or found
        _, value = best(others, key, metric, sign)
        kept += [r for r in found if r["seed"] == seed and _value(r, key) == value]
    return kept


def _value(record, key):
    value = tuple(record["settings"].get(k) for k in key.split("+"))
    return value if len(value) > 1 else value[0]
