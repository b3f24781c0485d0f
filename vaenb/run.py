"""Notebooks by papermill: parameters checked, output published whole or not at all.

A shard is a notebook with its parameters, and has a folder named by their hash. Running it twice
does nothing the second time, a killed one is simply run again, and of two that run at once the
first to finish is kept; so shards need no bookkeeping, on one machine or on many.
"""

import ast
import contextlib
import difflib
import hashlib
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path
from typing import NamedTuple

import vaenb
from vaenb import nbtool
from vaenb.errors import OutOfTime, VaenbError

NOTEBOOKS, RUNS = vaenb.ROOT / "notebooks", vaenb.ROOT / "runs"
CHOICES = {
    "profile": vaenb.PROFILES,
    "device": ("auto", "cpu", "cuda"),
}
LEAST = {"seeds": 0, "only_seed": -1, "budget_minutes": 0}  # that a parameter may be
_TYPES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


class Shard(NamedTuple):
    """A notebook, the parameters that are handed to it, and where its output belongs."""

    notebook: Path
    parameters: dict
    folder: Path


def chapters() -> dict[str, Path]:
    """The notebooks of the book by name, in order. Raises VaenbError where there are none."""
    found = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    if not found:
        raise VaenbError(f"there are no notebooks in {NOTEBOOKS}: install the package from a "
                         f"clone of the book (pip install -e .)")
    return found


def find(chapter: str) -> Path:
    """The notebook of a name, a number ("1", "01"), an unambiguous prefix, or a path.

    Raises VaenbError with the chapters there are.
    """
    if str(chapter).endswith(".ipynb") and Path(chapter).is_file():
        return Path(chapter).resolve()
    known, wanted = chapters(), str(chapter).removesuffix(".ipynb").replace("-", "_").lower()
    titles = {name: re.sub(r"^\d+_", "", name) for name in known}
    numbers = {name: name.split("_")[0].lstrip("0") for name in known}
    hits = ([name for name in known if name == wanted]
            or [name for name in known if numbers[name] == wanted.lstrip("0")]
            or [name for name in known if wanted and titles[name].startswith(wanted)]
            or [name for name in known if wanted and name.startswith(wanted)])
    if len(hits) == 1:
        return known[hits[0]]
    if hits:
        raise VaenbError(f"chapter {chapter!r} could be {', '.join(hits)}: say which")
    raise VaenbError(f"there is no chapter {chapter!r}{_guess(wanted, titles.values())}; "
                     f"the chapters are {', '.join(known)}")


def signature(notebook) -> dict[str, dict]:
    """The parameters of a notebook by name: name, inferred_type_name, default, help (texts)."""
    nbtool.read(notebook)
    try:
        return _papermill().inspect_notebook(str(notebook))
    except ValueError as error:
        raise VaenbError(f"the parameters of {notebook} cannot be read ({error}): "
                         f"`python -m vaenb.nbtool {notebook}` may mend it") from error


def plan(chapter: str, parameters: dict | None = None, out=None) -> Shard:
    """The shard of a chapter and parameters (values, or texts as typed), all of them checked.

    A profile that is not given is ``$VAENB_PROFILE``, else the notebook's. The output belongs in
    ``OUT/CHAPTER/HASH`` (``out`` is ``runs`` unless given), the hash being of all parameters but
    the budget, and of the notebook's code. Raises VaenbError for an unknown chapter, parameter,
    profile or device, and for a wrong type.
    """
    notebook, given = find(chapter), dict(parameters or {})
    known = signature(notebook)
    for name in given:
        if name not in known:
            raise VaenbError(f"{notebook.stem} has no parameter {name!r}{_guess(name, known)}; "
                             f"it has {', '.join(known) or 'none'}")
    if "profile" in known and "profile" not in given:
        named = os.environ.get("VAENB_PROFILE")
        if named and named not in vaenb.PROFILES:
            raise VaenbError(f"the environment variable VAENB_PROFILE is {named!r}"
                             f"{_guess(named, vaenb.PROFILES)}: set it to one of "
                             f"{', '.join(vaenb.PROFILES)}, or take it away")
        given["profile"] = named or _default(known["profile"]) or "recorded"
    values = {name: _value(known[name], value) for name, value in given.items()}
    settled = {name: values.get(name, _default(about)) for name, about in known.items()
               if name != "budget_minutes"}
    source = [nbtool.source(c) for c in nbtool.read(notebook)["cells"] if c["cell_type"] == "code"]
    digest = hashlib.sha256(json.dumps([source, settled], sort_keys=True, default=str).encode())
    folder = Path(out or RUNS).resolve() / notebook.stem / digest.hexdigest()[:16]
    return Shard(notebook, values, folder)


def run(chapter: str, parameters: dict | None = None, out=None, again: bool = False) -> Path:
    """Run a chapter; returns the folder with its executed notebook and ``run.json``.

    A folder that is there already is returned as it is unless ``again``; the profile
    ``recorded`` always runs, since it shows records that may have changed. Raises VaenbError
    when a parameter is wrong or the notebook fails; what it got to is then beside the folder as
    ``HASH.FAILED.ipynb``. Raises OutOfTime when the notebook stopped at its budget.
    """
    from vaenb.report.origin import CODE

    notebook, values, folder = plan(chapter, parameters, out)
    name, pm, profile = notebook.stem, _papermill(), values.get("profile")
    whole = (folder / "run.json").is_file()
    again = again or profile == "recorded" or folder.is_dir() and not whole
    if whole and not again:
        old = f'"code": "{CODE}"' not in (folder / "run.json").read_text()
        say(f"{_short(folder)} is there already{', made by other code' * old}: nothing to do "
            f"(--again executes it anew)")
        return folder
    if profile == "full" and values.get("device") != "cuda" and not _gpus():
        say(f"{name}: profile full runs here without a GPU, for which most of it is meant: see "
            f"the chapter's budget, or take --profile cpu")
    work = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    draft, failed = work / f"{name}.ipynb", folder.with_name(f"{folder.name}.FAILED.ipynb")
    start, environment = time.time(), dict(os.environ)
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise VaenbError(f"{name}: the folder {folder.parent} cannot be made ({error.strerror}): "
                         f"name another with --out") from error
    try:
        for setting in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
            os.environ.setdefault(setting, str(2**36))  # glibc keeps large blocks: a third faster
        if profile:  # the notebook finds the same in both places
            os.environ["VAENB_PROFILE"] = profile
        execute = partial(
            pm.execute_notebook, str(notebook), str(draft), values, kernel_name="python3",
            cwd=str(notebook.parent), progress_bar=False, stdout_file=_Bars(),
            extra_arguments=["--log-level=50"])
        try:
            execute()
        except RuntimeError:  # of two kernels that start at once one may find its port taken
            if _reached(draft):
                raise
            execute()
        about = {"chapter": name, "parameters": values, "version": vaenb.__version__, "code": CODE,
                 "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start)),
                 "seconds": round(time.time() - start, 1)}
        (work / "run.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
        _publish(work, folder, again)
        failed.unlink(missing_ok=True)
    except Exception as error:
        where, kept = _reached(draft), ""
        if getattr(error, "ename", "") == "OutOfTime":
            raise OutOfTime(f"{name}: the budget is spent{where} and the state is saved: "
                            f"run the same command again to go on") from error
        with contextlib.suppress(OSError):
            os.replace(draft, failed)
            kept = f" (the notebook up to there: {_short(failed)})"
        raise VaenbError(f"{name}: {_reason(error, where)}{kept}") from error
    finally:
        os.environ.clear()
        os.environ.update(environment)
        shutil.rmtree(work, ignore_errors=True)
    return folder


def run_many(shards, jobs: int = 1, out=None, again: bool = False, cluster: bool = False) -> list:
    """Run (chapter, parameters) pairs, each in its own process, ``jobs`` at a time.

    The GPUs that this machine has, or that $CUDA_VISIBLE_DEVICES names, go round among the jobs.
    ``cluster``: on the machines of a Ray cluster ($RAY_ADDRESS; without it, on this one), a GPU
    a shard; all need this clone at the same path of a shared folder. All shards are checked
    before the first starts, and one that fails does not stop the others. Returns the folders.
    Raises VaenbError if any failed, else OutOfTime if any stopped at its budget.
    """
    planned = {shard.folder: shard for shard in (plan(*pair, out) for pair in shards)}
    statuses = (_on_cluster(list(planned.values()), again) if cluster else
                _on_this_machine(list(planned.values()), jobs, again))
    spent, failed = statuses.count(OutOfTime.status), sum(s not in (0, 75) for s in statuses)
    if failed:
        raise VaenbError(f"{failed} of {len(planned)} runs failed: mend what is said above and "
                         f"run the same command again, what is finished stays")
    if spent:
        raise OutOfTime(f"{spent} of {len(planned)} runs spent their budget: "
                        f"run the same command again to go on")
    return list(planned)


def _on_this_machine(shards: list[Shard], jobs: int, again: bool) -> list[int]:
    environment, gpus, waiting, running, statuses = dict(os.environ), [], list(shards), {}, []
    if jobs > 1:
        gpus = _gpus()
        environment["TQDM_DISABLE"] = "1"  # bars of several runs would overwrite each other
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                notebook, parameters, folder = waiting.pop(0)
                command = [sys.executable, "-m", "vaenb", "run", str(notebook), "--out",
                           str(folder.parents[1])] + ["--again"] * again
                for name, value in parameters.items():
                    command += ["-p", name, str(value)]
                place = min(set(range(jobs)) - set(running.values()))
                if gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
                process = subprocess.Popen(command, cwd=vaenb.ROOT, env=environment)
                running[process] = place
            time.sleep(0.1)
            for process in [p for p in running if p.poll() is not None]:
                del running[process]
                statuses.append(process.returncode)
                say(f"{len(statuses)} of {len(shards)} runs ended")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return statuses


def _gpus() -> list[str]:
    """This machine's GPUs by the names that $CUDA_VISIBLE_DEVICES takes."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(k) for k in range(torch.cuda.device_count())]


def _on_cluster(shards: list[Shard], again: bool) -> list[int]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise VaenbError("running on a cluster needs Ray: pip install -e '.[cluster]'") from error
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS"), logging_level=logging.ERROR)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_gpus=gpus, max_retries=3)(_status)
        return ray.get([task.remote(shard, again) for shard in shards])
    except Exception as error:
        raise VaenbError(f"Ray failed ({' '.join(str(error).split())[:300]}): see `ray status` "
                         f"and $RAY_ADDRESS, then run the same command again") from error


def _status(shard: Shard, again: bool) -> int:
    try:
        run(str(shard.notebook), shard.parameters, shard.folder.parents[1], again)
    except (OutOfTime, VaenbError) as error:
        say(str(error))
        return getattr(error, "status", 1)
    return 0


def _papermill():
    try:
        import papermill
    except ImportError as error:
        raise VaenbError("running a notebook needs papermill and a kernel: "
                         "pip install -e '.[run]'") from error
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors are raised as well
    return papermill


def _guess(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _default(about: dict):
    try:
        return ast.literal_eval(about["default"])
    except (ValueError, SyntaxError):
        return about["default"]


def _value(about: dict, given):
    """A parameter in the type that its notebook names; a text is read as one would type it."""
    name, kind, value = about["name"], about["inferred_type_name"], given
    if isinstance(given, str) and kind in ("int", "float"):
        with contextlib.suppress(ValueError):
            value = {"int": int, "float": float}[kind](given)
    elif isinstance(given, str) and kind == "bool":
        value = {"true": True, "false": False}.get(given.lower(), given)
    elif type(given) is int and kind == "float":
        value = float(given)
    if kind in _TYPES and type(value).__name__ != kind or value != value:
        raise VaenbError(f"{name} is {_TYPES[kind]} and {given!r} is not "
                         f"({about['help'] or 'default ' + about['default']})")
    if name in LEAST and value < LEAST[name]:
        raise VaenbError(f"{name} is {given} and must not be below {LEAST[name]} "
                         f"({about['help']})")
    if name in CHOICES and value not in CHOICES[name]:
        raise VaenbError(f"there is no {name} {value!r}{_guess(str(value), CHOICES[name])}; "
                         f"choose one of {', '.join(CHOICES[name])}")
    return value


def _publish(work: Path, folder: Path, replace: bool) -> None:
    """Give the finished folder its name; where another run was first, its folder stays."""
    old = work.with_name(f"{work.name}-old")
    if replace:
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, old)
    try:
        os.rename(work, folder)
    except OSError:
        if not folder.is_dir():
            if old.is_dir():
                os.rename(old, folder)
            raise
        say(f"another run has published {_short(folder)} meanwhile, and that one is kept")
    shutil.rmtree(old, ignore_errors=True)


def _reached(draft: Path) -> str:
    """The cell that ran last. (Its status is no help: a killed kernel's cells all read done.)"""
    with contextlib.suppress(VaenbError):
        for cell in reversed(nbtool.read(draft)["cells"]):
            if cell["metadata"].get("papermill", {}).get("start_time"):
                count = cell.get("execution_count")
                return f" in cell {cell.get('id')}" + (f" (In [{count}])" if count else "")
    return ""


def _reason(error: Exception, where: str) -> str:
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind == "PapermillExecutionError":
        kind, text = error.ename, " ".join(error.evalue.split())
    if kind == "VaenbError":
        return f"stopped{where}: {text}"
    if kind == "DeadKernelError":
        return (f"the kernel died{where}, most often because memory ran out: free some, or take "
                f"a smaller profile, and run the same command again")
    if kind == "NoSuchKernel" or not where and kind == "RuntimeError":
        return f"the kernel python3 does not start ({text}): see `vaenb doctor`"
    return f"{kind}{where}" + (f": {text[:500]}" if text else "")


def _short(path: Path) -> str:
    return str(path.relative_to(vaenb.ROOT) if path.is_relative_to(vaenb.ROOT) else path)


class _Bars:
    """The progress bars that a notebook prints, on this process's stderr: on a terminal as they
    move, in a log one line a minute. What else the notebook prints stays in it."""

    PAUSE = 60.0  # seconds

    def __init__(self):
        self.open, self.told = False, -math.inf

    def write(self, text: str):
        """A piece of the notebook's output; a bar begins its line with a carriage return."""
        bar = "\r" in text
        if sys.stderr.isatty():
            if bar or (self.open and text.startswith("\n")):
                sys.stderr.write(text if bar else "\n")
            self.open = bar and not text.endswith("\n")
        elif bar and time.monotonic() - self.told >= self.PAUSE:
            lines = [line.strip() for line in re.split("[\r\n]", text) if line.strip()]
            if lines:
                say(lines[-1])
                self.told = time.monotonic()

    def flush(self):
        sys.stderr.flush()


def say(text: str) -> None:
    print(f"vaenb: {text}", file=sys.stderr, flush=True)
