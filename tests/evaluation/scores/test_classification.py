import csv
import json

import numpy as np
import pytest

from common.errors import UserError
from common.metrics.classification_intervals import AUC_INTERVAL_NOTE, auc_interval
from evaluation.scores.classification import (
    SlicePredictions,
    format_table,
    read_predictions,
    summary,
    units,
    write_classification_scores,
)

CLASSES = ["grade II", "grade III"]
FACTS = {"head": "grade", "classes": CLASSES, "split": "patient", "weights": "random initialisation"}


def predictions(patients=20, each=12, classes=2, seed=0, skill=1.0):
    """Slices whose probabilities lean to their patient's truth."""
    rng = np.random.default_rng(seed)
    truth = np.arange(patients) % classes
    logits = skill * np.eye(classes)[truth] + rng.standard_normal((patients, classes))
    logits = np.repeat(logits, each, axis=0) + 0.3 * rng.standard_normal((patients * each, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = [f"p{index:02}" for index in range(patients) for _ in range(each)]
    return SlicePredictions(names, names, np.tile(np.arange(each), patients), np.repeat(truth, each), probabilities)


def summarised(given, **facts):
    return summary(given, **(FACTS | facts))


def test_the_summary_has_exactly_this_form():
    found = summarised(predictions())
    assert {key: value for key, value in found.items() if key != "level"} == {
        "format": 1,
        "kind": "classification",
        **FACTS,
        "aggregation": "mean over the patient's slices of each class's probability",
        "interval": AUC_INTERVAL_NOTE,
    }
    assert list(found["level"]) == ["patient", "slice"]
    for level, count in (("patient", 20), ("slice", 240)):
        assert list(found["level"][level]) == ["n", "accuracy", "f1", "auc", "brier", "ece"]
        assert found["level"][level]["n"] == count
        for name in ("accuracy", "f1", "auc"):
            score = found["level"][level][name]
            assert list(score) == ["value", "low", "high"]
            assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert json.loads(json.dumps(found)) == found


def test_a_patients_probability_is_the_mean_over_the_slices():
    given = SlicePredictions(
        ["a", "a", "b", "c"],
        ["y", "y", "x", "y"],
        np.array([0, 1, 0, 0]),
        np.array([1, 1, 0, 1]),
        np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]]),
    )
    found = units(given, "patient")
    assert found.patients == ["x", "y"]
    assert list(found.truth) == [0, 1]
    np.testing.assert_allclose(found.probabilities, [[0.9, 0.1], [0.3, 0.7]])
    assert list(units(given, "slice").patient) == [1, 1, 0, 1]


def test_the_values_are_those_of_scikit_learn():
    from sklearn import metrics

    given = predictions(skill=0.5)
    found = summarised(given)["level"]
    for level in ("patient", "slice"):
        scored = units(given, level)
        predicted = scored.probabilities.argmax(axis=1)
        assert found[level]["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(scored.truth, predicted))
        assert found[level]["f1"]["value"] == pytest.approx(metrics.f1_score(scored.truth, predicted))
        assert found[level]["auc"]["value"] == pytest.approx(metrics.roc_auc_score(scored.truth, scored.probabilities[:, 1]))
        assert found[level]["brier"] == pytest.approx(metrics.brier_score_loss(scored.truth, scored.probabilities[:, 1]))


def test_intervals_are_of_patients_with_all_their_slices():
    given = predictions(patients=12, each=5, skill=0.7)
    found = summarised(given)["level"]
    for level in ("patient", "slice"):
        scored = units(given, level)
        score = found[level]["auc"]
        assert (score["low"], score["high"]) == auc_interval(scored.truth, scored.probabilities[:, 1], scored.patient)
    as_if_patients = auc_interval(given.truth, given.probabilities[:, 1])
    score = found["slice"]["auc"]
    assert score["high"] - score["low"] > 1.5 * (as_if_patients[1] - as_if_patients[0])


def test_slices_add_no_certainty():
    few, many = (summarised(predictions(each=each, skill=0.7))["level"]["slice"]["accuracy"] for each in (10, 100))
    assert many["high"] - many["low"] > 0.8 * (few["high"] - few["low"])


def test_scores_are_deterministic():
    assert summarised(predictions()) == summarised(predictions())


def test_perfect_scores_have_an_interval_of_positive_width():
    found = summarised(predictions(patients=8, each=4, skill=50))["level"]
    for level in ("patient", "slice"):
        for name in ("accuracy", "f1", "auc"):
            score = found[level][name]
            assert score["value"] == score["high"] == 1
            assert 0.4 < score["low"] < 0.8


def test_fewer_than_five_patients_have_no_interval():
    for patients in (2, 4):
        found = summarised(predictions(patients=patients, each=4))
        assert found["interval"] == "none for fewer than 5 patients"
        assert found["level"]["patient"]["auc"]["value"] is not None
        assert all(found["level"][level]["auc"]["low"] is None for level in ("patient", "slice"))
        assert "[" not in format_table(found).split("ECE:")[0]
        assert "accuracy  F1" in format_table(found)


def test_one_class_has_no_auc_and_one_patient_no_interval(tmp_path):
    given = predictions(patients=1)
    found = summarised(given)
    assert found["level"]["patient"]["auc"] == {"value": None, "low": None, "high": None}
    assert found["level"]["slice"]["accuracy"]["low"] is None
    assert found["interval"] == "none for fewer than 5 patients"
    assert "no AUC, because a class is missing in truth" in format_table(found)
    write_classification_scores(tmp_path, given, found)


def test_the_files_hold_every_patient_and_slice(tmp_path):
    given = predictions(patients=4, each=3)
    found = summarised(given)
    files = write_classification_scores(tmp_path, given, found)
    assert [file.name for file in files] == ["per_patient.csv", "per_slice.csv", "table.txt", "classification_scores.json"]
    assert json.loads((tmp_path / "classification_scores.json").read_text()) == found
    assert (tmp_path / "table.txt").read_text() == format_table(found) + "\n"
    with (tmp_path / "per_patient.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scored = units(given, "patient")
    assert list(rows[0]) == ["patient", "truth", "probability", "predicted", "trained"]
    assert [row["patient"] for row in rows] == scored.patients
    assert [row["truth"] for row in rows] == [CLASSES[index] for index in scored.truth]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], scored.probabilities[:, 1], atol=1e-6)
    assert all(row["predicted"] == CLASSES[float(row["probability"]) > 0.5] for row in rows)
    with (tmp_path / "per_slice.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["patient", "case", "slice", "truth", "probability", "predicted"]
    assert [row["slice"] for row in rows] == ["0", "1", "2"] * 4


def test_more_than_two_classes_have_a_probability_each(tmp_path):
    classes = ["glioma", "meningioma", "pituitary tumour"]
    given = predictions(patients=9, classes=3)
    found = summarised(given, classes=classes, head="kind")
    write_classification_scores(tmp_path, given, found)
    heading = (tmp_path / "per_patient.csv").read_text().splitlines()[0]
    assert heading == "patient,truth,probability_glioma,probability_meningioma,probability_pituitary_tumour,predicted,trained"
    assert "each class against the rest" in format_table(found)


def test_the_table_says_where_the_weights_come_from_and_fits_a_terminal():
    table = format_table(summarised(predictions(), split="slice"))
    lines = table.splitlines()
    assert lines[0] == "Classification by grade (grade II, grade III): 20 patients, 240 slices; split by slice"
    assert lines[1] == "First weights: random initialisation"
    assert "do not hold for new patients" in " ".join(lines)
    assert max(map(len, lines)) <= 120
    assert "say little" not in format_table(summarised(predictions()))


def test_a_patient_of_several_categories_is_refused():
    given = SlicePredictions(["a", "b"], ["x", "x"], np.array([0, 0]), np.array([0, 1]), np.full((2, 2), 0.5))
    with pytest.raises(UserError, match="patient x: expected one class"):
        summarised(given)


@pytest.mark.parametrize(
    ("truth", "probabilities"),
    [([0], [[0.5, 0.6]]), ([2], [[0.5, 0.5]]), ([0, 1], [[0.5, 0.5]]), ([0], [[1.5, -0.5]]), ([0], [[np.nan, np.nan]])],
)
def test_what_cannot_be_scored_is_refused(truth, probabilities):
    with pytest.raises(ValueError, match="expected"):
        SlicePredictions(["a"], ["a"], np.array([0]), np.array(truth), np.array(probabilities))
    with pytest.raises(ValueError, match="at least one"):
        SlicePredictions([], [], np.zeros(0), np.zeros(0, int), np.zeros((0, 2)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("levels", [("patient", "slice"), ("patient",)])
def test_written_predictions_are_read_again(tmp_path, classes, levels):
    given = predictions(6, 1 if len(levels) == 1 else 4, classes)
    scores = summarised(given, classes=["II", "III", "IV"][:classes], levels=levels)
    write_classification_scores(tmp_path, given, scores)
    found = read_predictions(tmp_path, scores)
    assert (found.patients, found.cases) == (given.patients, given.cases)
    np.testing.assert_array_equal(found.truth, given.truth)
    np.testing.assert_allclose(found.probabilities, given.probabilities, atol=2e-6)


@pytest.mark.parametrize("text", ["patient,truth,probability\na,other,0.5\n", "patient,truth\na,grade II\n"])
def test_predictions_of_something_else_are_refused(tmp_path, text):
    (tmp_path / "per_patient.csv").write_text(text)
    with pytest.raises(
        UserError, match=r"per_patient.csv: expected predictions of grade II, grade III; received another table"
    ):
        read_predictions(tmp_path, summarised(predictions(), levels=("patient",)))
