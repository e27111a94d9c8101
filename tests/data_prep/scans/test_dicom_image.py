import locale

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from common.errors import UserError
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_image import read_series
from tests.dicom_files import AXIAL, blob, oblique, write_enhanced, write_series


def read(root):
    (series,) = index_files(sorted(path for path in root.rglob("*") if path.is_file())).series
    return read_series(series)


@pytest.mark.parametrize("affine", [AXIAL, oblique(), oblique(angles=(90, 0, 10)), oblique(angles=(5, 88, 0))])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_what_is_written_is_read_voxel_for_voxel(tmp_path, affine, dtype):
    array = blob(dtype=dtype)
    write_series(tmp_path, array, affine)
    volume = read(tmp_path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)


def test_slices_that_descend_are_turned_round(tmp_path):
    array, affine = blob(), AXIAL @ np.diag([1, 1, -1.0, 1])  # left-handed
    write_series(tmp_path, array, affine)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array[:, :, ::-1])
    flipped = affine @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, flipped, atol=1e-6)


def test_it_agrees_with_simpleitk(tmp_path):
    paths = write_series(tmp_path, blob(), oblique(), scale=(1, -1024), modality="CT")
    volume = read(tmp_path)
    image = SimpleITK.ReadImage([str(path) for path in paths])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).transpose(), volume.array)
    for voxel in ((0, 0, 0), (11, 0, 3), (4, 9, 7)):
        x, y, z = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose((volume.affine @ [*voxel, 1])[:3], [-x, -y, z], atol=1e-6)


def test_ct_is_in_hounsfield_units(tmp_path):
    array = blob(high=3000, dtype=np.uint16)
    array[0, 0] = 63536 % 4096
    write_series(tmp_path, array, scale=(1, -1024), modality="CT")
    volume = read(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, array.astype(int) - 1024)


def test_padding_of_ct_is_air(tmp_path):
    array = blob(low=0, high=2000)
    array[:3] = -2000
    write_series(tmp_path, array, scale=(1, -24), modality="CT", PixelPaddingValue=-2000)
    volume = read(tmp_path)
    assert (volume.array[:3] == -1024).all()
    np.testing.assert_array_equal(volume.array[3:], array[3:] - 24)


def test_slopes_of_single_slices_are_applied(tmp_path):
    array = blob()
    write_series(tmp_path, array, RescaleSlope=[0.5 + k for k in range(8)], RescaleIntercept=3)
    volume = read(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, array * (0.5 + np.arange(8)) + 3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_syntaxes_are_decoded(tmp_path, syntax):
    array = blob((40, 36, 3))
    paths = write_series(tmp_path, array, syntax=syntax)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read(tmp_path).array, array)


@pytest.fixture
def _kept_locale():
    """The locale is restored: SimpleITK's writer of DICOM sets C, and text files of later tests would take ASCII alone."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("_kept_locale")
def test_jpeg_lossless_is_decoded(tmp_path):
    array = blob((12, 10, 3), dtype=np.uint16)
    for path in write_series(tmp_path, array):
        plain = SimpleITK.ImageFileReader()
        plain.SetFileName(str(path))
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.SetFileName(str(path))
        kept = pydicom.dcmread(path, stop_before_pixels=True)
        writer.Execute(plain.Execute())
        made = pydicom.dcmread(path)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(made, name, kept.get(name))
        made.save_as(path)
        assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read(tmp_path).array, array)


def test_an_enhanced_object_is_read_frame_by_frame(tmp_path):
    array = blob((6, 5, 4))
    write_enhanced(tmp_path / "a.dcm", array, oblique())
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array * 2 + 5)
    np.testing.assert_allclose(volume.affine, oblique(), atol=1e-6)


def test_a_tilted_series_shows_the_same_points_in_space(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 2] = np.tan(np.radians(-12)) * 2
    i, j, k = np.indices((30, 30, 12))
    position = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ tilted.T
    array = (1000 + 10 * position[..., 1]).round().astype(np.int16)
    write_series(tmp_path, array, tilted, modality="CT", GantryDetectorTilt=12)
    volume = read(tmp_path)
    a, b, c = np.nonzero(volume.array > array.min())
    found = (np.stack([a, b, c, np.ones_like(a)], axis=-1) @ volume.affine.T)[:, 1]
    np.testing.assert_allclose(volume.array[a, b, c], 1000 + 10 * found, atol=1.0)


def test_a_damaged_file_is_one_line(tmp_path):
    paths = write_series(tmp_path, blob((40, 40, 3)))
    (series,) = index_files(paths).series
    paths[1].write_bytes(paths[1].read_bytes()[:-1000])
    with pytest.raises(UserError) as caught:
        read_series(series)
    assert str(caught.value).startswith(f"{paths[1]}: truncated or damaged")
    assert "\n" not in str(caught.value)


def test_a_syntax_without_decoder_names_the_packages(tmp_path):
    paths = write_series(tmp_path, blob((12, 10, 3)), syntax=RLELossless)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG-2
        dataset.save_as(path)
    with pytest.raises(UserError, match=r"no decoder for MPEG2 .*; pip install python-gdcm"):
        read(tmp_path)


def test_padding_of_unsigned_ct_is_air(tmp_path):
    array = blob((6, 5, 4), low=1, dtype=np.uint16)
    array[0] = 0
    write_series(tmp_path, array, modality="CT", PixelPaddingValue=0)
    found = read(tmp_path).array
    assert (found[0] == -1024).all()
    np.testing.assert_array_equal(found[1:], array[1:])
