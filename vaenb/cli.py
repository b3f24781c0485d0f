"""The `vaenb` command."""

import itertools
import json
import signal
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

import vaenb
from vaenb.errors import OutOfTime, VaenbError
from vaenb.run import say


class _Group(TyperGroup):
    """`-p NAME VALUE` takes two words, and an error is a sentence with an exit status."""

    def parse_args(self, ctx, args):
        words, rest = [], iter(args)
        for word in rest:
            words.append(word)
            if word in ("-p", "--parameter"):
                pair = next(rest, "")
                words.append(pair if "=" in pair else "=".join([pair, *itertools.islice(rest, 1)]))
        return super().parse_args(ctx, words)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (OutOfTime, VaenbError) as error:
            say(str(error))
            raise typer.Exit(getattr(error, "status", 1)) from None
        except KeyboardInterrupt:
            say("stopped; what was finished or saved stays, and the same command goes on from it")
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"vaenb {vaenb.__version__}")
        raise typer.Exit


@app.callback()
def top(version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Print the version.")] = False):
    """Where the Nats Go: run the chapters, prepare their data, read the scoreboard."""


@app.command("list")
def list_():
    """The chapters: title, parameters, and the profiles that there are records of."""
    from vaenb import nbtool, run
    from vaenb.report import records

    for name, path in run.chapters().items():
        cells = nbtool.read(path)["cells"]
        lines = [line for c in cells if c["cell_type"] == "markdown"
                 for line in nbtool.source(c).splitlines()]
        title = next((line.lstrip("# ") for line in lines if line.startswith("# ")), "")
        print(f"{name}\n    {title}")
        for about in run.signature(path).values():
            print(f"    -p {about['name']} {about['inferred_type_name']}, "
                  f"default {about['default']} ({about['help']})")
        kept = [record["profile"] for record in records.read(name)]
        told = ", ".join(f"{kept.count(p)} of profile {p}" for p in run.CHOICES["profile"]
                         if p in kept)
        print(f"    records: {told or 'none'}\n")


@app.command()
def run(
    chapters: Annotated[list[str], typer.Argument(
        metavar="CHAPTER...", help="Names, numbers or beginnings: 1, calibrated.")],
    profile: Annotated[str, typer.Option(
        help="recorded, smoke, quick, cpu or full. Default: $VAENB_PROFILE, else as the "
             "notebook says.")] = "",
    parameter: Annotated[list[str] | None, typer.Option(
        "--parameter", "-p", metavar="NAME VALUE",
        help="Set a parameter of the notebook. A name given again makes one more run for "
             "each value.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many runs at a time.")] = 1,
    again: Annotated[bool, typer.Option(
        "--again", help="Execute notebooks anew whose output is there already. (What has "
                        "records is not trained again: see the parameter anew.)")] = False,
    cluster: Annotated[bool, typer.Option(
        "--cluster", help="Run on a Ray cluster ($RAY_ADDRESS), a GPU for each run.")] = False,
    out: Annotated[str, typer.Option(help="The folder for the outputs.")] = "",
):
    """Run chapters and publish the executed notebooks under runs/; 75: the budget is spent."""
    from vaenb.run import run, run_many

    if cluster and jobs > 1:
        raise VaenbError("--jobs is for the GPUs of one machine, and a cluster runs as many at a "
                         "time as it has: leave one of --jobs and --cluster away")
    given = {"profile": [profile]} if profile else {}
    for pair in parameter or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            lacks = f"-p {name} lacks a value" if name else "-p lacks a name and a value"
            raise VaenbError(f"{lacks}: write -p NAME VALUE")
        given.setdefault(name, []).append(value)
    shards = [(chapter, dict(zip(given, values, strict=True)))
              for chapter in chapters for values in itertools.product(*given.values())]
    if len(shards) == 1 and not cluster:
        print(run(*shards[0], out, again))
    else:
        run_many(shards, jobs, out, again, cluster)


@app.command()
def data(names: Annotated[list[str] | None, typer.Argument(
        metavar="[NAME]...", help="Sets to prepare; none: list what is there.")] = None):
    """The data sets: what is there, complete or partial; or prepare the named ones."""
    from vaenb import data

    for name in names or ():
        print(data.prepare(name))
    for row in [] if names else data.status():
        print(f"{row['name']:14} {row['state']:9} {row['images']:16} {row['licence']}")
        print(f"{'':14} {row['note']}" + (f" [{row['path']}]" if row["path"] else ""))


@app.command()
def scoreboard(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    paper: Annotated[str, typer.Option(help="Only this paper, as calibrated-decoders.")] = "",
):
    """Every claim and printed number of the papers: theirs, ours, verdict."""
    from vaenb import report

    board = report.scoreboard()
    if paper and paper not in board["counts"]:
        raise VaenbError(f"there is no paper {paper!r}; the papers are "
                         f"{', '.join(board['counts'])}")
    if paper:
        board["counts"] = {paper: board["counts"][paper]}
        for part in ("claims", "numbers"):
            board[part] = [row for row in board[part] if row["paper"] == paper]
    print(json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False) if as_json
          else report.scoreboard_text(board))


@app.command()
def merge(chapter: Annotated[str, typer.Argument(help="Only this chapter.")] = ""):
    """Fold what was measured under runs/ into the records of the book."""
    from vaenb.report import records
    from vaenb.run import find

    counts = records.merge(find(chapter).stem if chapter else None)
    for name, lines in counts.items():
        print(f"{name}: {lines} records")
    if not counts:
        say("nothing under runs/records to merge (profiles cpu and full are)")


@app.command()
def doctor():
    """Whether Python, torch, device, data, kernel and disk are well, or how to mend them."""
    from vaenb.doctor import rows

    found = rows()
    for name, well, text in found:
        print(f"{name:8}{'ok' if well else 'no':4}{text}")
    raise typer.Exit(not all(well for _, well, _ in found))


def main() -> None:
    """The console entry point. A request to terminate ends a run as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(prog_name="vaenb")
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
