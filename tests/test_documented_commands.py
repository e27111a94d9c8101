"""Every command line in the documentation and in the configs' header comments is one that its command takes."""

import re
import shlex
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import glioskull
from common import cli
from common.configs import find_config

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").rglob("*.yaml"))]
START = re.compile(r"(?:[A-Z_]+=\S+ )?(?:glioskull|python -m \w+\.)\s*(\w+) (.*)")


def command_lines(page):
    """(command, arguments) of every command line of a page; a backslash or an open quotation continues it."""
    comment = "#" if page.suffix == ".yaml" else ""
    lines = [line.removeprefix(comment).strip() for line in page.read_text(encoding="utf-8").splitlines()]
    lines = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    for number, line in enumerate(lines):
        found = START.fullmatch(line)
        if found and found[1] in glioskull.commands() and "--" in found[2]:
            rest = found[2]
            while rest.count("'") % 2:
                number += 1
                rest += f" {lines[number]}"
            yield found[1], shlex.split(rest, comments=True)


@pytest.mark.parametrize("page", [page for page in PAGES if any(command_lines(page))], ids=lambda page: page.name)
def test_each_command_takes_its_documented_arguments(page):
    for name, arguments in command_lines(page):
        command = glioskull.commands()[name]
        cli.parse(getattr(import_module(command.module), command.config), arguments)
        for option, value in pairwise(arguments):
            if option in ("--train", "--postprocess") and "/" in value:
                find_config(value)


def test_command_lines_are_found():
    found = [line for page in PAGES for line in command_lines(page)]
    assert len(found) > 80
    assert {"train", "predict", "score", "make_records", "cross_validate", "study"} <= {name for name, _ in found}
