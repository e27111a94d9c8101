"""Scores of several models in one figure: what is read, what is drawn, what is refused."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.metrics.overlap import dice_per_class, iou_per_class
from common.metrics.statistics import summarise
from data_prep.labels import LabelSchema
from evaluation.figures import style
from evaluation.figures.scores import FOREGROUND_MEAN, WHOLE_MEAN, ModelScores, draw_class_scores, read_scores
from evaluation.scores.patients import PatientScores, scored_structures
from evaluation.tables.patients import summarise_scores, write_scores
from evaluation.tables.records import write_records_table

SCHEMA = LabelSchema.load("brats2023")


def write_records(folder, seed=0):
    """Scores of a run on records."""
    confusion = np.random.default_rng(seed).integers(1, 100, (4, 4))
    found = {"records": "r", "loss": 0.1, "confusion": confusion.tolist(), "classes": SCHEMA.class_names}
    write_records_table(folder, Path("run"), "test", found | {"patients": 7, "slices": 70, "crop": "middle"}, {})
    return confusion


def write_patients(folder, patients=5, seed=0):
    """Scores per patient of predictions."""
    structures = scored_structures(SCHEMA)
    values = np.random.default_rng(seed).random((patients, len(structures), 6))
    absent = np.zeros((patients, len(structures)), np.int64)
    made = PatientScores(structures, [str(p) for p in range(patients)], [1] * patients, values, absent)
    write_scores(folder / "scores", made, SCHEMA, summarise_scores(made, 0), {}, {})
    return {structure.name: values[:, s] for s, structure in enumerate(structures)}


@pytest.mark.parametrize(("score", "per_class"), [("iou", iou_per_class), ("dice", dice_per_class)])
def test_scores_on_records_have_background_and_both_means(tmp_path, score, per_class):
    values = per_class(write_records(tmp_path / "scores_test"))
    found = read_scores(tmp_path / "scores_test", "Model 1", score)
    assert list(found.classes) == SCHEMA.class_names
    assert [value for value, _, _ in found.classes.values()] == pytest.approx(values)
    assert {low for _, low, _ in found.classes.values()} == {None}
    assert found.means[FOREGROUND_MEAN][0] == pytest.approx(values[1:].mean())
    assert found.means[WHOLE_MEAN][0] == pytest.approx(values.mean())
    assert (found.name, found.patients, found.per_patient) == ("Model 1", 7, False)


@pytest.mark.parametrize(("score", "column"), [("dice", 0), ("iou", 1)])
def test_scores_of_predictions_have_means_over_patients_with_intervals(tmp_path, score, column):
    values = write_patients(tmp_path)
    found = read_scores(tmp_path, "p", score)
    assert list(found.classes) == SCHEMA.class_names[1:]
    for name, bar in (found.classes | {"class_mean": found.means[FOREGROUND_MEAN]}).items():
        summary = summarise(values[name][:, column])
        assert bar == pytest.approx((summary.mean, summary.low, summary.high))
    assert (found.patients, found.per_patient) == (5, True)


def test_a_slice_split_is_told_beside_the_name(tmp_path):
    write_patients(tmp_path)
    file = tmp_path / "scores" / "scores.json"
    write_json(file, read_json(file, "scores") | {"split": "slice"})
    assert read_scores(tmp_path, "Model 1").name == "Model 1 (slice split)"


def test_a_single_patient_has_no_interval(tmp_path):
    write_patients(tmp_path, patients=1)
    assert all(bar[1:] == (None, None) for bar in read_scores(tmp_path, "p").classes.values())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 9}, "expected scores of format 1"),
        ({"absent_rule": "another"}, "expected the absent rule of this version"),
        ({"confusion": [[1, "x"]]}, "expected scores per class; received a damaged file"),
        ({"classes": ["one"]}, "damaged file"),
        ({"kind": "per patient", "summary": [{"score": "iou"}]}, "damaged file"),
    ],
)
def test_damaged_scores_are_told_in_a_line(tmp_path, change, told):
    write_records(tmp_path)
    write_json(tmp_path / "scores.json", read_json(tmp_path / "scores.json", "scores") | change)
    with pytest.raises(UserError, match=f"scores.json: .*{told}") as error:
        read_scores(tmp_path, "m")
    assert "\n" not in str(error.value)


def test_a_folder_without_scores_is_told_in_a_line(tmp_path):
    with pytest.raises(UserError, match=r"expected scores\.json in it or in its scores.*score it first"):
        read_scores(tmp_path, "m")


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path: found.append(figure) or [])
    return found


def model(name, background=True, value=0.5, per_patient=False):
    bar = (value, value - 0.1, value + 0.1) if per_patient else (value, None, None)
    classes = {each: bar for each in SCHEMA.class_names if background or each != "background"}
    means = {FOREGROUND_MEAN: bar} | ({WHOLE_MEAN: bar} if background else {})
    return ModelScores(name, classes, means, 5, per_patient)


def test_a_row_for_each_class_and_mean_and_a_dot_for_each_model(tmp_path, drawn):
    models = [model("a", value=0.3), model("b", value=0.6)]
    draw_class_scores(tmp_path / "f", models)
    (axes,) = drawn[0].axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [*SCHEMA.class_names, FOREGROUND_MEAN, WHOLE_MEAN]
    dots = {line.get_label(): line for line in axes.lines if line.get_label() in "ab"}
    for name, value in (("a", 0.3), ("b", 0.6)):
        np.testing.assert_allclose(dots[name].get_xdata(), value)
        np.testing.assert_array_equal(np.round(dots[name].get_ydata()), range(len(rows)))
    assert (dots["a"].get_ydata() < dots["b"].get_ydata()).all()
    assert axes.get_xlabel() == "IoU"


def test_models_that_count_no_background_have_no_dot_there(tmp_path, drawn):
    draw_class_scores(tmp_path / "f", [model("p", background=False, per_patient=True), model("r")])
    (axes,) = drawn[0].axes
    (line,) = [line for line in axes.lines if line.get_label() == "p"]
    assert list(np.round(line.get_ydata())) == [1, 2, 3, 4]
    assert axes.get_title(loc="left").startswith("p: mean over patients")
    assert sum(len(lines.get_segments()) for lines in axes.collections) == 4  # intervals, of one model alone


@pytest.mark.parametrize("count", [1, 2, 6, 8])
def test_models_look_different_and_no_texts_overlap(tmp_path, drawn, count):
    names = [f"model {index // 2} with a rather long name" + " and augmentation" * (index % 2) for index in range(count)]
    draw_class_scores(tmp_path / "f", [model(name) for name in names])
    figure = drawn[0]
    with style.style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_label() in names]
    assert len({(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in dots}) == count
    boxes = [figure.legends[0].get_window_extent(), axes.xaxis.label.get_window_extent()]
    boxes += [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one model"):
        draw_class_scores(tmp_path / "f", [])


def test_it_is_written_twice(tmp_path):
    files = draw_class_scores(tmp_path / "f", [model("a", per_patient=True)], "dice")
    assert [file.name for file in files] == ["f.pdf", "f.png"]
    assert all(file.stat().st_size > 1000 for file in files)
