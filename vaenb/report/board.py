"""The scoreboard: every claim and every printed number of the five papers, theirs and ours."""

import math
from collections import Counter

from vaenb.errors import VaenbError
from vaenb.report import extent, targets
from vaenb.report import records as rec
from vaenb.report.selectors import best
from vaenb.report.verdicts import verdicts

UNMEASURED = "not run", "setup"  # states of numbers that no record answers


def ours(cell: dict, found: list[dict]) -> dict:
    """What our records say of a printed cell (a row of ``targets.cells``).

    A dict of mean, spread (standard deviation over seeds), n, profile, scale, state, reason and
    the records used. Where records of several settings answer one cell, the best mean counts.
    """
    matching = [r for r in found if r.get("paper") == cell["paper"]
                and cell["id"] in r["cells"]]
    out = dict(mean=math.nan, spread=math.nan, n=0, profile="", scale="", used=[])
    if not matching and cell["kind"] == "setup":
        return out | dict(state="setup", reason="of the paper's data, networks or training")
    if not matching:
        return out | dict(state="not run", reason="no record answers this number")
    group, said = extent.groups(matching)[0], ""
    metric = group[0]["cells"][cell["id"]]
    missing = _cells_to_come(group)
    varied = [k for k in dict.fromkeys(k for r in group for k in r["settings"])
              if len({r["settings"].get(k) for r in group}) > 1]
    if varied:
        sign = -1 if cell["direction"] == "higher" else 1
        group, value = best(group, "+".join(varied), metric, sign)
        said = f"best {' and '.join(varied)} {value}; "
    mean, spread, n = rec.mean_and_spread(group, metric)
    out |= dict(mean=mean, spread=spread, n=n, profile=group[0]["profile"],
                scale=extent.scale_text(group), used=group)
    if not n:
        return out | dict(state="undecided", reason=said + f"{metric} has no value in these runs")
    apart = group[0].get("incomparable", {})  # such as features for the FID; or this cell alone
    other = apart.get(metric) or apart.get(cell["id"])
    if not all(map(extent.is_full, group)):
        reason = said + "reduced scale" + (f", {other}" if other else "")
        return out | dict(state="undecided", reason=reason)
    if other or missing:
        return out | dict(state="undecided", reason=said + (other or missing))
    theirs = targets.number(cell["value"])
    if math.isnan(theirs):
        return out | dict(state="undecided", reason=said + "the paper prints no number")
    spreads = [2 * s for s in (spread, targets.spread(cell)) if math.isfinite(s)]
    allowed = max([*spreads, targets.half_unit(cell["value"])])
    off = mean - theirs
    near = off >= -allowed if cell["bound"] == ">" else abs(off) <= allowed
    reason = f"{said}{abs(off):.3g} away, {allowed:.3g} allowed"
    if not near and not spreads:
        return out | dict(state="undecided", reason=f"{reason}; one seed has no spread")
    return out | dict(state="reproduced" if near else "not reproduced", reason=reason)


def _cells_to_come(group: list[dict]) -> str:
    """What a square grid lacks before its best cell can be called so, in words."""
    whole, cells = extent.with_all_seeds(group), extent.grid_cells(group[0])
    return f"{whole} of {cells} cells have all seeds" if whole < cells else ""


def _check(found: list[dict]) -> None:
    known = {(c["paper"], c["id"]) for c in targets.cells()}
    for record in found:
        for target in record["cells"]:
            if (record.get("paper"), target) not in known:
                raise VaenbError(
                    f"a record of {record['chapter']}/{record['experiment']} answers {target!r}, "
                    f"which book/targets does not print: correct the id in its notebook")


def scoreboard(found: list[dict] | None = None) -> dict:
    """All claims and printed numbers: "claims", "numbers" (lists of flat dicts, ready for JSON)
    and "counts" (paper -> "claims" and "numbers" -> state -> count)."""
    found = rec.read() if found is None else found
    _check(found)
    board: dict = dict(counts={}, claims=[], numbers=[])
    for paper in targets.PAPERS:
        claims = verdicts(paper, found)
        for claim in claims:
            for test in claim["tests"]:
                test.pop("used")
        numbers = []
        for cell in targets.cells(paper):
            answer = ours(cell, found)
            answer.pop("used")
            numbers.append({**cell, "theirs": cell["value"], "ours": answer.pop("mean"), **answer})
        board["claims"] += claims
        board["numbers"] += numbers
        board["counts"][paper] = dict(claims=dict(Counter(c["state"] for c in claims)),
                                      numbers=dict(Counter(n["state"] for n in numbers)))
    return rec.clean(board)


def scoreboard_text(board: dict) -> str:
    """The scoreboard as aligned lines."""
    lines = []
    for paper, counts in board["counts"].items():
        lines += [paper, "=" * len(paper)]
        for kind, states in counts.items():
            told = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
            lines.append(f"{sum(states.values()):5} {kind:8} {told}")
        lines.append("")
        for claim in (c for c in board["claims"] if c["paper"] == paper):
            lines.append(f"  {claim['id']:4} {claim['state']:15} {claim['claim']}")
            told = ": ".join(filter(None, (claim["leans"], claim["reason"])))
            scale = f" ({claim['scale']})" if claim["scale"] else ""
            lines.append(f"{'':23}{told}{scale}")
        rows = [(n["id"], f"{n['bound']}{n['theirs'] or '–'}",
                 "–" if n["ours"] is None else f"{n['ours']:.6g}",
                 "" if n["spread"] is None else f"± {n['spread']:.2g}",
                 f"n={n['n']} {n['profile']}" if n["n"] else "", n["state"],
                 n["reason"] if n["state"] not in UNMEASURED else "")
                for n in board["numbers"] if n["paper"] == paper]
        rows = [("number", "theirs", "ours", "spread", "runs", "verdict", "reason"), *rows]
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines += ["", *("  " + "  ".join([row[0].ljust(widths[0])]
                  + [row[i].rjust(widths[i]) for i in (1, 2)]
                  + [row[i].ljust(widths[i]) for i in (3, 4, 5)] + [row[6]]).rstrip()
                  for row in rows), ""]
    return "\n".join(lines)
