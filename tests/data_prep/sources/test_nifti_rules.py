import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sources.nifti_rules import affine_text, as_integers, largest_distance_mm

SHAPE = (11, 21, 31)


@pytest.mark.parametrize(
    ("place", "change", "distance"),
    [((0, 3), 2.0, 2.0), ((1, 0), 0.1, 1.0), ((2, 2), 0.1, 3.0), ((0, 1), -0.01, 0.2)],
)
def test_the_largest_distance_is_that_of_a_corner(place, change, distance):
    other = np.eye(4)
    other[place] += change
    assert largest_distance_mm(np.eye(4), other, SHAPE) == pytest.approx(distance)


@given(st.lists(st.floats(-2, 2), min_size=12, max_size=12))
def test_no_voxel_lies_further_apart_than_told(values):
    other = np.eye(4) + np.vstack([np.reshape(values, (3, 4)), np.zeros(4)])
    voxels = np.array([(*place, 1) for place in np.ndindex(3, 4, 5)])
    apart = np.linalg.norm((voxels @ (np.eye(4) - other).T)[:, :3], axis=1).max()
    assert largest_distance_mm(np.eye(4), other, (3, 4, 5)) == pytest.approx(apart)


def test_an_affine_on_one_line():
    assert affine_text(np.diag([-1.0, 2.5, 3, 1]) * 1.0) == "[-1 0 0 0; 0 2.5 0 0; 0 0 3 0]"


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("u1", 4, "u1"), ("i4", -7, "i4"), ("u8", 4, "i2"), ("f4", -3.0, "i2"), ("f8", 1e9, "i8"), ("f8", -40000.0, "i8")],
)
def test_labels_become_integers_that_hold_them(dtype, value, expected):
    ids = as_integers(np.array([[value, 0]], dtype))
    assert ids.dtype == np.dtype(expected)
    assert ids.tolist() == [[value, 0]]
