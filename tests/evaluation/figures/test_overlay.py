from itertools import combinations

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from evaluation.figures import style
from evaluation.figures.overlay import displayed_slices, draw_models, draw_overlay, named_with_dice

SCHEMA = LabelSchema.load("brats2017-2021")


@pytest.fixture
def volume():
    image = np.random.default_rng(0).random((20, 24, 18)).astype(np.float16)
    truth = np.zeros(image.shape, np.uint8)
    truth[4:15, 8:12, 5:9] = 1
    truth[9, 4:20, 3:15] = 2
    return image, truth


@pytest.fixture
def drawn(monkeypatch):
    found = []
    monkeypatch.setattr(style, "save_as", lambda figure, path, dpi: found.append(figure) or path)
    return found


def test_the_slice_with_the_most_tumour_is_shown_between_two_others(volume):
    truth = volume[1]
    chosen = displayed_slices(truth, truth)
    assert len(chosen) == 3
    assert chosen[1] == 9
    assert all(truth[z].any() for z in chosen)


def test_where_truth_is_empty_the_prediction_decides_and_without_any_the_volume(volume):
    empty = np.zeros_like(volume[1])
    assert displayed_slices(empty, volume[1]) == displayed_slices(volume[1], volume[1])
    assert displayed_slices(empty, empty) == [5, 10, 15]


def test_not_annotated_voxels_are_no_tumour(volume):
    truth = volume[1].copy()
    truth[18] = 255
    assert displayed_slices(truth, truth) == displayed_slices(volume[1], volume[1])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_thin_volumes_are_drawn_with_the_slices_they_have(volume, depth, tmp_path):
    image, truth = (array[9 : 9 + depth] for array in volume)
    file = draw_overlay(tmp_path / "a.png", image, truth, truth, SCHEMA, "case")
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("with_truth", [True, False])
def test_columns_are_image_truth_where_there_is_one_and_prediction(volume, drawn, tmp_path, with_truth):
    image, truth = volume
    draw_overlay(tmp_path / "a.png", image, truth if with_truth else None, truth, SCHEMA, "case")
    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_title()]
    expected = ["image", "truth", "prediction\nDice 1.000"] if with_truth else ["image", "prediction"]
    assert titles == expected
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == SCHEMA.class_names[1:]


def test_the_dice_is_that_of_all_annotated_tumour():
    truth, prediction = np.array([[[0, 1, 2, 255, 0]]]), np.array([[[0, 2, 0, 1, 3]]])
    assert named_with_dice("prediction", truth, prediction) == "prediction\nDice 0.500"
    assert named_with_dice("prediction", 0 * truth, 0 * prediction) == "prediction\nno foreground in both"
    assert named_with_dice("truth", truth, prediction) == "truth"
    assert named_with_dice("prediction", None, prediction) == "prediction"


def test_truth_and_prediction_are_shown_where_they_are(volume, drawn, tmp_path):
    image, truth = volume
    prediction = np.zeros_like(truth)
    prediction[9, 0, 0] = 3  # posterior, at the patient's left: below, on the right
    draw_overlay(tmp_path / "a.png", image, truth, prediction, SCHEMA, "case")
    plain, _, predicted = (np.asarray(axes.images[0].get_array()) for axes in drawn[0].axes[3:6])
    changed = (predicted != plain[..., None]).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[23, 17]]


def test_side_marks_and_aspect_come_from_the_geometry(volume, drawn, tmp_path):
    image, truth = volume
    draw_overlay(tmp_path / "a.png", image, truth, truth, SCHEMA, "case", spacing_mm=(5.0, 2.0, 1.0))
    draw_overlay(tmp_path / "b.png", image, truth, truth, SCHEMA, "case", spacing_mm=None)
    marks = [{text.get_text() for axes in figure.axes for text in axes.texts if len(text.get_text()) == 1} for figure in drawn]
    assert marks == [{"L", "R"}, set()]
    assert [figure.axes[0].get_aspect() for figure in drawn] == [2.0, 1.0]


@pytest.fixture
def saved(monkeypatch):
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [path])
    return found


@pytest.mark.parametrize("with_truth", [True, False])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_several_models_are_shown_beside_each_other_in_one_slice(volume, saved, tmp_path, with_truth, count):
    image, truth = volume
    models = {f"model {index} with a rather long name": np.roll(truth, index, axis=2) for index in range(count)}
    draw_models(tmp_path / "m", image, truth if with_truth else None, models, SCHEMA, "case")
    figure = saved[0]
    with style.style():
        figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.images]
    titles = [" ".join(axes.get_title().split()) for axes in shown]
    assert [title.partition(" Dice ")[0] for title in titles] == ["image", *(["truth"] if with_truth else []), *models]
    assert sum("Dice" in title for title in titles) == (count if with_truth else 0)
    assert [text.get_text() for text in shown[0].texts if "slice" in text.get_text()] == ["slice 10 of 20"]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in shown]
    assert not any(np.array_equal(one, other) for one, other in combinations(pictures[-count:], 2))
    boxes = [axes.title.get_window_extent() for axes in shown]
    boxes += [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_where_truth_is_empty_the_models_choose_the_slice(volume, saved, tmp_path):
    image, truth = volume
    draw_models(tmp_path / "m", image, np.zeros_like(truth), {"a": truth, "b": truth}, SCHEMA, "case", None)
    assert "slice 10 of 20" in [text.get_text() for text in saved[0].axes[0].texts]
