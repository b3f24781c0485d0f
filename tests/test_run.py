"""vaenb.run on tiny notebooks: checked before, published whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import vaenb.run
from vaenb import VaenbError, nbtool
from vaenb.run import OutOfTime, find, plan, run, run_many, signature

PARAMETERS = '''profile: str = "recorded"  # recorded | smoke | quick | cpu | full
seeds: int = 0  # 0: as the profile says
only_seed: int = -1  # -1: all
rate: float = 0.5  # step size
fast: bool = False  # leave out the slow part
device: str = "auto"  # auto | cpu | cuda
budget_minutes: float = 0  # 0: no limit'''


def write(folder, name, *cells, parameters=PARAMETERS):
    folder.mkdir(exist_ok=True)
    made = [dict(cell_type="markdown", id="title", metadata={}, source=[f"# About {name}"])]
    for number, source in enumerate([parameters, *cells]):
        tags = {"tags": ["parameters"]} if number == 0 else {}
        made.append(dict(cell_type="code", id=f"cell-{number}", metadata=tags, source=[source]))
    path = folder / f"{name}.ipynb"
    path.write_text(nbtool.canonical(dict(cells=made)))
    return path


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(vaenb.run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(vaenb.run, "RUNS", tmp_path / "runs")
    monkeypatch.delenv("VAENB_PROFILE", raising=False)
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def outputs(folder):
    [path] = folder.glob("*.ipynb")
    return "".join("".join(output.get("text", "")) for cell in nbtool.read(path)["cells"]
                   for output in cell.get("outputs", ()))


def left(book):
    """What stands under runs/, hidden things included."""
    return sorted(path.name for path in (book.parent / "runs").glob("*/*"))


def test_chapters_are_found_by_name_number_and_prefix(book):
    for name in ("01_calibrated_decoders", "02_rate", "03_rate_of_change", "11_calibrated"):
        write(book, name)
    wanted = book / "01_calibrated_decoders.ipynb"
    for word in ("01_calibrated_decoders", "1", "01", "calibrated-d", "01_cal", str(wanted)):
        assert find(word) == wanted
    assert find("02_rate").stem == "02_rate"
    with pytest.raises(VaenbError, match="could be 02_rate, 03_rate_of_change: say which"):
        find("rate")
    for word in ("7", "", "nothing.ipynb"):
        with pytest.raises(VaenbError, match="there is no chapter .*; the chapters are 01_cali"):
            find(word)
    with pytest.raises(VaenbError, match=r"did you mean 'calibrated_decoders'\?"):
        find("calibratd_decoders")


def test_no_notebooks_and_broken_notebooks_are_said(book):
    with pytest.raises(VaenbError, match="there are no notebooks in .*clone"):
        find("1")
    (book / "01_x.ipynb").write_text('{"cells": [')
    with pytest.raises(VaenbError, match="01_x.ipynb is not a notebook .*restore"):
        plan("1")


def test_parameters_are_read_with_their_types_and_checked(book):
    write(book, "01_x")
    about = signature(find("1"))
    assert about["rate"] == dict(name="rate", inferred_type_name="float", default="0.5",
                                 help="step size")
    typed = plan("1", dict(seeds="3", rate="1e-3", fast="TRUE", profile="smoke"))
    assert typed.parameters == dict(seeds=3, rate=0.001, fast=True, profile="smoke")
    assert type(plan("1", dict(rate=2)).parameters["rate"]) is float
    for given, sentence in [
            (dict(seed=3), r"01_x has no parameter 'seed' \(did you mean 'seeds'\?\); it has p"),
            (dict(seeds="many"), r"seeds is a whole number and 'many' is not \(0: as the profile"),
            (dict(seeds=1.5), "seeds is a whole number and 1.5 is not"),
            (dict(seeds=-3), r"seeds is -3 and must not be below 0 \(0: as the profile says\)"),
            (dict(budget_minutes="-1"), "budget_minutes is -1 and must not be below 0"),
            (dict(only_seed=-2), r"only_seed is -2 and must not be below -1 \(-1: all\)"),
            (dict(seeds=True), "seeds is a whole number and True is not"),
            (dict(rate="fast"), "rate is a number and 'fast' is not"),
            (dict(rate="nan"), "rate is a number and 'nan' is not"),
            (dict(fast="1"), "fast is true or false and '1' is not"),
            (dict(profile=3), "profile is a text and 3 is not"),
            (dict(profile="smok"), r"no profile 'smok' \(did you mean 'smoke'\?\); choose one of"),
            (dict(device="gpu"), "no device 'gpu'.*choose one of auto, cpu, cuda")]:
        with pytest.raises(VaenbError, match=sentence):
            run("1", given)
    assert not (book.parent / "runs").exists()


def test_bars_of_a_notebook_are_shown_in_a_terminal_and_in_a_log(book, monkeypatch, capsys):
    write(book, "01_x", "import time", "for k in range(3):\n"
          "    print(f'\\rstep {k}: 1 s left ', end='', flush=True)\n    time.sleep(0.3)\n"
          "print()\nprint('a table')")
    run("1", dict(seeds=1))
    assert capsys.readouterr().err == "vaenb: step 0: 1 s left\n"  # once a minute
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run("1", dict(seeds=2))
    assert capsys.readouterr().err.startswith("\rstep 0: 1 s left \rstep 1: 1 s left \rstep 2")
    bars = vaenb.run._Bars()
    for text in ("a table\n", "\rstep 1", "\rstep 2", "\n", "\n", "a table\n"):
        bars.write(text)
    assert capsys.readouterr().err == "\rstep 1\rstep 2\n"


def test_a_shard_is_named_by_what_decides_its_result(book, monkeypatch):
    write(book, "01_x", "print(seeds)")
    folder = plan("1", dict(profile="smoke")).folder
    assert folder.parent == book.parent / "runs" / "01_x"
    same = [dict(profile="smoke", seeds=0), dict(profile="smoke", rate="0.5", budget_minutes=3)]
    assert [plan("1", given).folder for given in same] == [folder, folder]
    other = [dict(profile="quick"), dict(profile="smoke", seeds=1), {}]
    assert len({plan("1", given).folder for given in other} | {folder}) == 4
    monkeypatch.setenv("VAENB_PROFILE", "smoke")
    assert plan("1").folder == folder
    assert plan("1", dict(profile="cpu")).parameters == dict(profile="cpu")
    monkeypatch.setenv("VAENB_PROFILE", "turbo")
    with pytest.raises(VaenbError, match="variable VAENB_PROFILE is 'turbo': set it to one of"):
        plan("1")
    monkeypatch.delenv("VAENB_PROFILE")
    write(book, "01_x", "print(seeds + 1)")
    assert plan("1", dict(profile="smoke")).folder != folder


def test_a_run_is_published_once_and_the_environment_does_not_overrule_it(
        book, monkeypatch, capsys):
    write(book, "01_x", "import os\nprint(profile, seeds, fast, os.environ['VAENB_PROFILE'])",
          "print(os.path.basename(os.getcwd()), os.getpid())",
          "print(os.environ['MALLOC_MMAP_THRESHOLD_'], os.environ['MALLOC_TRIM_THRESHOLD_'])")
    monkeypatch.setenv("VAENB_PROFILE", "full")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    given = dict(profile="smoke", seeds="2", fast=True)
    folder = run("1", given)
    first = outputs(folder)
    assert first.startswith("smoke 2 True smoke\nnotebooks ")
    assert first.endswith(f"{2**36} 7\n") and "MALLOC_MMAP_THRESHOLD_" not in os.environ
    assert os.environ["VAENB_PROFILE"] == "full"
    about = json.loads((folder / "run.json").read_text())
    assert about["parameters"] == dict(profile="smoke", seeds=2, fast=True)
    assert about["version"] == vaenb.__version__ and about["seconds"] > 0
    assert left(book) == [folder.name]
    assert capsys.readouterr().err == ""

    assert run("1", given) == folder and outputs(folder) == first
    assert "is there already: nothing to do" in capsys.readouterr().err
    assert run("1", given, again=True) == folder and outputs(folder) != first
    (folder / "run.json").unlink()  # a copy that is not whole is made anew
    assert run("1", given) == folder and (folder / "run.json").is_file()
    assert left(book) == [folder.name]


def test_a_failing_cell_fails_and_is_kept_beside(book):
    write(book, "01_x", "print('so far')\nraise KeyError('gone')", "print('never')")
    folder = plan("1").folder
    with pytest.raises(VaenbError) as caught:
        run("1")
    assert str(caught.value).startswith("01_x: KeyError in cell cell-1 (In [3]): 'gone' (the note")
    assert left(book) == [f"{folder.name}.FAILED.ipynb"]
    cells = nbtool.read(folder.with_name(f"{folder.name}.FAILED.ipynb"))["cells"]
    assert any("so far" in "".join(o.get("text", "")) for c in cells for o in c.get("outputs", ()))


def test_a_killed_kernel_fails_and_publishes_nothing(book):
    write(book, "01_x", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)", "3")
    folder = plan("1").folder
    with pytest.raises(VaenbError, match="the kernel died in cell cell-2.*memory"):
        run("1")
    assert not folder.exists() and left(book) == [f"{folder.name}.FAILED.ipynb"]


def test_the_second_to_publish_loses_quietly(book, capsys):
    write(book, "01_x", "import os, pathlib\nfolder = pathlib.Path(os.environ['WINNER'])\n"
                        "folder.mkdir()\n_ = (folder / 'first').write_text('kept')")
    folder = plan("1", dict(profile="smoke")).folder
    os.environ["WINNER"] = str(folder)
    try:
        assert run("1", dict(profile="smoke")) == folder
    finally:
        del os.environ["WINNER"]
    assert [path.name for path in folder.iterdir()] == ["first"]
    assert left(book) == [folder.name]
    assert "another run has published" in capsys.readouterr().err


def test_what_was_published_comes_back_where_the_new_one_cannot_be(book, monkeypatch):
    write(book, "01_x", "pass")
    folder = run("1", dict(profile="smoke"))
    (folder / "first").write_text("kept")
    rename = os.rename

    def fails(source, target):
        if target == folder and not str(source).endswith("-old"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(VaenbError, match="Input/output error"):
        run("1", dict(profile="smoke"), again=True)
    assert (folder / "first").read_text() == "kept"


def test_a_spent_budget_is_no_failure_and_another_version_stops_with_a_sentence(book):
    write(book, "01_x", "from vaenb.train import OutOfTime", "raise OutOfTime('at step 7')")
    with pytest.raises(OutOfTime, match="the budget is spent in cell cell-2 .* run the same comm"):
        run("1")
    assert left(book) == []
    write(book, "02_y", 'import vaenb\nvaenb.require("9.9")')
    with pytest.raises(VaenbError, match=r"stopped in cell cell-1.*: .*written for vaenb 9\.9"):
        run("2")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_kernel_that_does_not_answer_is_started_once_more(book, monkeypatch, failures):
    import papermill

    write(book, "01_x", "print(1)")
    execute, left_over = papermill.execute_notebook, list(range(failures))

    def slow(*given, **named):
        if left_over:
            left_over.pop()
            raise RuntimeError("Kernel didn't respond in 60 seconds")
        return execute(*given, **named)

    monkeypatch.setattr(papermill, "execute_notebook", slow)
    if failures == 1:
        assert (run("1") / "01_x.ipynb").is_file()
    else:
        with pytest.raises(VaenbError, match="does not start .Kernel didn't respond in 60 sec"):
            run("1")
        assert left(book) == []


def test_a_kernel_that_dies_is_not_started_again(book):
    mark = book.parent / "started"
    write(book, "01_x", f"import os\nwith open({str(mark)!r}, 'a') as file:\n"
                        f"    _ = file.write('x')\nos._exit(1)")
    with pytest.raises(VaenbError, match="the kernel died in cell cell-"):
        run("1")
    assert mark.read_text() == "x"


def test_no_kernel_and_a_full_disk_are_said_and_leave_nothing(book, monkeypatch):
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    write(book, "01_x", "print(1)")

    def absent(self, name):
        raise NoSuchKernel(name)

    with monkeypatch.context() as patch:
        patch.setattr(KernelSpecManager, "get_kernel_spec", absent)
        with pytest.raises(VaenbError, match="kernel python3 does not start .*`vaenb doctor`"):
            run("1")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    (book.parent / "runs" / "01_x" / f"{plan('1').folder.name}.FAILED.ipynb").unlink()
    monkeypatch.setattr(papermill, "execute_notebook", full)
    with pytest.raises(VaenbError, match="01_x: OSError: .*No space left on device"):
        run("1")
    assert left(book) == []


def test_an_interrupted_run_leaves_nothing_and_ends_with_130(book):
    path = write(book, "01_x", "import os, pathlib, time\n"
                               "_ = pathlib.Path('started').write_text(str(os.getpid()))\n"
                               "time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "vaenb", "run", str(path), "--out", str(book.parent / "runs")],
        stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 180
    while not (started := book / "started").exists() or not started.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 130
    assert said.startswith("vaenb: stopped; ") and said.count("\n") == 1
    assert left(book) == []
    with pytest.raises(ProcessLookupError):  # the kernel went as well
        for _ in range(100):
            os.kill(int(started.read_text()), 0)
            time.sleep(0.05)


def test_several_shards_run_side_by_side_and_one_that_fails_stops_no_other(book, capfd):
    write(book, "01_x", "import os\nassert seeds < 2\nprint(seeds, os.environ['OMP_NUM_THREADS'])")
    shards = [("1", dict(profile="smoke", seeds=seeds)) for seeds in (1, 2, 1)]
    with pytest.raises(VaenbError, match="1 of 2 runs failed"):
        run_many(shards, jobs=2, out=book.parent / "runs")
    folders = [plan(*shard).folder for shard in shards]
    assert outputs(folders[0]).startswith("1 ")
    assert left(book) == sorted([folders[0].name, f"{folders[1].name}.FAILED.ipynb"])
    said = capfd.readouterr()
    assert "vaenb: 01_x: AssertionError in cell cell-1" in said.err
    assert "vaenb: 2 of 2 runs ended" in said.err and str(folders[0]) in said.out
    with pytest.raises(VaenbError, match="no parameter 'sed'"):  # before any has started
        run_many([("1", dict(seeds=0)), ("1", dict(sed=1))])
    assert len(left(book)) == 2


def test_gpus_go_round_among_the_jobs(book, monkeypatch):
    write(book, "01_x")
    given = []

    class Job:
        returncode = 0

        def __init__(self, command, cwd, env):
            self.first = not given
            given.append(env["CUDA_VISIBLE_DEVICES"])

        def poll(self):
            return None if self.first and len(given) < 4 else 0  # the first outlasts the others

        def wait(self):
            return 0

    monkeypatch.setattr(subprocess, "Popen", Job)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    shards = [("1", dict(profile="smoke", seeds=seeds)) for seeds in (1, 2, 3, 4)]
    run_many(shards, jobs=2)
    assert given == ["4", "7", "7", "7"]
    given.clear()
    run_many(shards, jobs=4)
    assert given == ["4", "7", "4", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    given.clear()
    run_many(shards, jobs=4)
    assert given == ["0", "1", "2", "0"]


def test_full_without_a_gpu_is_said(book, monkeypatch, capfd):
    write(book, "01_x", "print(profile)")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    run("1", dict(profile="smoke"))
    assert "without a GPU" not in capfd.readouterr().err
    run("1", dict(profile="full"))
    assert "01_x: profile full runs here without a GPU" in capfd.readouterr().err
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    run("1", dict(profile="full"), again=True)
    assert "without a GPU" not in capfd.readouterr().err


def test_a_cluster_without_ray_is_said(book, monkeypatch):
    write(book, "01_x")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VaenbError, match=r"needs Ray: pip install -e '.\[cluster\]'"):
        run_many([("1", {})], cluster=True)
