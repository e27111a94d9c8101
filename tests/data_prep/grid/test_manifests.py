"""Grids in JSON: shapes, axes and matrices that can be no grid are refused with their key."""

import pytest

from common.errors import UserError
from common.manifests import checked
from data_prep.grid.manifests import GEOMETRY, RESAMPLING

EYE = [[float(row == column) for column in range(4)] for row in range(4)]
RIGHT = {"shape": [4, 5, 6], "affine": EYE, "axes": [2, 1, 0], "flips": [False] * 3, "start": [0, 0, 0], "size": [6, 5, 4]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [4, 5]}, "shape: expected a list of 3 items"),
        ({"shape": [1 << 15] * 3}, "shape: expected a volume of at most"),
        ({"shape": [0, 5, 6]}, r"shape\[0\]: expected a whole number of 1 to 32768"),
        ({"axes": [0, 0, 1]}, "axes: expected three different axes"),
        ({"affine": [[0.0] * 4] * 4}, "affine: expected an affine matrix that can be inverted"),
        ({"flips": [0, 1, 0]}, r"flips\[0\]: expected true or false"),
    ],
)
def test_what_is_no_geometry_is_refused(changes, said):
    assert checked(RIGHT, GEOMETRY, "f") == RIGHT
    with pytest.raises(UserError, match=said):
        checked(RIGHT | changes, GEOMETRY, "f")


def test_a_resampling_needs_five_values():
    right = {"shape": [4, 5, 6], "affine": EYE, "target_shape": [4, 5, 6], "target_affine": EYE, "transform": EYE}
    assert checked(right, RESAMPLING, "f") == right
    with pytest.raises(UserError, match="transform: expected this key"):
        checked({name: value for name, value in right.items() if name != "transform"}, RESAMPLING, "f")
