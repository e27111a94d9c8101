import json

import numpy as np
import pytest

from data_prep.grid.geometry import Geometry
from data_prep.grid.prepared_grid import PreparedGrid, consistent_probabilities, likeliest_native
from data_prep.grid.resampling import Resampling

AFFINE = np.array([[-0.8, 0, 0, 5], [0, 0, 2.0, 1], [0, 1.2, 0, -3], [0, 0, 0, 1.0]])
SHAPE = (20, 16, 9)


def resampled():
    resampling = Resampling.to_spacing(SHAPE, AFFINE, (1.0, 1.0, 1.0))
    return PreparedGrid(Geometry.uncropped(resampling.target_shape, np.asarray(resampling.target_affine)), resampling)


def exact():
    return PreparedGrid(Geometry.uncropped(SHAPE, AFFINE))


def ball():
    i, j, k = np.indices(SHAPE)
    return ((i - 10) ** 2 * 0.64 + (j - 8) ** 2 * 1.44 + (k - 4) ** 2 * 4 < 25).astype(np.uint8)


def test_without_resampling_all_is_that_of_the_geometry(rng):
    grid, array = exact(), rng.integers(0, 9, SHAPE, dtype=np.uint8)
    prepared = grid.reorient(array)
    np.testing.assert_array_equal(prepared, grid.geometry.reorient(array))
    assert prepared.base is array
    np.testing.assert_array_equal(grid.reorient_label(array), prepared)
    np.testing.assert_array_equal(grid.to_native(prepared), array)
    np.testing.assert_array_equal(grid.label_to_native(prepared), array)
    assert list(grid.to_dict()) == ["geometry"]


@pytest.mark.parametrize("make", [exact, resampled])
def test_it_is_stored_as_json(make):
    grid = make().cropped((1, 2, 3), (4, 5, 6))
    assert PreparedGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


def test_the_native_grid_is_the_scanners():
    grid = resampled()
    assert grid.native_shape == SHAPE
    np.testing.assert_array_equal(grid.native_affine, AFFINE)
    assert grid.spacing_mm == pytest.approx((1, 1, 1))
    assert grid.geometry.size == tuple(round(n) for n in (16 * 1.2, 9 * 2.0, 20 * 0.8))


def test_probabilities_return_to_the_scan_with_less_loss_than_labels():
    grid, truth = resampled(), ball()
    soft = grid.reorient(truth.astype(np.float32))
    classes = (soft > 0.5).astype(np.uint8)
    found = grid.classes_to_native(classes, np.stack([1 - soft, soft], axis=-1))
    assert found.dtype == np.uint8

    def wrong(other):
        return np.count_nonzero(other != truth)

    assert wrong(found) < wrong(grid.label_to_native(classes)) < 0.2 * truth.sum()


def test_classes_that_post_processing_changed_stay_changed():
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]], np.float32)
    consistent = consistent_probabilities(np.array([0, 0, 1], np.uint8), probabilities)
    np.testing.assert_array_equal(consistent, np.array([[1, 0], [0.6, 0.4], [0, 1]], np.float32))
    np.testing.assert_array_equal(consistent.argmax(axis=-1), [0, 0, 1])


def test_without_resampling_predicted_classes_are_moved_exactly(rng):
    grid = exact()
    classes = rng.integers(0, 3, grid.geometry.size, dtype=np.uint8)
    native = grid.classes_to_native(classes, np.zeros((*classes.shape, 3), np.float32))
    np.testing.assert_array_equal(native, grid.geometry.to_native(classes))


def test_outside_a_crop_is_background():
    grid = resampled()
    part = grid.cropped((5, 5, 5), (4, 4, 4))
    probabilities = np.zeros((4, 4, 4, 2), np.float32)
    probabilities[..., 1] = 1
    native = likeliest_native(part, probabilities)
    assert native.shape == SHAPE
    assert 0 < native.sum() < 0.1 * native.size
