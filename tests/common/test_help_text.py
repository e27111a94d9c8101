"""Help of a command: usage by required options, groups in reading order, words in the place of types."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from common import cli


@dataclass(kw_only=True)
class BoxConfig:
    """Size of the box."""

    side: float = 2.0
    """In millimetres."""


@dataclass(kw_only=True)
class PackConfig:
    """Pack things.

    Boxes are closed.
    """

    colours: list[str] = field(default_factory=list)
    """Of the paper."""
    number: int | None = None
    """How many."""
    order: Literal["first", "last"] = "first"
    """Which comes first."""
    things: list[Path]
    """What is packed."""
    box: BoxConfig = field(default_factory=BoxConfig)


@pytest.fixture
def shown(capsys):
    with pytest.raises(SystemExit) as end:
        cli.parse(PackConfig, ["--help"], "glioskull pack")
    assert end.value.code == 0
    return capsys.readouterr().out


def test_usage_has_the_required_options_alone(shown):
    assert shown.startswith("usage: glioskull pack --things THINGS [THINGS ...] [options]\n\nPack things. Boxes are closed.\n")


def test_required_options_come_first_and_general_ones_last(shown):
    parts = ("options of the command:", "  --things", "  --colours", "Size of the box:", "  --box.side", "general options:")
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert shown.count("Pack things.") == 1


def test_values_are_words_not_types(shown):
    plain = " ".join(shown.split())
    assert "--things THINGS [THINGS ...] What is packed. (required)" in plain
    assert "--colours COLOURS [COLOURS ...] Of the paper. (default: [])" in plain
    assert "--number NUMBER How many. (whole number; default: null)" in plain
    assert "--order {first,last} Which comes first. (default: first)" in plain
    assert "--box.side SIDE In millimetres. (number; default: 2.0)" in plain
    for word in ("type:", "Union", "--box CONFIG", ".help", "--things+"):
        assert word not in plain
