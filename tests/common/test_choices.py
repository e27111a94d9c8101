"""Choices among dataclasses by name."""

import json

import pytest

from common.choices import IMPORT_PATH, chosen_name, load_class, with_choices
from common.errors import UserError
from training.config import TrainConfig


def kind_of(*arguments):
    return with_choices(TrainConfig, list(arguments)).__dataclass_fields__["model"].type.__name__


def test_the_name_decides_the_dataclass_wherever_it_is_given(tmp_path):
    assert kind_of() == "UNetConfig"
    assert kind_of("--model.name", "deepmedic") == kind_of('--model={"name": "deepmedic"}') == "DeepMedicConfig"
    assert kind_of("--model.name", "my_models:tiny") == kind_of("--model.name", IMPORT_PATH) == "CustomConfig"
    (tmp_path / "c.yaml").write_text("model: {name: deepmedic}\n")
    assert chosen_name("model", ["--config", str(tmp_path / "c.yaml")]) == "deepmedic"
    (tmp_path / "own.yaml").write_text(json.dumps({"model": str(tmp_path / "network.yaml")}))
    (tmp_path / "network.yaml").write_text("name: my_models:tiny\n")
    assert chosen_name("model", ["--config", str(tmp_path / "own.yaml")]) == "my_models:tiny"


@pytest.mark.parametrize("name", [{"class_path": "os.system"}, ["unet"], 3, {"a:b": 1}])
def test_a_name_that_is_no_text_is_a_line(name, tmp_path):
    (tmp_path / "c.yaml").write_text(json.dumps({"model": {"name": name}}))
    with pytest.raises(UserError, match=r"c\.yaml: --model\.name: expected one of unet, encoder_unet, deepmedic"):
        kind_of("--config", str(tmp_path / "c.yaml"))


def test_a_similar_name_is_offered():
    with pytest.raises(UserError, match=r"^--model\.name: .*; received 'unte'; did you mean unet\?$"):
        kind_of("--model.name", "unte")


def test_a_class_of_the_toolkits_own_tables_is_loaded():
    assert load_class("training.config:TrainConfig") is TrainConfig
