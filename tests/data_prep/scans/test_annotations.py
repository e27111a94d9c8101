import numpy as np
import pytest

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.annotations import combined, nifti_label, rasterised, seg_on_grid, structure_ids
from data_prep.scans.contours import Structure
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, write_seg
from tests.dicom_files import AXIAL, blob, oblique, write_series
from tests.scans import save

GRID = Grid((6, 5, 4), oblique())


def test_a_label_on_the_same_grid_is_kept(tmp_path):
    label = blob((6, 5, 4), high=3, dtype=np.uint8)
    found = nifti_label(save(tmp_path / "a.nii.gz", label, oblique()), GRID)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, label)


def test_a_label_on_another_grid_takes_the_nearest_voxel(tmp_path):
    label = np.zeros((12, 10, 8), np.uint8)
    label[4:8, 4:8, 2:6] = 2
    fine = oblique() @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = (oblique() @ [-0.25, -0.25, -0.25, 1])[:3]
    found = nifti_label(save(tmp_path / "a.nii.gz", label, fine), GRID)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[2:4, 2:4, 1:3] = 2
    np.testing.assert_array_equal(found, expected)


def test_a_label_without_position_must_have_the_shape(tmp_path):
    label = blob((6, 5, 4), high=2, dtype=np.uint8)
    np.testing.assert_array_equal(nifti_label(save(tmp_path / "a.nii.gz", label, None), GRID), label)
    with pytest.raises(UserError, match="neither sform nor qform"):
        nifti_label(save(tmp_path / "a.nii.gz", label[1:], None), GRID)
    with pytest.raises(UserError, match="expected a 3D image"):
        nifti_label(save(tmp_path / "a.nii.gz", np.stack([label, label], axis=-1), None), GRID)


def test_a_seg_that_was_drawn_on_another_series_is_resampled(tmp_path):
    (series,) = index_files(write_series(tmp_path, blob(), AXIAL)).series
    ids = np.zeros((12, 10, 8), np.uint8)
    ids[2:8, 2:8, 2:6] = 1
    write_seg(tmp_path / "a.seg.dcm", series, ids, {"tumor": [1]}, "a")
    seg = read_seg(tmp_path / "a.seg.dcm")
    ((name, mask),) = seg_on_grid(seg, series, series.stack.grid)
    assert name == "tumor"
    np.testing.assert_array_equal(mask, ids == 1)
    moved = AXIAL.copy()
    moved[:3, 3] = (AXIAL @ [1, 0, 1, 1])[:3]
    ((_, mask),) = seg_on_grid(seg, series, Grid((11, 10, 7), moved))
    np.testing.assert_array_equal(mask, ids[1:, :, 1:] == 1)


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (["anything"], {}, {0: 1}),
        (["Cochlea", "Tumor"], {}, {1: 1}),
        (["TV", "Cochlea", "TV old"], {"tv|gtv": 1}, {0: 1}),
        (["TV", "Cochlea"], {"cochlea": 2, "tv": 1}, {1: 2, 0: 1}),
        (["left", "right"], {".*": 3}, {0: 3, 1: 3}),
    ],
)
def test_structures_get_ids(names, given, expected):
    found = structure_ids(names, given, {"background": 0, "tumor": 1}, "file")
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(("names", "given"), [(["a", "b"], {}), (["a"], {"x": 1}), ([], {})])
def test_unclear_structures_are_one_line(names, given):
    with pytest.raises(UserError, match=r"file: structures: expected .*; received .*label.structures"):
        structure_ids(names, given, {"background": 0, "tumor": 1}, "file")


def test_later_structures_lie_over_earlier_ones():
    inner = np.zeros(GRID.shape, bool)
    inner[2, 2, 2] = True
    label = combined([(1, np.ones(GRID.shape, bool)), (2, inner)], GRID)
    assert (label[2, 2, 2], label.sum(), label.dtype) == (2, 6 * 5 * 4 + 1, np.uint8)
    assert combined([(300, inner)], GRID).max() == 300


def test_contours_become_a_label():
    grid = Grid((9, 9, 3), np.eye(4))
    square = np.array([[1.5, 1.5, 1], [4.5, 1.5, 1], [4.5, 4.5, 1], [1.5, 4.5, 1]])
    label = rasterised([Structure("a", (square,)), Structure("b", (square + np.array([2.0, 0, 0]),))], {0: 1, 1: 2}, grid, 1)
    assert [(label == value).sum() for value in (1, 2)] == [6, 9]


def test_the_last_pattern_decides_on_id_and_order():
    ids = structure_ids(["GTV", "edema"], {".*": 1, "GTV": 2}, {}, "x")
    assert list(ids.items()) == [(1, 1), (0, 2)]
    assert list(structure_ids(["edema", "GTV"], {".*": 1, "GTV": 2}, {}, "x").items()) == [(0, 1), (1, 2)]
