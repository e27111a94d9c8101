"""A 3D run after its training: predicted, scored, drawn, tuned, and beside a 2D run."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from common.files import read_json
from data_prep.labels import bits_to_classes
from data_prep.records.folder import Records
from models.volume import predict_patches
from training.run import Run

CASE = "case_4"


@pytest.fixture
def predict(command, volumes, source, tmp_path):
    """`predict(*options)`: segment one case with the 3D run; later options win."""
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{CASE}\n")

    def run(*options, out=tmp_path / "out"):
        base = ("--runs", volumes, "--source", source, "--out", out, "--cases", ids, "--overlays", "false")
        return command("evaluation.predict", *base, *options)

    return run


def ids_of(folder):
    return np.asarray(nibabel.load(folder / f"{CASE}.nii.gz").dataobj)


def test_a_volume_is_segmented_with_all_its_mirrored_views_and_scored(predict, command, source, tmp_path):
    done = predict("--flips", "x", "y", "z", "--overlap", 0.25, "--probabilities", "true", "--overlays", "true")
    assert (done.status, done.errors) == (0, [])
    truth = nibabel.load(next(source.rglob(f"{CASE}_seg.nii.gz")))
    assert ids_of(tmp_path / "out").shape == truth.shape
    probabilities = np.asarray(nibabel.load(tmp_path / "out" / f"{CASE}_probabilities.nii.gz").dataobj)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    manifest = read_json(tmp_path / "out" / "predictions.json", "predictions")
    assert (manifest["flips"], manifest["overlap"]) == (["x", "y", "z"], 0.25)
    scored = command("evaluation.score", "--predictions", tmp_path / "out", "--source", source)
    assert scored.status == 0, scored.err
    assert "1 patient" in scored.out
    assert predict("--flips", "x", "--overlap", 0.25, "--probabilities", "true", out=tmp_path / "x").status == 0
    other = np.asarray(nibabel.load(tmp_path / "x" / f"{CASE}_probabilities.nii.gz").dataobj)
    assert np.abs(other - probabilities).max() > 1e-4  # mirroring along z makes a difference


def test_a_3d_and_a_2d_run_are_averaged(predict, volumes, trained, tmp_path):
    found = {}
    for name, runs in (("both", [volumes, trained]), ("3d", [volumes]), ("2d", [trained])):
        options = ("--probabilities", "true", "--flips", *(("x",) if name == "2d" else ("z", "x")))
        done = predict("--runs", json.dumps([str(run) for run in runs]), *options, out=tmp_path / name)
        assert done.status == 0, done.err
        found[name] = np.asarray(nibabel.load(tmp_path / name / f"{CASE}_probabilities.nii.gz").dataobj)
    np.testing.assert_allclose(found["both"], (found["3d"] + found["2d"]) / 2, atol=1e-5)
    assert np.abs(found["3d"] - found["2d"]).max() > 0.01


def test_the_table_from_records_counts_blended_patches(command, volumes, records, tmp_path):
    done = command("evaluation.score", "--run", volumes, "--records", records, "--out", tmp_path / "scores")
    assert done.status == 0, done.err
    assert "1 patient, 8 slices" in done.out
    found = np.array(read_json(tmp_path / "scores" / "scores.json", "scores")["confusion"])
    run, opened = Run(volumes), Records(records)
    network, counts = run.load_network(), np.zeros((4, 4), np.int64)
    for case in opened.split["test"]:
        shard = opened.shard(case)
        parts = [logits["segmentation"] for _, logits in predict_patches(network, shard.image, run.sliding_window())]
        truth, predicted = bits_to_classes(shard.label), np.concatenate(parts).argmax(axis=-1)
        np.add.at(counts, (truth[truth < 4], predicted[truth < 4]), 1)
    np.testing.assert_array_equal(found, counts)


def test_its_curves_and_its_augmentation_are_drawn(command, volumes, records, tmp_path):
    done = command("evaluation.plots", "--runs", volumes, "--records", records, "--out", tmp_path / "figures")
    assert done.status == 0, done.err
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"augmentation.png", "augmentation.pdf", "learning_curves_dice.png"} <= names


def test_its_post_processing_is_tuned(command, volumes, tmp_path):
    run = shutil.copytree(volumes, tmp_path / "run")
    done = command("evaluation.tune", "--runs", run, "--thresholds", "[0.4, 0.5]", "--flips", "z")
    assert done.status == 0, done.err
    assert (run / "postprocess.yaml").is_file()


def test_before_and_after_fine_tuning_are_compared(command, volumes, records, tmp_path):
    run = shutil.copytree(volumes, tmp_path / "run")
    shutil.copyfile(run / "last.weights.h5", run / "before_phase2.weights.h5")
    done = command("evaluation.fine_tuning", "--run", run, "--records", records, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert {"table.md", "table.csv", "before_after.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_run_that_was_not_fine_tuned_has_no_before(command, volumes, records):
    done = command("evaluation.fine_tuning", "--run", volumes, "--records", records)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "was trained in one phase" in done.errors[0]
