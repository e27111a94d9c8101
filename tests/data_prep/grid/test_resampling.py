from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data_prep.grid.resampling import Resampling, grid_of_spacing, interpolate, native_spacing, to_rows

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix() @ np.diag([-0.9, 1.1, 2.5])  # left-handed
OBLIQUE[:3, 3] = (12.0, -30.0, 7.0)


def positions(shape, affine):
    """Positions in millimetres (i, j, k, 3) of the voxels of a grid."""
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def ramp(shape, affine, slope=(1.0, 2.0, -0.5)):
    """An image that is linear in space, which linear interpolation reproduces."""
    return (positions(shape, affine) @ slope).astype(np.float32)


def test_lengths_of_slices_rows_and_columns_go_to_the_axes_that_they_belong_to():
    coronal = np.array([[-1.0, 0, 0, 0], [0, 0, 2.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])  # i left, j down, k to the front
    assert native_spacing((4, 5, 6), coronal, (3.0, 2.0, 1.0)) == [1.0, 3.0, 2.0]
    assert native_spacing((4, 5, 6), coronal, 1.5) == [1.5, 1.5, 1.5]


def test_a_linear_image_has_equal_values_at_equal_positions_on_both_grids():
    native = ramp((20, 18, 9), OBLIQUE)
    resampling = Resampling.to_spacing((20, 18, 9), OBLIQUE, (1.0, 1.0, 1.0))
    forward = resampling.forward(native)
    expected = ramp(resampling.target_shape, np.asarray(resampling.target_affine))
    inner = (slice(2, -2),) * 3
    assert forward.dtype == np.float32
    np.testing.assert_allclose(forward[inner], expected[inner], atol=1e-3)
    np.testing.assert_allclose(resampling.backward(forward)[inner], native[inner], atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 3.0)])
def test_the_target_has_the_wanted_voxels_and_the_middle_of_the_scan(spacing):
    shape, affine = grid_of_spacing((20, 18, 9), OBLIQUE, spacing)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing)
    lengths = np.linalg.norm(OBLIQUE[:3, :3], axis=0) * (20, 18, 9)
    assert shape == tuple(np.rint(lengths / spacing))
    middles = [a[:3, :3] @ ((np.array(s) - 1) / 2) + a[:3, 3] for s, a in ((shape, affine), ((20, 18, 9), OBLIQUE))]
    np.testing.assert_allclose(*middles)
    np.testing.assert_allclose(affine[:3, :3] / spacing, OBLIQUE[:3, :3] / np.linalg.norm(OBLIQUE[:3, :3], axis=0))


def test_sheared_axes_become_orthogonal_and_nothing_is_cut_off():
    tilted = np.diag([1.0, 1.0, 3.0, 1.0])
    tilted[1, 2] = 1.0  # gantry tilt: slices shift along rows
    shape, affine = grid_of_spacing((10, 10, 8), tilted, (1.0, 1.0, 1.0))
    axes = affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    inside = np.linalg.solve(affine, np.concatenate([positions((10, 10, 8), tilted).reshape(-1, 3).T, np.ones((1, 800))]))[:3]
    assert (inside > -1).all()
    assert (inside < np.array(shape)[:, None]).all()


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.floats(-40, 40)] * 3), st.tuples(*[st.floats(-5, 5)] * 3))
def test_forward_and_backward_are_inverse_transforms(angles, shift):
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    transform[:3, 3] = shift
    grid = to_rows(np.eye(4))
    one = Resampling((9, 9, 9), to_rows(OBLIQUE), (12, 8, 10), grid, to_rows(transform))
    position = np.array([3.0, 4.0, 5.0, 1.0])
    native = one.matrix @ position
    np.testing.assert_allclose(OBLIQUE @ native, transform @ position, atol=1e-9)
    np.testing.assert_allclose(np.linalg.inv(one.matrix) @ native, position, atol=1e-9)
    assert Resampling.from_dict(asdict(one)) == one


def test_outside_the_field_of_view_is_the_smallest_value_of_images_and_the_fill_of_labels():
    array = np.full((4, 4, 4), 5, np.int16)
    array[0] = -1000
    moved = np.eye(4)
    moved[0, 3] = 2.0
    resampling = Resampling((4, 4, 4), to_rows(np.eye(4)), (4, 4, 4), to_rows(np.eye(4)), to_rows(moved))
    assert (resampling.forward(array)[:2] == 5).all()
    assert (resampling.forward(array)[2:] == -1000).all()
    for interpolation in ("nearest", "gaussian"):
        label = resampling.forward_label(np.ones((4, 4, 4), np.uint8), interpolation, fill=9)
        assert label.dtype == np.uint8
        assert (label[:2] == 1).all()
        assert (label[2:] == 9).all()


def test_a_spline_keeps_to_the_range_of_the_image_and_follows_curves_better(rng):
    step = np.zeros((16, 5, 5), np.float32)
    step[8:] = 1
    finer = np.diag([0.5, 1, 1, 1])
    spline = interpolate(step, finer, (32, 5, 5), "bspline", 0.0)
    assert (spline.min(), spline.max()) == (0, 1)
    wave = np.sin(np.arange(16) * 0.8)[:, None, None] * np.ones((1, 5, 5), np.float32)
    expected = np.sin(np.arange(31) * 0.4)[4:-4, None, None]
    errors = {
        kind: np.abs(interpolate(wave, finer, (31, 5, 5), kind, 0.0)[4:-4] - expected).max() for kind in ("linear", "bspline")
    }
    assert errors["bspline"] < 0.2 * errors["linear"]


def test_larger_voxels_are_means_of_their_neighbourhood_not_single_samples(rng):
    noise = rng.normal(size=(40, 40, 40)).astype(np.float32)
    coarse = interpolate(noise, np.diag([4.0, 4, 4, 1]), (10, 10, 10), "linear", 0.0)
    assert coarse.std() < 0.2
    np.testing.assert_array_equal(interpolate(noise, np.eye(4), (40, 40, 40), "linear", 0.0), noise)


@pytest.mark.parametrize("interpolation", ["nearest", "gaussian"])
def test_labels_have_no_new_values_and_return_as_they_were(interpolation):
    z, y, x = np.indices((24, 24, 24)) - 11.5
    radius = np.sqrt(z**2 + y**2 + x**2)
    label = np.select([radius < 4, radius < 8], [40, 7], 0).astype(np.int16)
    resampling = Resampling.to_spacing((24, 24, 24), np.diag([1.0, 1, 1, 1]), (0.8, 0.8, 0.8))
    forward = resampling.forward_label(label, interpolation)
    assert set(np.unique(forward)) == {0, 7, 40}
    back = resampling.backward_label(forward, interpolation)
    for value in (7, 40):
        dice = 2 * np.sum((back == value) & (label == value)) / (np.sum(back == value) + np.sum(label == value))
        assert dice > 0.93


def test_gaussian_labels_lose_less_than_nearest_ones_in_larger_voxels():
    radius = np.linalg.norm(np.indices((30, 30, 30)) - 14.2 + np.zeros((3, 30, 30, 30)), axis=0)
    ball = (radius < 9).astype(np.uint8)
    resampling = Resampling.to_spacing((30, 30, 30), np.eye(4), (2.2, 2.2, 2.2))
    wrong = {
        kind: np.count_nonzero(resampling.backward_label(resampling.forward_label(ball, kind), kind) != ball)
        for kind in ("nearest", "gaussian")
    }
    assert wrong["gaussian"] < 0.9 * wrong["nearest"]


def test_a_spline_leaves_zeros_around_a_brain(rng):
    distance = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0)
    image = np.where(distance < 7, rng.uniform(200, 900, distance.shape), 0).astype(np.float32)
    matrix = np.diag([1.2, 1.2, 1.2, 1.0])
    spline, linear = (interpolate(image, matrix, (20, 20, 20), name, 0) for name in ("bspline", "linear"))
    assert (linear == 0).any()
    assert (spline[linear == 0] == 0).all()
    assert (spline[linear > 500] > 0).all()
