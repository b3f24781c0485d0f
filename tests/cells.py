"""A chapter's own lines for tests and benchmarks: cells of its notebook, executed."""

import vaenb
from vaenb import nbtool


def cells(name: str, only=(), until: str = "", **known) -> dict:
    """What the code cells of a notebook define: those with the ids ``only``, or all of them
    before the one with the id ``until``. ``known``: names that a notebook's kernel would give,
    whose ``display`` shows nothing here."""
    space: dict = dict(display=lambda *_: None) | known
    for cell in nbtool.read(vaenb.ROOT / "notebooks" / f"{name}.ipynb")["cells"]:
        if until and cell["id"] == until:
            break
        if cell["cell_type"] == "code" and (not only or cell["id"] in only):
            exec(nbtool.source(cell), space)
    return space
