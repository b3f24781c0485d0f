"""Theirs beside ours: tables computed from targets and records at reading time."""

import html
import math
from collections import Counter

from vaenb.errors import VaenbError
from vaenb.report import board, extent, records, targets
from vaenb.report.words import TITLES

SIGNS = {"reproduced": "✓", "supported": "✓", "not reproduced": "✗", "contradicted": "✗",
         "undecided": "?", "not run": "–", "setup": "·",
         "holds": "✓", "fails": "✗"}  # of a claim or number; of one test


class Table:
    """Rows of cells (text, hover, kind), or plain texts, under a header; HTML in a page, aligned
    text elsewhere.

    ``kind`` is "" or a class of ``book/_static/vae.css`` (theirs, ours, verdict, tests: a list,
    an item a line of the text); ``over``: a row of (text, span) above the header.
    """

    def __init__(self, header: list[str], rows: list[list[tuple[str, str, str] | str]],
                 caption: str, over: list[tuple[str, int]] | None = None):
        self.header, self.caption, self.over = header, caption, over or []
        self.rows = [[(c, "", "") if isinstance(c, str) else c for c in row] for row in rows]

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in self.header)
        names = [text for text, _ in self.over] + self.header
        over = "".join(f'<th scope="colgroup" colspan="{span}">{html.escape(text)}</th>'
                       for text, span in self.over)
        over = f"<tr>{over}</tr>" if over else ""
        body = "".join("<tr>" + "".join(map(_cell, row, range(len(row)))) + "</tr>"
                       for row in self.rows)
        name = html.escape(next((t for t in names if t), "table"), quote=True)
        return (f'<div class="vae-scroll" role="region" tabindex="0" aria-label="{name}">'
                f'<table class="dataframe vae-table">'
                f"<caption><span>{html.escape(self.caption)}</span></caption><thead>{over}<tr>{head}</tr></thead>"
                f"<tbody>{body}</tbody></table></div>")

    def __repr__(self) -> str:
        names = [text for text, span in self.over for _ in range(span)] or [""] * len(self.header)
        head = [" ".join(filter(None, pair)) for pair in zip(names, self.header, strict=True)]
        lines = [head, *([cell[0].replace("\n", "; ") for cell in row] for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
                for line in lines]
        return "\n".join([*text, self.caption])


def _cell(cell: tuple[str, str, str], place: int) -> str:
    text, hover = (html.escape(part, quote=True) for part in cell[:2])
    title = f' title="{hover}"' if hover else ""
    if cell[2] == "ours":
        value, _, runs = text.partition(" (")
        text = f"{value} <small>({runs}</small>" if runs else value
    elif cell[2] == "tests":
        text = items(text)
    kind = f' class="{cell[2]}"' if cell[2] else ""
    return f'<th scope="row"{title}>{text}</th>' if place == 0 else f"<td{kind}{title}>{text}</td>"


class Note:
    """Small print under a figure: a line, or a list of several."""

    def __init__(self, lines: list[str]):
        self.lines = lines

    def _repr_html_(self) -> str:
        return f'<div class="vae-note">{items(html.escape(repr(self)))}</div>'

    def __repr__(self) -> str:
        return "\n".join(self.lines)


def items(text: str) -> str:
    """Escaped lines as an HTML list."""
    return "<ul>" + "".join(f"<li>{line}</li>" for line in text.split("\n")) + "</ul>"


def number(mean: float, spread: float = math.nan) -> str:
    """A mean and its spread over seeds, the spread with one digit, or two if it begins with 1 or
    2: "−775.1 ± 2.3", "−3065 ± 8"; without a spread four digits."""
    if not math.isfinite(mean):
        return "–"
    size = math.floor(math.log10(abs(mean))) if mean else 0
    known = math.isfinite(spread) and spread > 0
    if not known and 1e-4 < abs(mean) < 1e4:
        return f"{mean:.4g}".replace("-", "−")
    if known and max(abs(mean), spread) < 1e-4:
        return f"{mean:.0e} ± {spread:.0e}".replace("-", "−")
    first = float(f"{spread:.0e}"[0]) if known else 0
    digits = (1 if first < 3 else 0) - math.floor(math.log10(spread)) if known else 0
    digits = max(0, min(digits, 5 - size, 6))  # records keep six
    told = f"{mean:.{digits}f}".replace("-", "−")
    told = told if told.strip("−0.") else told.lstrip("−")  # no minus before a zero
    return told + (f" ± {spread:.{digits}f}" if known else "")


def _ours(mean: float, spread: float, n: int, profile: str) -> str:
    return number(mean, spread) + (f" ({profile}, n={n})" if n else "")


def provenance(found: list[dict]) -> str:
    """Where a number comes from, in one line: scale, data, seeds, device, code, time."""
    if not found:
        return ""
    last = max(found, key=lambda r: r["when"])
    data = last["data"]
    seeds = sorted({r["seed"] for r in found})
    spent = sum(r.get("seconds") or 0 for r in found)
    return (f"{extent.scale_text(found)}; data {data.get('name')} ({data.get('note')}; sha256 "
            f"{str(data.get('sha256'))[:12]}); seeds {seeds}; {last.get('device')}, torch "
            f"{last.get('torch')}, vaenb {last.get('version')} code {last.get('code')}; "
            f"{last['when'][:16]} UTC; {spent:.0f} s of training")


def caption(found: list[dict]) -> str:
    """What stands over a table of ours: scale, seeds and data of the records ``found``."""
    if not found:
        return "ours: not run in this profile"
    notes = {r["data"].get("note") for r in found} - {None}
    return f"Our runs: {extent.scale_text(found)}. Data: {'; '.join(sorted(notes))}."


def _of_means(found: list[dict]) -> str:
    """The caption of a table whose cells are means with their spread."""
    several = any(len(seeds) > 1 for seeds in extent.seeds_of(found).values())
    return caption(found) + " Mean ± standard deviation over seeds." * several


def theirs_and_ours(paper: str, table: str, dataset: str, found: list[dict]) -> Table:
    """The printed results of a table beside our means; a row a model and setting of the paper."""
    rows: dict[tuple[str, str], dict[str, dict]] = {}
    cells = [c for c in targets.cells(paper) if (c["table"], c["dataset"]) == (table, dataset)]
    # a column of settings alone says nothing that the row's name does not
    results = {c["metric"] for c in cells if c["kind"] == "result"}
    metrics = list(dict.fromkeys(c["metric"] for c in cells if c["metric"] in results))
    many = Counter((c["model"], c["metric"]) for c in cells if "=" not in c["setting"])
    for cell in cells:
        told = "=" in cell["setting"] or many[cell["model"], cell["metric"]] > 1
        setting = cell["setting"] if told else ""
        rows.setdefault((cell["model"], setting), {})[cell["metric"]] = cell
    if not metrics:
        raise VaenbError(f"{paper} prints no {table} for {dataset!r}: the names stand in "
                         f"book/targets/{paper}.csv")
    body, used = [], []
    for (model, setting), printed in rows.items():
        name = ", ".join(filter(None, (model.replace(" (Ours)", ""), setting)))
        row = [name.replace("sigma", "σ")]
        for metric in metrics:
            cell = printed.get(metric)
            if cell is None:
                row += [("–", "the paper prints none", "theirs"),
                        ("–", "nothing to answer", "ours")]
                continue
            theirs = f"{cell['bound']} {cell['value'].replace('-', '−', 1) or '–'}".strip()
            row.append((theirs, cell["note"], "theirs"))
            answer = board.ours(cell, found)
            used += answer["used"]
            told = f"{answer['state']}: {answer['reason']}. {provenance(answer['used'])}"
            text = _ours(*(answer[k] for k in ("mean", "spread", "n", "profile")))
            row.append((text, told, "ours"))
        body.append(row)
    over = [(f"{table}, {dataset}", 1), *((metric, 2) for metric in metrics)]
    return Table(["", *["theirs", "ours"] * len(metrics)], body, _of_means(used), over)


def ours(found: list[dict], metrics: list[str], label) -> Table:
    """Our means where the paper prints none: a row a setting, named by ``label(settings)``."""
    found = extent.groups(found)[0] if found else []
    rows: dict[str, list[dict]] = {}
    for record in found:
        rows.setdefault(label(record["settings"]), []).append(record)
    body = []
    for name, group in rows.items():
        row = [(name, provenance(group), "")]
        for metric in metrics:
            *numbers, n = records.mean_and_spread(group, metric)
            told = f"{n} of {len(group)} runs have a value"
            row.append((_ours(*numbers, n, group[0]["profile"]), told, "ours"))
        body.append(row)
    return Table(["setting", *(TITLES.get(m, m) for m in metrics)], body,
                 _of_means(found))


def scales(profiles: dict[str, dict]) -> Table:
    """What a chapter's profiles mean: a column each, a row a size (of a part "part: size")."""
    def flat(sizes):
        found = {}
        for name, value in sizes.items():
            inner = value if isinstance(value, dict) else {}
            found |= {f"{name}: {k}": v for k, v in inner.items()} or {name: value}
        return found

    each = [flat(sizes) for sizes in profiles.values()]
    rows = [[name] + [", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
                      for value in (sizes.get(name, "–") for sizes in each)]
            for name in dict.fromkeys(name for sizes in each for name in sizes)]
    return Table(["", *profiles], rows, "What each profile means here, by the names that the "
                 "program has for it (the hidden cells above say more); 0 is the paper's own.")


def state(name: str, leans: str = "") -> str:
    """A verdict in words: its sign, its name, and on which side the means lie."""
    return f"{SIGNS[name]} {name}" + f", {leans}" * bool(leans)


def why(claim: dict) -> str:
    """What decided a claim, or did not: a line a test, with its sign, what it asks, what came."""
    told = [f"{SIGNS[line['state']]} {line['text']}" + f" ({line['leans']})" * bool(line["leans"])
            for line in claim["lines"]]
    return "\n".join(told)


def verdicts(claims: list[dict], brief: bool = False) -> Table:
    """Claims with their verdicts (`vaenb.report.verdicts`): state, every test, scale.

    ``brief`` leaves what a verdict is to the table of all claims, at the chapter's end.
    """
    signs = ("A line is a test: ✓ it holds, ✗ it fails, ? undecided, – not run; behind the arrow, "
             "what came out")
    if brief:
        note = f"Scale on hover. {signs}. More is said under the table of all claims."
    else:
        note = (f"Verdicts follow the rules in book/targets/tests.csv; scale on hover. {signs}. "
                f"Each test is made twice, for the claim and against it; where neither p is below "
                f"0.05 it stays undecided. Each p is first raised for the number of tests made of "
                f"the same paper (Holm's correction). In brackets the 95 % interval. On which "
                f"side the means of an undecided claim lie is a hint, not a verdict.")
    body = [[(f"{c['id']} ({c['where']})", c["note"], ""), c["claim"],
             (state(c["state"], c["leans"]), c["scale"], "verdict"), (why(c), c["scale"], "tests")]
            for c in claims]
    return Table(["claim", "what it says", "verdict", "why"], body, note)
