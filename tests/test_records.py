"""Records: round trip, strictness, atomic publishing, merging, artefacts."""

import builtins
import errno
import json
import math
import multiprocessing
import os
import time

import numpy as np
import pytest

from vaenb import VaenbError
from vaenb.report import extent, records

CHAPTER = "01_calibrated_decoders"


def made(seed=0, experiment="table1", profile="cpu", **changes):
    record = records.new(
        CHAPTER, experiment, profile, {"model": "beta-VAE", "beta": 0.01}, seed,
        {"neg_elbo": -3186.123456, "diverged": 0}, scale={"steps": [3000, 5723]},
        data={"name": "svhn", "sha256": "ab" * 32, "complete": True}, steps=3000)
    return {**record, **changes}


def test_new_fills_the_provenance():
    record = made()
    assert record["paper"] == "calibrated-decoders"
    assert len(record["code"]) == 12 and int(record["code"], 16) >= 0
    assert record["version"] and record["torch"] and record["device"]
    assert record["peak_mib"] > 10 and record["when"].endswith("+00:00")


def test_seeds_are_counted_by_setting():
    def made(seed, beta, experiment="a"):
        return dict(experiment=experiment, settings=dict(beta=beta), seed=seed)

    even = [made(s, b) for s in range(3) for b in (1, 2)]
    assert extent.seeds_text(even) == "3 seeds"
    assert extent.seeds_text([*even, made(0, 3)]) == "1 to 3 seeds"
    assert extent.seeds_text([made(0, 1), made(0, 2)]) == "1 seed"
    assert extent.seeds_text([*even, made(0, 1, "b")]) == "1 to 3 seeds"


def test_a_finished_record_says_what_it_cost(tmp_path):
    path = records.finish(made(), 12.5, time.monotonic() - 3, "cpu", tmp_path)
    [found] = records.read(where="runs", root=tmp_path)
    assert path.name == f"{records.identity(found)}.json" and found["seconds"] == 12.5
    assert 3 <= found["measure_seconds"] < 4 and found["peak_mib"] > 10


def test_round_trip_and_rounding(tmp_path):
    record = made()
    record["metrics"] |= {"a": math.nan, "b": math.inf, "c": np.float32(1 / 3), "d": -math.inf}
    path = records.write(record, tmp_path)
    folder = tmp_path / "runs/records" / CHAPTER / "table1"
    assert path == folder / f"{records.identity(record)}.json"
    line = path.read_text()
    stored = json.loads(line, parse_constant=lambda c: pytest.fail(f"not strict JSON: {c}"))
    assert list(stored) == sorted(stored)
    assert stored["metrics"] == {"a": None, "b": "inf", "c": 0.333333, "d": "-inf",
                                 "diverged": 0, "neg_elbo": -3186.12}
    [back] = records.read(CHAPTER, where="runs", root=tmp_path)
    assert back == stored and records.identity(back) == records.identity(record)
    assert math.isnan(records.number(back, "a")) and records.number(back, "b") == math.inf
    assert math.isnan(records.number(back, "nothing"))


def test_identity_speaks_of_the_measurement_only():
    one = made()
    same = made(when="2030-01-01", metrics={"neg_elbo": 0}, code="x", seconds=9.0)
    assert records.identity(one) == records.identity(same)
    as_int = made(settings={"beta": 1, "model": "m"})
    assert records.identity(as_int) == records.identity(made(settings={"model": "m", "beta": 1.0}))
    others = [made(seed=1), made(experiment="table2"), made(profile="full"),
              made(settings={"model": "beta-VAE", "beta": 0.1}), made(scale={"steps": [1, 2]}),
              made(data={"sha256": "cd" * 32})]
    assert len({records.identity(r) for r in [one, *others]}) == 7


def test_the_newest_of_an_identity_wins(tmp_path):
    records.write(made(when="2026-01-01T00:00:00", metrics={"m": 1.0}), tmp_path)
    records.merge(root=tmp_path)
    records.write(made(when="2026-01-02T00:00:00", metrics={"m": 2.0}), tmp_path)
    assert [r["metrics"]["m"] for r in records.read(CHAPTER, root=tmp_path)] == [1.0]
    assert [r["metrics"]["m"] for r in records.read(CHAPTER, where="both", root=tmp_path)] == [2.0]
    records.merge(root=tmp_path)
    assert [r["metrics"]["m"] for r in records.read(CHAPTER, root=tmp_path)] == [2.0]
    records.write(made(when="2025-01-01T00:00:00", metrics={"m": 3.0}), tmp_path)
    records.merge(root=tmp_path)
    assert [r["metrics"]["m"] for r in records.read(CHAPTER, root=tmp_path)] == [2.0]


def test_merge_is_sorted_idempotent_and_takes_its_profiles_only(tmp_path):
    for seed, beta in [(1, 0.1), (0, 10), (0, 0.1), (0, 0.01)]:
        records.write(made(seed, settings={"model": "beta-VAE", "beta": beta}), tmp_path)
    records.write(made(profile="smoke"), tmp_path)
    assert records.merge(root=tmp_path) == {f"{CHAPTER}/table1": 4}
    path = tmp_path / "book/records" / CHAPTER / "table1.jsonl"
    first = path.read_bytes(), path.stat().st_mtime_ns
    records.merge(root=tmp_path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == first
    found = records.read(root=tmp_path)
    assert [(r["settings"]["beta"], r["seed"]) for r in found] == [
        (0.01, 0), (0.1, 0), (0.1, 1), (10, 0)]
    assert records.read(profile="smoke", root=tmp_path) == []
    assert len(records.read(profile="smoke", where="both", root=tmp_path)) == 1
    assert not [p for p in tmp_path.rglob("*.part")]


def test_a_part_file_of_other_types_is_named_without_git(tmp_path):
    path = records.write(made(), tmp_path)
    good = path.read_text()
    for key, value in (("settings", [1]), ("when", None), ("seed", "0"), ("profile", None),
                       ("chapter", 3), ("settings", {"beta": [1]}), ("scale", {"steps": 3}),
                       ("scale", {"steps": [3, "x"]}), ("metrics", {"rate": "abc"}),
                       ("artefacts", {"curves": None}), ("cells", {"Table 1": 2})):
        path.write_text(json.dumps(json.loads(good) | {key: value}))
        with pytest.raises(VaenbError, match=r"\.json, line 1 is not a record .*another type"
                                             r"\): delete that line"):
            records.read(where="runs", root=tmp_path)


def test_a_part_file_of_other_types_is_not_merged_and_a_folder_is_no_record(tmp_path):
    path = records.write(made(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(seed="0")))
    with pytest.raises(VaenbError, match="its seed is of another type"):
        records.merge(root=tmp_path)
    assert not list((tmp_path / "book").rglob("*.jsonl"))
    (tmp_path / "book/records" / CHAPTER / "table1.jsonl").mkdir(parents=True)
    with pytest.raises(VaenbError, match=r"table1\.jsonl cannot be read"):
        records.read(root=tmp_path)


@pytest.mark.parametrize("broken", ['{"chapter": "0', "[1, 2]", '{"seed": 1}', "<<<<<<< HEAD"])
def test_a_broken_line_is_named(tmp_path, broken):
    records.write(made(), tmp_path)
    records.merge(root=tmp_path)
    path = tmp_path / "book/records" / CHAPTER / "table1.jsonl"
    path.write_text(path.read_text() + "\n" + broken + "\n")
    with pytest.raises(VaenbError, match=r"table1\.jsonl, line 3 is not a record .*git checkout"):
        records.read(CHAPTER, root=tmp_path)
    before = path.read_bytes()
    with pytest.raises(VaenbError, match="line 3"):
        records.merge(root=tmp_path)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_record_and_no_rubbish(tmp_path, monkeypatch):
    path = records.write(made(metrics={"m": 1.0}), tmp_path)
    before = path.read_bytes()
    real = builtins.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:20])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(builtins, "open", lambda *a, **k: Full(real(*a, **k)))
    with pytest.raises(VaenbError, match="the disk is full.*free some space"):
        records.write(made(metrics={"m": 2.0}), tmp_path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device_is_one_sentence(tmp_path, monkeypatch):
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda p, *a: real("/dev/full", *a))
    with pytest.raises(VaenbError, match="the disk is full"):
        records.write(made(), tmp_path)
    monkeypatch.undo()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_what_is_no_record_is_refused(tmp_path):
    for key in ("seed", "scale", "convergence"):
        with pytest.raises(VaenbError, match=f"lacks {key}"):
            records.write({k: v for k, v in made().items() if k != key}, tmp_path)
    with pytest.raises(VaenbError, match="plain names"):
        records.write(made(experiment="../up"), tmp_path)
    with pytest.raises(VaenbError, match=r"settings\.model is a object"):
        records.write(made(settings={"model": object()}), tmp_path)
    with pytest.raises(VaenbError, match="where='here'"):
        records.read(where="here")
    assert list(tmp_path.rglob("*.json")) == []


def _writer(root, first, count):
    for seed in range(first, first + count):
        record = made(seed % 40, notes=["x" * 5000])
        records.artefact(record, "curve", {"y": np.arange(seed % 40)}, root)
        records.write(record, root)
        if seed % 10 == 0:
            records.merge(root=root)


def test_concurrent_writers_lose_and_tear_nothing(tmp_path):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    workers = [context.Process(target=_writer, args=(tmp_path, 10 * k, 20)) for k in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        seen = records.read(where="both", root=tmp_path)  # never a torn line
        assert all(len(r["notes"][0]) == 5000 for r in seen)
    assert [worker.exitcode for worker in workers] == [0] * 4
    records.merge(root=tmp_path)
    found = records.read(root=tmp_path)
    assert sorted(r["seed"] for r in found) == list(range(40))
    for record in found:
        assert len(records.read_artefact(record, "curve", tmp_path)["y"]) == record["seed"]
    assert not [p for p in tmp_path.rglob("*.part")]


def test_artefacts_come_back_and_go_with_their_record(tmp_path):
    record = made()
    strip = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert records.artefact(record, "strip", {"images": strip}, tmp_path).endswith(".npz")
    records.artefact(record, "frames", {"beta": [0.1, math.nan]}, tmp_path)
    records.write(record, tmp_path)
    records.merge(root=tmp_path)
    [back] = records.read(root=tmp_path)
    kept = tmp_path / "book/records/artefacts"
    assert sorted(p.name for p in kept.iterdir()) == sorted(back["artefacts"].values())
    loaded = records.read_artefact(back, "strip", tmp_path)["images"]
    assert loaded.dtype == np.uint8 and (loaded == strip).all()
    frames = records.read_artefact(back, "frames", tmp_path)
    assert np.array_equal(frames["beta"], [0.1, math.nan], equal_nan=True)
    with pytest.raises(VaenbError, match="'curve' of table1 .* run its experiment again"):
        records.read_artefact(back, "curve", tmp_path)
    again = made(when="2099-01-01T00:00:00")  # run again with one artefact: the others go
    records.artefact(again, "strip", {"images": strip + 1}, tmp_path)
    records.write(again, tmp_path)
    records.merge(root=tmp_path)
    assert [p.name for p in kept.iterdir()] == list(again["artefacts"].values())


def test_a_torn_artefact_is_told_and_mended_by_the_next_merge(tmp_path):
    record = made()
    names = [records.artefact(record, name, content, tmp_path) for name, content in (
        ("strip", {"images": np.arange(9)}), ("frames", {"beta": [0.1]}))]
    records.write(record, tmp_path)
    records.merge(root=tmp_path)
    for file, name in zip(names, ("strip", "frames"), strict=True):
        kept, source = (tmp_path / f / "records/artefacts" / file for f in ("book", "runs"))
        whole = kept.read_bytes()
        kept.write_bytes(whole[:len(whole) // 2])
        assert records.read_artefact(record, name, tmp_path) is not None  # that of runs
        source.write_bytes(b"")
        with pytest.raises(VaenbError, match="missing or damaged in"):
            records.merge(root=tmp_path)  # nothing torn is taken over
        with pytest.raises(VaenbError, match="missing or damaged: copy it again"):
            records.read_artefact(record, name, tmp_path)
        source.write_bytes(whole)
        records.merge(root=tmp_path)
        assert kept.read_bytes() == whole


def test_any_text_comes_back_and_numbers_of_no_shape_are_told(tmp_path):
    record = made()
    record["notes"] = ["a line\u2028and another\u0085one"]
    path = records.write(record, tmp_path)
    [back] = records.read(where="runs", root=tmp_path)
    assert back["notes"] == record["notes"]
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(metrics=[])))
    with pytest.raises(VaenbError, match="its settings, metrics, .* or time are of another type"):
        records.read(where="runs", root=tmp_path)


def test_a_record_whose_artefact_is_nowhere_is_not_merged(tmp_path):
    record = made()
    file = records.artefact(record, "curve", {"y": np.arange(3)}, tmp_path)
    records.write(record, tmp_path)
    (tmp_path / "runs/records/artefacts" / file).unlink()
    with pytest.raises(VaenbError, match=f"table1: the artefact {file} that a record names"):
        records.merge(root=tmp_path)
    assert not list((tmp_path / "book").rglob("*.jsonl"))
    assert records.artefact(record, "curve", {"y": np.arange(3)}, tmp_path) == file
    (tmp_path / "book/records/artefacts/notes").mkdir(parents=True)  # no file of ours: it stays
    assert records.merge(root=tmp_path) == {f"{CHAPTER}/table1": 1}


def test_a_folder_of_runs_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    records.write(made(), tmp_path)

    def refuse(path, *given):
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given)

    real = builtins.open
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(VaenbError, match=r"\.lock cannot be written \(Permission denied\).* make"):
        records.merge(root=tmp_path)


def test_an_artefact_too_large_or_pickled_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 310_000, dtype=np.uint8)
    for content, match in [({"a": noise}, "300000 are allowed"),
                           ({"a": np.array([{}], object)}, "pickled")]:
        with pytest.raises(VaenbError, match=match):
            records.artefact(made(), "x", content, tmp_path)
    assert list(tmp_path.rglob("*.*")) == []
