"""The `vaenb` command: what it prints, and a sentence with an exit status for what goes wrong."""

import json
import os
import subprocess
import sys

import pytest
from test_run import book, write  # noqa: F401  (book is a fixture)
from typer.testing import CliRunner

import vaenb
from vaenb import VaenbError, cli, doctor, report
from vaenb.report import records


def call(*words):
    """(exit status, standard output, standard error) of one command."""
    result = CliRunner().invoke(cli.app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_version_help_and_wrong_words_come_fast_and_without_torch():
    code = ("import sys; from typer.testing import CliRunner; import vaenb.cli as cli\n"
            "said = CliRunner().invoke(cli.app, ['--help']).stdout\n"
            "for word in 'list run data scoreboard merge doctor'.split():\n"
            "    assert word in said, said\n"
            "heavy = {'torch', 'numpy', 'papermill', 'nbformat', 'pandas'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)")
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "vaenb", "--version"], capture_output=True)
    assert done.stdout.decode() == f"vaenb {vaenb.__version__}\n" and not done.stderr
    assert call("rum")[0] == 2 and call("run")[0] == 2 and call("run", "1", "--jobs", "0")[0] == 2


def test_list_shows_title_parameters_and_records(book, monkeypatch):  # noqa: F811
    assert call("list")[0] == 1
    write(book, "01_calibrated_decoders")
    write(book, "02_rate", parameters="n: int = 3  # how many")
    made = [dict(profile="smoke"), dict(profile="cpu"), dict(profile="cpu")]
    monkeypatch.setattr(records, "read", lambda name: made if name == "02_rate" else [])
    status, out, err = call("list")
    first, second = out.strip().split("\n\n")
    assert status == 0 and not err
    assert first.splitlines()[:3] == [
        "01_calibrated_decoders", "    About 01_calibrated_decoders",
        '    -p profile str, default "recorded" (recorded | smoke | quick | cpu | full)']
    assert first.endswith("records: none")
    assert second.splitlines()[2:] == ["    -p n int, default 3 (how many)",
                                       "    records: 1 of profile smoke, 2 of profile cpu"]


def test_run_takes_parameters_in_words_and_prints_the_folder(book):  # noqa: F811
    path = write(book, "01_x", "print(profile, seeds, rate)")
    words = ("run", "1", "--profile", "smoke", "-p", "seeds", "2", "--parameter", "rate", "-1e-3")
    status, out, err = call(*words)
    folder = book.parent / "runs" / "01_x"
    assert (status, err) == (0, "") and out.strip() == str(next(folder.iterdir()))
    assert "smoke 2 -0.001" in (folder / out.strip() / path.name).read_text()
    status, again, err = call("run", "x", "-p", "rate=-1e-3", "-p", "seeds=2", "-p", "profile",
                              "smoke")
    assert (status, again) == (0, out)
    assert err.startswith("vaenb: ") and "is there already" in err and err.count("\n") == 1


@pytest.mark.parametrize("words, sentence", [
    (("run", "9"), "there is no chapter '9'"),
    (("run", "1", "--profile", "fast"), "there is no profile 'fast'"),
    (("run", "1", "-p"), "-p lacks a name and a value: write -p NAME VALUE"),
    (("run", "1", "-p", "seeds"), "-p seeds lacks a value: write -p NAME VALUE"),
    (("run", "1", "-p", "seed", "1"), "has no parameter 'seed' (did you mean 'seeds'?)"),
    (("run", "1", "-p", "seeds", "x"), "seeds is a whole number and 'x' is not"),
    (("run", "1", "9", "--jobs", "2"), "there is no chapter '9'"),
    (("run", "1", "--jobs", "2", "--cluster"), "leave one of --jobs and --cluster away"),
    (("merge", "9"), "there is no chapter '9'"),
    (("data", "minst"), "minst"),
    (("scoreboard", "--paper", "none"), "there is no paper 'none'; the papers are a, b"),
])
def test_what_is_wrong_is_said_in_one_line(book, monkeypatch, words, sentence):  # noqa: F811
    write(book, "01_x")
    monkeypatch.setattr(report, "scoreboard", lambda: dict(counts=dict(a={}, b={})))
    status, out, err = call(*words)
    assert (status, out) == (1, "")
    assert err.startswith("vaenb: ") and sentence in err and err.count("\n") == 1


def test_a_name_given_twice_makes_a_run_for_each_value(book, monkeypatch):  # noqa: F811
    write(book, "01_x")
    asked = []
    monkeypatch.setattr("vaenb.run.run_many", lambda *arguments: asked.append(arguments))
    assert call("run", "1", "--profile", "cpu", "-p", "seeds", "1", "-p", "seeds", "2",
                "-p", "fast", "true", "--jobs", "2")[0] == 0
    shards = [("1", dict(profile="cpu", seeds=s, fast="true")) for s in "12"]
    assert asked == [(shards, 2, "", False, False)]


def test_exit_statuses_of_a_spent_budget_and_of_an_interrupt(book, monkeypatch):  # noqa: F811
    write(book, "01_x", "class OutOfTime(Exception):\n    pass", "raise OutOfTime")
    status, out, err = call("run", "1")
    assert (status, out) == (75, "") and "run the same command again to go on" in err

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaenb.run.run", interrupted)
    status, out, err = call("run", "1")
    assert (status, out) == (130, "") and err.startswith("vaenb: stopped; ")


def test_scoreboard_as_text_and_json_of_one_paper_or_all(monkeypatch):
    board = dict(counts=dict(a=dict(claims={}), b=dict(claims={})),
                 claims=[dict(paper="a", id="C1"), dict(paper="b", id="C2")],
                 numbers=[dict(paper="b", ours=None)])
    monkeypatch.setattr(report, "scoreboard", lambda: json.loads(json.dumps(board)))
    monkeypatch.setattr(report, "scoreboard_text", lambda board: " ".join(board["counts"]))
    assert call("scoreboard") == (0, "a b\n", "")
    assert call("scoreboard", "--paper", "b") == (0, "b\n", "")
    assert json.loads(call("scoreboard", "--json")[1]) == board
    one = json.loads(call("scoreboard", "--json", "--paper", "a")[1])
    assert one == dict(counts=dict(a=dict(claims={})), claims=board["claims"][:1], numbers=[])


def test_merge_passes_the_chapter_and_counts(book, monkeypatch):  # noqa: F811
    write(book, "01_x")
    monkeypatch.setattr(records, "merge", lambda name: {f"{name}/table1": 7})
    assert call("merge", "1") == (0, "01_x/table1: 7 records\n", "")
    assert call("merge")[1] == "None/table1: 7 records\n"
    monkeypatch.setattr(records, "merge", lambda name: {})
    assert call("merge")[0] == 0 and "nothing under runs/records" in call("merge")[2]


def test_data_lists_and_prepares(monkeypatch, tmp_path):
    monkeypatch.setenv("VAENB_DATA", str(tmp_path))
    status, out, err = call("data")
    lines = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
    assert (status, err) == (0, "")
    assert "absent" in lines["mnist"] and "embedded" in lines["digits"]
    assert "1500 + 297" in lines["digits"]
    monkeypatch.setattr("vaenb.data.prepare", lambda name: tmp_path / f"{name}.npz")
    assert call("data", "mnist", "svhn")[1].split() == [
        str(tmp_path / "mnist.npz"), str(tmp_path / "svhn.npz")]


def test_doctor_looks_at_each_thing_and_says_how_to_mend_it(monkeypatch, tmp_path):
    monkeypatch.setenv("VAENB_DATA", str(tmp_path))
    status, out, err = call("doctor")
    found = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert list(found) == ["python", "torch", "device", "data", "kernel", "disk"]
    assert (status, err, set(found.values())) == (0, "", {"ok"})
    assert f"vaenb {vaenb.__version__} {sys.executable}" in out
    assert "absent: mnist, fashion_mnist" in out

    (tmp_path / "mnist.npz").write_bytes(b"no archive")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: os.terminal_size((0, 0)))
    rows = {name: (well, text) for name, well, text in doctor.rows(kernel="absent")}
    assert [name for name in rows if not rows[name][0]] == ["data", "kernel", "disk"]
    assert "mnist" in rows["data"][1] and "delete it and run" in rows["data"][1]
    assert "absent does not start" in rows["kernel"][1] and "make book" in rows["kernel"][1]


def test_doctor_fails_where_a_package_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for check in (doctor._data, lambda name: doctor._disk(), doctor._kernel):
        monkeypatch.setattr(doctor, check.__name__, lambda *_: "well", raising=False)
    status, out, _ = call("doctor")
    [line] = [line for line in out.splitlines() if line.startswith("torch")]
    assert status == 1 and line.startswith("torch   no  ") and "make book" in line


def test_an_error_from_a_room_is_one_line(monkeypatch):
    def broken():
        raise VaenbError("book/records/x.jsonl, line 3 is not a record: restore the file")

    monkeypatch.setattr(report, "scoreboard", broken)
    assert call("scoreboard") == (
        1, "", "vaenb: book/records/x.jsonl, line 3 is not a record: restore the file\n")
