"""Tests of the fingerprints of cases."""

import numpy as np

from data_prep.leakage.fingerprint import file_fingerprint, fingerprint
from data_prep.scans.case import CaseFiles, ImageRef
from tests.scans import save, scan

IMAGE = scan("a").images["flair"]


def test_images_of_one_value_are_left_out():
    found = fingerprint({"t1": np.zeros((5, 5, 5)), "t2": IMAGE, "flair": None})
    assert list(found.voxels) == ["t2"]


def test_files_are_compared_by_their_bytes(tmp_path):
    one, other = save(tmp_path / "a.nii.gz", IMAGE), tmp_path / "b.nii.gz"
    other.write_bytes(one.read_bytes())
    prints = [file_fingerprint(CaseFiles("x", "x", {"t1": ImageRef(path), "t2": None})) for path in (one, other)]
    assert prints[0].files == prints[1].files
    assert list(prints[0].files) == ["t1"]
