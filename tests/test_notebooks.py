"""The notebooks of the book: canonical, and with the skeleton that all chapters share."""

import json
import re

import pytest

import vaenb
from vaenb import nbtool
from vaenb.run import CHOICES, signature

NOTEBOOKS = sorted((vaenb.ROOT / "notebooks").glob("*.ipynb"))
TOC = vaenb.ROOT / "_toc.yml"
LINE = re.compile(r"[a-z]\w*: (str|int|float|bool) = [^#]*\S  # \S.*")
SHARED = {"profile": '"recorded"', "seeds": "0", "only_seed": "-1", "anew": "False",
          "device": '"auto"', "only": '""', "budget_minutes": "0"}


def code(path):
    return [cell for cell in nbtool.read(path)["cells"] if cell["cell_type"] == "code"]


def tagged(path, tag):
    return [cell for cell in code(path) if tag in cell["metadata"].get("tags", ())]


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_chapters_of_the_contents_are_there():
    if not TOC.exists():
        pytest.skip("no _toc.yml beside the package: not a clone")
    named = set(re.findall(r"\bnotebooks/(\w+)", TOC.read_text()))
    assert named, "the contents name no chapter"
    assert named <= {path.stem for path in NOTEBOOKS}


@each
def test_it_is_canonical_and_valid(path):
    import nbformat

    notebook = nbtool.read(path)
    assert nbtool.complaints(notebook) == []
    assert path.read_bytes().decode() == nbtool.canonical(notebook), \
        f"run python -m vaenb.nbtool {path}"
    nbformat.validate(nbformat.reads(path.read_text("utf-8"), as_version=nbformat.NO_CONVERT))


@each
def test_it_begins_by_checking_the_version(path):
    [version] = re.findall(r"^vaenb\.require\(\"([\d.]+)\"\)", nbtool.source(code(path)[0]), re.M)
    vaenb.require(version)


@each
def test_its_parameters_have_types_defaults_and_help(path):
    [cell] = tagged(path, "parameters")
    lines = nbtool.source(cell).splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    about = signature(path)
    assert list(about) == [line.split(":")[0] for line in lines]
    assert {name: about[name]["default"] for name in SHARED} == SHARED
    for name, values in CHOICES.items():
        assert about[name]["help"] == " | ".join(values)


@each
def test_checked_cells_have_something_to_check(path):
    for cell in tagged(path, nbtool.CHECKED):
        assert cell["execution_count"] and cell["outputs"], cell["id"]


# The tool itself.

def notebook(*cells):
    made = [dict(cell_type="code", metadata={}, source=[], outputs=[], execution_count=None) | cell
            for cell in cells]
    return dict(cells=made, metadata={}, nbformat=4, nbformat_minor=5)


OUTPUT = [dict(output_type="stream", name="stdout", text=["7\n"])]


def test_the_canonical_form_keeps_source_ids_tags_and_checked_outputs():
    messy = notebook(
        dict(id="run", source="y = 'é'\nz = 2\n\n", outputs=OUTPUT, execution_count=3,
             metadata=dict(collapsed=True, tags=["b", "a", "a"], papermill=dict(duration=1))),
        dict(id="kept", source=["print(7)"], outputs=OUTPUT, execution_count=4,
             metadata=dict(tags=[nbtool.CHECKED])))
    messy["metadata"] = dict(kernelspec=dict(name="my-env"), widgets={})
    text = nbtool.canonical(messy)
    clean = json.loads(text)
    assert clean["metadata"]["kernelspec"]["name"] == "python3" and "é" in text
    assert "widgets" not in clean["metadata"]
    first, second = clean["cells"]
    assert first == dict(cell_type="code", id="run", metadata=dict(tags=["a", "b"]), outputs=[],
                         execution_count=None, source=["y = 'é'\n", "z = 2"])
    assert (second["outputs"], second["execution_count"]) == (OUTPUT, 4)
    assert nbtool.canonical(clean) == text and text.endswith("}\n")


def test_what_only_the_author_can_mend_is_named():
    wrong = notebook(dict(id="good-name"), dict(id="good-name"), dict(id="96df3da1"), dict(),
                     dict(id="wide", source=["x = 1\n", "#" * 80]),
                     dict(id="unrun", metadata=dict(tags=[nbtool.CHECKED]), outputs=OUTPUT))
    said = nbtool.complaints(wrong)
    assert [re.search(r"cell (\S+)", line)[1] for line in said] == [
        "2", "3", "4", "wide,", "unrun"]
    assert "(no id) needs an id" in said[2] and "line 2 has 80 characters" in said[3]
    assert nbtool.complaints(notebook(dict(id="ok", source=["#" * 79]))) == []


def test_the_tool_rewrites_files_and_only_looks_when_asked(tmp_path, capsys):
    good, bad = tmp_path / "good.ipynb", tmp_path / "bad.ipynb"
    good.write_text(json.dumps(notebook(dict(id="one", source="x = 1"))))
    before = good.read_bytes()
    assert nbtool.main(["--check", str(good)]) == 1 and good.read_bytes() == before
    assert "not in canonical form: run python -m vaenb.nbtool" in capsys.readouterr().err
    assert nbtool.main([str(good)]) == 0 and good.read_bytes() != before
    assert nbtool.main(["--check", str(good)]) == 0 and nbtool.main([str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: rewritten\n"
    for content in ("{", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}',
                    json.dumps(notebook() | dict(nbformat_minor=4))):
        bad.write_text(content)
        assert nbtool.main([str(bad)]) == 1 and bad.read_text() == content
        assert re.search("is not a notebook|has the format 4.4", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ipynb", "good.ipynb"]
