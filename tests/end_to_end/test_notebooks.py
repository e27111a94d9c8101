"""Notebooks of docs/notebooks: every cell runs, in this process and on smaller patients; links lead somewhere."""

import re
import shlex

import nbformat
import pytest
from PIL import Image

import glioskull
from evaluation.experiments import runner
from tests.conftest import run_command
from tests.documents import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MODULES = {name: command.module for name, command in glioskull.commands().items()}
DISPLAY = "from IPython.display import Image"
SHORT = ("--max_minutes", "null", "--schedule.name", "cosine", "--epochs", "1", "--steps_per_epoch", "1")
FOLDS = ("max_minutes=null", "schedule.name=cosine", "epochs=1", "steps_per_epoch=1", "input.resize=[32,32]")
CLASSES = ("epochs=1", "steps_per_epoch=1", "phases=[]", "input.resize=[32,32]")
DEEPMEDIC = ("--model.filters", "[4,4]", "--model.residual", "[]", "--model.hidden", "[8,8]")
SMALLER = {
    "glioma": {
        "make_phantom": ("--cases", "6", "--size", "[48,48,32]"),
        "make_records": ("--prepare.size", "[16,48,48]"),
        "train": SHORT,
    },
    "lower_grade_glioma": {
        "make_phantom": ("--size", "[32,32,24]", "--cases", "4"),  # of two institutions, and both grades
        "cross_validate --train": ("--options", *FOLDS),
        "cross_validate --command": ("--options", *CLASSES),
    },
    "braintumornet": {
        "make_phantom": ("--size", "[32,32,32]", "--cases", "6"),
        "make_records": ("--prepare.size", "[32,32,32]"),
        "train": ("--steps", "2", "--validate_every", "2", "--input.patch", "[25,25,25]", *DEEPMEDIC),
    },
    "skull_base": {
        "make_phantom": ("--cases", "6", "--size", "[32,32,24]"),
        "align": ("--spacing_mm", "6", "--register", "never", "--workers", "1"),  # registration has tests of its own
        "make_records": ("--split.folds", "3"),
        "cross_validate": ("--options", "epochs=1", "steps_per_epoch=1", "input.patch=[24,32,32]", "model.depth=2"),
    },
}
"""Words behind the commands of a notebook, by the beginning of the command."""


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, tmp_path, monkeypatch):
    """Commands that a cross-validation calls run in this process too, which saves their starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "call", lambda name, words, *_: run_command(name, *words).status)
    namespace = {"Image": lambda path: Image.open(path).size}  # IPython's shows the picture
    for cell in read(path):
        if cell.cell_type == "code" and cell.source.startswith("!"):
            for line in cell.source.replace("\\\n", " ").splitlines():
                call(line.removeprefix("!"), SMALLER[path.stem])
        elif cell.cell_type == "code":
            exec(compile(cell.source.replace(DISPLAY, ""), path.name, "exec"), namespace)
    page = (tmp_path / "tutorial" / "report.html").read_text(encoding="utf-8")
    assert page.count("<table") > 1


def call(line, smaller):
    """Run a command of a notebook with the words behind it that make it short."""
    program, name, *words = shlex.split(line)
    assert program == "glioskull"
    more = [word for begin, extra in smaller.items() if " ".join([name, *words]).startswith(begin) for word in extra]
    done = run_command(MODULES[name], *words, *more)
    assert done.status == 0, f"{line}\n{done.err}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in read(path) if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []
