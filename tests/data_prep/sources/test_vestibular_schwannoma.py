import json

import numpy as np
import pytest

from common.errors import UserError
from data_prep.scans.dicom_seg import read_seg
from data_prep.scans.itk import read_transform
from data_prep.sources import SourceConfig, open_source
from tests.data_prep.sources.collection import (
    SHAPE,
    T1_TO_T2,
    polygons,
    write_collection,
    write_contours,
    write_transform,
)
from tests.dicom_files import AXIAL, blob, write_series
from tests.scans import save


def expected_label():
    label = np.zeros(SHAPE, np.uint8)
    label[2:7, 2:6, 2:4] = 1
    return label


def test_the_collection_as_downloaded_is_read(tmp_path):
    source = open_source(write_collection(tmp_path, ("VS-SEG-001", "VS-SEG-012")))
    assert (source.layout, source.channels, source.schema.name) == ("vestibular_schwannoma", ["t1ce", "t2"], "binary")
    assert [files.id for files in source.cases()] == ["VS-SEG-001", "VS-SEG-012"]
    files = source.cases()[0]
    assert source.check(files, deep=True) == []
    case = source.read(files)
    np.testing.assert_array_equal(case.channels["t1ce"], blob(SHAPE))
    np.testing.assert_array_equal(case.label, expected_label())
    np.testing.assert_allclose(case.affine, AXIAL, atol=1e-6)
    # T2 was written on the grid of T1, moved by the affine: brought back, its voxels lie on those of T1.
    np.testing.assert_allclose(case.channels["t2"], blob((20, 18, 14), 1)[:12, :10, :8], rtol=1e-3, atol=2)


def test_rules_of_series_are_for_the_layout_dicom_which_the_error_names(tmp_path):
    with pytest.raises(UserError, match=r"has layout vestibular_schwannoma; .*, or read the folder by --layout dicom$"):
        open_source(write_collection(tmp_path / "vs"), SourceConfig(series=tmp_path / "rules.yaml"))


def test_t2_can_be_the_reference(tmp_path):
    source = open_source(write_collection(tmp_path), SourceConfig(channels=["t2", "t1ce"]))
    (files,) = source.cases()
    case = source.read(files)
    assert case.shape == source.shape(files) == (20, 18, 14)
    np.testing.assert_array_equal(case.channels["t2"], blob((20, 18, 14), 1))
    assert case.label[2:7, 2:6, 2:4].all()
    assert case.label.sum() == 40


def test_volumes_and_transforms_are_those_of_the_collection(tmp_path):
    root = write_collection(tmp_path)
    source = open_source(root)
    (files,) = source.cases()
    volumes = source.read_volumes(files)
    np.testing.assert_array_equal(volumes["t2"].array, blob((20, 18, 14), 1))
    np.testing.assert_allclose(volumes["t2"].affine, T1_TO_T2 @ AXIAL, atol=1e-6)
    np.testing.assert_array_equal(volumes["label"].array, expected_label())
    assert source.label_channel(files) == "t1ce"
    np.testing.assert_allclose(source.known_transform(files, "t1ce", "t2"), T1_TO_T2, atol=1e-9)
    np.testing.assert_allclose(source.known_transform(files, "t2", "t1ce"), np.linalg.inv(T1_TO_T2), atol=1e-9)
    np.testing.assert_array_equal(source.known_transform(files, "t2", "t2"), np.eye(4))
    for number, end in ((1, "inv_T1_LPS_to_T2_LPS.tfm"), (2, "inv_T2_LPS_to_T1_LPS.tfm")):
        (root / "matrices" / f"vs_gk_1_t{number}" / end).unlink()
    bare = open_source(root)
    assert bare.known_transform(files, "t1ce", "t2") is None
    assert bare.read_volumes(files).keys() == volumes.keys()


@pytest.mark.parametrize("register", ["never", "auto"])
def test_alignment_takes_the_transforms_of_the_collection(tmp_path, command, register):
    root = write_collection(tmp_path / "vs")
    options = ("--source", root, "--out", tmp_path / "out", "--spacing_mm", "null", "--register", register)
    done = command("data_prep.align", *options)
    assert done.status == 0, done.err
    assert done.out.startswith("t2: moved by the source's transforms in 1 case, mean similarity")
    facts = json.loads((tmp_path / "out" / "VS-SEG-001" / "case.json").read_text())
    assert (facts["images"]["t2"]["origin"], facts["label_channel"]) == ("source", "t1ce")
    found = read_transform(tmp_path / "out" / "VS-SEG-001" / "t2.tfm")
    np.testing.assert_allclose(found, T1_TO_T2, atol=1e-9)
    aligned = open_source(tmp_path / "out")
    case, direct = aligned.read(aligned.cases()[0]), open_source(root).read(open_source(root).cases()[0])
    np.testing.assert_array_equal(case.label, direct.label)
    np.testing.assert_allclose(case.channels["t2"], direct.channels["t2"], atol=1e-3)


def test_images_that_the_scripts_resampled_need_no_transform(tmp_path):
    folder = tmp_path / "vs_gk_7"
    save(folder / "vs_gk_t1_refT1.nii.gz", blob(SHAPE), AXIAL)
    save(folder / "vs_gk_t2_refT1.nii.gz", blob(SHAPE, 1), AXIAL)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(source.known_transform(source.cases()[0], "t1ce", "t2"), np.eye(4))


@pytest.mark.parametrize("kept", ["t1", "t2", "rtstruct"])
def test_contours_of_either_space_give_the_same_label(tmp_path, kept):
    root = write_collection(tmp_path)
    for space in ("t1", "t2"):
        if space != kept:
            (root / "contours" / f"vs_gk_1_{space}" / "contours.json").unlink()
    source = open_source(root)
    np.testing.assert_array_equal(source.read_label(source.cases()[0])[0], expected_label())


def test_the_opposite_transform_is_inverted(tmp_path):
    root = write_collection(tmp_path)
    both = open_source(root)
    expected = both.read(both.cases()[0]).channels["t2"]
    (root / "matrices" / "vs_gk_1_t2" / "inv_T2_LPS_to_T1_LPS.tfm").unlink()
    source = open_source(root)
    np.testing.assert_allclose(source.read(source.cases()[0]).channels["t2"], expected, rtol=1e-3, atol=2)
    (root / "matrices" / "vs_gk_1_t1" / "inv_T1_LPS_to_T2_LPS.tfm").unlink()
    (line,) = open_source(root).check(source.cases()[0])
    assert "expected inv_T2_LPS_to_T1_LPS.tfm, which brings t2 to t1; received none; register them first" in line


def test_nifti_files_of_the_scripts_are_read(tmp_path):
    folder = tmp_path / "vs_gk_7"
    save(folder / "vs_gk_t1_refT1.nii.gz", blob(SHAPE), AXIAL)
    save(folder / "vs_gk_t2_refT1.nii.gz", blob(SHAPE, 1), AXIAL)
    save(folder / "vs_gk_seg_refT1.nii.gz", expected_label(), AXIAL)
    source = open_source(tmp_path)
    (files,) = source.cases()
    assert (files.id, source.check(files)) == ("VS-SEG-007", [])
    case = source.read(files)
    np.testing.assert_array_equal(case.channels["t2"], blob(SHAPE, 1))
    np.testing.assert_array_equal(case.label, expected_label())
    assert source.write_prediction(files, expected_label(), tmp_path) == []


def test_a_collection_without_t2_has_one_channel(tmp_path):
    write_series(tmp_path / "VS-SEG-003" / "dicom", blob(SHAPE), AXIAL, "t1_mpr")
    write_contours(tmp_path / "VS-SEG-003" / "contours_T1.json", {"TV": polygons()})
    source = open_source(tmp_path)
    (files,) = source.cases()
    assert (source.channels, files.label is not None) == (["t1ce"], True)
    np.testing.assert_array_equal(source.read_label(files)[0], expected_label())
    assert open_source(tmp_path / "VS-SEG-003").cases()[0].id == "VS-SEG-003"
    with_t2 = open_source(tmp_path, SourceConfig(channels=["t1ce", "t2"]))
    (line,) = with_t2.check(with_t2.cases()[0])
    assert "case VS-SEG-003 lacks channel t2" in line


def test_predictions_are_dicom_seg_too(tmp_path):
    source = open_source(write_collection(tmp_path / "c"))
    (files,) = source.cases()
    (path,) = source.write_prediction(files, expected_label(), tmp_path / "out")
    assert (path.name, read_seg(path).names) == ("VS-SEG-001.seg.dcm", {1: "tumor"})


def test_what_cannot_be_used_is_one_line(tmp_path):
    root = write_collection(tmp_path)
    (root / "contours" / "vs_gk_1_t1" / "contours.json").write_text("[]")
    source = open_source(root)
    (line,) = source.check(source.cases()[0])
    assert "expected at least one structure" in line
    (root / "matrices" / "vs_gk_1_t2" / "inv_T2_LPS_to_T1_LPS.tfm").write_text("no transform")
    with pytest.raises(UserError, match="expected a transform of ITK") as caught:
        source.read(source.cases()[0])
    assert "\n" not in str(caught.value)
    write_series(root / "images" / "VS-SEG-001" / "again", blob(SHAPE), AXIAL, "t1_mpr", "VS-SEG-001", number=9)
    lines = open_source(root).check(source.cases()[0])
    assert any("are both t1; keep one" in line for line in lines)


def test_affines_are_read_in_ras(tmp_path):
    write_transform(tmp_path / "a.tfm", T1_TO_T2)
    np.testing.assert_allclose(read_transform(tmp_path / "a.tfm"), T1_TO_T2, atol=1e-12)
