import json
import re
import shutil

import yaml

from evaluation.reports.content import FactList, Paragraph
from evaluation.reports.methods import FACTS, methods_section, shared, words
from training.run import Run
from training.state.history import read_history, write_history


def facts(section):
    (block,) = section.blocks
    assert isinstance(block, FactList)
    return dict(block.rows)


def test_a_run_is_described(trained):
    found = facts(methods_section({"tiny": Run(trained)}))
    assert list(found) == list(FACTS)
    assert found["Data"] == "records records, made of source"
    assert found["Patients"] == "3 for training, 1 kept apart for validation"
    assert found["Channels"] == "flair, t1, t1ce, t2"
    assert re.match(r"unet, 2D, \d,\d\d\d parameters, began with random", found["Network"])
    assert "batches of 4 slices; loss focal; adam, learning rate 0.01" in found["Training"]
    assert found["Length"].startswith("finished, 2 epochs in 0.")
    assert re.fullmatch(r"of epoch \d, the best on validation|of the last epoch", found["Weights"])
    assert "on tensorflow" in found["Machine"]


def test_weights_are_averages_where_the_phase_that_they_are_of_averages(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    phases = [{"epochs": 1}, {"epochs": 1, "optimizer": {"ema": 0.9}}]
    config = yaml.safe_load((copy / "config.yaml").read_text()) | {"phases": phases}
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    write_history(copy / "history.csv", [row | {"phase": row["epoch"]} for row in read_history(copy)])
    metadata = json.loads((copy / "run.json").read_text())
    words = {}
    for best in (1, 2):
        (copy / "run.json").write_text(json.dumps(metadata | {"best_epoch": best}))
        words[best] = facts(methods_section({"tiny": Run(copy)}))["Weights"]
    assert words[1] == "of epoch 1, the best on validation"
    assert words[2] == "of epoch 2, the best on validation, averaged over the steps before (decay 0.9)"


def test_a_run_without_weights_and_environment_is_described_too(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    for path in [*copy.glob("*.weights.h5"), copy / "environment.json"]:
        path.unlink()
    found = facts(methods_section({"tiny": Run(copy)}))
    assert "parameters" not in found["Network"]
    assert "Machine" not in found


def test_unknown_runs_are_said():
    (block,) = methods_section({}).blocks
    assert isinstance(block, Paragraph)


def test_facts_of_several_runs():
    assert shared(["a", "a"], ["x", "y"]) == "a"
    assert shared(["a", "b"], ["x", "y"]) == "x: a; y: b"
    assert shared(list("abcdef"), list("uvwxyz")) == "differs between the runs"


def test_values_in_words():
    assert words([128, 96]) == "128 x 96"
    assert words(["x", "y"]) == "x y"
    assert words({"CT": "window", "T1": 0.5}) == "CT window, T1 0.5"
