from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from common.errors import UserError
from common.metrics import classification
from evaluation.figures import style
from evaluation.figures.classification import draw_calibration, draw_classification, draw_confusion, draw_roc
from evaluation.scores.classification import SlicePredictions, summary, units

NAMES = {2: ["grade II", "grade III"], 3: ["glioma", "meningioma", "pituitary tumour"]}
DRAWN = [draw_roc, draw_confusion, draw_calibration]


def made(classes=2, patients=24, each=3):
    """Predictions that lean to the truth, and their summary."""
    rng = np.random.default_rng(classes)
    truth = np.repeat(np.arange(patients) % classes, each)
    raw = rng.random((patients * each, classes)) + 0.4 * np.eye(classes)[truth]
    names = [f"p{index:02}" for index in range(patients) for _ in range(each)]
    slices = np.tile(np.arange(each), patients)
    given = SlicePredictions(names, names, slices, truth, raw / raw.sum(axis=1, keepdims=True))
    facts = {"head": "grade", "classes": NAMES[classes], "split": "patient", "weights": "random initialisation"}
    return given, summary(given, **facts)


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found


@pytest.mark.parametrize("level", ["patient", "slice"])
def test_the_roc_curve_tells_auc_interval_and_patients(tmp_path, drawn, level):
    given, scores = made()
    draw_roc(tmp_path / "f", given, scores, level)
    (axes,) = drawn[0].axes
    chance, curve = axes.lines
    scored = units(given, level)
    expected = classification.roc_curve(scored.truth == 1, scored.probabilities[:, 1])
    np.testing.assert_array_equal(curve.get_xdata(), expected.false_positive_rate)
    np.testing.assert_array_equal(curve.get_ydata(), expected.true_positive_rate)
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    auc = scores["level"][level]["auc"]
    assert f"AUC {auc['value']:.3f} [95 % interval {auc['low']:.3f} to {auc['high']:.3f}]" in axes.get_title()
    assert "24 patients" in axes.get_title()
    assert ("72 slices" in axes.get_title()) == (level == "slice")


def test_each_of_three_classes_has_a_roc_curve_that_a_print_tells_apart(tmp_path, drawn):
    draw_roc(tmp_path / "f", *made(3))
    curves = drawn[0].axes[0].lines[1:]
    assert len({curve.get_color() for curve in curves}) == len({str(curve._dash_pattern) for curve in curves}) == 3
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert [text.split(" against")[0] for text in texts] == [*NAMES[3], "chance"]


def test_there_is_no_roc_curve_without_both_classes(tmp_path):
    given, scores = made(patients=1)
    with pytest.raises(UserError, match="no patient is grade III"):
        draw_roc(tmp_path / "f", given, scores)


def test_the_confusion_matrix_shows_every_count(tmp_path, drawn):
    given, scores = made(3)
    draw_confusion(tmp_path / "f", given, scores)
    (axes,) = drawn[0].axes
    scored = units(given, "patient")
    counts = classification.confusion(scored.truth, scored.probabilities)
    assert [int(text.get_text().split()[0]) for text in axes.texts] == list(counts.ravel())
    np.testing.assert_allclose(axes.images[0].get_array(), counts / counts.sum(axis=1, keepdims=True))
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES[3]


@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_shows_the_counts_of_its_bins(tmp_path, drawn, classes):
    given, scores = made(classes)
    draw_calibration(tmp_path / "f", given, scores)
    upper, lower = drawn[0].axes
    scored = units(given, "patient")
    found = classification.calibration(scored.truth, scored.probabilities)
    np.testing.assert_array_equal(upper.lines[1].get_ydata(), found.frequency[found.counts > 0])
    assert [text.get_text() for text in lower.texts] == [str(count) for count in found.counts]
    assert f"ECE {found.error:.3f}" in upper.get_title()


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("classes", [2, 3])
def test_no_texts_overlap_or_leave_the_figure(tmp_path, drawn, draw, classes):
    draw(tmp_path / "f", *made(classes))
    with style.style():
        drawn[0].draw_without_rendering()
    parts = [axes.title for axes in drawn[0].axes if axes.get_title()] + drawn[0].legends
    parts += [axes.xaxis.label for axes in drawn[0].axes if axes.get_xlabel()]
    boxes = [part.get_window_extent() for part in parts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    page = drawn[0].bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)


def test_figures_are_written_twice(tmp_path):
    files = [file for draw in DRAWN for file in draw(tmp_path / draw.__name__, *made())]
    assert len(files) == 9
    assert all(file.stat().st_size > 1000 for file in files if file.suffix != ".csv")


@pytest.mark.parametrize("missing", [False, True])
def test_figures_of_a_classifier_have_a_roc_curve_where_every_class_is_in_truth(tmp_path, missing):
    given, scores = made(3)
    scores["classes"] = [*scores["classes"], "cyst"] if missing else scores["classes"]
    if missing:
        given = replace(given, probabilities=np.pad(given.probabilities, ((0, 0), (0, 1))))
    files = draw_classification(tmp_path, given, scores)
    assert {file.stem for file in files} == {"confusion", "calibration"} | (set() if missing else {"roc"})
    assert all(file.is_file() for file in files)


def test_the_numbers_of_each_figure_are_a_table(tmp_path):
    files = draw_classification(tmp_path, *made(2, 8))
    tables = {file.stem: [line.split(",") for line in file.read_text().splitlines()] for file in files if file.suffix == ".csv"}
    assert set(tables) == {"confusion", "calibration", "roc"}
    assert sum(int(row[2]) for row in tables["confusion"][1:]) == 8
    assert sum(int(row[2]) for row in tables["calibration"][1:]) == 8
    assert [float(value) for value in tables["roc"][-1][2:]] == [1.0, 1.0]
