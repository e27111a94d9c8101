"""Scores of a classifier on records: against a direct computation, several folds as one, and what is refused."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.records.folder import Records
from evaluation.scores.classification import SlicePredictions
from evaluation.scores.classification_run import ScoredRun, merge_runs, score_run
from tests.copied_records import copy_records
from training.run import Run


@pytest.fixture(scope="module")
def scored(classified, records):
    return score_run(classified, records, "train", batch_size=5)  # 12 slices: the last batch is not full


def with_attributes(records, copy, attributes):
    """A copy of records whose cases have other attributes."""
    return copy_records(
        records, copy, lambda case, facts: facts | {"attributes": attributes[case]} if case in attributes else None
    )


def test_every_tumour_slice_is_told_once(scored, classified, records):
    opened, network = Records(records), Run(classified).load_network()
    wanted = [
        (case, int(number))
        for case in opened.split["train"]
        for number in np.flatnonzero(opened.cases[case].voxels[:, 1:].any(axis=1))
    ]
    found = scored.predictions
    assert list(zip(found.cases, found.slices.tolist(), strict=True)) == wanted
    assert found.patients == [opened.cases[case].patient for case, _ in wanted]
    grades = [["HGG", "LGG"].index(opened.cases[case].attributes["grade"]) for case, _ in wanted]
    assert found.truth.tolist() == grades
    images = np.stack([opened.shard(case).image[number] for case, number in wanted]).astype(np.float32)
    positive = 1 / (1 + np.exp(-np.asarray(network.predict_on_batch(images)["classification"], np.float64)[:, 0]))
    np.testing.assert_allclose(found.probabilities, np.stack([1 - positive, positive], axis=1), atol=1e-5)
    true = found.probabilities[np.arange(len(grades)), grades]
    assert scored.loss == pytest.approx(-np.log(true).mean(), rel=1e-5)


def test_several_runs_are_one(scored):
    first = SlicePredictions(["a"], ["p"], np.array([3]), np.array([1]), np.array([[0.2, 0.8]]))
    second = SlicePredictions(["b"] * 3, ["q"] * 3, np.arange(3), np.zeros(3, int), np.full((3, 2), 0.5))
    run = SimpleNamespace(name="first")
    found = merge_runs([ScoredRun(run, first, 1.0), ScoredRun(SimpleNamespace(), second, 2.0)])
    assert found.run is run
    assert found.loss == pytest.approx((1 + 3 * 2) / 4)  # over slices
    assert (found.predictions.cases, found.predictions.patients) == (["a", "b", "b", "b"], ["p", "q", "q", "q"])
    assert found.predictions.slices.tolist() == [3, 0, 1, 2]
    assert found.predictions.truth.tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(found.predictions.probabilities, [[0.2, 0.8]] + [[0.5, 0.5]] * 3)
    alone = merge_runs([scored])
    np.testing.assert_array_equal(alone.predictions.probabilities, scored.predictions.probabilities)
    assert alone.loss == pytest.approx(scored.loss)


def test_the_command_scores_a_classifier(command, classified, records, tmp_path):
    out = tmp_path / "scores"
    done = command("evaluation.score", "--run", classified, "--records", records, "--metrics", "[nsd]")
    assert (done.status, "--metrics: expected a run with a segmentation head" in done.err) == (2, True)
    done = command("evaluation.score", "--run", classified, "--records", records, "--subset", "train", "--out", out)
    assert done.status == 0, done.err
    scores = json.loads((out / "classification_scores.json").read_text())
    assert (scores["head"], scores["classes"], scores["split"]) == ("grade", ["HGG", "LGG"], "patient")
    assert scores["weights"] == "random initialisation"
    assert np.isfinite(scores["loss"])
    with (out / "per_slice.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 12
    with (out / "per_patient.csv").open(newline="") as file:
        assert [row["trained"] for row in csv.DictReader(file)] == ["1"] * 3
    assert (len(scores["trained_patients"]), scores["training_unknown"]) == (3, [])
    assert "3 patients trained the network, so these scores are too good." in done.out
    assert f"scores: {out} (per_patient.csv" in done.out
    assert {path.stem for path in out.iterdir()} >= {"confusion", "calibration", "roc"}


def test_a_segmentation_is_no_classifier(trained, records):
    with pytest.raises(UserError, match="expected a run with the classification head classification; received segmentation"):
        score_run(trained, records, "test", 4)


def test_records_of_other_channels_are_refused(classified, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    write_json(copy / "dataset.json", read_json(copy / "dataset.json", "records") | {"channels": ["t2"]})
    with pytest.raises(UserError, match="was trained on the channels"):
        score_run(classified, copy, "test", 4)


def test_a_subset_of_unknown_category_is_refused(classified, records, tmp_path):
    tests = Records(records).split["test"]
    copy = with_attributes(records, tmp_path / "records", {case: {} for case in tests})
    with pytest.raises(UserError, match="subset test has no case with a known grade"):
        score_run(classified, copy, "test", 4)


def test_classes_are_those_of_the_run_and_not_of_the_records(classified, records, tmp_path):
    """Records of another data set: LGG stands for the run's second class there too."""
    cases = Records(records).cases
    other = {case: {"grade": "LGG"} if place else {"grade": "XYZ"} for place, case in enumerate(sorted(cases))}
    copy = with_attributes(records, tmp_path / "records", other)
    subset = next(name for name, ids in Records(copy).split.items() if ids and sorted(cases)[0] not in ids)
    try:
        found = score_run(classified, copy, subset, 4)
    except UserError:
        return  # to refuse what the run does not know is as good
    assert set(found.predictions.truth.tolist()) == {1}
