"""Options that are lists of configs, and lists of paths or configs."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from common import cli
from common.errors import UserError


@dataclass
class Part:
    """One of several."""

    epochs: int | None = None
    rates: dict[str, float] = field(default_factory=dict)


@dataclass
class Several:
    """A list of configs, a list of paths or configs, and a mapping of names to configs."""

    parts: list[Part] = field(default_factory=list)
    """The parts."""
    folders: list[Path | Part] | Path | None = None
    """One folder, or several."""
    named: dict[str, Part] = field(default_factory=dict)
    """Parts by name."""


def test_a_list_of_configs_is_given_on_the_command_line_and_in_a_file(tmp_path):
    expected = [Part(3), Part(None, {"a": 0.5})]
    assert cli.parse(Several, ["--parts", '[{"epochs": 3}, {"rates": {"a": 0.5}}]']).parts == expected
    (tmp_path / "c.yaml").write_text("parts:\n- epochs: 3\n- rates: {a: 0.5}\nfolders: [x, {epochs: 2}]\n")
    given = cli.parse(Several, ["--config", str(tmp_path / "c.yaml")])
    assert (given.parts, given.folders) == (expected, [Path("x"), Part(2)])
    assert cli.from_dict(Several, cli.as_dict(given), tmp_path) == given


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--folders", "a"], [Path("a")]), (["--folders", "a", "b"], [Path("a"), Path("b")]), (["--folders=a"], Path("a"))],
)
def test_one_folder_or_several_are_words(words, expected):
    assert cli.parse(Several, words).folders == expected


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("parts", '[{"epoch": 3}]', "item 1: option epoch is not known; did you mean epochs? (see"),
        ("parts", '[{"epochs": "x"}]', "item 1: epochs: expected a whole number or null; received x (see"),
        (
            "parts",
            '{"epochs": 3}',
            'expected a list of mappings, each with one setting at least; received {"epochs": 3} (see',
        ),
        ("parts", "[3]", "expected a list of mappings, each with one setting at least; received 3 (see"),
        ("parts", '[{"epochs": 1}, {"qqqq": 1}]', "item 2: option qqqq is not known; it has epochs, rates (see"),
        ("parts", '[{"rates": 3}]', "item 1: rates: expected a mapping; received 3 (see"),
        ("parts", "[{}]", "expected a list of mappings, each with one setting at least; received {} (see"),
        ("named", "{a: {epoch: 3}}", "a: option epoch is not known; did you mean epochs? (see"),
        ("named", "{a: {}, b: {epochs: x}}", "b: epochs: expected a whole number or null; received x (see"),
        ("named", "{a: 3}", "a: expected a mapping of its options, such as {}; received 3 (see"),
    ],
)
def test_wrong_configs_in_a_list_or_by_name_are_one_line(option, value, said):
    with pytest.raises(UserError) as error:
        cli.parse(Several, [f"--{option}", value])
    assert f"--{option}: {said}" in str(error.value)
    assert "\n" not in str(error.value)


def test_configs_are_given_by_name():
    assert cli.parse(Several, ["--named", "{a: {epochs: 3}, b: {}}"]).named == {"a": Part(3), "b": Part()}


def test_a_mistake_in_a_list_of_folders_is_no_path(tmp_path):
    said = r"^--folders: item 1: option epochz is not known; did you mean epochs\? \(see "
    with pytest.raises(UserError, match=said):
        cli.parse(Several, ["--folders", "[{epochz: 3}]"])
    assert cli.parse(Several, ["--folders=[odd] name"]).folders == Path("[odd] name")


def test_a_wrong_item_of_a_file_is_named_with_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("parts:\n- {epochs: 1}\n- {epochs: two}\n")
    with pytest.raises(UserError) as error:
        cli.parse(Several, ["--config", str(path)], "glioskull draw")
    said = f"{path}: --parts: item 2: epochs: expected a whole number or null; received two (see glioskull draw --help)"
    assert str(error.value) == said


@pytest.mark.parametrize("second", ["file", "words"])
def test_later_items_replace_earlier_ones_and_take_no_value_of_them(second, tmp_path):
    first, file = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(
        "parts:\n- {epochs: 1}\n- {rates: {a: 1.0}}\nnamed: {x: {epochs: 4}, y: {}}\nfolders: [{epochs: 1}, {epochs: 2}]\n"
    )
    later = {"parts": "[{rates: {b: 2.0}}, {epochs: 7}]", "named": "{x: {rates: {c: 3.0}}}", "folders": "[{rates: {}}, z]"}
    file.write_text("".join(f"{name}: {value}\n" for name, value in later.items()))
    words = ["--config", str(file)] if second == "file" else [f"--{name}={value}" for name, value in later.items()]
    given = cli.parse(Several, ["--config", str(first), *words])
    assert given.parts == [Part(None, {"b": 2.0}), Part(7)]
    assert given.named == {"x": Part(None, {"c": 3.0})}
    assert given.folders == [Part(), Path("z")]


def test_print_config_prints_the_items_that_are_taken(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("parts: [{epochs: 1}]\n")
    with pytest.raises(SystemExit):
        cli.parse(Several, ["--config", str(tmp_path / "a.yaml"), "--parts=[{rates: {a: 1.0}}]", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["parts"] == [{"epochs": None, "rates": {"a": 1.0}}]
