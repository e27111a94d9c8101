"""Classification tests of a study: which runs take them, when they are done, and their table."""

import numpy as np
import pytest

from common import cli
from common.errors import UserError
from common.files import checksum, write_json
from evaluation.classify_features import ClassifyFeaturesConfig
from evaluation.experiments import held_out_classes
from evaluation.experiments.held_out_classes import (
    class_columns,
    class_heading,
    class_rows,
    open_classifications,
    read_predictions,
    run_classification,
    scores_folder,
)
from evaluation.experiments.plan import StudyRecords, plan_runs
from evaluation.experiments.table import markdown_table
from evaluation.scores.classification import SlicePredictions, summary, write_classification_scores
from training.run_facts import FORMAT

TRAIN = {"model": {"filters": 2, "depth": 1}}
CLASSES = ["LGG", "HGG"]
TEST = {"records": "toy", "attribute": "grade", "classes": {name: [name] for name in CLASSES}, "features": ["mean"]}
TRUTH = np.array([0, 0, 0, 1, 1, 1, 1, 1])
PATIENTS = [f"p{number}" for number in range(len(TRUTH))]


@pytest.fixture
def opened(records):
    (test,) = open_classifications([{"records": "toy"}, TEST], StudyRecords({"toy": records}))
    return test


@pytest.fixture
def planned(records, tmp_path):
    runs = [{"name": name, "train": TRAIN} for name in ("one", "two")]
    found = plan_runs(runs, {}, [0, 1], StudyRecords({"toy": records}), tmp_path, None)
    for run in found:
        run.folder.mkdir(parents=True)
        write_json(run.folder / "run.json", {"format": FORMAT, "heads": {}})
        (run.folder / "best.weights.h5").write_text(run.folder.name)
    return found


def classified(folder, run, positive, **changes):
    """Write the scores of a run whose patients have some probabilities of the positive class."""
    folder.mkdir(parents=True, exist_ok=True)
    probabilities = np.stack([1 - positive, positive], axis=1)
    predictions = SlicePredictions(PATIENTS, PATIENTS, np.zeros(len(TRUTH), int), TRUTH, probabilities)
    scores = summary(predictions, head="grade", classes=CLASSES, split="patient", weights="", levels=("patient",))
    settings = {name: TEST[name] for name in ("attribute", "classes", "features")} | changes
    weights = checksum(run.folder / "best.weights.h5")
    write_classification_scores(folder, predictions, scores | {"settings": settings, "folds": [{"weights": weights}]})
    return predictions


def test_wrong_tests_are_refused(records):
    for changes, message in (
        ({"records": "x"}, "--tests: records: expected one of toy; received x"),
        ({"attribute": "age"}, "--tests: toy: expected test patients with a value of age; found none; they have grade"),
        ({"metric": "dice"}, "--tests: expected records, attribute, classes, features; received metric"),
    ):
        with pytest.raises(UserError, match=message):
            open_classifications([TEST | changes], StudyRecords({"toy": records}))


def test_the_command_is_called_once_for_the_present_weights(opened, planned, tmp_path, monkeypatch):
    calls = []

    def call(name, words, log):
        calls.append(cli.parse(ClassifyFeaturesConfig, [str(word) for word in words]))
        classified(calls[-1].out, planned[0], np.full(len(TRUTH), 0.7))
        return 0

    monkeypatch.setattr(held_out_classes.runner, "call", call)
    for _ in range(2):
        assert run_classification(tmp_path, planned[0], opened) is None
    (given,) = calls
    assert (given.runs, given.division, given.features) == ([planned[0].folder], "held_out", ["mean"])
    assert (given.attribute, given.classes, given.head) == ("grade", TEST["classes"], None)
    (planned[0].folder / "best.weights.h5").write_text("other")
    run_classification(tmp_path, planned[0], opened)
    classified(given.out, planned[0], np.full(len(TRUTH), 0.7), features=["max"])
    run_classification(tmp_path, planned[0], opened)
    assert len(calls) == 3


def test_a_row_of_each_run_with_the_mean_probabilities_of_its_seeds(opened, planned, tmp_path):
    right = np.where(TRUTH == 1, 0.9, 0.1)
    for run in planned:
        wrong = np.where(np.arange(len(TRUTH)) < (4 if run.name == "two" else 0), 1 - right, right)
        folder = scores_folder(tmp_path, run, opened)
        written = classified(folder, run, wrong if run.seed else 0.5 + (wrong - 0.5) / 2)
        read = read_predictions(folder / "per_patient.csv", CLASSES)
        np.testing.assert_allclose(read.probabilities, written.probabilities, atol=1e-6)
        assert (read.patients, read.truth.tolist()) == (PATIENTS, TRUTH.tolist())
    one, two = class_rows(tmp_path, planned, opened, "one")
    assert (one.run, one.seeds, one.patients, one.difference) == ("one", 2, {"LGG": 3, "HGG": 5}, None)
    assert one.scores["accuracy"]["value"] == 1.0
    assert two.scores["accuracy"]["value"] == 0.5
    assert two.scores["f1"]["value"] == pytest.approx(2 * 4 / (2 * 4 + 3 + 1))
    assert two.difference[0] == 0.5
    assert two.p == two.p_holm == pytest.approx(2 / 2**4)
    assert class_heading(opened, [one, two]) == "## toy: grade of the test patients (3 LGG, 5 HGG)"
    text = markdown_table(class_columns([one, two], "one"))
    assert "accuracy of one minus this run [95 %]" in text
    assert "+0.500 [-0.011, +0.811]" in text
    (planned[-1].folder / "best.weights.h5").write_text("trained on")  # its scores are of other weights now
    assert [row.seeds for row in class_rows(tmp_path, planned, opened, None)] == [2, 1]
