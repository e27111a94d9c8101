import numpy as np
import pytest
from PIL import Image

from data_prep.grid.geometry import Geometry
from data_prep.grid.slice_pictures import (
    HEIGHT,
    colours,
    display_channel,
    displayed_plane,
    displayed_ratio,
    grey_levels,
    outline,
    resized,
    save_rows,
)


def test_the_patients_right_is_on_the_left_and_the_front_above():
    array = np.zeros((3, 4, 5), int)
    array[1, 3, 4] = 7  # the rightmost voxel in front
    assert displayed_plane(array, 0, 1)[0, 0] == 7
    assert displayed_plane(array, 1, 3)[1, 0] == 7
    assert displayed_plane(array, 2, 4)[1, 3] == 7


def test_outliers_do_not_take_the_grey_levels_of_all_else(rng):
    scan = rng.uniform(0, 100, (20, 20, 20)).astype(np.float32)
    scan[0, 0, :3], scan[0, 1, :] = 30000, -3024
    levels = grey_levels(scan)
    assert (levels.dtype, levels.min(), levels.max()) == (np.float32, 0, 1)
    assert np.ptp(levels[1:]) > 0.97
    assert not grey_levels(np.zeros((3, 3, 3), np.int16)).any()


def test_slices_have_square_pixels_and_are_written_in_rows(tmp_path):
    geometry = Geometry.uncropped((10, 20, 5), np.diag([2.0, 1.0, 4.0, 1.0]))
    plane = np.zeros((5, 20), np.float32)  # a sagittal slice, 20 x 20 mm
    assert displayed_ratio(geometry, plane, 2) == 1
    assert displayed_ratio(geometry, np.zeros((20, 10)), 0) == 1
    square = colours(resized(plane, 1.0))
    assert square.shape == (HEIGHT, HEIGHT, 3)
    path = save_rows(tmp_path / "a.png", [[square, square], [np.concatenate([square, square], axis=1)]])
    assert Image.open(path).size == (2 * HEIGHT, 2 * HEIGHT)


@pytest.mark.parametrize("shape", [np.ones((9, 9), bool), np.zeros((9, 9), bool)])
def test_an_outline_is_the_border(shape):
    assert outline(shape).sum() == (81 - 25 if shape.any() else 0)


def test_the_channel_shown_is_the_one_that_was_annotated_else_flair():
    assert display_channel(["t1", "flair", "t2"]) == ("flair", 1)
    assert display_channel(["T1", "FLAIR"], neighbours=2) == ("FLAIR", 5)
    assert display_channel(["t1", "t2"]) == ("t1", 0)
    assert display_channel(["T1", "FLAIR", "T2"], drawn="T2") == ("T2", 2)
    assert display_channel(["T1", "FLAIR"], drawn="CT") == ("FLAIR", 1)
    assert display_channel(["T1", "FLAIR", "T2"], missing=["T1", "FLAIR"], drawn="T1") == ("T2", 2)
    assert display_channel(["T1"], missing=["T1"]) == ("T1", 0)
