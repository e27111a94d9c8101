"""Facts on the command line that a config came from."""

import pytest

from common import cli
from common.errors import UserError
from evaluation.tune import TuneConfig
from training.config import TrainConfig


def test_given_options_are_those_that_were_given_with_their_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 4\ninput: {batch_size: 2, copies: false}\nheads: {}\n")
    config = cli.parse(TrainConfig, ["--seed=0", "--config", str(file), "--input.batch_size", "3", "--records", "a", "b"])
    assert config.given_options == {
        **{"seed": "", "epochs": str(file), "input.batch_size": "", "input.copies": str(file), "heads": str(file)},
        "records": "",
    }
    assert list(cli.parse(TrainConfig, ["--patience", "2", "--epochs", "3"]).given_options) == ["patience", "epochs"]
    network = tmp_path / "network.yaml"
    network.write_text("name: unet\nfilters: 4\n")
    given = cli.parse(TrainConfig, ["--model", str(network), "--model.depth", "1"]).given_options
    assert given == {"model": "", "model.name": str(network), "model.filters": str(network), "model.depth": ""}
    config = tmp_path / "own.yaml"
    config.write_text(f"epochs: 2\nmodel: {network}\n")
    given = cli.parse(TrainConfig, ["--config", str(config)]).given_options
    assert given == {"epochs": str(config), "model": str(config), "model.name": str(network), "model.filters": str(network)}
    assert TrainConfig().given_options is None


def test_trust_is_repeated_on_the_command_line_and_no_setting_of_the_training():
    config = cli.parse(TuneConfig, ["--trust", "a.b:c", "d:e", "--runs", "R", "--trust=f:g"])
    assert list(config.trust) == ["a.b:c", "d:e", "f:g"]
    assert [str(path) for path in config.runs] == ["R"]
    assert "trust" not in cli.as_dict(cli.parse(TrainConfig, ["--trust", "a:b"]))
    assert list(TrainConfig().trust) == list(cli.parse(TrainConfig, []).trust) == []


def test_a_file_cannot_give_trust(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("trust: ['a:b']\n")
    with pytest.raises(UserError, match=r"c\.yaml: trust: is given on the command line alone"):
        cli.parse(TrainConfig, ["--config", str(file)])
    file.write_text("trust: []\n")  # as --print_config has it
    assert cli.parse(TrainConfig, ["--config", str(file)]).trust == []
