"""Reading and checking cases of NIfTI files, whatever their layout."""

import nibabel
import numpy as np
import pytest

from common.errors import Problems, UserError
from data_prep.sources import SourceConfig, open_source
from tests.scans import save, scan, write_brats


@pytest.fixture
def root(tmp_path):
    return write_brats(tmp_path, [scan("a")])


def test_a_case_is_read_on_its_native_grid(root):
    source, made = open_source(root), scan("a")
    (files,) = source.cases()
    case = source.read(files)
    for name, array in made.images.items():
        np.testing.assert_array_equal(case.channels[name], array)
    np.testing.assert_array_equal(case.label, made.label)
    np.testing.assert_allclose(case.affine, made.affine)
    assert case.shape == source.shape(files) == made.label.shape
    ids, affine = source.read_label(files)
    np.testing.assert_array_equal(ids, made.label)
    np.testing.assert_allclose(affine, made.affine)
    assert source.check(files, deep=True) == source.warnings(files) == []


def test_the_affine_is_that_of_the_first_file_that_has_one(root):
    save(root / "a" / "a_flair.nii.gz", np.ones((10, 9, 8), np.int16), None)
    source = open_source(root)
    (files,) = source.cases()
    np.testing.assert_allclose(source.read(files).affine, scan("a").affine)
    assert [line.split(": ")[0] for line in source.warnings(files)] == [str(root / "a" / "a_flair.nii.gz")]


def test_grids_that_differ_are_refused_with_both_files(root):
    save(root / "a" / "a_t2.nii.gz", np.ones((10, 9, 7), np.int16))
    save(root / "a" / "a_t1.nii.gz", np.ones((10, 9, 8), np.int16), np.diag([1.0, 1, 2, 1]))
    source = open_source(root)
    (files,) = source.cases()
    with pytest.raises(Problems) as error:
        source.read(files)
    assert len(error.value.lines) == 2
    assert all("a_flair.nii.gz" in line for line in error.value.lines)


def test_a_missing_channel_is_refused_or_left_empty(root):
    (root / "a" / "a_t1.nii.gz").unlink()
    with pytest.raises(UserError, match=r"case a lacks channel t1 .*; add it, leave it out .*--missing_channels zero"):
        open_source(root).read(open_source(root).cases()[0])
    source = open_source(root, SourceConfig(missing_channels="zero"))
    assert source.read(source.cases()[0]).missing == ["t1"]
    (root / "a" / "a_t2.nii.gz").unlink()
    (line,) = open_source(root).check(open_source(root).cases()[0])
    assert "case a lacks channels t1 (" in line
    assert "; add them, leave them out of --channels, or take zeros" in line


def test_an_image_on_another_grid_is_a_problem(root, tmp_path):
    source = open_source(root)
    (files,) = source.cases()
    assert source.grid_problem(files.label.path, files) is None
    other = save(tmp_path / "other.nii.gz", np.zeros((10, 9, 7), np.uint8))
    assert "shape (10, 9, 7) differs from (10, 9, 8)" in source.grid_problem(other, files)


def test_an_annotation_in_another_order_and_direction_of_axes_is_turned(root):
    made, source = scan("a"), open_source(root)
    (files,) = source.cases()
    ras = np.array([[0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ np.eye(4)
    ras[:2, 3] = made.affine[0, 0] * 9, made.affine[1, 3] - 8
    save(files.label.path, np.ascontiguousarray(made.label[::-1, ::-1].transpose(1, 0, 2)), ras)
    case = source.read(files)
    np.testing.assert_array_equal(case.label, made.label)
    np.testing.assert_array_equal(case.channels["t2"], made.images["t2"])
    (line,) = source.warnings(files)
    assert line == f"{files.label.path}: its axes, ARS, are brought to LPS, those of a_flair.nii.gz"


def test_a_larger_tolerance_is_offered_below_a_voxel_alone(root):
    source = open_source(root)
    (files,) = source.cases()
    for shift, offered in ((0.4, True), (1.5, False)):
        moved = scan("a").affine.copy()
        moved[0, 3] += shift
        save(files.label.path, scan("a").label, moved)
        (line,) = source.check(files)
        assert ("--tolerance_mm" in line) == offered


def test_what_headers_leave_open_is_warned_of(root):
    source, made = open_source(root), scan("a")
    (files,) = source.cases()
    image = nibabel.Nifti1Image(made.label, made.affine)
    image.set_qform(np.diag([1.0, 1, 1, 1]), 1)
    image.set_sform(made.affine, 1)
    nibabel.save(image, files.label.path)
    (line,) = source.warnings(files)
    assert "sform and qform place a voxel up to" in line
    assert source.volume_warnings(files) == [line]
