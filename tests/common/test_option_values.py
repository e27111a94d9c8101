"""Options and configs are read as YAML with bounds, whatever their type."""

from dataclasses import dataclass, field

import pytest

from common import cli
from common.errors import UserError
from common.option_values import option_value, value_or_none

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@dataclass
class Config:
    """A command."""

    names: list[str] = field(default_factory=list)
    """Names."""
    texts: dict[str, str] = field(default_factory=dict)
    """Texts."""
    rate: float = 1.0
    """Rate."""
    title: str = ""
    """Title."""


@pytest.mark.parametrize("text", [BOMB, "[" * 300, f"rate: {'9' * 5000}", "names: {[1]: 2}"])
@pytest.mark.parametrize("place", ["--config", "--names", "--texts", "--rate"])
def test_configs_and_options_are_bounded_too(tmp_path, text, place):
    file = tmp_path / "f.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        cli.parse(Config, [f"{place}={file if place == '--config' else text}"])
    assert len(str(error.value)) < 20_000


def test_options_are_read_as_yaml():
    given = ["--names=[a, '1']", "--texts={no: x, b: '2'}", "--rate=1e-3", "--title={a}"]
    assert cli.parse(Config, given) == Config(["a", "1"], {"no": "x", "b": "2"}, 1e-3, "{a}")
    assert cli.parse(Config, ["--title=a:"]).title == "a:"


def test_keys_without_values_stay_text():
    assert [option_value(text) for text in ("a:", "{a, b}", "{a: null, b: 1}", "3")] == ["a:", "{a, b}", {"a": None, "b": 1}, 3]
    assert value_or_none("[1") is None


def test_a_nul_character_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="NUL characters"):
        cli.from_dict(Grouped, {"group": "a\x00b"}, tmp_path / "f.yaml")


@dataclass
class Group:
    """Options."""

    size: int = 1
    """Size."""


@dataclass
class Grouped:
    """A command with a group of options."""

    group: Group = field(default_factory=Group)
    """Options of a group."""
