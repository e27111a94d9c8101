import nibabel
import numpy as np
import pytest

from common.errors import UserError
from data_prep.scans import nifti

VOXELS = np.zeros((5, 4, 3), np.int16)
SFORM = np.array([[-1.0, 0, 0, 9], [0, -1, 0, 8], [0, 0, 2, 7], [0, 0, 0, 1]])
QFORM = np.array([[1.0, 0, 0, -4], [0, 1, 0, 3], [0, 0, 2, 0], [0, 0, 0, 1]])


def saved(path, sform=SFORM, qform=QFORM, codes=(1, 1), unit="mm", **fields):
    """A file whose header has both forms, and raw fields on top."""
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    data = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    data[:348] = header.binaryblock
    path.write_bytes(data)
    return path


def forms(path):
    header = nibabel.load(path).header
    return header.get_sform(coded=True), header.get_qform(coded=True)


def test_both_forms_of_a_scan_survive_in_what_is_written_like_it(tmp_path):
    scan = saved(tmp_path / "scan.nii", codes=(2, 1))
    header = nifti.read_header(scan)
    np.testing.assert_allclose(header.affine, SFORM)
    assert header.forms_apart_mm == pytest.approx(np.linalg.norm([13, 5, 7]))
    nifti.write_image(tmp_path / "mask.nii", VOXELS.astype(np.uint8), header.affine, like=scan)
    (sform, sform_code), (qform, qform_code) = forms(tmp_path / "mask.nii")
    np.testing.assert_allclose(sform, SFORM)
    np.testing.assert_allclose(qform, QFORM, atol=1e-6)
    assert (sform_code, qform_code) == (2, 1)


def test_an_image_on_another_grid_gets_its_own_affine_in_both_forms(tmp_path):
    other = SFORM @ np.diag([2.0, 2, 2, 1])
    nifti.write_image(tmp_path / "mask.nii", VOXELS, other, like=saved(tmp_path / "scan.nii"))
    for affine, code in forms(tmp_path / "mask.nii"):
        np.testing.assert_allclose(affine, other, atol=1e-6)
        assert code == 1


@pytest.mark.parametrize(
    ("unit", "factor", "name"), [("meter", 1000, "metres"), ("micron", 0.001, "micrometres"), ("mm", 1, "")]
)
def test_positions_are_millimetres_whatever_the_unit(tmp_path, unit, factor, name):
    own = np.diag([1 / factor, 1 / factor, 1 / factor, 1])
    scan = saved(tmp_path / "scan.nii", own @ SFORM, own @ SFORM, unit=unit)
    header = nifti.read_header(scan)
    np.testing.assert_allclose(header.affine, SFORM, rtol=1e-6)
    assert header.unit == name
    nifti.write_image(tmp_path / "mask.nii", VOXELS, header.affine, like=scan)
    written = nifti.read_header(tmp_path / "mask.nii")
    np.testing.assert_allclose(written.affine, SFORM, rtol=1e-5)
    assert nibabel.load(tmp_path / "mask.nii").header.get_xyzt_units()[0] == unit


def test_a_good_qform_beside_an_sform_of_zeros_is_used(tmp_path):
    scan = saved(tmp_path / "scan.nii", np.diag([0.0, 0, 0, 1]))
    header = nifti.read_header(scan)
    np.testing.assert_allclose(header.affine, QFORM)
    nifti.write_image(tmp_path / "mask.nii", VOXELS, header.affine, like=scan)
    (sform, _), (qform, _) = forms(tmp_path / "mask.nii")
    np.testing.assert_allclose(sform, QFORM, atol=1e-6)
    np.testing.assert_allclose(qform, QFORM, atol=1e-6)


def test_a_quaternion_that_is_a_little_too_long_is_read(tmp_path):
    turned = np.diag([1.0, -1, -1, 1])  # half a turn around x: (b, c, d) = (1, 0, 0)
    header = nifti.read_header(saved(tmp_path / "a.nii", codes=(0, 1), qform=turned, quatern_b=1 + 1e-6))
    np.testing.assert_allclose(header.affine[:3, :3], turned[:3, :3], atol=1e-5)
    with pytest.raises(UserError, match="not a NIfTI image"):
        nifti.read_header(saved(tmp_path / "b.nii", codes=(0, 1), quatern_b=1.1))


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("i8", 4, "i4"), ("u8", 255, "i4"), ("i8", 2**40, "i8"), ("?", 1, "u1"), ("f2", 0.5, "f4"), ("u2", 7, "u2")],
)
def test_every_dtype_can_be_written(tmp_path, dtype, value, expected):
    nifti.write_image(tmp_path / "x.nii", np.full((2, 2, 2), value, dtype), np.eye(4))
    array = nifti.read_voxels(nifti.read_header(tmp_path / "x.nii"))
    assert array.dtype == np.dtype(expected)
    assert (array == value).all()
