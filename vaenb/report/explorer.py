"""Figures in the page that a reader moves: a chart, and what stands behind each of its points.

Nothing is asked of any server, and the same frames give the same bytes. Where scripts do not run,
the table of all values is what remains.
"""

import base64
import json
import math
import re
from pathlib import Path

from vaenb.errors import VaenbError
from vaenb.report.tables import Table

LIMIT = 1_000_000  # bytes of HTML: a page holds several
SIGNS = 5  # shapes that the script can tell metrics and groups apart by
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Explorer:
    """A figure in a page, a table as text. ``size`` begins the sentence about a page that is too
    large: "the explorer 'title' takes"."""

    def __init__(self, page: str, table: Table, size: str):
        self._html, self.table = page, table
        if (count := len(page.encode())) > LIMIT:
            raise VaenbError(f"{size} {count:,} bytes, more than {LIMIT:,}: show fewer points or "
                             f"smaller images")

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return repr(self.table)


def scripted(data: dict, table: Table, tag: str) -> Explorer:
    """The figure that explorer.js draws of ``data`` in the element ``tag``."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    code = re.sub(r"(?m)^ +", "", Path(__file__).with_name("explorer.js").read_text("utf-8"))
    page = (f'<{tag}><script type="application/json">{text}</script>'
            f"<details><summary>All values as a table</summary>{table._repr_html_()}</details>"
            f"</{tag}><script>{code}</script>")
    return Explorer(page, table, f"the explorer {data['title']!r} takes")


def explorer(frames: list[dict], x: tuple[str, str], y: tuple[str, str], series: dict[str, str],
             title: str = "", note: str = "") -> Explorer:
    """A chart whose points a reader visits with a slider, the arrow keys, a click or a tap.

    ``frames``, in the slider's order, are dicts with

    - ``label`` (str) and ``x`` (float), what it is called and where it stands,
    - ``values`` ({series name: float}): a series that it lacks has no point there,
    - ``group`` (str): points of one group are joined in that order, one alone is a marker,
    - ``told`` ({name: text}, may be missing): shown beside the chart, below the values,
    - ``image`` (bytes of a PNG file, None or missing): shown beside the chart.

    ``x`` and ``y`` are (label with its unit, "linear" or "log"), ``series`` gives each name its
    colour as #rrggbb (`vaenb.report.figures.colour`). Text is shown as it is: no mathematics.

    Raises VaenbError for frames or series that are missing or unknown, values that are not finite
    or, on a log axis, not positive, images that are no PNG, and more than `LIMIT` bytes in all.
    """
    if not frames:
        raise VaenbError("an explorer needs at least one frame")
    names = list(series)
    for name, colour in series.items():
        _check_colour(name, colour)
    for frame in frames:
        if not frame.get("values") or set(frame["values"]) - set(names):
            raise VaenbError(f"the frame {frame['label']!r} needs values of {names} and of no "
                             f"other series, got {frame.get('values')}")
    x_of, xticks, _ = _axis(x, [(f["label"], f["x"]) for f in frames])
    y_of, yticks, _ = _axis(y, [(f["label"], v) for f in frames for v in f["values"].values()])
    groups = list(dict.fromkeys(f["group"] for f in frames))
    legend = [[n, i, groups.index(n) if n in groups else -1] for i, n in enumerate(names)]
    legend += [[g, -1, i] for i, g in enumerate(groups) if len(groups) > 1 and g not in names]
    shown = []
    for frame in frames:
        told = {name: _text(frame["values"][name]) for name in names if name in frame["values"]}
        told |= frame.get("told", {})
        shown.append({
            "label": frame["label"], "group": groups.index(frame["group"]), "x": x_of(frame["x"]),
            "y": {str(names.index(name)): y_of(v) for name, v in frame["values"].items()},
            "told": list(told.items()),
            "said": f"{frame['label']}: " + ", ".join(f"{n} {t}" for n, t in told.items()),
            **({} if frame.get("image") is None else
               {"image": _image(f"the image of the frame {frame['label']!r}", frame["image"])})})
    data = {"title": title, "note": note, "x": x[0], "y": y[0], "xticks": xticks, "yticks": yticks,
            "colours": list(series.values()), "legend": legend, "frames": shown}
    caption = ": ".join(filter(None, (title, note)))
    return scripted(data, _table(frames, x[0], names, caption), "vae-explorer")


def curve_explorer(curves: list[dict], xlabel: str, ylabel: str, title: str = "",
                   lines: str = "") -> Explorer:
    """Curves along which a reader drags a handle, and the images behind each of their points.

    ``curves`` are dicts with ``name`` (str), ``colour`` (#rrggbb, `vaenb.report.figures.colour`)
    and ``points``; these, in the order of beta, are dicts with

    - ``label`` (str, such as "β = 0.1": where the reader changes the curve, the same label stays),
    - ``x`` and ``y`` (float), on test data; NaN: the point stands in the table only,
    - ``also`` ((x, y), may be missing), the same on training data, drawn as a thin dashed curve,
    - ``images`` (list of (caption, PNG file as bytes)), enlarged beside the chart,
    - ``told`` ({name: text}, may be missing), shown below the images,
    - ``mark`` (bool, may be missing): drawn as a star, and where the reader begins.

    ``xlabel`` and ``ylabel`` name the axes with their units. ``lines`` ("D + R"): draw lines of
    equal x + y under this name. An image is stored once, at however many points it is shown.

    Raises VaenbError for curves or points that are missing, infinite values, colours of another
    form, images that are no PNG, and more than `LIMIT` bytes in all.
    """
    if not curves:
        raise VaenbError("a curve explorer needs at least one curve")
    pictures, kept = {}, []
    for curve in curves:
        _check_colour(curve["name"], curve["colour"])
        kept.append([p for p in curve["points"] if _known((p["x"], p["y"]))])
        if not kept[-1]:
            raise VaenbError(f"the curve {curve['name']!r} has no point to show: leave it out")
    pairs = [(f"{c['name']}, {p['label']}", pair) for c, points in zip(curves, kept, strict=True)
             for p in points for pair in ((p["x"], p["y"]), p.get("also")) if _known(pair)]
    (x_of, xticks, x_ends), (y_of, yticks, y_ends) = (
        _axis((label, "linear"), [(where, pair[i]) for where, pair in pairs])
        for i, label in enumerate((xlabel, ylabel)))

    def shown(where: str, p: dict) -> dict:
        also = p["also"] if _known(p.get("also")) else None
        told = {n: _text(p[k]) + (f" (training {_text(also[i])})" if also else "")
                for i, (n, k) in enumerate(((xlabel, "x"), (ylabel, "y")))} | p.get("told", {})
        return {"label": p["label"], "x": x_of(p["x"]), "y": y_of(p["y"]),
                "images": _images(where, p, pictures),
                "also": also and [x_of(also[0]), y_of(also[1])], "mark": bool(p.get("mark")),
                "told": list(told.items()),
                "said": f"{where}: " + ", ".join(f"{n} {t}" for n, t in told.items())}

    data = {"title": title, "note": "", "x": xlabel, "y": ylabel, "xticks": xticks,
            "yticks": yticks, "colours": [c["colour"] for c in curves], "sum": lines,
            "lines": _diagonals(x_of, y_of, x_ends, y_ends) if lines else [],
            "curves": [{"name": c["name"],
                        "points": [shown(f"{c['name']}, {p['label']}", p) for p in points]}
                       for c, points in zip(curves, kept, strict=True)]}
    data["images"] = [image for _, image in pictures.values()]
    return scripted(data, _curve_table(curves, xlabel, ylabel, title), "vae-curves")


def grid_explorer(cells: list[dict], rows: tuple[str, list[float]],
                  columns: tuple[str, list[float]], x: str, y: str, metrics: dict[str, str],
                  title: str = "", note: str = "") -> Explorer:
    """A grid of models beside the plane of their rates: moving over a cell shows both its places.

    ``rows`` and ``columns`` are (name, values from low to high), as ("β₂", [0.1, 1, 10]); ``x``
    and ``y`` name the axes of the plane with their units. ``cells`` are dicts with

    - ``row`` and ``column``, values of the grid (which may have holes),
    - ``x`` and ``y`` (float), where the model stands in the plane,
    - ``values`` ({name of a metric: float}; NaN or missing: it has none),
    - ``images`` (list of (caption, PNG file as bytes), may be missing),
    - ``told`` ({name: text}, may be missing), shown below the values,
    - ``mark`` (str, may be missing): a star in both panels, and where the reader begins,
    - ``failed`` (str, may be missing): why there is nothing to show; the cell is crossed out.

    ``metrics`` gives each metric "max" or "min", what is best: the reader chooses the one that
    colours the cells, and the best cell of every one is marked. The diagonal (row = column) is
    drawn through both panels, and lines of equal x + y through the plane.

    Raises VaenbError for cells that are missing, unknown or twice there, metrics that are unknown
    or more than `SIGNS`, infinite values, images that are no PNG, and more than `LIMIT` bytes.
    """
    if not cells or not metrics:
        raise VaenbError("a grid explorer needs at least one cell and one metric")
    if len(metrics) > SIGNS:
        raise VaenbError(f"a grid explorer has signs for {SIGNS} metrics, got {len(metrics)}: "
                         f"show fewer")
    for name, best in metrics.items():
        if best not in ("max", "min"):
            raise VaenbError(f"the best of {name!r} must be max or min, got {best!r}")
    names, places, pictures = list(metrics), {}, {}
    for cell in cells:
        where = tuple(cell[k] for k in ("row", "column"))
        for (name, values), value in zip((rows, columns), where, strict=True):
            if value not in values:
                raise VaenbError(f"the grid has no {name} = {value:g}: it has {values}")
        if where in places:
            raise VaenbError(f"two cells stand at {rows[0]} = {where[0]:g}, "
                             f"{columns[0]} = {where[1]:g}")
        if unknown := set(cell.get("values", {})) - set(names):
            raise VaenbError(f"no metric is called {sorted(unknown)[0]!r}: there are {names}")
        places[where] = cell
    standing = [c for c in cells if not c.get("failed")]
    if not standing:
        raise VaenbError("all cells of the grid have failed: there is nothing to explore")
    labels = {id(c): f"{rows[0]} = {c['row']:g}, {columns[0]} = {c['column']:g}" for c in cells}
    (x_of, xticks, x_ends), (y_of, yticks, y_ends) = (
        _axis((name, "linear"), [(labels[id(c)], c[k]) for c in standing])
        for k, name in (("x", x), ("y", y)))
    scales, value_of = [], {}
    for name in names:
        known = {id(c): v for c in standing
                 if not math.isnan(v := c.get("values", {}).get(name, math.nan))}
        if not known or not all(map(math.isfinite, known.values())):
            raise VaenbError(f"the metric {name!r} needs finite values, got "
                             f"{list(known.values())}")
        low, high = min(known.values()), max(known.values())
        value_of[name] = {k: round((v - low) / (high - low or 1), 3) for k, v in known.items()}
        best = (max if metrics[name] == "max" else min)(known, key=known.get)
        scales.append({"name": name, "low": _text(low), "high": _text(high), "best": next(
            n for n, c in enumerate(cells) if id(c) == best)})

    def shown(c: dict) -> dict:
        label, failed = labels[id(c)], c.get("failed")
        told = {} if failed else {x: _text(c["x"]), y: _text(c["y"])}
        told |= {n: _text(v) for n in names
                 if not math.isnan(v := c.get("values", {}).get(n, math.nan))}
        told |= c.get("told", {})
        head = ", ".join(filter(None, (label, c.get("mark"), failed)))
        return {"r": rows[1].index(c["row"]), "c": columns[1].index(c["column"]), "label": head,
                "x": None if failed else x_of(c["x"]), "y": None if failed else y_of(c["y"]),
                "v": [value_of[n].get(id(c)) for n in names], "mark": c.get("mark") or "",
                "failed": bool(failed), "told": list(told.items()),
                "images": _images(label, c, pictures),
                "short": ["" if value_of[n].get(id(c)) is None else _text(c["values"][n], 3)
                          for n in names],
                "said": f"{head}: " + ", ".join(f"{n} {t}" for n, t in told.items())}

    diagonal = [n for n, c in sorted(enumerate(cells), key=lambda pair: pair[1]["row"])
                if c["row"] == c["column"] and not c.get("failed")]
    data = {"title": title, "note": note, "x": x, "y": y, "xticks": xticks, "yticks": yticks,
            "rows": [rows[0], [_text(v, 3) for v in rows[1]]],
            "columns": [columns[0], [_text(v, 3) for v in columns[1]]], "metrics": scales,
            "cells": [shown(c) for c in cells], "diagonal": diagonal,
            "lines": _diagonals(x_of, y_of, x_ends, y_ends)}
    data["images"] = [image for _, image in pictures.values()]
    told = list(dict.fromkeys(n for c in cells for n in c.get("told", {})))
    body = [[labels[id(c)] + (f" ({c['mark']})" if c.get("mark") else ""),
             *((_text(c[k], 6) for k in "xy") if not c.get("failed") else (c["failed"], "–")),
             *("–" if math.isnan(v := c.get("values", {}).get(n, math.nan)) else _text(v, 6)
               for n in names), *(c.get("told", {}).get(n, "–") for n in told)] for c in cells]
    table = Table(["cell", x, y, *names, *told], body, ": ".join(filter(None, (title, note))))
    return scripted(data, table, "vae-grid")


def _known(pair: tuple[float, float] | None) -> bool:
    return pair is not None and not any(map(math.isnan, pair))


def _diagonals(x_of, y_of, x_ends, y_ends) -> list[list]:
    """Lines of equal x + y across the chart: the places of both ends, and the sum as text."""
    found = []
    for total, text in _ticks(x_ends[0] + y_ends[0], x_ends[1] + y_ends[1]):
        left, right = max(x_ends[0], total - y_ends[1]), min(x_ends[1], total - y_ends[0])
        if left < right:
            found.append([x_of(left), y_of(total - left), x_of(right), y_of(total - right), text])
    return found


def _curve_table(curves: list[dict], x: str, y: str, caption: str) -> Table:
    points = [(curve["name"], p) for curve in curves for p in curve["points"]]
    told = list(dict.fromkeys(name for _, p in points for name in p.get("told", {})))
    also = any(p.get("also") for _, p in points)

    def texts(pair: tuple[float, float] | None) -> list[str]:
        return ["left out" if math.isnan(v) else _text(v, 6) for v in pair] if pair else ["–", "–"]

    rows = [[name, p["label"], *texts((p["x"], p["y"])), *(texts(p.get("also")) if also else ()),
             *(p.get("told", {}).get(n, "–") for n in told)] for name, p in points]
    header = ["curve", "point", x, y, *([f"{x}, training", f"{y}, training"] if also else ())]
    return Table(header + told, rows, caption)


def _table(frames: list[dict], x: str, names: list[str], caption: str) -> Table:
    told = list(dict.fromkeys(name for f in frames for name in f.get("told", {})))
    rows = [[f["label"], f["group"], _text(f["x"], 6),
             *(_text(f["values"][n], 6) if n in f["values"] else "–" for n in names),
             *(f.get("told", {}).get(n, "–") for n in told)] for f in frames]
    return Table(["frame", "group", x, *names, *told], rows, caption)


def _check_colour(name: str, colour: str) -> None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise VaenbError(f"the colour of {name!r} must be like #0072b2, got {colour!r}")


def _images(where: str, of: dict, pictures: dict) -> list[list]:
    """Captions, and which of the pictures each names; new ones join these."""
    found = []
    for caption, given in of.get("images", ()):
        image = _image(f"the image {caption!r} of {where!r}", given)
        found.append([caption, pictures.setdefault(image["src"], (len(pictures), image))[0]])
    return found


def _image(what: str, image: bytes) -> dict:
    if image[:8] + image[12:16] != b"\x89PNG\r\n\x1a\nIHDR" or image[-8:-4] != b"IEND":
        raise VaenbError(f"{what} is no whole PNG file: vaenb.report.figures.png makes one")
    return {"src": "data:image/png;base64," + base64.b64encode(image).decode(),
            "width": int.from_bytes(image[16:20], "big"),
            "height": int.from_bytes(image[20:24], "big")}


def _text(value: float, digits: int = 4) -> str:
    """The number with that many digits and true signs: "−775.1", "1.5×10⁻⁷"."""
    form = ".0f" if 10**digits <= abs(value) < 1e7 else f".{digits}g"
    number, _, power = f"{value:{form}}".partition("e")
    return number.replace("-", "−") + (f"×10{str(int(power)).translate(_RAISED)}" if power else "")


def _axis(axis: tuple[str, str], values: list[tuple[str, float]]):
    """What puts a value at its place, 0 to 1 on the axis, the ticks [[place, text], ..], ends."""
    name, kind = axis
    if kind not in ("linear", "log"):
        raise VaenbError(f"the axis {name!r} must be linear or log, got {kind!r}")
    for label, value in values:
        if not math.isfinite(value) or (kind == "log" and value <= 0):
            raise VaenbError(f"the point {label!r} has {value} on the {kind} axis {name!r}: "
                             f"leave it out, as such values have no place there")
    along = math.log10 if kind == "log" else float
    low, high = min(along(v) for _, v in values), max(along(v) for _, v in values)
    room = 0.06 * (high - low) or 0.06 * abs(low) or 1.0
    # a linear axis whose values begin near zero begins at zero
    low, high = (0.0 if kind == "linear" and 0 <= low < high / 2 else low - room), high + room

    def place(value: float) -> float:
        return round((along(value) - low) / (high - low), 4)

    if kind == "linear":
        ticks = _ticks(low, high)
    else:
        powers = range(math.ceil(low), math.floor(high) + 1)
        few = [k * 10.0**p for p in range(math.floor(low), math.ceil(high)) for k in (1, 2, 5)]
        few = [v for v in few if 10**low <= v <= 10**high]
        if len(powers) > 3:
            ticks = [(10.0**p, "10" + str(p).translate(_RAISED))
                     for p in powers[::-(-len(powers) // 8)]]
        else:
            ticks = [(v, _text(v)) for v in few] if len(few) > 2 else _ticks(10**low, 10**high)
    return place, [[place(value), text] for value, text in ticks], (low, high)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """About six round values from low to high, and their texts."""
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step * 1.001)))
    return [(k * step, f"{k * step:.{digits}f}".replace("-", "−"))
            for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
