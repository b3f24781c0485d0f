"""What a run measured: one JSON object a measured setting, written once and never edited.

A run publishes a part file with a rename, ``runs/records/CHAPTER/EXPERIMENT/IDENTITY.json`` (not
tracked). ``merge`` folds parts into ``book/records/CHAPTER/EXPERIMENT.jsonl`` (tracked), one line
a record. Curves, scatters and image strips lie beside the numbers as artefacts, named by the hash
of their content, so that a record and its artefact cannot disagree.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import vaenb
from vaenb.errors import VaenbError
from vaenb.files import whole
from vaenb.report.origin import CODE, COMMIT, device_name, peak_mib

LIMIT = 300_000  # bytes of one artefact
_DICTS = "settings", "metrics", "scale", "data", "cells", "convergence", "artefacts"
_KEYS = ("chapter", "experiment", "profile", "settings", "seed", *_DICTS[1:], "when")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def new(chapter: str, experiment: str, profile: str, settings: dict, seed: int, metrics: dict, *,
        scale: dict, data: dict, steps: int, device="cpu", cells: dict | None = None,
        notes=()) -> dict:
    """A record with its provenance: version, code hash, commit, torch, device, memory, time.

    ``settings`` is flat and names the model; ``metrics`` maps names to floats; ``cells`` maps
    target ids to metric names; ``scale`` maps names to [ours, the paper's]; ``data`` is
    ``DataSet.describe()``. The caller fills in ``convergence``, ``artefacts`` and ``seconds``.
    """
    import torch

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return dict(
        chapter=chapter, experiment=experiment, profile=profile, settings=dict(settings),
        seed=int(seed), metrics=dict(metrics), scale=dict(scale), data=dict(data),
        steps=int(steps), cells=dict(cells or {}), convergence={}, notes=list(notes), artefacts={},
        seconds=0.0, paper=re.sub(r"^\d+_", "", chapter).replace("_", "-"),
        version=vaenb.__version__, code=CODE, commit=COMMIT, torch=torch.__version__,
        device=device_name(device), peak_mib=peak_mib(device), when=now)


def clean(value, where: str = "record"):
    """``value`` as strict JSON holds it: floats at 6 digits, NaN as null, infinities as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(f"{value:.6g}")
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(k): clean(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # NumPy or torch scalar
        return clean(value.item(), where)
    if hasattr(value, "tolist"):
        return clean(value.tolist(), where)
    raise VaenbError(f"{where} is a {type(value).__name__}: a record holds only numbers, text, "
                     f"lists and dicts; convert it before recording")


def as_line(value) -> str:
    """``value`` as one line of strict JSON with sorted keys, the same for the same value."""
    return json.dumps(clean(value), sort_keys=True, allow_nan=False, ensure_ascii=False)


def identity(record: dict) -> str:
    """16 hex digits, equal for two records of the same measurement (chapter, experiment, profile,
    settings, seed, scale, data); 1, 1.0 and True count as equal."""
    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        if isinstance(value, (bool, float)) and value == int(value):
            return int(value)
        return value

    parts = [record[k] for k in (*_KEYS[:5], "scale")] + [record["data"].get("sha256")]
    return hashlib.sha256(as_line(plain(clean(parts))).encode()).hexdigest()[:16]


def number(record: dict, metric: str) -> float:
    """A metric as a float; NaN where it is missing or was not a number."""
    value = record["metrics"].get(metric)
    return math.nan if value is None else float(value)


def mean_and_spread(found: list[dict], metric: str) -> tuple[float, float, int]:
    """The mean of a metric over records and its standard deviation, NaN where too few have a
    value, and how many have one."""
    values = [v for v in (number(r, metric) for r in found) if math.isfinite(v)]
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.fmean(values) if values else math.nan, spread, len(values)


def _publish(path: Path, content: bytes) -> None:
    try:
        with whole(path) as file:
            file.write(content)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        mend = "free some space" if full else "make the folder writable"
        raise VaenbError(
            f"cannot record {path}: {'the disk is full' if full else error.strerror}; nothing was "
            f"half-written: {mend} and run again, it resumes at its last checkpoint") from error


def _folder(where: str, root) -> Path:
    return Path(root or vaenb.ROOT) / where / "records"


def write(record: dict, root=None) -> Path:
    """Publish one record as a part file under ``root`` (the clone); returns its path."""
    missing = [key for key in _KEYS if key not in record]
    names = [str(record.get(k)) for k in ("chapter", "experiment")]
    if missing or not all(map(_NAME.fullmatch, names)):
        raise VaenbError(f"not a record: {'lacks ' + ', '.join(missing) if missing else names}; "
                         f"build it with vaenb.report.records.new, with plain names")
    content = as_line(record) + "\n"
    for name, value in record["settings"].items():
        if not isinstance(clean(value), (int, float, str)):
            raise VaenbError(f"setting {name} is {value!r}: settings are numbers or text")
    path = _folder("runs", root).joinpath(*names, f"{identity(record)}.json")
    _publish(path, content.encode())
    return path


def finish(record: dict, seconds: float, began: float, device="cpu", root=None) -> Path:
    """Publish a record with what it cost: ``seconds`` of training, the time of measuring since
    ``began`` (`time.monotonic`), and this process's peak memory on ``device`` so far."""
    cost = dict(seconds=seconds, measure_seconds=time.monotonic() - began,
                peak_mib=peak_mib(device))
    return write(record | cost, root)


def _of_another_type(record: dict) -> str:
    """What of a record is not of the type that `new` and `clean` give it; empty if all is."""
    for name in _DICTS:
        if not isinstance(record[name], dict):
            return f"{', '.join(_DICTS)} or time are"
    for name in ("chapter", "experiment", "profile", "when"):
        if not isinstance(record[name], str):
            return f"{name} is"
    if not isinstance(record["seed"], int):
        return "seed is"
    kinds = dict(settings=(int, float, str), artefacts=(str,), cells=(str,))
    for name, kind in kinds.items():
        for key, value in record[name].items():
            if not isinstance(value, kind):
                return f"{name}' {key} is"
    for key, value in record["metrics"].items():
        if not (value is None or isinstance(value, (int, float)) or value in ("inf", "-inf")):
            return f"metrics' {key} is"
    for key, value in record["scale"].items():
        if not (isinstance(value, list) and len(value) == 2
                and all(isinstance(v, (int, float)) for v in value)):
            return f"scale's {key} is"
    return ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError as error:
        raise VaenbError(f"{path} cannot be read ({error.strerror}): make it a readable file, or "
                         f"move it away") from error


def _load(path: Path, root) -> Iterator[dict]:
    for count, line in enumerate(_text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            missing = [key for key in _KEYS if key not in record] if isinstance(record, dict) \
                else ["the braces of an object"]
            if missing:
                raise ValueError(f"lacks {', '.join(missing)}")
            if wrong := _of_another_type(record):
                raise ValueError(f"its {wrong} of another type")
        except ValueError as error:
            shown = path.relative_to(root) if path.is_relative_to(root) else path
            tracked = path.suffix == ".jsonl"
            restore = f"restore the file (git checkout -- {shown}) or " if tracked else ""
            raise VaenbError(
                f"{shown}, line {count} is not a record ({error}): {restore}delete that line and "
                f"run its experiment again") from error
        yield record


def _newest(found) -> list[dict]:
    """One record an identity, the newest, in an order that does not depend on the reading."""
    kept: dict[str, dict] = {}
    for record in found:
        key = identity(record)
        if key not in kept or record["when"] >= kept[key]["when"]:
            kept[key] = record

    def place(item):
        key, record = item
        order = [(name, isinstance(value, str), value)
                 for name, value in sorted(record["settings"].items())]
        return (record["chapter"], record["experiment"], record["profile"],
                str(record["settings"].get("model", "")), order, record["seed"], key)

    return [record for _, record in sorted(kept.items(), key=place)]


def read(chapter: str | None = None, experiment: str | None = None, profile: str | None = None,
         where: str = "book", root=None) -> list[dict]:
    """The records of a chapter (None: all), sorted by settings and seed.

    ``where``: "book" (tracked), "runs" (part files) or "both"; of two records with one identity
    the newest counts. A broken line raises VaenbError with its file, number and mend.
    """
    if where not in ("book", "runs", "both"):
        raise VaenbError(f"where={where!r}: records stand in 'book', 'runs' or 'both'")
    root, paths = Path(root or vaenb.ROOT), []
    if where != "runs":
        paths += sorted(_folder("book", root).glob(f"{chapter or '*'}/{experiment or '*'}.jsonl"))
    if where != "book":
        paths += sorted(
            _folder("runs", root).glob(f"{chapter or '*'}/{experiment or '*'}/[!.]*.json"))
    records = _newest(record for path in paths for record in _load(path, root))
    return [r for r in records if profile is None or r["profile"] == profile]


@contextlib.contextmanager
def _lock(path: Path):
    try:
        file = open(path, "w")
    except OSError as error:
        raise VaenbError(f"{path} cannot be written ({error.strerror}), which keeps two merges "
                         f"apart: make the folder writable") from error
    with file:
        with contextlib.suppress(ImportError):  # not on Windows: there merge by hand, one at once
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def merge(chapter: str | None = None, root=None) -> dict[str, int]:
    """Fold part files of profiles cpu and full into the book's records; returns the lines of each
    file that was touched.

    Idempotent; parts stay where they are. Artefacts that merged records name are copied first;
    artefacts that no record of the book names any more are removed. Raises VaenbError for a
    record whose artefact is missing or damaged in both places, and leaves its experiment's file
    as it was.
    """
    root = Path(root or vaenb.ROOT)
    runs, book, counts = _folder("runs", root), _folder("book", root), {}
    if not runs.is_dir():
        return counts
    with _lock(runs / ".lock"):
        for folder in sorted(runs.glob(f"{chapter or '*'}/*/")):
            name = (folder.parent.name, folder.name)
            parts = [r for r in read(*name, where="runs", root=root)
                     if r["profile"] in ("cpu", "full")]
            if not parts:
                continue
            records = _newest(read(*name, root=root) + parts)
            for file in sorted({f for r in records for f in r["artefacts"].values()}):
                source, target = runs / "artefacts" / file, book / "artefacts" / file
                if _intact(target):
                    continue
                if not (held := _intact(source)):
                    raise VaenbError(f"{'/'.join(name)}: the artefact {file} that a record names "
                                     f"is missing or damaged in {source.parent}: copy it there "
                                     f"with its record, or delete that record and run again")
                _publish(target, held)
            path = book / name[0] / f"{name[1]}.jsonl"
            content = "".join(as_line(record) + "\n" for record in records).encode()
            if not path.is_file() or path.read_bytes() != content:
                _publish(path, content)
            counts["/".join(name)] = len(records)
        named = {f for r in read(root=root) for f in r["artefacts"].values()}
        for file in (book / "artefacts").glob("[!.]*"):
            if file.name not in named and file.is_file():
                file.unlink()
    return counts


def artefact(record: dict, name: str, arrays: dict, root=None) -> str:
    """Save what belongs to ``record`` and is no number, and name it in ``record["artefacts"]``.

    ``arrays`` {name: array} become an npz, never pickled. Returns the file's name. More than
    300 KB raises VaenbError. Call before ``write``.
    """
    import numpy as np

    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    if any(array.dtype.hasobject for array in arrays.values()):
        raise VaenbError(f"artefact {name}: an array of Python objects would be pickled; "
                         f"make it numbers or text")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    content = buffer.getvalue()
    if len(content) > LIMIT:
        raise VaenbError(f"artefact {name} of {record['experiment']} has {len(content)} bytes and "
                         f"{LIMIT} are allowed: keep fewer points or images, or a smaller type")
    file = f"{hashlib.sha256(content).hexdigest()[:16]}.npz"
    _publish(_folder("runs", root) / "artefacts" / file, content)
    record["artefacts"][name] = file
    return file


def read_artefact(record: dict, name: str, root=None) -> dict:
    """An artefact of a record: a dict of arrays.

    Raises VaenbError where it is neither in the book nor in ``runs``, or not what was saved.
    """
    file = record["artefacts"].get(name)
    for where in ("book", "runs"):
        content = _intact(_folder(where, root) / "artefacts" / str(file))
        if content:
            import numpy as np

            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return dict(arrays)
    raise VaenbError(f"artefact {name!r} of {record['experiment']} ({file or 'not named there'}) "
                     f"is missing or damaged: copy it again, or delete the record that names it "
                     f"and run its experiment again")


def _intact(path: Path) -> bytes:
    """What an artefact's file holds; nothing where it is not what its name says it is."""
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest()[:16] == path.stem else b""
