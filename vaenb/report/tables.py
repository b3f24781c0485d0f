"""Theirs beside ours: tables computed from targets and records at reading time."""

import html
import math
import statistics

from vaenb.report import board, records, targets

SIGNS = {"reproduced": "✓", "supported": "✓", "not reproduced": "✗", "contradicted": "✗",
         "undecided": "?", "not run": "–"}


class Table:
    """Rows of (text, hover) cells under a header, with a caption; HTML in a page, text elsewhere."""

    def __init__(self, header: list[str], rows: list[list[tuple[str, str]]], caption: str):
        self.header, self.rows, self.caption = header, rows, caption

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in self.header)
        body = "".join(f"<tr>{''.join(map(_cell, row, range(len(row))))}</tr>" for row in self.rows)
        return (f'<table class="dataframe vae-table"><caption>{html.escape(self.caption)}</caption>'
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def __repr__(self) -> str:
        lines = [self.header, *([text for text, _ in row] for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
                for line in lines]
        return "\n".join([*text, self.caption])


def _cell(cell: tuple[str, str], place: int) -> str:
    text, hover = (html.escape(part, quote=True) for part in cell)
    title = f' title="{hover}"' if hover else ""
    return f'<th scope="row"{title}>{text}</th>' if place == 0 else f"<td{title}>{text}</td>"


def number(mean: float, spread: float = math.nan) -> str:
    """A mean and its spread over seeds in about four significant digits: "-775.1 ± 2.3"."""
    if not math.isfinite(mean):
        return "–"
    digits = max(0, 3 - math.floor(math.log10(abs(mean)))) if mean else 0
    digits = min(digits, 1) if abs(mean) >= 100 else min(digits, 6)
    told = f"{mean:.{digits}f}"
    return told + (f" ± {spread:.2g}" if math.isfinite(spread) else "")


def provenance(found: list[dict]) -> str:
    """Where a number comes from, in one line: scale, data, seeds, device, code, time."""
    if not found:
        return ""
    last = max(found, key=lambda r: r["when"])
    data = last.get("data") or {}
    seeds = sorted({r["seed"] for r in found})
    return (f"{records.scale_text(found)}; data {data.get('name')} ({data.get('note')}; sha256 "
            f"{str(data.get('sha256'))[:12]}); seeds {seeds}; {last.get('device')}, torch "
            f"{last.get('torch')}, vaenb {last.get('version')} code {last.get('code')}; "
            f"{last['when'][:16]} UTC; {sum(r.get('seconds') or 0 for r in found):.0f} s of training")


def _caption(found: list[dict]) -> str:
    if not found:
        return "ours: not run in this profile"
    notes = {(r.get("data") or {}).get("note") for r in found} - {None}
    return (f"Ours is {records.scale_text(found)}. Mean ± standard deviation over seeds. "
            f"Data: {'; '.join(sorted(notes))}.")


def theirs_and_ours(paper: str, table: str, dataset: str, found: list[dict]) -> Table:
    """A column of a printed table beside our means; a row a model and setting of the paper."""
    rows: dict[tuple[str, str], dict[str, dict]] = {}
    metrics: list[str] = []
    for cell in targets.cells(paper):
        if (cell["table"], cell["dataset"]) == (table, dataset):
            setting = cell["setting"] if "=" in cell["setting"] else ""
            rows.setdefault((cell["model"], setting), {})[cell["metric"]] = cell
            metrics += [cell["metric"]] * (cell["metric"] not in metrics)
    body, used = [], []
    for (model, setting), printed in rows.items():
        row = [(", ".join(filter(None, (model, setting))).replace("sigma", "σ"), "")]
        for metric in metrics:
            cell = printed.get(metric)
            if cell is None:
                row += [("", "not printed"), ("", "")]
                continue
            row.append((f"{cell['bound']} {cell['value'] or '–'}".strip(), cell["note"]))
            answer = board.ours(cell, found)
            used += answer["used"]
            told = f"{answer['state']}: {answer['reason']}. {provenance(answer['used'])}"
            row.append((number(answer["mean"], answer["spread"]), told))
        body.append(row)
    header = [f"{table}, {dataset}"]
    for metric in metrics:
        header += [f"{metric}, theirs", "ours"]
    return Table(header, body, _caption(used))


def ours(found: list[dict], metrics: list[str], label) -> Table:
    """Our means where the paper prints none: a row a setting, named by ``label(settings)``."""
    found = records.groups(found)[0] if found else []
    rows: dict[str, list[dict]] = {}
    for record in found:
        rows.setdefault(label(record["settings"]), []).append(record)
    body = []
    for name, group in rows.items():
        row = [(name, provenance(group))]
        for metric in metrics:
            values = [v for v in (records.number(r, metric) for r in group) if math.isfinite(v)]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            mean = statistics.fmean(values) if values else math.nan
            row.append((number(mean, spread), f"n = {len(values)} of {len(group)}"))
        body.append(row)
    return Table(["setting", *metrics], body, _caption(found))


def verdicts(claims: list[dict]) -> Table:
    """Claims with their verdicts (`vaenb.report.verdicts`): state, reason, scale."""
    body = [[(f"{c['id']} ({c['where']})", c["note"]), (c["claim"], ""),
             (f"{SIGNS[c['state']]} {c['state']}", c["scale"]), (c["reason"], c["scale"])]
            for c in claims]
    return Table(["claim", "what it says", "verdict", "why"], body,
                 "Verdicts follow the rules in book/targets/tests.csv; scale on hover.")
