"""The data folder: prepared sets are found here, and fetched, checked and written here."""

import dataclasses
import hashlib
import json
import os
import secrets
import zipfile
from pathlib import Path

import numpy as np

from vaenb.data.dataset import KEYS, PARTS, DataSet, raw_bytes, resize
from vaenb.data.sources import NAMES, by_hand, fetch, folder, original, source, words
from vaenb.errors import VaenbError

MEND = "delete it and run `vaenb data {}`"

def load(name: str, size: int | None = None) -> DataSet:
    """The set ``name``, its images resized to ``size`` x ``size`` (None: as they are).

    Found as ``NAME.npz`` in ``folder()`` and checked against its note ``NAME.json`` where
    there is one; else fetched from its canonical home and prepared. Two need neither: the
    ``digits`` come with scikit-learn, and are 28 x 28 unless asked otherwise, and the
    ``tetrominoes`` are drawn (about 4 s, 500 MB).
    Raises VaenbError for an unknown name, a set that cannot be had, a damaged file.
    """
    home = source(name)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise VaenbError(f"size is the side of the images in pixels, a whole number above 0, "
                         f"and not {size!r}")
    size = size or home.size
    path = folder() / f"{name}.npz"
    if home.files and not path.exists():
        prepare(name)
    arrays, note = read(path, size) if path.exists() else (original(name, {}), home.note)
    try:
        data = as_dataset(name, arrays, note)
    except VaenbError as error:
        raise VaenbError(f"{path} is not a prepared set ({error}): {MEND.format(name)}") from error
    if size is None:
        return data
    images = {f"{part}_x": getattr(data, f"{part}_x") for part in PARTS}
    return dataclasses.replace(
        data, **{key: x if x is None else resize(x, size) for key, x in images.items()})


def prepare(name: str) -> Path:
    """Fetch, check and read the originals of ``name`` and write ``NAME.npz`` and ``NAME.json``.

    Does nothing where a complete set stands already; one that is partial or damaged is
    replaced, by rename, once the new one is written. The originals are kept in the folder
    ``folder()/NAME``, and are not fetched again where they are there with the right hash.
    Returns the path of the npz. Raises VaenbError, and leaves what was there as it was.
    """
    home, path = source(name), folder() / f"{name}.npz"
    found = inspect(name)
    if found["state"] == "complete":
        return path
    why = f"{path} is {found['state']}" if path.exists() else f"there is no {path}"
    arrays = original(name, {file: fetch(name, file, why) for file, _ in home.files})
    note = "; ".join(filter(None, (home.home and f"complete, from {home.home}", home.note)))
    if not as_dataset(name, arrays, note).complete:
        raise VaenbError(f"the originals of {name} in {folder() / name} do not hold the "
                         f"{sum(home.counts)} images they should: delete them and run again")
    write(path, arrays, note)
    return path


def status() -> list[dict]:
    """What is at hand, a dict a set: name, state, images, path, note, licence.

    state: complete, partial, absent, damaged, or embedded (made on the spot). images:
    counts as "60000 + 10000" (train + test, with valid between where there is one). Files are
    read in full and their hashes checked, about a second for each 300 MB.
    """
    return [inspect(name) for name in NAMES]


def inspect(name: str) -> dict:
    """One line of ``status``."""
    home, path = source(name), folder() / f"{name}.npz"
    line = {"name": name, "state": "absent", "images": "", "path": str(path), "note": "",
            "licence": home.licence}
    if home.files and not path.exists():
        fetched = f"`vaenb data {name}` fetches it from {home.home}"
        return line | {"note": by_hand(name) if home.login else fetched}
    if not path.exists():
        return line | {"state": "embedded", "path": "", "note": home.note,
                       "images": " + ".join(str(n) for n in home.counts if n)}
    try:
        data = as_dataset(name, *read(path))
    except VaenbError as error:
        return line | {"state": "damaged", "note": str(error)}
    parts = (data.train_x, data.valid_x, data.test_x)
    return line | {"state": "complete" if data.complete else "partial", "note": data.note,
                   "images": " + ".join(str(len(x)) for x in parts if x is not None)}


def as_dataset(name: str, arrays: dict, note: str) -> DataSet:
    """Arrays as prepared (images NHW or NHWC, labels of any whole type) as a DataSet."""
    home, fields = source(name), dict.fromkeys(KEYS)
    for key in fields.keys() & arrays.keys():
        a = arrays[key]
        if key.endswith("x") and a.ndim in (3, 4):
            a = a[:, None] if a.ndim == 3 else a.transpose(0, 3, 1, 2)
        elif key.endswith("y") and a.dtype.kind in "iu":
            a = a.astype(np.int64)
        fields[key] = np.ascontiguousarray(a)
    counts = tuple(0 if fields[f"{p}_x"] is None else len(fields[f"{p}_x"]) for p in PARTS)
    complete = home.counts in (counts, (sum(counts),))
    if not note:
        note = (f"no note beside the file; {'all' if complete else 'only'} "
                f"{sum(counts)} of {sum(home.counts)} images")
    return DataSet(name=name, **fields, note=note, complete=complete, licence=home.licence)


def read(path: Path, size: int | None = None) -> tuple[dict, str]:
    """The arrays of a prepared file, and its note ("" where there is none).

    With ``size``, images kept at that size (``train_x_28``) are taken instead of the others.
    Raises VaenbError where the file cannot be read or an array has not the hash in the note.
    """
    name, notes, parts, note = path.stem, path.with_suffix(".json"), {}, ""
    try:
        if notes.exists():
            told = json.loads(notes.read_text())
            note = str(told.get("note", ""))
            parts = {key: about.get("sha256") for key, about in told.get("parts", {}).items()}
    except Exception as error:
        raise VaenbError(f"the note {notes} cannot be read ({words(error)}): delete it "
                         f"together with {path.name} and run `vaenb data {name}`") from error
    try:
        if not zipfile.is_zipfile(path):
            raise EOFError("it is not a whole npz file")
        with np.load(path, allow_pickle=False) as found:
            have = {key: key for key in KEYS if key in found.files}
            have |= {key: f"{key}_{size}" for key in KEYS if f"{key}_{size}" in found.files}
            arrays = {own: found[own] for own in have.values()}
            lost = sorted(parts.keys() - set(found.files))
    except Exception as error:
        raise VaenbError(f"{path} is truncated or damaged ({words(error)}): "
                         f"{MEND.format(name)}") from error
    lost += [k for k, a in arrays.items() if parts.get(k) not in (None, sha256_of(a))]
    if lost:
        raise VaenbError(f"{path} was altered, {', '.join(lost)} not being what {notes.name} "
                         f"beside it says: {MEND.format(name)}")
    return {key: arrays[own] for key, own in have.items()}, note


def write(path: Path, arrays: dict, note: str) -> None:
    """Write a prepared set and its note by rename, the note last: no step leaves a broken pair.

    Raises VaenbError where the disk is full or cannot be written; no draft is left behind.
    """
    arrays = {key: np.ascontiguousarray(a) for key, a in arrays.items()}
    parts = {key: {"shape": list(a.shape), "dtype": str(a.dtype), "sha256": sha256_of(a)}
             for key, a in arrays.items()}
    notes, tag = path.with_suffix(".json"), secrets.token_hex(4)
    drafts = [p.with_name(f".{p.name}.{tag}") for p in (path, notes)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"dataset": path.stem, "note": note, "parts": parts}
        drafts[1].write_text(json.dumps(about, indent=1) + "\n")
        with open(drafts[0], "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        notes.unlink(missing_ok=True)  # a set without a note is sound, one with another's is not
        os.replace(drafts[0], path)
        os.replace(drafts[1], notes)
    except OSError as error:
        raise VaenbError(f"{path} could not be written ({words(error)}): free some space or "
                         f"set VAENB_DATA to a folder that can hold it") from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def sha256_of(a: np.ndarray) -> str:
    return hashlib.sha256(raw_bytes(a)).hexdigest()
