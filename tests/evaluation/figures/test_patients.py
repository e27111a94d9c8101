import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.metrics.catalogue import METRICS
from common.metrics.metric import Scale
from evaluation.figures import style
from evaluation.figures.patients import (
    FEWEST,
    axis_limits,
    draw_boxes,
    draw_per_patient,
    short_names,
    shortened,
    spread,
    worst_patients,
)

DICE, HD95 = METRICS["dice"], METRICS["hd95"]


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found


def made(n, seed=0, prefix="patient_"):
    return {f"{prefix}{number:03d}": float(score) for number, score in enumerate(np.random.default_rng(seed).random(n))}


def points(axes):
    """The patients' points, (n, 2), of each box."""
    return [np.asarray(each.get_offsets()) for each in axes.collections if len(each.get_offsets())]


def test_a_box_per_set_with_all_patients_the_mean_and_n(tmp_path, drawn):
    sets = {"one": made(12), "other": made(7, seed=1)}
    draw_boxes(tmp_path / "f", sets, DICE, "WT (region)")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["one\nn = 12", "other\nn = 7"]
    assert axes.get_ylabel() == "Dice ↑, WT (region)"
    diamonds = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == [pytest.approx(np.mean(list(each.values()))) for each in sets.values()]
    for found, each in zip(points(axes), sets.values(), strict=True):
        np.testing.assert_allclose(sorted(found[:, 1]), sorted(each.values()))


def test_the_worst_three_are_named(tmp_path, drawn):
    scores = made(9)
    draw_boxes(tmp_path / "f", {"one": scores}, DICE, "WT")
    named = [text.get_text() for text in drawn[0].axes[0].texts]
    assert named == sorted(scores, key=scores.get)[:3]


def test_names_stay_on_the_figure_and_off_the_next_box(tmp_path, drawn):
    long = {f"{'x' * 60}{number}": score for number, score in enumerate(made(6).values())}
    draw_boxes(tmp_path / "f", {"one": long, "two": long, "three": long}, DICE, "WT")
    from matplotlib.text import Text

    figure = drawn[0]
    figure.set_dpi(style.DPI)  # letters are rounded to whole pixels
    figure.canvas.draw()
    (axes,) = figure.axes
    ends = axes.transData.inverted().transform([Text.get_window_extent(text).max for text in axes.texts])[:, 0]
    places = axes.get_xticks()
    assert (ends[:3] < places[1] - 0.25).all()
    assert (ends[6:] < axes.get_xlim()[1] + 0.1).all()


def test_the_jitter_is_seeded(tmp_path, drawn):
    for seed in (0, 0, 1):
        draw_boxes(tmp_path / "f", {"one": made(9)}, DICE, "WT", seed)
    first, again, other = (points(figure.axes[0])[0] for figure in drawn)
    np.testing.assert_array_equal(first, again)
    assert (first[:, 0] != other[:, 0]).any()
    np.testing.assert_array_equal(first[:, 1], other[:, 1])


def test_patients_from_the_best_to_the_worst_with_mean_and_median(tmp_path, drawn):
    scores = made(15)
    draw_per_patient(tmp_path / "f", scores, DICE, "WT")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == sorted(scores, key=scores.get, reverse=True)
    values, mean, median = (line.get_xdata() for line in axes.lines)
    np.testing.assert_array_equal(values, sorted(scores.values(), reverse=True))
    assert (mean[0], median[0]) == (pytest.approx(np.mean(values)), pytest.approx(np.median(values)))
    assert "n = 15 patients" in axes.get_xlabel()


def test_of_many_patients_only_the_worst_are_named(tmp_path, drawn):
    scores = made(200)
    draw_per_patient(tmp_path / "f", scores, DICE, "WT")
    (axes,) = drawn[0].axes
    assert len(axes.get_yticks()) == 0
    assert [text.get_text() for text in axes.texts] == sorted(scores, key=scores.get)[:3]


@pytest.mark.parametrize("scores", [{"a": 1.0}, {"a": 0.0, "b": 0.0}, made(3)])
def test_few_and_equal_patients_are_drawn(tmp_path, scores):
    boxes = draw_boxes(tmp_path / "boxes", {"one": scores}, DICE, "WT")
    dots = draw_per_patient(tmp_path / "dots", scores, DICE, "WT")
    assert [file.name for file in (*boxes, *dots)] == [
        f"{name}.{end}" for name in ("boxes", "dots") for end in ("pdf", "png", "csv")
    ]
    assert all(file.stat().st_size > 1000 for file in (*boxes[:2], *dots[:2]))


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw_boxes(tmp_path / "f", {"one": {}}, DICE, "WT")
    with pytest.raises(ValueError, match="at least one"):
        draw_per_patient(tmp_path / "f", {}, DICE, "WT")


def test_a_shortened_id_keeps_its_ends():
    assert shortened("BraTS20_007", 24) == "BraTS20_007"
    assert shortened("a" * 30 + "_007", 10) == "aaa…aa_007"


def test_nobody_is_named_where_all_are_equal():
    assert worst_patients({"a": 1.0, "b": 1.0}, DICE) == []
    assert worst_patients({"a": 1.0, "b": 2.0}, METRICS["true_ml"]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_names_are_apart_and_not_above_the_top(values):
    moved = spread(np.sort(values), gap=0.05, top=1.03)
    assert (np.diff(moved) >= 0.05 - 1e-9).all()
    assert moved.max() <= 1.03


def test_of_distances_the_largest_are_the_worst(tmp_path, drawn):
    scores = {patient: 40 * score for patient, score in made(9).items()}
    worst = sorted(scores, key=scores.get, reverse=True)
    assert worst_patients(scores, HD95) == worst[:3]
    draw_boxes(tmp_path / "f", {"one": scores}, HD95, "WT")
    draw_per_patient(tmp_path / "g", scores, HD95, "WT")
    boxes, dots = (figure.axes[0] for figure in drawn)
    assert {text.get_text() for text in boxes.texts} == set(worst[:3])
    assert boxes.get_ylabel() == "HD95 (mm) ↓, WT"
    assert boxes.get_ylim()[1] > max(scores.values()) > 1
    assert [text.get_text() for text in dots.get_yticklabels()] == worst[::-1]
    assert dots.get_xlabel() == "HD95 (mm) ↓, WT; n = 9 patients"
    assert drawn[1].legends[0].get_texts()[0].get_text() == f"mean {np.mean(list(scores.values())):.2f}"


def test_of_many_distances_names_are_on_the_side_of_small_ones(tmp_path, drawn):
    scores = {patient: 40 * score for patient, score in made(200).items()}
    draw_per_patient(tmp_path / "f", scores, HD95, "WT")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == sorted(scores, key=scores.get, reverse=True)[:3]


@pytest.mark.parametrize(
    ("values", "scale", "limits"),
    [
        ([0.5, 0.9], DICE, (0, 1)),
        ([3, 40], HD95, (0, 42)),
        ([0, 0], HD95, (0, 1)),
        ([0.5], Scale(name="x", heading="x", limits=(-1, 1)), (-1, 1)),
        ([-3, 2], Scale(name="x", heading="x", limits=(-np.inf, np.inf)), (-3, 2.1)),
    ],
)
def test_axes_follow_the_range_of_the_metric(values, scale, limits):
    assert axis_limits(values, scale) == pytest.approx(limits)


def test_few_patients_have_points_and_a_mean_but_no_box(tmp_path, drawn):
    draw_boxes(tmp_path / "f", {"few": made(FEWEST - 1), "many": made(FEWEST)}, DICE, "WT")
    (axes,) = drawn[0].axes
    assert len(axes.patches) == 1
    assert [len(each) for each in points(axes)] == [FEWEST - 1, FEWEST]
    assert sum(line.get_marker() == "D" for line in axes.lines) == 2
    draw_boxes(tmp_path / "f", {"few": made(FEWEST - 1)}, DICE, "WT")
    assert "box" not in drawn[1].axes[0].get_title(loc="left")


def test_the_numbers_are_a_table_without_names_where_these_are_left_out(tmp_path):
    for names, patients in ((True, ["a", "b"]), (False, ["", ""])):
        file = draw_boxes(tmp_path / "f", {"fold 0\n(x)": {"a": 0.5, "b": 1.0}}, DICE, "WT", names=names)[-1]
        rows = [line.split(",") for line in file.read_text().splitlines()]
        assert rows[0] == ["set", "patient", "dice"]
        assert [row[0] for row in rows[1:]] == ["fold 0 (x)"] * 2
        assert [row[1] for row in rows[1:]] == patients
        assert [float(row[2]) for row in rows[1:]] == [0.5, 1.0]


def test_names_can_be_left_out(tmp_path, drawn):
    draw_boxes(tmp_path / "f", {"one": made(9)}, DICE, "WT", names=False)
    draw_per_patient(tmp_path / "g", made(9), DICE, "WT", names=False)
    draw_per_patient(tmp_path / "h", made(200), DICE, "WT", names=False)
    for figure in drawn:
        assert not figure.axes[0].texts
    assert {label.get_text() for label in drawn[1].axes[0].get_yticklabels()} == {""}


def test_a_long_id_keeps_the_part_that_differs():
    ids = ["TCGA_CS_4941_19960909", "TCGA_CS_4942_19970222", "TCGA_DU_5849_19950405"]
    assert list(short_names(ids, 9).values()) == ["…CS_4941…", "…CS_4942…", "…DU_5849…"]
    assert list(short_names(["BraTS20_Training_007", "BraTS20_Training_010"], 9).values()) == ["…007", "…010"]
    assert short_names(["a", "b"], 9) == {"a": "a", "b": "b"}
    alike = [f"{'x' * 40}{end}" for end in "ab"]
    assert list(short_names(alike, 10).values()) == [shortened(each, 10) for each in alike]


@given(st.lists(st.text("ab_1", min_size=1, max_size=12), min_size=1, max_size=5, unique=True), st.integers(6, 12))
def test_short_names_are_never_longer_than_asked(ids, letters):
    assert max(map(len, short_names(ids, letters).values())) <= letters
