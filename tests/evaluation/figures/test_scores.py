"""Scores of several models in one figure: what is read, what is drawn, what is refused."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.metrics.catalogue import METRICS
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, MEAN_WITH_BACKGROUND, Structure
from evaluation.figures import style
from evaluation.figures.scores import ModelScores, draw_scores, read_model, row_label, scored_metrics
from evaluation.scores.folder import Estimate
from tests.evaluation.scores.test_folder import made_scores, write_made, write_records
from tests.overlaps import per_class

SCHEMA = LabelSchema.load("brats2023")
DICE, IOU, HD95 = (METRICS[name] for name in ("dice", "iou", "hd95"))
REGIONS = ["WT", "TC", "ET"]
CLASSES = ["background", "edema", "non-enhancing tumor"]  # enhancing tumor is ET, once
MEANS = ["class mean", "class mean with background"]


def labels(model):
    return [row_label(structure) for structure in model.values]


@pytest.mark.parametrize("metric", [IOU, DICE])
def test_scores_on_records_have_background_and_both_means(tmp_path, metric):
    values = per_class(write_records(tmp_path / "scores_test").confusion, metric.name)
    found = read_model(tmp_path / "scores_test", "Model 1", metric)
    assert labels(found) == [*REGIONS, *CLASSES, *MEANS]
    given = dict(zip(labels(found), found.values.values(), strict=True))
    assert [given[name].value for name in [*CLASSES, "ET"]] == pytest.approx(values)
    assert {(each.low, each.high) for each in given.values()} == {(None, None)}
    assert given["class mean"].value == pytest.approx(values[1:].mean())
    assert given["class mean with background"].value == pytest.approx(values.mean())
    assert (found.name, found.patients, found.pooled) == ("Model 1", 7, True)


@pytest.mark.parametrize("metric", [DICE, IOU, HD95])
def test_scores_of_predictions_have_means_over_patients_with_intervals(tmp_path, metric):
    made = made_scores(0, schema=SCHEMA)
    found = read_model(write_made(tmp_path, 0, schema=SCHEMA), "p", metric)
    assert labels(found) == [*REGIONS, *CLASSES[1:], MEANS[0]]
    for structure, each in found.values.items():
        (column,) = [
            values
            for (other, name), values in made.values.items()
            if (other.kind, other.name, name) == (structure.kind, structure.name, metric.name)
        ]
        assert each.value == pytest.approx(column.mean())
        assert each.low < each.value < each.high
    assert (found.patients, found.pooled) == (8, False)


def test_distances_on_records_are_means_over_patients(tmp_path):
    write_records(tmp_path)
    found = read_model(tmp_path, "m", HD95)
    assert labels(found) == [*REGIONS, *CLASSES[1:], MEANS[0]]
    assert {each.value for each in found.values.values()} == {8.0}
    assert not found.pooled


def test_every_metric_that_is_judged_and_scored_has_a_figure(tmp_path):
    write_records(tmp_path / "r")
    write_made(tmp_path / "p", 0, spacing=False)
    assert [metric.name for metric in scored_metrics([tmp_path / "p"])] == ["dice", "iou", "sensitivity", "precision"]
    assert HD95 in scored_metrics([tmp_path / "p", tmp_path / "r"])


def test_a_binary_task_has_one_row_for_its_structure(tmp_path):
    schema = LabelSchema.load("binary")
    assert labels(read_model(write_made(tmp_path, 0, schema=schema), "p", DICE)) == ["tumor"]


def test_a_slice_split_stands_beside_the_name(tmp_path):
    write_made(tmp_path, 0)
    file = tmp_path / "scores" / "scores.json"
    write_json(file, read_json(file, "scores") | {"split": "slice"})
    assert read_model(tmp_path, "Model 1", DICE).name == "Model 1 (slice split)"


def test_a_single_patient_has_no_interval(tmp_path):
    write_made(tmp_path, 0, patients=1)
    found = read_model(tmp_path, "p", DICE)
    assert {(each.low, each.high) for each in found.values.values()} == {(None, None)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 9}, "expected scores of format 3"),
        ({"metrics": {"iou": IOU.facts() | {"one_absent": 1.0}}}, "expected iou as this version defines it"),
        (
            {"summary": [{"kind": "class", "structure": "edema", "score": "iou", "value": "x"}]},
            "value: expected a finite number",
        ),
        ({"summary": [{"score": "iou"}]}, "kind: expected this key"),
        ({"patients": None}, "patients: expected a whole number"),
    ],
)
def test_damaged_scores_are_refused_in_a_line(tmp_path, change, told):
    write_records(tmp_path)
    write_json(tmp_path / "scores.json", read_json(tmp_path / "scores.json", "scores") | change)
    with pytest.raises(UserError, match=f"scores.json: .*{told}") as error:
        read_model(tmp_path, "m", IOU)
    assert "\n" not in str(error.value)


def test_a_folder_without_scores_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match=r"expected scores\.json in it or in its scores.*score it first"):
        read_model(tmp_path, "m", IOU)


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found


def model(name, background=True, value=0.5, per_patient=False):
    bar = Estimate(value, value - 0.1, value + 0.1) if per_patient else Estimate(value)
    rows = [Structure("class", each) for each in SCHEMA.class_names if background or each != "background"]
    rows += [CLASS_MEAN, MEAN_WITH_BACKGROUND] if background else [CLASS_MEAN]
    return ModelScores(name, dict.fromkeys(rows, bar), 5, not per_patient)


def test_a_row_for_each_structure_and_a_dot_for_each_model(tmp_path, drawn):
    draw_scores(tmp_path / "f", [model("a", value=0.3), model("b", value=0.6)], IOU)
    (axes,) = drawn[0].axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [*SCHEMA.class_names, *MEANS]
    dots = {line.get_label(): line for line in axes.lines if line.get_label() in "ab"}
    for name, value in (("a", 0.3), ("b", 0.6)):
        np.testing.assert_allclose(dots[name].get_xdata(), value)
        np.testing.assert_array_equal(np.round(dots[name].get_ydata()), range(len(rows)))
    assert (dots["a"].get_ydata() < dots["b"].get_ydata()).all()
    assert axes.get_xlabel() == "IoU ↑"
    assert axes.get_xlim() == (0, 1)


def test_the_axis_follows_the_metric(tmp_path, drawn):
    draw_scores(tmp_path / "f", [model("a", value=30.0)], HD95)
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "HD95 (mm) ↓"
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] > 30


def test_models_that_count_no_background_have_no_dot_there(tmp_path, drawn):
    draw_scores(tmp_path / "f", [model("p", background=False, per_patient=True), model("r")], IOU)
    (axes,) = drawn[0].axes
    (line,) = [line for line in axes.lines if line.get_label() == "p"]
    assert list(np.round(line.get_ydata())) == [1, 2, 3, 4]
    assert axes.get_title(loc="left").startswith("p: mean over patients")
    assert sum(len(lines.get_segments()) for lines in axes.collections) == 4  # intervals, of one model alone


def test_cases_without_usable_prediction_are_in_the_note(tmp_path, drawn):
    draw_scores(tmp_path / "f", [model("a", per_patient=True), replace(model("b", per_patient=True), missing=2)], IOU)
    note = " ".join(drawn[0].axes[0].get_title(loc="left").split())
    assert note.endswith(". b: 2 cases without usable prediction, with the worst value where there is one")


@pytest.mark.parametrize("count", [1, 2, 6, 8])
def test_models_look_different_and_no_texts_overlap(tmp_path, drawn, count):
    names = [f"model {index // 2} with a rather long name" + " and augmentation" * (index % 2) for index in range(count)]
    draw_scores(tmp_path / "f", [model(name) for name in names], IOU)
    figure = drawn[0]
    with style.style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_label() in names]
    assert len({(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in dots}) == count
    assert len(figure.legends) == (count > 1)  # one model needs none
    boxes = [*(legend.get_window_extent() for legend in figure.legends), axes.xaxis.label.get_window_extent()]
    boxes += [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one model"):
        draw_scores(tmp_path / "f", [], IOU)


def test_the_numbers_are_a_table(tmp_path):
    made = model("a", per_patient=True)
    file = draw_scores(tmp_path / "f", [made], DICE)[-1]
    head, *rows = [line.split(",") for line in file.read_text().splitlines()]
    assert head == ["model", "kind", "structure", "dice", "low_95", "high_95"]
    assert [float(row[3]) for row in rows] == pytest.approx([each.value for each in made.values.values()], abs=1e-6)


def test_it_is_written_twice(tmp_path):
    files = draw_scores(tmp_path / "f", [model("a", per_patient=True)], DICE)
    assert [file.name for file in files] == ["f.pdf", "f.png", "f.csv"]
    assert all(file.stat().st_size > 1000 for file in files[:2])
