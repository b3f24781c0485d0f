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
from vaenb.data.sources import NAMES, TEXTS, by_hand, fetch, folder, original, source, words
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
    if name in TEXTS:
        raise VaenbError(f"{name} is a text and holds no images: load it with "
                         f"vaenb.data.text.load({name!r})")
    if size is not None and (type(size) is not int or size < 1):
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

    Of a text, ``train.txt``, ``valid.txt`` and ``test.txt`` in the folder ``NAME`` instead of
    the npz, byte for byte as they are in the original, however many sentences they hold.

    Does nothing where a complete set stands already; one that is partial or damaged is
    replaced, by rename, once the new one is written. The originals are kept in the folder
    ``folder()/NAME``, and are not fetched again where they are there with the right hash.
    Returns the path of the npz, or of the text's folder. Raises VaenbError, and leaves what
    was there as it was.
    """
    home, path = source(name), folder() / (name if name in TEXTS else f"{name}.npz")
    found = inspect(name)
    if found["state"] == "complete":
        return path
    why = (f"{path} is {found['state']}" if found["state"] in ("partial", "damaged") else
           f"there is no {found['path'] or path}")
    arrays = original(name, {file: fetch(name, file, why) for file, _ in home.files})
    note = "; ".join(filter(None, (home.home and f"complete, from {home.home}", home.note)))
    if name in TEXTS:
        write_text(path, arrays, f"from {home.home}{home.files[0][0]}")
        return path
    if not as_dataset(name, arrays, note).complete:
        raise VaenbError(f"the originals of {name} in {folder() / name} do not hold the "
                         f"{sum(home.counts)} images they should: delete them and run again")
    write(path, arrays, note)
    return path


def status() -> list[dict]:
    """What is at hand, a dict a set: name, state, images, path, note, licence.

    state: complete, partial, absent, damaged, or embedded (made on the spot). images:
    counts as "60000 + 10000" (train + test, with valid between where there is one), of a text
    its sentences. Files are read in full and their hashes checked, about a second for each
    300 MB.
    """
    return [inspect(name) for name in (*NAMES, *TEXTS)]


def inspect(name: str) -> dict:
    """One line of ``status``."""
    if name in TEXTS:
        return inspect_text(name)
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
    complete = home.counts in (counts, (sum(counts),)) and (not home.variants or home.home in note)
    if not note:
        note = (f"no note beside the file; {'all' if complete else 'only'} "
                f"{sum(counts)} of {sum(home.counts)} images")
    return DataSet(name=name, **fields, note=note, complete=complete, licence=home.licence)


def read(path: Path, size: int | None = None) -> tuple[dict, str]:
    """The arrays of a prepared file, and its note ("" where there is none).

    With ``size``, images kept at that size (``train_x_28``) are taken instead of the others.
    Raises VaenbError where the file cannot be read or an array has not the hash in the note.
    """
    name, (note, parts) = path.stem, read_note(path)
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
        raise VaenbError(f"{path} was altered, {', '.join(lost)} not being what {name}.json "
                         f"beside it says: {MEND.format(name)}")
    return {key: arrays[own] for key, own in have.items()}, note


def read_note(path: Path) -> tuple[str, dict]:
    """The note beside a prepared set, and the hashes {part: SHA-256} it gives; "" and {}
    where there is none. Raises VaenbError where it cannot be read."""
    notes = path.with_suffix(".json")
    try:
        if not notes.exists():
            return "", {}
        told = json.loads(notes.read_text())
        return str(told.get("note", "")), {
            key: about.get("sha256") for key, about in told.get("parts", {}).items()}
    except Exception as error:
        raise VaenbError(f"the note {notes} cannot be read ({words(error)}): delete it together "
                         f"with {path.name} and run `vaenb data {path.stem}`") from error


def read_text(name: str) -> tuple[dict[str, bytes], str]:
    """The bytes {part: ...} of a text in ``folder()/NAME``, those that are there, and its note.

    Raises VaenbError where a file cannot be read or has not the hash in the note.
    """
    path = folder() / name
    files = {part: path / f"{part}.txt" for part in PARTS}
    note, hashes = read_note(path)
    try:
        parts = {part: file.read_bytes() for part, file in files.items() if file.exists()}
    except OSError as error:
        raise VaenbError(f"{error.filename} cannot be read ({words(error)})") from error
    for part, raw in parts.items():
        if hashes.get(part) not in (None, hashlib.sha256(raw).hexdigest()):
            raise VaenbError(f"{files[part]} was altered, not being what {name}.json says: delete "
                             f"both and run `vaenb data {name}`, or delete the note alone if the "
                             f"text is as you want it")
    return parts, note


def inspect_text(name: str) -> dict:
    """One line of ``status``, for a text."""
    home, path = source(name), folder() / name
    line = {"name": name, "state": "absent", "images": "", "path": str(path), "note": "",
            "licence": home.licence}
    try:
        parts, note = read_text(name)
    except VaenbError as error:
        return line | {"state": "damaged", "note": str(error)}
    lost = [part for part in PARTS if part not in parts]
    if lost:
        return line | {"path": str(path / f"{lost[0]}.txt"),
                       "note": f"`vaenb data {name}` fetches it from {home.home}"}
    counts = tuple(raw.count(b"\n") + (raw[-1:] not in (b"\n", b"")) for raw in parts.values())
    return line | {"state": "complete" if counts == home.counts else "partial", "note": note,
                   "images": " + ".join(map(str, counts))}


def write(path: Path, arrays: dict, note: str) -> None:
    """Write a prepared set and its note, as ``publish`` does."""
    arrays = {key: np.ascontiguousarray(a) for key, a in arrays.items()}
    parts = {key: {"shape": list(a.shape), "dtype": str(a.dtype), "sha256": sha256_of(a)}
             for key, a in arrays.items()}
    publish(path, note, parts, {path: lambda file: np.savez(file, **arrays)})


def write_text(path: Path, texts: dict[str, bytes], note: str) -> None:
    """Write the parts of a text into the folder ``path``, and its note, as ``publish`` does."""
    parts = {part: {"sha256": hashlib.sha256(raw).hexdigest()} for part, raw in texts.items()}
    publish(path, note, parts, {path / f"{part}.txt": lambda file, raw=raw: file.write(raw)
                                for part, raw in texts.items()})


def publish(path: Path, note: str, parts: dict, files: dict) -> None:
    """Write ``files`` ({path: what writes into the open file}) and the note of ``path``.

    By rename, the note last: no step leaves a broken pair. Raises VaenbError where the disk is
    full or cannot be written; no draft is left behind.
    """
    notes, tag = path.with_suffix(".json"), secrets.token_hex(4)
    drafts = {p: p.with_name(f".{p.name}.{tag}") for p in (*files, notes)}
    try:
        for p in drafts:
            p.parent.mkdir(parents=True, exist_ok=True)
        about = {"dataset": path.stem, "note": note, "parts": parts}
        drafts[notes].write_text(json.dumps(about, indent=1) + "\n")
        for p, write_into in files.items():
            with open(drafts[p], "wb") as file:
                write_into(file)
                file.flush()
                os.fsync(file.fileno())
        notes.unlink(missing_ok=True)  # a set without a note is sound, one with another's is not
        for p, draft in drafts.items():
            os.replace(draft, p)
    except OSError as error:
        raise VaenbError(f"{path} could not be written ({words(error)}): free some space or "
                         f"set VAENB_DATA to a folder that can hold it") from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def sha256_of(a: np.ndarray) -> str:
    """The hash of an array's canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(raw_bytes(a)).hexdigest()
