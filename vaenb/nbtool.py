"""The one form in which a notebook is kept: `python -m vaenb.nbtool [--check] FILES`.

A change of one line is then a change of one line in its file. Kept are source, ids and tags;
outputs and counts only in cells tagged ``nbval-check-output``, whose output a test compares.
"""

import json
import re
import sys
from pathlib import Path

from vaenb.errors import VaenbError
from vaenb.files import whole

CHECKED = "nbval-check-output"
WIDTH = 79  # of code lines, so that a page of the book shows them whole
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANDOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}")  # as editors give


def read(path) -> dict:
    """A notebook as its JSON says it. Raises VaenbError where it is none or older than 4.5."""
    try:
        notebook = json.loads(Path(path).read_text("utf-8"))
        version = (notebook["nbformat"], notebook["nbformat_minor"])
        [(cell["cell_type"], cell["metadata"]) for cell in notebook["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VaenbError(f"{path} is not a notebook ({error!r}): restore it") from error
    if not (4, 5) <= version < (5, 0):
        raise VaenbError(f"{path} has the format {version[0]}.{version[1]} and 4.5 is needed: "
                         f"open it in JupyterLab and save it again")
    return notebook


def source(cell: dict) -> str:
    """The text of a cell, without blank lines at its end."""
    return "".join(cell["source"]).rstrip()


def canonical(notebook: dict) -> str:
    """The text that the file of this notebook should have."""
    cells = []
    for cell in notebook["cells"]:
        tags = sorted(set(cell["metadata"].get("tags", ())))
        kept = {key: cell[key] for key in ("cell_type", "id", "attachments") if cell.get(key)}
        kept["metadata"] = {"tags": tags} if tags else {}
        kept["source"] = source(cell).splitlines(keepends=True)
        if cell["cell_type"] == "code":
            kept["execution_count"] = cell.get("execution_count") if CHECKED in tags else None
            kept["outputs"] = cell.get("outputs", []) if CHECKED in tags else []
        cells.append(kept)
    whole = {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def complaints(notebook: dict) -> list[str]:
    """What only its author can mend: ids that nobody named, long lines, checked cells not run."""
    found, seen = [], set()
    for number, cell in enumerate(notebook["cells"], 1):
        name = str(cell.get("id", ""))
        if not _ID.fullmatch(name) or _RANDOM.fullmatch(name) or name in seen:
            found.append(f"cell {number} ({name or 'no id'}) needs an id of its own, given by "
                         f"hand, of letters, digits, - and _")
        seen.add(name)
        if cell["cell_type"] != "code":
            continue
        for line, text in enumerate(source(cell).splitlines(), 1):
            if len(text) > WIDTH:
                found.append(f"cell {name}, line {line} has {len(text)} characters, "
                             f"and {WIDTH} are allowed")
        checked = CHECKED in cell["metadata"].get("tags", ())
        if checked and not (cell.get("outputs") and cell.get("execution_count")):
            found.append(f"cell {name} is tagged {CHECKED} but has no output or no count, so that "
                         f"nothing would be checked: run it and save")
    return found


def main(arguments: list[str]) -> int:
    """Rewrite the files (``--check``: only look); 1 if something is left to mend."""
    status, check = 0, "--check" in arguments
    for path in (Path(a) for a in arguments if a != "--check"):
        try:
            notebook = read(path)
            text, wrong = canonical(notebook).encode(), complaints(notebook)
        except VaenbError as error:
            text, wrong = None, [str(error)]
        if text and check and text != path.read_bytes():
            wrong.append(f"not in canonical form: run python -m vaenb.nbtool {path}")
        elif text and text != path.read_bytes():
            with whole(path) as file:
                file.write(text)
            print(f"{path}: rewritten")
        for sentence in wrong:
            print(f"{path}: {sentence}", file=sys.stderr)
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
