"""Options that belong elsewhere, numbers that are not finite, and the help that errors refer to."""

from pathlib import Path

import pytest

from common import cli
from common.errors import UserError
from tests.common.test_cli import ExampleConfig, InnerConfig, parse


def test_an_option_of_another_name_of_a_choice_is_said_to_be_that(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("shape: {name: circle, radius: 2.0}")
    with pytest.raises(UserError) as error:
        parse("--config", str(path), "--shape.name", "square")
    assert str(error.value).startswith(
        f"{path}: option shape.radius belongs to shape.name circle; received shape.name square: "
        "take a config without `shape`, or with that of square (see "
    )
    with pytest.raises(UserError) as error:
        parse("--shape.radius", "2", "--shape.name", "square")
    assert "belongs to shape.name circle; received shape.name square: leave it out, or set shape.name (see" in str(error.value)


@pytest.mark.parametrize("value", ["nan", ".nan", "-.inf", "inf"])
def test_a_number_is_finite(value):
    received = value.replace(".", "")
    with pytest.raises(UserError) as error:
        parse(f"--shape.radius={value}")
    assert str(error.value).startswith(f"--shape.radius: expected a finite number; received {received} (see")
    with pytest.raises(UserError) as error:
        parse(f"--inner.rates=[1.0, {value}]")
    assert str(error.value).startswith(f"--inner.rates: expected a finite number; received {received} (see")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"depth": 3}, "there: depth: unknown key"),
        ({"siz": [1, 2]}, "there: siz: unknown key; did you mean size?"),
        ({"mod": 1}, "there: mod: unknown key; did you mean mode?"),
        ({"mode": "fats"}, "there: mode: expected one of fast, slow; received fats"),
    ],
)
def test_a_stored_config_is_refused_in_the_words_of_its_file(values, line, capsys):
    def main(config):
        cli.from_dict(InnerConfig, values, Path("there"))

    with pytest.raises(SystemExit):
        cli.run(main, ExampleConfig, ["--out", "x"], "glioskull draw")
    assert capsys.readouterr().err == f"error: {line}\n"
    with pytest.raises(UserError) as error:
        cli.from_dict(InnerConfig, values, Path("there"), "glioskull train")
    assert str(error.value) == f"{line} (see glioskull train --help)"


def test_the_command_that_ran_is_not_named_later(capsys):
    with pytest.raises(SystemExit):
        cli.run(print, ExampleConfig, ["--cuont", "1"], "glioskull draw")
    assert capsys.readouterr().err.endswith("(see glioskull draw --help)\n")
    with pytest.raises(UserError) as error:
        parse("--cuont", "1")
    assert "glioskull draw" not in str(error.value)
