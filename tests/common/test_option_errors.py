"""Error lines of options, made from jsonargparse's messages."""

import os

import pytest

from common.errors import UserError
from common.option_errors import explained, file_of, given_values, plain, refuse_undecoded, type_words, unknown_key

UNION = """Parser key "prepare.size":
  Does not validate against any of the Union subtypes
  Subtypes: [{}, <class 'NoneType'>]
  Errors:
    - Expected a <class 'tuple'>
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: {}"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("<class 'int'>", "a whole number"),
        ("float", "a number"),
        ("<class 'pathlib.Path'>", "a path"),
        ("tuple[int, int, int]", "a list of three whole numbers"),
        ("tuple[float, float]", "a list of two numbers"),
        ("tuple[str, ...]", "a list of texts"),
        ("list[str]", "a list of texts"),
        ("list[list[int]]", "a list of lists"),
        ("list[str | int]", "a list of values"),
        ("list[training.config.RecordsConfig]", "a list of mappings"),
        ("dict[str, list[str]]", "a mapping"),
        ("typing.Literal['a', 'b', None]", "one of a, b, null"),
        ("<class 'training.config.RecordsConfig'>", "a mapping of its options"),
        ("NoneType", "null"),
    ],
)
def test_types_in_words(name, words):
    assert type_words(name) == words


@pytest.mark.parametrize(
    ("kind", "received", "example", "line"),
    [
        (
            "tuple[int, int, int]",
            "128",
            (64, 64, 64),
            "a list of three whole numbers, such as [64, 64, 64], or null; received 128",
        ),
        ("tuple[float, float]", "3", None, "a list of two numbers or null; received 3"),
        ("<class 'float'>", "x", None, "a number or null; received x"),
        ("<class 'float'>", "nan", None, "a finite number or null; received nan"),
        ("typing.Literal['a', 'b']", "c", None, "one of a, b or null; received c"),
    ],
)
def test_a_union_is_a_choice_of_words(kind, received, example, line):
    assert plain(UNION.format(kind, received), example) == f"--prepare.size: expected {line}"


def test_a_single_type_and_a_list_of_mappings():
    assert plain("Parser key \"epochs\":\n  Expected a <class 'int'>. Got value: None") == (
        "--epochs: expected a whole number; received null"
    )
    assert plain('Parser key "phases":\n  Expected a dot import path string: {a: 1}') == (
        "--phases: expected a list of mappings, each with one setting at least; received {a: 1}"
    )
    assert plain("the following arguments are required: out") == "missing option --out"
    assert plain("anything else") == "anything else"


def test_unknown_options_are_found_in_messages():
    assert unknown_key("Group 'model' does not accept option 'filters'") == "model.filters"
    assert unknown_key("Option 'cuont' is not accepted") == "cuont"
    assert unknown_key("unrecognized arguments: --model.filters 3") == "model.filters"
    assert unknown_key("--count: expected a number; received x") is None


def test_what_appends_to_a_list_is_not_suggested():
    assert explained("Option 'freez' is not accepted", ["freeze", "freeze+"], []) == (
        "option freez is not known; did you mean freeze?"
    )


def test_values_are_found_with_their_files(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("model: {filters: 3}\n")
    second.write_text("epochs: 2\n")
    given = ["--config", str(first), f"--config={second}", "--epochs=5"]
    assert given_values("model.filters", given) == [(f"{first}: ", 3)]
    assert given_values("epochs", given) == [(f"{second}: ", 2), ("", "5")]
    assert file_of("model.filters", given) == f"{first}: "
    assert file_of("epochs", given) == file_of("seed", given) == ""


def test_an_argument_that_is_not_utf8_is_refused_in_a_line_that_can_be_printed():
    refuse_undecoded(["--source", "Müller"])
    with pytest.raises(UserError, match=r"^scans\\xff: expected arguments in UTF-8") as error:
        refuse_undecoded(["--source", os.fsdecode(b"scans\xff")])
    assert str(error.value).encode()
