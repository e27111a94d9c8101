"""Choosing the post-processing: counts against brute force, the choice, what is written, and what is refused."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import cli
from common.errors import UserError
from common.files import read_json, read_yaml, write_json, write_yaml
from common.scores import confusion_matrix, overlap
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import inside_mask
from data_prep.records import Records
from evaluation.ensemble import softmax
from evaluation.postprocess import FOREGROUND, PostprocessConfig, apply, load
from evaluation.tune import Grid, TuneConfig, choose, component_counts, grid_confusions, make_grid
from training.run import Run

SCHEMAS = {2: LabelSchema.load("binary"), 4: LabelSchema.load("brats2023")}
SMALL = ("--thresholds", "[0.2,0.4]", "--least_voxels", "[0,30]")


def made_case(seed, classes):
    """Smooth probabilities, a truth that is partly not annotated, and a mask with holes."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    shape = (4, 9, 8)
    logits = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 0.8) for _ in range(classes)], axis=-1)
    logits[..., 0] += rng.uniform(0, 0.6)
    truth = rng.integers(0, classes, shape, dtype=np.uint8)
    truth[rng.random(shape) < 0.1] = 255
    return softmax((6 * logits).astype(np.float32)), truth, rng.random(shape) < 0.9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([2, 4]), masked=st.booleans())
def test_the_counts_are_those_of_each_setting_applied(seed, classes, masked):
    probabilities, truth, mask = made_case(seed, classes)
    inside = mask if masked else None
    grid = Grid([None, 0.2, 0.5, 0.8], [False, True], [0, 3, 20])
    found = list(grid_confusions(probabilities, truth, grid, inside))
    for confusion, setting in zip(found, grid.settings(), strict=True):
        predicted = apply(setting, probabilities, SCHEMAS[classes], inside)
        np.testing.assert_array_equal(confusion, confusion_matrix(truth, predicted, classes))


def test_a_case_without_foreground_counts_as_background_alone():
    probabilities = np.zeros((2, 3, 3, 2), np.float32)
    probabilities[..., 0] = 1
    truth = np.zeros((2, 3, 3), np.uint8)
    truth[0, 0] = 1
    found = list(grid_confusions(probabilities, truth, Grid([None, 0.3], [False, True], [0, 5])))
    assert len(found) == 8
    assert all(confusion.tolist() == [[15, 0], [3, 0]] for confusion in found)


def test_voxels_are_counted_by_component_truth_and_prediction():
    predicted = np.array([[[1, 1, 0, 2]]], np.uint8)
    truth = np.array([[[1, 255, 2, 0]]], np.uint8)
    counts = component_counts(predicted, truth, 3)
    assert counts.shape == (2, 4, 3)
    assert counts[0, 1, 1] == counts[0, 3, 1] == counts[1, 0, 2] == 1
    assert counts.sum() == 3


def test_the_first_setting_changes_nothing_and_zero_is_always_tried(tmp_path):
    grid = make_grid(TuneConfig(runs=[tmp_path], thresholds=[0.6, 0.4], least_voxels=[50, 10]))
    assert grid.settings()[0] == PostprocessConfig()
    assert (grid.thresholds, grid.largest, grid.least) == ([None, 0.4, 0.6], [False, True], [0, 10, 50])
    assert len({repr(setting) for setting in grid.settings()}) == len(grid.settings()) == 18


@pytest.mark.parametrize(
    ("means", "place"),
    [([0.5, 0.5, 0.5], 0), ([0.5, 0.5005, 0.4], 0), ([0.5, 0.6, 0.6], 1), ([0.5, 0.4, 0.7], 2), ([0.5], 0)],
)
def test_the_best_is_chosen_where_it_is_better_by_more_than_the_margin(means, place):
    assert choose(np.array(means), 0.001) == place


def test_settings_may_be_given_as_words(tmp_path):
    config = cli.parse(TuneConfig, ["--runs", str(tmp_path), "--thresholds", "0.4", "0.5", "--least_voxels", "10"])
    assert (config.thresholds, config.least_voxels) == ([0.4, 0.5], [10])


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the tiny run, to be written to."""
    return shutil.copytree(trained, tmp_path / "run")


def change(run, **config):
    """Change settings in a run's config."""
    write_yaml(run / "config.yaml", read_yaml(run / "config.yaml", "config") | config)


def test_the_setting_and_the_table_are_written_into_the_run(command, run):
    done = command("evaluation.tune", "--runs", run, *SMALL, "--margin", 0)
    assert (done.status, done.errors) == (0, [])
    assert "dice of class_mean, 1 validation patient" in done.out
    assert "optimistic" in done.out
    rows = list(csv.DictReader((run / "tune.csv").open()))
    assert len(rows) == 3 * 2 * 2
    (chosen,) = [row for row in rows if row["chosen"] == "True"]
    stored = read_yaml(run / "postprocess.yaml", "post-processing")
    told = stored["chosen"]
    assert (told["patients"], told["metric"], told["runs"]) == (1, "dice", [str(run.resolve())])
    assert told["score_before"] == float(rows[0]["score"])
    assert told["score_after"] == float(chosen["score"]) == max(float(row["score"]) for row in rows)
    setting = load(run)
    assert str(setting.threshold or "") == chosen["threshold"].rstrip("0")
    assert setting.least_voxels.get(FOREGROUND, 0) == int(chosen["least_voxels"])
    setting.check(Run(run).schema)


def test_the_scores_are_those_of_the_network_on_its_validation_patient(command, run, records):
    opened, loaded = Records(records), Run(run)
    (case,) = opened.subset("validation")
    shard = opened.shard(case)
    logits = loaded.load_network().predict(shard.image.astype(np.float32), verbose=0)["segmentation"]
    probabilities, truth = softmax(np.asarray(logits)), bits_to_classes(shard.label)
    inside = inside_mask(shard.image)
    # A network of two epochs is sure of little: these thresholds call most, some and few voxels foreground.
    thresholds = [float(value) for value in np.quantile(1 - probabilities[inside][:, 0], [0.3, 0.6, 0.9])]
    options = ("--thresholds", thresholds, "--least_voxels", [30], "--structure", "WT", "--metric", "iou")
    assert command("evaluation.tune", "--runs", run, *options).status == 0
    expected = []
    for setting in make_grid(TuneConfig(runs=[run], thresholds=thresholds, least_voxels=[30])).settings():
        predicted = apply(setting, probabilities, loaded.schema, inside)
        expected.append(overlap(confusion_matrix(truth, predicted, 4), [1, 2, 3]).iou)
    assert len(set(expected)) > 2  # the settings do differ here
    scores = [float(row["score"]) for row in csv.DictReader((run / "tune.csv").open())]
    np.testing.assert_allclose(scores, expected, atol=5e-3)  # voxels at a quantile may fall to either side
    assert (load(run) == PostprocessConfig()) == (max(scores) - scores[0] <= 0.001)


def test_folds_are_pooled_and_get_one_setting(command, trained, tmp_path):
    folds = [shutil.copytree(trained, tmp_path / f"fold{fold}") for fold in range(2)]
    for fold, path in enumerate(folds):
        change(path, fold=fold)
    done = command("evaluation.tune", "--runs", *folds, *SMALL)
    assert done.status == 0, done.err
    assert "4 validation patients" in done.out  # each patient that is not for test, once
    first, second = (read_yaml(path / "postprocess.yaml", "post-processing") for path in folds)
    assert first == second
    assert first["chosen"]["runs"] == [str(path.resolve()) for path in folds]


def test_no_setting_that_is_not_better_by_the_margin_replaces_an_earlier_one(command, run):
    (run / "postprocess.yaml").write_text("threshold: 0.9\n")
    done = command("evaluation.tune", "--runs", run, *SMALL, "--margin", 2)
    assert done.status == 0
    assert "none of 11 settings was better" in done.out
    assert load(run) == PostprocessConfig()


def test_a_run_without_validation_patients_is_refused(command, run, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records")
    manifest["split"]["validation"] = []
    write_json(copy / "dataset.json", manifest)
    done = command("evaluation.tune", "--runs", run, "--records", copy)
    assert done.status == 2
    (line,) = done.errors
    assert "no annotated validation patients" in line
    assert "--postprocess FILE" in line


def test_a_run_that_mixed_slices_is_refused(command, run):
    change(run, split="slice")
    done = command("evaluation.tune", "--runs", run)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "--split slice" in done.errors[0]


def test_other_records_are_refused(command, run, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records")
    manifest["cases"] = {case: [1, *sums[1:]] for case, sums in manifest["cases"].items()}
    write_json(copy / "dataset.json", manifest)
    done = command("evaluation.tune", "--runs", run, "--records", copy)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "not the records that" in done.errors[0]


def test_runs_of_other_classes_are_refused(command, run, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    schema = read_yaml(other / "schema.yaml", "schema")
    write_yaml(other / "schema.yaml", schema | {"name": "another"})
    done = command("evaluation.tune", "--runs", run, other)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "its schema differs" in done.errors[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--structure", "liver"), "--structure: expected one of WT, .*class_mean; received liver"),
        (("--thresholds", "[0.5,2]"), "--thresholds: expected 0 to 1; received 2"),
        (("--least_voxels", "[-1]"), "--least_voxels: expected at least 0"),
        (("--batch_size", "0"), "--batch_size"),
        (("--runs", "[]"), "--runs: expected at least one"),
    ],
)
def test_options_that_mean_nothing_are_one_line(command, trained, options, told):
    done = command("evaluation.tune", "--runs", trained, *options)
    assert done.status == 2
    with pytest.raises(UserError, match=told):
        raise UserError(*done.errors)
