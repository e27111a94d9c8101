"""Options that belong elsewhere, numbers that are not finite, and the help that errors refer to."""

import json
import sys
from pathlib import Path

import pytest

from common import cli
from common.errors import UserError
from tests.common.test_cli import ExampleConfig, InnerConfig, parse
from training.config import TrainConfig


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("schedule", "canary_module.X"), ("schedule", {"class_path": "canary_module.X"}), ("optimizer", "canary_module:X")),
        *(("phases", ["canary_module.X"]), ("phases", [{"class_path": "canary_module.X", "init_args": {}}])),
        *(("records", [{"class_path": "canary_module.X"}]), ("heads", {"a": {"class_path": "canary_module.X"}})),
        *(("model", "canary_module.X"), ("model", {"class_path": "canary_module.X"}), ("loss", "canary_module.X")),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_nothing_that_a_value_names_is_imported(option, value, in_file, tmp_path, monkeypatch):
    (tmp_path / "canary_module.py").write_text("class X:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps({option: value}))
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(UserError) as caught:
        cli.parse(TrainConfig, ["--config", str(tmp_path / "c.yaml")] if in_file else [f"--{option}={text}"])
    assert "\n" not in str(caught.value)
    assert "canary_module" not in sys.modules
