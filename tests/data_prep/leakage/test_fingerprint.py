"""Tests of the fingerprints of cases."""

import numpy as np
import pytest

from data_prep.leakage.fingerprint import file_fingerprint, fingerprint, voxel_checksum
from data_prep.scans.case import CaseFiles, ImageRef
from tests.scans import save, scan

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


def test_images_of_one_value_are_left_out():
    found = fingerprint({"t1": np.zeros((5, 5, 5)), "t2": IMAGE, "flair": None})
    assert list(found.voxels) == ["t2"]


def test_files_are_compared_by_their_bytes(tmp_path):
    one, other = save(tmp_path / "a.nii.gz", IMAGE), tmp_path / "b.nii.gz"
    other.write_bytes(one.read_bytes())
    prints = [file_fingerprint(CaseFiles("x", "x", {"t1": ImageRef(path), "t2": None})) for path in (one, other)]
    assert prints[0].files == prints[1].files
    assert list(prints[0].files) == ["t1"]
