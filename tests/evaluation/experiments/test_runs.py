"""Runs of an experiment while they train: lines of epochs, and where their settings are kept."""

import yaml

from evaluation.experiments import runner
from evaluation.experiments.runs import Epochs, log_path, train_run, training_of
from training.config import TrainConfig


def test_epochs_are_printed_once_and_judged_from_the_first(tmp_path, capsys):
    heading = "epoch,minutes,loss,val_mean_iou\n"
    rows = ["1,0.5,0.9,0.1\n", "2,1.0,0.8,0.2\n", "3,2.5,0.7,0.3\n"]
    (tmp_path / "history.csv").write_text(heading + rows[0])
    asked = []
    epochs = Epochs(tmp_path, TrainConfig(epochs=5, max_minutes=4), lambda row: asked.append(row["epoch"]) or row["epoch"] == 3)
    (tmp_path / "history.csv").write_text(heading + "".join(rows[:2]))
    assert not epochs()
    assert not epochs()
    (tmp_path / "history.csv").write_text(heading + "".join(rows))
    assert epochs()
    assert epochs()
    assert asked == [1, 2, 3]
    assert capsys.readouterr().out.splitlines() == [
        "  epoch 2/5: loss 0.8000, validation mean_iou 0.2000; about 1.5 min left",
        "  epoch 3/5: loss 0.7000, validation mean_iou 0.3000; about 1.5 min left",
    ]


def test_the_settings_of_a_new_run_are_kept_beside_it(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(runner, "call", lambda *arguments: calls.append(arguments) or 0)
    folder, config = tmp_path / "runs" / "a", TrainConfig(epochs=3)
    training = training_of(folder, tmp_path / "records")
    assert train_run(training, config, Epochs(folder, config)) == 0
    settings = tmp_path / "logs" / "runs" / "a.yaml"
    assert log_path(folder, ".yaml") == settings
    assert yaml.safe_load(settings.read_text())["epochs"] == 3
    ((command, arguments, log, _),) = calls
    assert command == "training.train"
    assert arguments == ["--config", settings, "--records", tmp_path / "records", "--out", folder]
    assert log == tmp_path / "logs" / "runs" / "a.log"


def test_records_that_are_in_the_config_are_not_given_again(tmp_path):
    training = training_of(tmp_path / "runs" / "a", None)
    assert training.arguments == ("--config", tmp_path / "logs" / "runs" / "a.yaml")
