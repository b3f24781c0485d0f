"""Points that move as models train: a figure in the page that a reader plays (see `explorer`)."""

import base64
import math

import numpy as np

from vaenb.errors import VaenbError
from vaenb.report import figures
from vaenb.report.explorer import SIGNS, Explorer, _text, _ticks, scripted
from vaenb.report.tables import Table

STEPS = 2046  # places of a point between the middle of its axis and either end
_GROUPS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00"]  # Okabe and Ito (2008)
_KEYS = ("Space plays and pauses, the arrow keys, Home and End step. A click, or the keys n and "
         "p, choose a point and draw its path in every panel, Esc lets it go.")


def points_explorer(panels: dict[str, list[dict]], title: str = "", note: str = "", groups=None,
                    names: list[str] | None = None, axes: tuple[str, str] = ("x", "y")
                    ) -> Explorer:
    """Clouds of points that move as models train, a panel a model; a reader plays and stops them.

    ``panels`` gives each model its frames, in the order of training; these are dicts with

    - ``at`` (float, decoder updates), ``label`` (str, such as "epoch 2, aggressive"),
    - ``points`` [N, 2], x and y of the same N data, in the same order, in all frames and panels,
    - ``values`` ({name: float}, may be missing; NaN: it has none), shown below the panel.

    One slider goes over the ``at`` of all panels: each shows its last frame until then. The axes,
    which ``axes`` names, are equal and fixed: they hold 99 % of all points and at least [-1, 1],
    and the others stand hollow at the border. Points have the colour of their model
    (`vaenb.report.figures.colour`); ``groups`` (whole numbers [N], at most `SIGNS` different,
    called ``names`` from the lowest up) colour and shape them instead. The reader begins at the
    last frame with the path of one point, which went far. In the page a point is rounded to 1 /
    (2 `STEPS`) of the axis; the table tells correlation and spread (dividing by N) of what was
    given.

    Raises VaenbError for panels or frames that are missing or not in order, points of another
    shape or number or not finite, infinite values, groups of another form, and more than
    `vaenb.report.explorer.LIMIT` bytes in all.
    """
    if not panels:
        raise VaenbError("a points explorer needs at least one panel")
    panels = {name: [{"values": {}} | f for f in frames] for name, frames in panels.items()}
    clouds, ats = {}, set()
    for name, frames in panels.items():
        if not frames:
            raise VaenbError(f"the panel {name!r} has no frame to show: leave it out")
        clouds[name], before = [], -math.inf
        for frame in frames:
            where = f"the frame {frame['label']!r} of {name!r}"
            if not before < frame["at"] < math.inf:
                raise VaenbError(f"{where} is at {frame['at']} updates, after {before}: frames "
                                 f"need the order of training and no two the same place")
            if any(map(math.isinf, frame["values"].values())):
                raise VaenbError(f"{where} has infinite values, {frame['values']}: leave them out")
            ats.add(before := frame["at"])
            clouds[name].append(_cloud(where, frame["points"]))
            count = len(next(iter(clouds.values()))[0])
            if (got := len(clouds[name][-1])) != count:
                raise VaenbError(f"{where} has {got} points and the first frame {count}: all "
                                 f"frames of all panels show the same data")
    far = np.concatenate([np.abs(p).max(1) for cloud in clouds.values() for p in cloud])
    half = max(1.0, np.quantile(far, 0.99, method="higher"))
    half = 1.03 * max(half, far.max() if far.max() < 1.25 * half else 0.0)  # few beyond: all in
    kinds, member = _members(groups, count, names)
    # the reader begins with a point that goes far, four fifths do not, and never beyond the axes
    reach = sum(np.linalg.norm(np.stack(c) - c[0], axis=2).max(0) for c in clouds.values())
    inside = np.flatnonzero(far.reshape(-1, count).max(0) <= half)
    first = [*inside[reach[inside].argsort(kind="stable")], 0][4 * len(inside) // 5]
    shown = [{"name": name, "frames": [
        {"label": f["label"], "at": f["at"], "points": _packed(p, half),
         "told": [[n, "–" if math.isnan(v) else _text(v)] for n, v in f["values"].items()]}
        for f, p in zip(frames, clouds[name], strict=True)]} for name, frames in panels.items()]
    ticks = [[round((v + half) / (2 * half), 4), text] for v, text in _ticks(-half, half)]
    data = {"title": title, "note": f"{note} {_KEYS}".strip(), "xticks": ticks, "yticks": ticks,
            "x": axes[0], "y": axes[1], "half": half,
            "at": [[v, _text(v, 7)] for v in sorted(ats)],
            "colours": [*map(figures.colour, panels)] + _GROUPS[:len(kinds)],
            "groups": kinds, "member": member, "panels": shown, "first": int(first),
            "beyond": bool(far.max() > half)}
    told = list(dict.fromkeys(n for fs in panels.values() for f in fs for n in f["values"]))
    body = [[name, f["label"], _text(f["at"], 7),
             *("–" if math.isnan(v := f["values"].get(n, math.nan)) else _text(v, 6)
               for n in told), *_spread(p)]
            for name, frames in panels.items() for f, p in zip(frames, clouds[name], strict=True)]
    table = Table(["model", "frame", "decoder updates", *told, "correlation", "sd(x)", "sd(y)"],
                  body, ": ".join(filter(None, (title, note))))
    return scripted(data, table, "vae-points")


def _cloud(where: str, points) -> np.ndarray:
    try:
        points = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise VaenbError(f"the points of {where} are no array of numbers [N, 2]") from None
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise VaenbError(f"the points of {where} must be [N, 2], got {list(points.shape)}")
    if not (known := np.isfinite(points).all(1)).all():
        raise VaenbError(f"the points of {where} are not finite: {int((~known).sum())} of "
                         f"{len(points)}, the first is number {int(known.argmin())}")
    return points


def _members(groups, count: int, names: list[str] | None) -> tuple[list[str], str]:
    """What the groups are called, and a digit for each point: its group."""
    if groups is None:
        return [], ""
    groups = np.asarray(groups)
    if groups.shape != (count,) or groups.dtype.kind not in "iu":
        raise VaenbError(f"groups need a whole number for each of the {count} points, got "
                         f"{groups.dtype} {list(groups.shape)}")
    kinds, member = np.unique(groups, return_inverse=True)
    names = [f"group {k}" for k in kinds] if names is None else list(names)
    if len(kinds) > SIGNS or len(names) != len(kinds):
        raise VaenbError(f"a points explorer has signs for {SIGNS} groups and needs a name for "
                         f"each, got {len(kinds)} groups and {len(names)} names")
    return names, "".join(map(str, member))


def _packed(points: np.ndarray, half: float) -> str:
    """Points as base64: 12 bits each for x and y, 2047 the middle, 0 and 4094 beyond an end."""
    found = np.rint(points / half * STEPS)
    found = np.where(np.abs(points) > half, np.sign(points) * (STEPS + 1), found)
    x, y = (found.astype(np.int64) + STEPS + 1).T
    return base64.b64encode(np.stack([x >> 4, (x & 15) << 4 | y >> 8, y & 255], 1)
                            .astype(np.uint8).tobytes()).decode()


def _spread(points: np.ndarray) -> list[str]:
    """Correlation, sd(x) and sd(y) as text."""
    sd, off = points.std(0), points - points.mean(0)
    alive = sd.min() > 1e-12 * np.abs(points).max()
    return [_text((off / sd).prod(1).mean(), 3) if alive else "–", *(_text(s, 4) for s in sd)]
