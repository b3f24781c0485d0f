"""A figure in the page that a reader moves: a chart, and what stands behind each of its points.

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
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Explorer:
    """What `explorer` returns: a figure in a page, a table as text."""

    def __init__(self, data: dict, table: Table):
        text = json.dumps(data, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
        code = re.sub(r"(?m)^ +", "", Path(__file__).with_name("explorer.js").read_text("utf-8"))
        self.table, self._html = table, (
            f'<vae-explorer><script type="application/json">{text}</script>'
            f"<details><summary>All values as a table</summary>{table._repr_html_()}</details>"
            f"</vae-explorer><script>{code}</script>")

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return repr(self.table)


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
        if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise VaenbError(f"the colour of {name!r} must be like #0072b2, got {colour!r}")
    for frame in frames:
        if not frame.get("values") or set(frame["values"]) - set(names):
            raise VaenbError(f"the frame {frame['label']!r} needs values of {names} and of no "
                             f"other series, got {frame.get('values')}")
    x_of, xticks = _axis(x, [(f["label"], f["x"]) for f in frames])
    y_of, yticks = _axis(y, [(f["label"], v) for f in frames for v in f["values"].values()])
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
            **_image(frame["label"], frame.get("image"))})
    data = {"title": title, "note": note, "x": x[0], "y": y[0], "xticks": xticks, "yticks": yticks,
            "colours": list(series.values()), "legend": legend, "frames": shown}
    made = Explorer(data, _table(frames, x[0], names, ": ".join(filter(None, (title, note)))))
    if (size := len(made._repr_html_().encode())) > LIMIT:
        raise VaenbError(f"the explorer {title!r} takes {size:,} bytes, more than {LIMIT:,}: "
                         f"show fewer frames or smaller images")
    return made


def _table(frames: list[dict], x: str, names: list[str], caption: str) -> Table:
    told = list(dict.fromkeys(name for f in frames for name in f.get("told", {})))
    rows = [[f["label"], f["group"], _text(f["x"], 6),
             *(_text(f["values"][n], 6) if n in f["values"] else "–" for n in names),
             *(f.get("told", {}).get(n, "–") for n in told)] for f in frames]
    return Table(["frame", "group", x, *names, *told],
                 [[(text, "", "") for text in row] for row in rows], caption)


def _image(label: str, image: bytes | None) -> dict:
    if image is None:
        return {}
    if image[:8] + image[12:16] != b"\x89PNG\r\n\x1a\nIHDR" or image[-8:-4] != b"IEND":
        raise VaenbError(f"the image of the frame {label!r} is no whole PNG file: "
                         f"vaenb.report.figures.png makes one")
    return {"image": {"src": "data:image/png;base64," + base64.b64encode(image).decode(),
                      "width": int.from_bytes(image[16:20], "big"),
                      "height": int.from_bytes(image[20:24], "big")}}


def _text(value: float, digits: int = 4) -> str:
    """The number with that many digits and true signs: "−775.1", "1.5×10⁻⁷"."""
    form = ".0f" if 10**digits <= abs(value) < 1e7 else f".{digits}g"
    number, _, power = f"{value:{form}}".partition("e")
    return number.replace("-", "−") + (f"×10{str(int(power)).translate(_RAISED)}" if power else "")


def _axis(axis: tuple[str, str], values: list[tuple[str, float]]):
    """What puts a value at its place, 0 to 1 on the axis, and the ticks [[place, text], ..]."""
    name, kind = axis
    if kind not in ("linear", "log"):
        raise VaenbError(f"the axis {name!r} must be linear or log, got {kind!r}")
    for label, value in values:
        if not math.isfinite(value) or (kind == "log" and value <= 0):
            raise VaenbError(f"the frame {label!r} has {value} on the {kind} axis {name!r}: "
                             f"leave it out, as such values have no place there")
    along = math.log10 if kind == "log" else float
    low, high = min(along(v) for _, v in values), max(along(v) for _, v in values)
    room = 0.06 * (high - low) or 0.06 * abs(low) or 1.0
    # a linear axis whose values begin near zero begins at zero
    low, high = (0.0 if kind == "linear" and 0 <= low < high / 2 else low - room), high + room

    def place(value: float) -> float:
        return round((along(value) - low) / (high - low), 4)

    ends = (10**low, 10**high) if kind == "log" else (low, high)
    if kind == "log":
        powers = range(math.ceil(low), math.floor(high) + 1)
        if len(powers) > 3:
            powers = powers[::-(-len(powers) // 8)]
            return place, [[place(10.0**p), "10" + str(p).translate(_RAISED)] for p in powers]
        few = [k * 10.0**p for p in range(math.floor(low), math.ceil(high)) for k in (1, 2, 5)]
        if len(few := [v for v in few if ends[0] <= v <= ends[1]]) > 2:
            return place, [[place(v), _text(v)] for v in few]
    rough = (ends[1] - ends[0]) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step * 1.001)))
    ticks = [k * step for k in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)]
    return place, [[place(t), f"{t:.{digits}f}".replace("-", "−")] for t in ticks]
