"""Tests of the checksums of voxels."""

import numpy as np
import pytest

from data_prep.leakage.voxel_checksum import voxel_checksum, voxel_checksums
from tests.scans import scan

IMAGE = scan("a").images["flair"]

SAME = {
    "floats": IMAGE.astype(np.float64),
    "unsigned": IMAGE.astype(np.uint16),
    "Fortran order": np.asfortranarray(IMAGE),
    "mirrored": IMAGE[::-1, :, ::-1],
    "axes swapped": IMAGE.transpose(2, 0, 1),
    "margin": np.pad(IMAGE, ((3, 0), (0, 2), (1, 1))),
    "no margin": IMAGE[1:-1, 1:-1, 1:-1],
}


@pytest.mark.parametrize("change", SAME)
def test_equal_voxels_have_one_checksum(change):
    assert voxel_checksum(SAME[change]) == voxel_checksum(IMAGE)


def test_a_changed_voxel_changes_it():
    other = IMAGE.copy()
    other[4, 4, 4] += 1
    assert voxel_checksum(other) != voxel_checksum(IMAGE)


def test_an_image_is_left_as_it_is():
    image = np.ascontiguousarray(IMAGE, np.float32)
    image[image == 0] = -0.0
    assert voxel_checksum(image) == voxel_checksum(IMAGE)
    assert np.signbit(image[image == 0]).all()


def test_missing_images_and_those_of_one_value_have_none():
    assert list(voxel_checksums({"t1": np.zeros((5, 5, 5)), "t2": IMAGE, "flair": None})) == ["t2"]
