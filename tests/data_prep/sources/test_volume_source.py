"""The base class, by way of its simplest layout."""

import numpy as np
import pytest

from data_prep.sources import SourceConfig, open_source
from tests.dicom_files import blob
from tests.scans import save

SHAPE = (6, 5, 4)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "vs_gk_1"
    save(folder / "vs_gk_t1_refT1.nii.gz", np.arange(120, dtype=np.int16).reshape(SHAPE), np.eye(4))
    shifted = np.eye(4)
    shifted[2, 3] = 1
    save(folder / "vs_gk_t2_refT1.nii.gz", np.ones(SHAPE, np.int16), shifted)
    save(folder / "vs_gk_seg_refT1.nii.gz", np.ones(SHAPE, np.uint8), np.eye(4))
    return open_source(tmp_path)


def test_channels_and_label_share_the_grid_of_the_reference(source):
    (files,) = source.cases()
    case = source.read(files)
    assert case.shape == source.shape(files) == SHAPE
    np.testing.assert_array_equal(case.affine, source.grid(files).affine)
    np.testing.assert_array_equal(case.channels["t1ce"], np.arange(120).reshape(SHAPE))
    assert case.channels["t2"].shape == SHAPE
    assert case.channels["t2"].dtype == np.float32  # interpolated
    np.testing.assert_array_equal(case.label, np.ones(SHAPE))


def test_a_tolerance_leaves_small_differences(source):
    loose = open_source(source.root, SourceConfig(tolerance_mm=2))
    assert loose.read(loose.cases()[0]).channels["t2"].dtype == np.int16


def test_labels_are_checked_against_the_schema(source):
    path = source.root / "vs_gk_1" / "vs_gk_seg_refT1.nii.gz"
    save(path, np.full(SHAPE, 3, np.uint8), np.eye(4))
    (line,) = source.check(source.cases()[0])
    assert "unknown label id 3" in line


def test_deep_checks_read_the_images(source):
    (files,) = source.cases()
    path = save(files.channels["t1ce"].path, blob((40, 40, 20)), np.eye(4))
    path.write_bytes(path.read_bytes()[:-20])
    assert source.check(files) == []
    (line,) = source.check(files, deep=True)
    assert line.startswith(f"{path}: truncated")


def test_grids_of_predictions_are_compared(source, tmp_path):
    (files,) = source.cases()
    image = save(tmp_path / "p.nii.gz", np.ones(SHAPE, np.uint8), np.eye(4))
    assert source.grid_problem(image, files) is None
    save(image, np.ones(SHAPE, np.uint8), np.diag([1, 1, 2.0, 1]))
    assert "affine differs" in source.grid_problem(image, files)
    save(image, np.ones((6, 5, 3), np.uint8), np.eye(4))
    assert "shape (6, 5, 3) differs" in source.grid_problem(image, files)


def test_a_case_without_label_says_so(source):
    (source.root / "vs_gk_1" / "vs_gk_seg_refT1.nii.gz").unlink()
    bare = open_source(source.root)
    (files,) = bare.cases()
    assert bare.read(files).label is None
    with pytest.raises(ValueError, match="has no label"):
        bare.read_label(files)
