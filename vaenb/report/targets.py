"""What the papers print and claim: ``book/targets`` as lists of rows (dicts of text)."""

import csv
import math
from collections import Counter
from functools import cache

import vaenb
from vaenb.errors import VaenbError

PAPERS = ("calibrated-decoders", "rate-regularization", "information-trading",
          "lagging-inference", "dueling-decoders")  # in the order of the chapters
FOLDER = vaenb.ROOT / "book" / "targets"


@cache
def _rows(name: str) -> tuple[dict, ...]:
    path = FOLDER / f"{name}.csv"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = tuple(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise VaenbError(f"{path} cannot be read: restore it (git checkout -- book/targets) or "
                         f"use the package from its clone (pip install -e .)") from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise VaenbError(f"{path}, row {number} has not as many cells as the header: mend it "
                             f"(git checkout -- book/targets)")
    return rows


def _papers(paper: str | None) -> tuple[str, ...]:
    if paper is not None and paper not in PAPERS:
        raise VaenbError(f"no paper {paper!r}: it is one of {', '.join(PAPERS)}")
    return PAPERS if paper is None else (paper,)


def target_id(row: dict) -> str:
    """"table|dataset|model|setting|metric" of a row; ``cells`` appends #2, #3 to repeated ones."""
    return "|".join(row[key] for key in ("table", "dataset", "model", "setting", "metric"))


def cells(paper: str | None = None) -> list[dict]:
    """Every printed cell of one paper or all: the columns of its CSV, and its ``id``.

    ``value`` and ``std`` are text as printed ("" where the paper prints none). Ids are unique
    within a paper.
    """
    found = []
    for name in _papers(paper):
        seen: Counter = Counter()
        for row in _rows(name):
            base = target_id(row)
            seen[base] += 1
            found.append({**row, "id": base if seen[base] == 1 else f"{base}#{seen[base]}"})
    return found


def claims(paper: str | None = None) -> list[dict]:
    """The claims (id, paper, where, claim, testable_as, note) of one paper or all."""
    return [dict(row) for name in _papers(paper) for row in _rows("claims")
            if row["paper"] == name]


def rules(paper: str | None = None) -> list[dict]:
    """The rules of ``tests.csv`` for the claims of one paper or all, in the file's order."""
    ids = {row["id"] for row in claims(paper)}
    return [dict(row) for row in _rows("tests") if row["claim"] in ids]


def stood_in(rule: dict) -> dict | None:
    """The rule as it is asked of what stands in for its data ("experiment data" in its column
    stand_in); None where nothing does."""
    if not rule["stand_in"]:
        return None
    experiment, data = rule["stand_in"].split()
    return rule | dict(experiment=experiment, data=data)


def number(text: str) -> float:
    """The printed number; NaN for an empty cell, a layer string or a formula."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def spread(row: dict) -> float:
    """The printed standard deviation (the root where lagging-inference prints a variance; of a
    distortion in Table 1 of dueling-decoders what Table 8 prints with the same value)."""
    value = number(row["std"])
    if math.isnan(value) and (row["paper"], row["table"], row["metric"]) == (
            "dueling-decoders", "Table 1", "distortion"):
        same = "dataset", "model", "metric", "value"
        value = next((number(c["std"]) for c in cells(row["paper"]) if c["table"] == "Table 8"
                      and all(c[k] == row[k] for k in same)), value)
    variance = row["paper"] == "lagging-inference" and row["table"] in ("Table 7", "Table 8")
    return math.sqrt(value) if variance and value >= 0 else value


def half_unit(text: str) -> float:
    """Half a unit of the last printed place: 22.25 -> 0.005, 9179 -> 0.5, 1e-3 -> 0.0005."""
    digits, _, exponent = text.strip().lower().partition("e")
    places = len(digits.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - places)
