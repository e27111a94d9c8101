import numpy as np
import pytest

from data_prep.grid.geometry import Geometry, middle_start
from data_prep.labels import LabelSchema
from evaluation.figures import volume as figures_volume
from tests.evaluation.figures.conftest import panels

SCHEMA = LabelSchema.load("brats2017-2021")


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    image = rng.random((12, 20, 16))
    classes = np.zeros(image.shape, np.uint8)
    classes[3:6, 2:6, 5:9], classes[4, 3, 6] = 1, 2
    return image, classes


def test_the_share_lost_is_that_of_the_tumour_outside_the_window(volume):
    geometry = Geometry.uncropped((16, 20, 12), np.eye(4))
    classes = volume[1]
    assert figures_volume.share_lost(classes, geometry) == 0
    assert figures_volume.share_lost(classes, geometry.cropped((4, 0, 0), (12, 20, 16))) == pytest.approx(1 / 3)
    assert figures_volume.share_lost(np.zeros_like(classes), geometry) == 0


def test_the_window_is_marked_where_the_cut_volume_comes_from(volume, drawn, tmp_path):
    image, classes = volume
    whole = Geometry.uncropped((16, 20, 12), np.eye(4))
    cut = whole.cropped(middle_start(whole.size, (6, 10, 8)), (6, 10, 8))
    figures_volume.draw_crop(tmp_path / "f", image, classes, cut, SCHEMA, "case")
    axes = panels(drawn[0])["axial, uncropped (20 x 16)"]
    frame = axes.patches[0]
    left, top = int(frame.get_x() + 0.5), int(frame.get_y() + 0.5)
    framed = np.asarray(axes.images[0].get_array())[top : top + 10, left : left + 8]
    np.testing.assert_array_equal(framed, panels(drawn[0])["axial, cropped (10 x 8)"].images[0].get_array())


def test_windows_larger_than_the_volume_can_be_drawn(volume, tmp_path):
    image, classes = volume
    whole = Geometry.uncropped((16, 20, 12), np.eye(4))
    padded = whole.cropped(middle_start(whole.size, (24, 24, 24)), (24, 24, 24))
    files = figures_volume.draw_crop(tmp_path / "f", image, classes, padded, SCHEMA, "case")
    assert all(file.stat().st_size > 1000 for file in files)


def test_the_mosaic_shows_every_slice_once(volume, drawn, tmp_path):
    image, classes = volume
    figures_volume.draw_mosaic(tmp_path / "f", image, classes, SCHEMA, "case")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == [*(str(index + 1) for index in range(len(image))), "R", "L"]
    assert np.asarray(axes.images[0].get_array()).shape == (20, 12 * 16, 3)


def test_the_mosaic_leaves_out_empty_ends_and_thins_out_many_slices(volume, drawn, tmp_path):
    image, classes = volume
    padded = np.pad(image, ((3, 5), (0, 0), (0, 0)))
    figures_volume.draw_mosaic(tmp_path / "f", padded, np.pad(classes, ((3, 5), (0, 0), (0, 0))), SCHEMA, "case")
    shown = [text.get_text() for text in drawn[0].axes[0].texts if text.get_text() not in "RL"]
    assert shown == [str(number) for number in range(4, 4 + len(image))]
    assert drawn[0].get_suptitle().startswith("case\nthe axial slices with head")
    deep = np.ones((155, 2, 2))
    assert figures_volume.mosaic_slices(deep) == list(range(0, 155, 2))
    assert len(figures_volume.mosaic_slices(np.ones((1000, 1, 1)))) <= figures_volume.MOST_TILES
    assert figures_volume.mosaic_slices(np.zeros((4, 2, 2))) == [0, 1, 2, 3]


def test_the_title_of_the_mosaic_lies_within_the_figure(drawn, tmp_path):
    title = "Brats18_TCIA03_265_1_of_another_institution, flair"
    figures_volume.draw_mosaic(tmp_path / "f", np.ones((155, 24, 20)), None, SCHEMA, title)
    drawn[0].draw_without_rendering()
    extent, page = drawn[0]._suptitle.get_window_extent(), drawn[0].bbox
    assert page.x0 <= extent.x0
    assert extent.x1 <= page.x1


def test_every_row_of_the_mosaic_has_the_patients_sides_and_none_without_geometry(volume, drawn, tmp_path):
    image, classes = (np.concatenate([part, part]) for part in volume)  # 24 slices, two rows
    figures_volume.draw_mosaic(tmp_path / "f", image, classes, SCHEMA, "case")
    figures_volume.draw_mosaic(tmp_path / "f", image, classes, SCHEMA, "case", None)
    sides = [[text for text in figure.axes[0].texts if text.get_text() in "RL"] for figure in drawn]
    assert [[text.get_text() for text in each] for each in sides] == [["R", "L"] * 2, []]
    assert [text.get_position()[0] > 8 * 16 for text in sides[0]] == [False, True] * 2


def test_a_crop_that_cuts_nothing_has_one_row_and_a_sentence(volume, drawn, tmp_path):
    image, classes = volume
    whole = Geometry.uncropped((16, 20, 12), np.eye(4))
    figures_volume.draw_crop(tmp_path / "f", image, classes, whole, SCHEMA, "case")
    assert len(drawn[0].axes) == 4
    assert drawn[0].get_suptitle() == "case\nthe crop takes the whole volume"
    assert not any(axes.patches for axes in drawn[0].axes)
