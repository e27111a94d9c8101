import json

import numpy as np
import pytest

from common.errors import UserError
from data_prep.scans.dicom_seg import read_seg
from data_prep.sources import SourceConfig, open_source
from data_prep.sources.vestibular_schwannoma import read_affine
from tests.dicom_files import AXIAL, LPS, blob, oblique, write_rtstruct, write_series
from tests.scans import save

SHAPE = (12, 10, 8)
SQUARE = np.array([[1.5, 1.5], [6.5, 1.5], [6.5, 5.5], [1.5, 5.5]])
T1_TO_T2 = oblique((1, 1, 1), (2, -1, 3), (1.5, -2.0, 0.75))  # points of T1 -> points of T2, RAS


def polygons(affine=AXIAL):
    return [(np.column_stack([SQUARE, np.full(4, k), np.ones(4)]) @ affine.T)[:, :3] for k in (2.0, 3.0)]


def write_contours(path, structures):
    content = [
        {
            "structure_name": name,
            "MR_SeriesInstanceUID": "1.2",
            "LPS_contour_points": [(points @ LPS[:3, :3]).tolist() for points in listed],
        }
        for name, listed in structures.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_transform(path, matrix):
    """Affine (RAS) as ITK writes it, in LPS."""
    lps = LPS @ matrix @ LPS
    numbers = " ".join(repr(float(value)) for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: {numbers}\n"
        "FixedParameters: 0 0 0\n#PatientID: VS-SEG-001\n"
    )


def write_collection(root, patients=("VS-SEG-001",)):
    """T1 and T2 as downloaded, contours and transforms beside them in folders of their own, as their zip files have it."""
    for name in patients:
        number = int(name[-3:])
        t1 = write_series(root / "images" / name / "study" / "1-t1", blob(SHAPE), AXIAL, "t1_mpr_tra_gk_v4", name)
        t2 = write_series(
            root / "images" / name / "study" / "2-t2",
            blob((20, 18, 14), 1),
            T1_TO_T2 @ AXIAL,
            "t2_ci3d_tra_1.5mm_v1",
            name,
            number=2,
            frame="t2",
        )
        write_rtstruct(root / "images" / name / "study" / "3" / "rt.dcm", t1[0], {"TV": polygons()})
        write_rtstruct(root / "images" / name / "study" / "4" / "rt.dcm", t2[0], {"TV": polygons(T1_TO_T2 @ AXIAL)})
        for space, matrix in (("t1", np.eye(4)), ("t2", T1_TO_T2)):
            moved = {"TV": [points @ matrix[:3, :3].T + matrix[:3, 3] for points in polygons()], "Cochlea": polygons()}
            write_contours(root / "contours" / f"vs_gk_{number}_{space}" / "contours.json", moved)
        write_transform(root / "matrices" / f"vs_gk_{number}_t2" / "inv_T2_LPS_to_T1_LPS.tfm", T1_TO_T2)
        write_transform(root / "matrices" / f"vs_gk_{number}_t1" / "inv_T1_LPS_to_T2_LPS.tfm", np.linalg.inv(T1_TO_T2))
    return root


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


def test_t2_can_be_the_reference(tmp_path):
    source = open_source(write_collection(tmp_path), SourceConfig(channels=["t2", "t1ce"]))
    (files,) = source.cases()
    case = source.read(files)
    assert case.shape == source.shape(files) == (20, 18, 14)
    np.testing.assert_array_equal(case.channels["t2"], blob((20, 18, 14), 1))
    assert case.label[2:7, 2:6, 2:4].all()
    assert case.label.sum() == 40


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
    assert "expected inv_T2_LPS_to_T1_LPS.tfm, which brings t2 to t1; received none" in line


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
    with pytest.raises(UserError, match="expected an affine transform of ITK") as caught:
        source.read(source.cases()[0])
    assert "\n" not in str(caught.value)
    write_series(root / "images" / "VS-SEG-001" / "again", blob(SHAPE), AXIAL, "t1_mpr", "VS-SEG-001", number=9)
    lines = open_source(root).check(source.cases()[0])
    assert any("are both t1; keep one" in line for line in lines)


def test_affines_are_read_in_ras(tmp_path):
    write_transform(tmp_path / "a.tfm", T1_TO_T2)
    np.testing.assert_allclose(read_affine(tmp_path / "a.tfm"), T1_TO_T2, atol=1e-12)
