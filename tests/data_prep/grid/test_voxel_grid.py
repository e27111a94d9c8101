import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.grid.voxel_grid import LPS_TO_RAS, Grid
from tests.dicom_files import oblique

AFFINE = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
SHAPE = (11, 21, 31)


@pytest.mark.parametrize(
    ("place", "change", "distance"),
    [((0, 3), 2.0, 2.0), ((1, 0), 0.1, 1.0), ((2, 2), 0.1, 3.0), ((0, 1), -0.01, 0.2)],
)
def test_the_largest_distance_is_that_of_a_corner(place, change, distance):
    other = np.eye(4)
    other[place] += change
    assert Grid(SHAPE, np.eye(4)).distance_mm(Grid(SHAPE, other)) == pytest.approx(distance)


@given(st.lists(st.floats(-2, 2), min_size=12, max_size=12))
def test_no_voxel_lies_further_apart_than_the_distance(values):
    other = np.eye(4) + np.vstack([np.reshape(values, (3, 4)), np.zeros(4)])
    voxels = np.array([(*place, 1) for place in np.ndindex(3, 4, 5)])
    apart = np.linalg.norm((voxels @ (np.eye(4) - other).T)[:, :3], axis=1).max()
    assert Grid((3, 4, 5), np.eye(4)).distance_mm(Grid((3, 4, 5), other)) == pytest.approx(apart)


def test_distances_of_grids():
    grid = Grid((3, 4, 5), np.eye(4))
    moved = np.eye(4)
    moved[2, 2] = 1.5
    assert grid.distance_mm(Grid((3, 4, 5), moved)) == pytest.approx(2)  # at the last of five slices
    assert grid.distance_mm(Grid((3, 4, 6), np.eye(4))) == float("inf")
    np.testing.assert_allclose(Grid((3, 4, 5), oblique()).spacing_mm, [0.9, 0.9, 3])


def test_positions_follow_from_the_affine():
    grid = Grid((5, 7, 3), AFFINE)
    np.testing.assert_array_equal(grid.spacing_mm, (1, 2, 3))
    np.testing.assert_array_equal(grid.position(np.zeros(3)), (10, 20, 30))
    np.testing.assert_array_equal(grid.middle, (10 - 2 * 3, 20 + 2, 30 + 3))


def test_the_change_of_coordinates_is_its_own_inverse():
    np.testing.assert_array_equal(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))
    np.testing.assert_array_equal(LPS_TO_RAS @ (10, 20, 30, 1), (-10, -20, 30, 1))


def test_the_canonical_grid_does_not_depend_on_the_order_of_axes():
    affine = oblique()
    turned = affine @ np.array([[0, -1, 0, 4], [1, 0, 0, 0], [0, 0, -1, 6], [0, 0, 0, 1.0]])  # i = 4 - b, j = a, k = 6 - c
    one, other = Grid((5, 9, 7), affine), Grid((9, 5, 7), turned)
    assert one.distance_mm(other) == np.inf
    assert one.canonical.distance_mm(other.canonical) == pytest.approx(0, abs=1e-9)
    assert one.canonical.distance_mm(Grid((9, 5, 7), turned + np.eye(4, k=3)).canonical) > 0.5


def test_the_share_of_points_outside_counts_from_the_border_of_the_outermost_voxels():
    grid = Grid((4, 5, 6), oblique())
    index = np.array([[0, 0, 0], [-0.49, 2, 2], [3.49, 4.4, 5.4], [-0.6, 0, 0], [0, 0, 5.6]])
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert grid.share_outside(points) == 0.4
    assert grid.share_outside(points[:0]) == 0
