"""The ResNet50 itself, at its full size, through the commands; other tests of commands take a tiny classifier."""

import csv
import json

import pytest

from models.classifier import BACKBONE
from training.run import Run


@pytest.mark.slow
def test_a_resnet50_is_trained_and_predicts(command, records, trained, source, tmp_path):
    phase = '[{"epochs": 1, "freeze": ["backbone"]}]'  # as in the first phase of the shipped config
    short = ("--phases", phase, "--steps_per_epoch", 1, "--validate", "false", "--input.batch_size", 4)
    small = ("--model.dense", 8, "--precision", "float32", "--target.attribute", "grade")
    done = command("training.classify", "--records", records, "--out", tmp_path / "run", *short, *small)
    assert done.status == 0, done.err
    run = Run(tmp_path / "run")
    assert (run.config.model.name, run.metadata["status"]) == ("resnet50", "finished")
    assert run.load_network().get_layer(BACKBONE).count_params() > 20_000_000
    (tmp_path / "ids.txt").write_text("case_0\n")
    runs = json.dumps([str(trained), str(run.path)])
    options = ("--source", source, "--cases", tmp_path / "ids.txt", "--overlays", "false")
    done = command("evaluation.predict", "--runs", runs, *options, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    (table,) = (tmp_path / "out").glob("*.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["case"] == "case_0"
    assert float(row["probability HGG"]) + float(row["probability LGG"]) == pytest.approx(1, abs=1e-5)
