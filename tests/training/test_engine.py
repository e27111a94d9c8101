"""The course of trainings: several heads, phases that end by patience, frozen layers, steps, channels, and initial weights."""

import json
import re
import shutil
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from tests.training.runs import SHORT, TOY, assert_equal_runs, back_to, history, weights
from training.config import TrainConfig
from training.data.batches import InputConfig
from training.engine import check_monitor, train
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead
from training.optimizers import OptimizerConfig
from training.run import Run
from training.state import checkpoint


@dataclass(kw_only=True)
class TwoHeadsConfig(TrainConfig):
    """A training with a head of voxels and one of patients' grades."""

    monitor: str = "loss"

    def make_heads(self, records):
        grade = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
        return {"tumour": SegmentationHead("tumour", records[0].schema, self.loss), "grade": grade}


def test_two_heads_train_together_on_one_trunk(records, tmp_path, capsys, monkeypatch):
    steps = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *arguments: steps.append(1) or step(*arguments))
    config = TwoHeadsConfig(records=records, out=tmp_path / "run", epochs=2, steps_per_epoch=3, precision="float32")
    config = replace(config, input=InputConfig(batch_size=4), optimizer=OptimizerConfig(learning_rate=0.01))
    config.model.filters, config.model.depth = 2, 1
    train(replace(config, loss_weights={"grade": 0.5}))
    assert len(steps) == 1  # traced once
    run = Run(tmp_path / "run")
    assert {name: (head.kind, head.outputs) for name, head in run.heads.items()} == {
        "tumour": ("segmentation", 4),
        "grade": ("classification", 1),
    }
    rows = history(run.path)
    names = {"tumour_mean_iou", "tumour_mean_dice", "grade_accuracy", "grade_auc", "tumour_loss", "grade_loss", "loss"}
    assert names | {f"val_{name}" for name in names} <= set(rows[0])
    known = names - {"grade_auc"}  # one validation patient, so one class
    assert all(np.isfinite(float(row[f"val_{name}"])) for row in rows for name in known)
    for row in rows:
        total = float(row["tumour_loss"]) + 0.5 * float(row["grade_loss"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch 1/2"))
    assert re.search(r"tumour mean Dice without background 0\.\d+, mean IoU with background 0\.\d+", line)
    assert "grade AUC" in line
    outputs = run.load_network().predict_on_batch(np.zeros((2, 16, 16, 4), np.float32))
    assert {name: values.shape for name, values in outputs.items()} == {"tumour": (2, 16, 16, 4), "grade": (2, 1)}


def test_a_score_that_no_head_has_is_not_monitored(records):
    config = TwoHeadsConfig(records=records)
    heads = config.make_heads([Records(records)])
    for monitor in ("tumour_mean_iou", "grade_auc", "grade_loss", "loss"):
        check_monitor(replace(config, monitor=monitor), heads)
    with pytest.raises(UserError, match=r"--monitor: expected one of accuracy, loss, tumour_mean_iou, .*; received mean_iou"):
        check_monitor(replace(config, monitor="mean_iou"), heads)
    with pytest.raises(UserError, match="--loss_weights: expected heads of tumour, grade; received type"):
        check_monitor(replace(config, loss_weights={"type": 1.0}), heads)


def test_patience_ends_the_phase_and_counts_anew_in_the_next(toy, command, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "KEPT", 5)  # so that the run can be killed after any epoch
    phases = [
        {"epochs": 6, "optimizer": {"learning_rate": 0.0}, "patience": 2},
        {"epochs": 3, "optimizer": {"learning_rate": 0.0}, "patience": 2},
    ]
    still = ("--model.normalisation", "none", "--model.dropout", 0, "--phases", json.dumps(phases))
    done = toy(tmp_path / "run", *still)
    # With a rate of 0 only the first epoch is better than none: two more end phase 1, and two without a better one phase 2.
    assert [row["phase"] for row in history(tmp_path / "run")] == ["1", "1", "1", "2", "2"]
    assert "phase 1 ended: no better validation mean_iou for 2 epochs" in done.out
    assert "stopped: no better validation mean_iou for 2 epochs" in done.out
    assert Run(tmp_path / "run").metadata["ended"] == "patience"
    for epoch in (2, 3):  # when the first phase has waited for one epoch, and when it is over
        killed = back_to(tmp_path / "run", epoch, tmp_path / f"killed_{epoch}")
        assert f"resuming after epoch {epoch}" in command("training.train", "--resume", killed).out
        assert_equal_runs(tmp_path / "run", killed)


def test_frozen_layers_do_not_move_in_their_phase(toy, tmp_path):
    toy(tmp_path / "run", "--phases", '[{"epochs": 1}, {"epochs": 1, "freeze": ["encoder", "bottom"], "restart_from": "last"}]')
    run = Run(tmp_path / "run")
    before, after = weights(run.weights_before_last_phase), weights(run.path / "last.weights.h5")
    moved = [not np.array_equal(before[name], after[name]) for name in before]
    assert any(moved)
    assert sum(moved) < len(moved) - 8
    network = run.load_network(run.weights_before_last_phase)
    frozen = {each.path: np.array(each) for each in network.weights if each.path.startswith(("encoder", "bottom"))}
    network.load_weights(run.path / "last.weights.h5")
    for each in network.weights:
        if each.path in frozen:
            np.testing.assert_array_equal(np.array(each), frozen[each.path], err_msg=each.path)


@pytest.mark.parametrize("number", [1, 2])
def test_a_prefix_that_no_layer_has_is_refused_before_the_first_step(command, records, tmp_path, number):
    phases = [{"epochs": 1}] * (number - 1) + [{"epochs": 1, "freeze": ["backbone"]}]
    options = ("--records", records, "--out", tmp_path / "run", *TOY, *SHORT, "--phases", json.dumps(phases))
    done = command("training.train", *options)
    assert (done.status, len(done.errors)) == (2, 1)
    assert f"--phases: phase {number}: freeze: expected beginnings of names of layers (encoder1, " in done.errors[0]
    assert "epoch" not in done.out
    assert not (tmp_path / "run").exists()


def test_steps_with_validations_equal_epochs(toy, records, command, tmp_path):
    toy(tmp_path / "epochs", "--epochs", 2)
    options = (*TOY, "--schedule.name", "constant", "--steps", 6, "--validate_every", 3)
    done = command("training.train", "--records", records, "--out", tmp_path / "steps", *options)
    assert done.status == 0, done.err
    assert_equal_runs(tmp_path / "epochs", tmp_path / "steps")


def test_channels_are_chosen_when_training_and_used_in_scores(toy, command, records, tmp_path):
    run = tmp_path / "run"
    assert "channels t1ce, flair" in toy(run, "--epochs", 1, "--input.channels", '["t1ce","flair"]').out
    assert Run(run).channels == ["t1ce", "flair"]
    assert Run(run).load_network().input_shape[-1] == 2
    done = command("evaluation.score", "--run", run, "--records", records, "--subset", "validation")
    assert done.status == 0, done.err
    done = command("evaluation.tune", "--runs", run, "--thresholds", "[0.4, 0.5]")
    assert done.status == 0, done.err
    done = command("training.train", "--records", records, "--out", tmp_path / "x", "--input.channels", '["dwi"]')
    assert done.errors == [f"error: {records}: expected different channels of flair, t1, t1ce, t2; received dwi"]


def without_validation(records, folder):
    """A copy of some records whose validation cases are for test."""
    other = shutil.copytree(records, folder)
    manifest = json.loads((other / "dataset.json").read_text())
    split = manifest["split"]
    manifest["split"] = {"train": split["train"], "validation": [], "test": split["validation"] + split["test"]}
    (other / "dataset.json").write_text(json.dumps(manifest))
    return other


def two_folders(first, second, shares=(0.6, 0.4)):
    """Options of a training of two heads, each annotated by one of two folders, which have shares of the batches."""
    folders = zip((first, second), shares, (["hgg"], ["mets"]), strict=True)
    entries = [{"path": str(path), "share": share, "heads": heads} for path, share, heads in folders]
    return ("--records", json.dumps(entries), "--heads", '{"hgg": {}, "mets": {}}', "--monitor", "mean_dice")


def test_a_head_without_validation_cases_has_no_score_and_is_not_monitored(toy, command, records, tmp_path):
    words = two_folders(records, without_validation(records, tmp_path / "mets"))
    done = command("training.train", "--out", tmp_path / "x", *TOY, *SHORT, *words, "--monitor", "mets_mean_dice")
    assert (done.status, len(done.errors)) == (2, 1)
    assert f"--monitor mets_mean_dice: expected validation cases of the head mets in {tmp_path / 'mets'}" in done.errors[0]
    assert not (tmp_path / "x").exists()
    done = toy(tmp_path / "run", *words, "--epochs", 1)
    (row,) = history(tmp_path / "run")
    assert row["val_mets_mean_dice"] == row["val_mets_loss"] == "nan"
    assert row["val_mean_dice"] == row["val_hgg_mean_dice"]
    assert 0 < float(row["val_mean_dice"]) < 1
    line = next(line for line in done.out.splitlines() if line.startswith("epoch 1/1"))
    validation = line.partition("; validation")[2]
    assert re.search(r"hgg mean Dice without background 0\.\d+, mean Dice with background 0\.\d+", validation)
    assert "mets mean" not in validation
    assert "(3 cases for hgg)" in done.out


LEARNT = ("--loss_weighting", "uncertainty", "--optimizer.name", "rmsprop", "--schedule.name", "step")


def test_a_mixture_of_folders_with_learnt_weights_of_losses_is_recorded_and_resumed_exactly(toy, command, records, tmp_path):
    words = (*two_folders(records, records, (0.75, 0.5)), *LEARNT, "--schedule.milestones", "[1]", "--schedule.decay", 0.5)
    done = toy(tmp_path / "whole", *words, "--epochs", 2)
    assert "batches: 60% from" in done.out
    assert [entry["share"] for entry in Run(tmp_path / "whole").metadata["records"]] == [0.75, 0.5]
    killed = back_to(tmp_path / "whole", 1, tmp_path / "killed")
    assert "resuming after epoch 1" in command("training.train", "--resume", killed).out
    assert_equal_runs(tmp_path / "whole", killed)
    for head in ("hgg", "mets"):
        first, second = (float(row[f"{head}_loss_weight"]) for row in history(tmp_path / "whole"))
        assert first not in (1.0, second)
        assert 0.5 < first < 2


@pytest.mark.parametrize("name", ["image", "encoder1_conv1", "bottom_conv1"])
def test_a_head_with_the_name_of_a_layer_is_refused(command, records, tmp_path, name):
    heads = json.dumps({name: {}, "mets": {}})
    done = command("training.train", "--records", records, "--out", tmp_path / "x", *TOY, *SHORT, "--heads", heads)
    assert done.errors == [f"error: --heads: {name}: is the name of a layer of the network; choose another name"]
    assert not (tmp_path / "x" / "run.json").exists()
