"""The command that trains: the run it leaves, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from data_prep.records.folder import Records
from tests.overlaps import per_class
from tests.training.runs import EPOCHS, STEPS, TOY, assert_equal_arrays, history, weights
from training import engine
from training.run import Run


def test_a_run_folder_holds_what_it_says(whole):
    assert {path.name for path in whole.iterdir()} - {".lock", "printed.txt"} == {
        *("config.yaml", "preparation.yaml", "schema.yaml", "run.json", "patients.json", "environment.json"),
        *("history.csv", "best.weights.h5", "last.weights.h5", "state", "logs"),
    }
    assert sorted(path.name for path in (whole / "state").iterdir()) == ["epoch_00003.npz", "epoch_00004.npz"]
    assert list((whole / "logs").rglob("events.out.tfevents*"))


def test_a_run_explains_itself(whole, records):
    run, opened = Run(whole), Records(records)
    assert run.channels == opened.channels
    assert run.schema == opened.schema
    assert run.preparation == opened.preparation
    assert run.trained_on(opened)
    assert run.records_paths == [records]
    assert (run.metadata["status"], run.metadata["epoch"], run.metadata["steps_per_epoch"]) == ("finished", EPOCHS, STEPS)
    assert (run.config.model.filters, run.config.seed, run.config.epochs) == (2, 5, EPOCHS)
    assert run.config.precision == "float32"
    assert json.loads((whole / "environment.json").read_text())["backend"] == "tensorflow"


def test_the_command_says_what_it_does(whole):
    lines = (whole / "printed.txt").read_text().splitlines()
    assert lines[0].startswith("device: CPU")
    assert "channels flair, t1, t1ce, t2" in lines[1]
    assert lines[2] == "data: 3 training cases (48 slices, stored copies included, 12 steps an epoch), 1 validation case"
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == [f"epoch {number}/4" for number in range(1, 5)]
    assert all("slices/s" in line for line in epochs)
    assert ["min left" in line for line in epochs] == [True, True, True, False]
    assert lines[-1].startswith(f"run: {Run(whole).config.out} (finished after 4 epochs")


def test_the_history_has_a_row_per_epoch_and_every_score(whole):
    rows = history(whole)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    names = [name.replace(" ", "_").replace("-", "_") for name in Run(whole).schema.class_names]
    scores = ["loss", "accuracy", "mean_iou", "mean_dice", *(f"{kind}_{name}" for kind in ("iou", "dice") for name in names)]
    assert set(rows[0]) == {"epoch", "phase", "minutes", "learning_rate", *scores, *(f"val_{score}" for score in scores)}
    values = np.array([[float(row[name]) for name in rows[0]] for row in rows])
    assert np.isfinite(values).all()
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_rate_in_the_history_is_that_of_the_epoch(whole):
    found = [float(row["learning_rate"]) for row in history(whole)]
    np.testing.assert_allclose(found, 0.01 * 0.985 ** np.arange(EPOCHS), rtol=1e-6)


def test_the_best_weights_are_those_of_the_best_epoch(whole, train, records, tmp_path):
    scores = [float(row["val_mean_iou"]) for row in history(whole)]
    best = int(np.argmax(scores)) + 1
    assert Run(whole).metadata["best_epoch"] == best
    train(tmp_path / "run", "--epochs", best)
    assert_equal_arrays(weights(tmp_path / "run" / "last.weights.h5"), weights(whole / "best.weights.h5"))


def test_scores_on_validation_are_those_of_the_weights(whole, records):
    from common.metrics import overlap
    from data_prep.labels import bits_to_classes

    network, opened = Run(whole).load_network(), Records(records)
    shard = opened.shard(opened.split["validation"][0])
    logits = np.asarray(network.predict_on_batch(np.asarray(shard.image, np.float32))["segmentation"])
    counts = overlap.confusion_matrix(bits_to_classes(shard.label), logits.argmax(axis=-1).astype(np.uint8), 4)
    best = history(whole)[Run(whole).metadata["best_epoch"] - 1]
    assert per_class(counts, "iou").mean() == pytest.approx(float(best["val_mean_iou"]), abs=1e-6)
    assert overlap.accuracy(counts) == pytest.approx(float(best["val_accuracy"]), abs=1e-6)


def test_patience_ends_a_training_without_a_better_score(train, tmp_path):
    # A rate of zero changes no weight, so no epoch is better than the first.
    options = ("--optimizer.learning_rate", 0, "--model.normalisation", "none", "--model.dropout", 0, "--patience", 2)
    done = train(tmp_path / "run", "--epochs", 6, *options)
    assert done.status == 0, done.err
    assert "no better validation mean_iou for 2 epochs" in done.out
    assert len(history(tmp_path / "run")) == 3
    assert Run(tmp_path / "run").metadata["best_epoch"] == 1


def test_training_on_all_patients_keeps_the_last_model(command, source, tmp_path):
    small = ("--prepare.size", "[8,16,16]", "--workers", 1, "--split.fractions", "[1,0,0]")
    assert command("data_prep.make_records", "--source", source, "--out", tmp_path / "records", *small).status == 0
    out = tmp_path / "run"
    done = command("training.train", "--records", tmp_path / "records", "--out", out, *TOY, "--epochs", 2, "--patience", 1)
    assert done.status == 0, done.err
    assert done.out.count("no validation cases: the last model is kept, and --patience is not used\n") == 1
    assert not (out / "best.weights.h5").exists()
    assert Run(out).weights == out / "last.weights.h5"
    assert len(history(out)) == 2
    assert not any(name.startswith("val_") for name in history(out)[0])
    assert np.isfinite(Run(out).load_network().predict_on_batch(np.zeros((1, 16, 16, 4), np.float32))["segmentation"]).all()


def test_every_option_reaches_the_training(train, records, tmp_path):
    out = tmp_path / "run"
    done = train(
        out,
        *("--epochs", 1, "--fold", 1, "--steps_per_epoch", 2, "--input.neighbours", 1, "--input.size", "[20,12]"),
        *("--input.tumour_share", 0.5, "--input.drop_empty", "true"),
        *("--loss.name", "cross_entropy", "--loss.alpha", "[1,2,2,2]"),
        *("--optimizer.name", "sgd", "--schedule.name", "cosine", "--model.l2", "1e-4", "--model.normalisation", "group"),
    )
    assert done.status == 0, done.err
    assert "2 training cases" in done.out
    run = Run(out)
    assert run.config.loss.alpha == [1, 2, 2, 2]
    assert run.load_network().input_shape == (None, None, None, 12)
    assert run.metadata["fold"] == 1


def test_slices_are_padded_for_a_network_that_halves_them_more_often(train, tmp_path):
    done = train(tmp_path / "run", "--model.depth", 5, "--epochs", 1, "--steps_per_epoch", 1)
    assert done.status == 0, done.err
    assert "are zero-padded to 32 x 32 (--input.size)" in done.out
    assert Run(tmp_path / "run").config.input.size == (32, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fold", 2], "expected a fold of 0..1; received 2"),
        (["--fold", -1], "expected a fold of 0..1; received -1"),
        (["--model.depth", 5, "--input.size", "[16,16]"], "multiples of 32"),
        (["--input.size", "[15,16]"], "multiples of 2"),
        (["--loss.alpha", "[1,2]"], "expected 1 or 4 numbers"),
        (["--loss.name", "dice"], "expected one of focal, cross_entropy"),
        (["--extend", 1], "--extend goes with --resume"),
        (["--epochs", 0], "epochs"),
        (["--steps_per_epoch", -1], "steps_per_epoch"),
        (["--input.batch_size", 0], "batch_size"),
        (["--input.neighbours", -1], "neighbours"),
        (["--input.tumour_share", 1.5], "tumour_share"),
        (["--input.threads", -1], "threads"),
        (["--input.size", "[0,16]"], "size"),
        (["--patience", 0], "patience"),
        (["--max_minutes", -1], "max_minutes"),
        (["--max_minutes", 0], "--max_minutes: expected more than 0; received 0"),
        (
            ["--input.batch_size", 100_000_000],
            "--input.batch_size: expected at most 48, the training slices of one pass; received 100000000",
        ),
        (["--input.neighbours", 500], "--input.neighbours: expected fewer than the 8 slices of"),
        (["--init_from", "nope"], "--init_from nope: expected a run"),
        (["--loss.alpha", "[1,2,3,-1]"], "--loss.alpha: expected at least 0; received -1"),
        (["--loss.alpha", "[0]"], "--loss.alpha: expected more than 0; received 0"),
        (["--loss.gamma", -1], "--loss.gamma: expected at least 0"),
        (
            ["--loss.name", "bce_dice", "--phases", '[{"loss": {"dice": -1}}]'],
            "--phases: phase 1: loss.dice: expected",
        ),
        (["--optimizer.clip_norm", 0], "--optimizer.clip_norm: expected more than 0"),
        (["--optimizer.weight_decay", -1], "--optimizer.weight_decay: expected at least 0"),
        (["--schedule.warmup_epochs", -1], "--schedule.warmup_epochs: expected at least 0"),
        (
            ["--schedule.name", "cosine", "--schedule.warmup_steps", 48],
            "--schedule.warmup_steps: expected fewer than the 48 steps of phase 1; received 48 steps of warm-up",
        ),
        (["--loss_weights", '{"segmentation": -1}'], "--loss_weights: segmentation: expected at least 0"),
        (["--seed", -1], "seed"),
        (["--model.filters", 0], "filters"),
        (["--model.depth", 0], "depth"),
        (["--model.dropout", 1.5], "dropout"),
        (["--model.rank", 3], "rank"),
    ],
)
def test_a_wrong_option_is_one_line_before_a_framework_is_loaded(train, tmp_path, monkeypatch, options, said):
    monkeypatch.setattr(engine, "load_backend", lambda: pytest.fail("a framework was loaded before the error"))
    done = train(tmp_path / "run", *options)
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_refused(train, run, tmp_path):
    before = (run / "run.json").read_bytes()
    done = train(run)
    assert done.errors == [f"error: {run}: exists and is not empty; go on with it by --resume {run}, or choose another --out"]
    assert (run / "run.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    assert "exists and is not empty; choose another --out" in train(tmp_path / "other").errors[0]


def test_a_shard_cut_short_is_told_before_training_starts(command, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    shard = copy / "cases" / f"{Records(copy).split['train'][0]}.copy1.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-5])
    done = command("training.train", "--records", copy, "--out", tmp_path / "run", *TOY, "--steps_per_epoch", 1)
    assert done.status == 2
    assert "call glioskull make_records again" in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()
