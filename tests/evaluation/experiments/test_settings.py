"""Settings of trainings of an experiment: merged options, paths, and what a run was begun with."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from common import cli
from common.errors import UserError
from evaluation.experiments.settings import (
    RecordsShare,
    RunSettings,
    TrainingSettings,
    changed_setting,
    dotted,
    locate_config,
    merged,
    option_words,
    parse_entry,
    training_config,
)
from evaluation.experiments.space import SweepConfig
from tests.training.runs import ROOT
from training.config import TrainConfig


@pytest.mark.parametrize("options", [{"input.copies": False}, {"input": {"copies": False}}])
def test_dotted_and_nested_options_are_merged_alike(options):
    values = {"epochs": 2, "input": {"copies": True, "size": [8, 8]}}
    assert merged(values, options) == {"epochs": 2, "input": {"copies": False, "size": [8, 8]}}
    assert values["input"]["copies"] is True
    assert merged({"input": None}, options) == {"input": {"copies": False}}


def test_dotted_names_and_nested_options_are_inverse():
    nested = {"epochs": 2, "model": {"name": "unet", "filters": {"first": 3}}, "rates": {}, "size": [1, 2]}
    flat = {"epochs": 2, "model.name": "unet", "model.filters.first": 3, "rates": {}, "size": [1, 2]}
    assert dotted(nested) == flat
    assert merged({}, flat) == nested


def test_an_empty_mapping_takes_the_place_of_what_was_there():
    values = {"heads": {"hgg": {}, "mets": {}}, "loss_weights": {"hgg": 2.0}, "input": {"batch_size": 4}}
    assert merged(values, {"heads": {}, "loss_weights": {}}) == values | {"heads": {}, "loss_weights": {}}


def test_an_empty_group_of_options_changes_nothing():
    values = {"input": {"batch_size": 4}, "heads": {"hgg": {"target": {"attribute": "grade"}}}}
    assert merged(values, {"input": {}, "heads": {"hgg": {}}}) == values
    assert merged({}, {"input": {}}) == {"input": {}}


def test_options_are_words_of_a_command_line():
    words = option_words({"model": {"name": "unet"}, "input.size": [16, None], "validate": False, "monitor": "a b"})
    assert words == ["--model.name=unet", "--input.size=[16, null]", "--validate=false", "--monitor=a b"]


def test_a_runs_options_win_over_those_of_all_and_chosen_ones_over_both(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("epochs: 2\nmodel: {filters: 3, depth: 1}\nseed: 1\n")
    training = TrainingSettings(train=file, options={"model.filters": 4, "steps_per_epoch": 7})
    config = training_config(training, {"model": {"filters": 5, "depth": 2}, "steps_per_epoch": 6}, {"steps_per_epoch": 8})
    assert (config.epochs, config.seed, config.model.filters, config.model.depth) == (2, 1, 4, 2)
    assert config.steps_per_epoch == 8


@pytest.mark.parametrize(
    ("train", "options", "said"),
    [
        ({"epochs": "many"}, {}, "train: epochs: expected a whole number; received many"),
        ({}, {"epochz": 1}, "epochz: unknown key; did you mean epochs? (see glioskull train --help)"),
        ({}, {"resume": "run"}, "resume is given by the study itself"),
        ("- 1\n", {}, "train.yaml: expected a config of a training: a YAML mapping of options to values"),
        (None, {}, "train.yaml"),
    ],
)
def test_a_training_that_cannot_be_resolved_is_refused(tmp_path, train, options, said):
    if not isinstance(train, dict):
        if train is not None:
            (tmp_path / "train.yaml").write_text(train)
        train = tmp_path / "train.yaml"
    with pytest.raises(UserError) as error:
        training_config(TrainingSettings(train=train, options=options), {})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_config_is_found_beside_the_studys_file(tmp_path, monkeypatch):
    (tmp_path / "train.yaml").touch()
    values = {"name": "a", "train": "train.yaml"}
    assert locate_config(values, tmp_path / "study.yaml") == {"name": "a", "train": str(tmp_path / "train.yaml")}
    assert locate_config({"train": str(tmp_path / "train.yaml")}, Path("elsewhere/study.yaml"))["train"] == str(
        tmp_path / "train.yaml"
    )
    assert locate_config({"train": {"epochs": 1}}, tmp_path / "study.yaml") == {"train": {"epochs": 1}}
    assert locate_config({"train": "glioma/train_3d"}, tmp_path / "study.yaml")["train"].endswith(
        "configs/glioma/train_3d.yaml"
    )
    monkeypatch.chdir(tmp_path)
    assert locate_config(values, None)["train"] == "train.yaml"
    with pytest.raises(UserError, match=r"none\.yaml: config of the training not found.*paths in .*study\.yaml are relative"):
        locate_config({"train": "none.yaml"}, tmp_path / "study.yaml")
    with pytest.raises(UserError, match=r"^none\.yaml: config of the training not found"):
        locate_config({"train": "none.yaml"}, None)


def test_an_entry_with_an_unknown_or_missing_key_is_refused():
    assert parse_entry(RunSettings, {"name": "a", "train": {}}, "--runs") == RunSettings(name="a", train={})
    with pytest.raises(UserError, match=r"^--runs: expected train, options, name, records, init_from; received config"):
        parse_entry(RunSettings, {"name": "a", "config": "x"}, "--runs")
    with pytest.raises(UserError, match=r"^--runs: missing key train"):
        parse_entry(RunSettings, {"name": "a"}, "--runs")


def test_the_records_of_a_run_are_names_or_have_shares():
    entries = ["hgg", {"name": "mets", "share": 0.3, "heads": ["mets"]}]
    run = parse_entry(RunSettings, {"name": "a", "train": {}, "records": entries}, "--runs")
    assert run.shares == [RecordsShare(name="hgg"), RecordsShare(name="mets", share=0.3, heads=["mets"])]
    assert parse_entry(RunSettings, {"name": "a", "train": {}}, "--runs").shares is None


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "-x", "a b", ".."])
def test_a_name_that_makes_no_folder_is_refused(name):
    with pytest.raises(UserError, match=r"^--name: expected letters"):
        RunSettings(name=name, train={}).check()


@pytest.mark.parametrize("name", ["model1", "a.b", "x+y", "3d-unet_2"])
def test_a_name_that_makes_a_folder_is_taken(name):
    RunSettings(name=name, train={}).check()


@pytest.mark.parametrize(
    ("begun", "wanted", "setting"),
    [
        ({"precision": "float32"}, {}, None),
        ({"precision": "float32"}, {"precision": "mixed_float16"}, "precision"),
        ({"out": "runs/a", "records": "r"}, {}, None),
        ({"model.filters": 3}, {"model.filters": 4}, "model.filters"),
        ({"epochs": 3}, {"epochs": 3}, None),
    ],
)
def test_the_setting_that_differs_from_a_runs_is_named(begun, wanted, setting):
    def config(options):
        return cli.from_dict(TrainConfig, merged({}, options), Path("train"))

    assert changed_setting(SimpleNamespace(config=config(begun)), config(wanted)) == setting


@pytest.mark.parametrize(
    "file",
    [file for file in sorted((ROOT / "configs").glob("*/*.yaml")) if {"runs", "sweep"} & set(yaml.safe_load(file.read_text()))],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_the_shipped_studies_can_be_trained(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths in a study are relative to its file
    study = yaml.safe_load(file.read_text())
    parts = [parse_entry(RunSettings, locate_config(run, file), "--runs") for run in study.get("runs", [])]
    parts += [parse_entry(SweepConfig, locate_config(study["sweep"], file), "--sweep")] if "sweep" in study else []
    assert parts
    for part in parts:
        config = training_config(part, study.get("options", {}))
        assert isinstance(config, TrainConfig)
        config.check()
