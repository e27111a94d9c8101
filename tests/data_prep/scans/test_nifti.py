import gzip
import os
import re
import zlib
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data_prep.scans import nifti
from data_prep.scans.case import ImageRef
from tests.scans import within

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
VOXELS = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(np.int16)
AFFINE = np.array([[0, 2.0, 0, -3], [-1.5, 0, 0, 5], [0, 0, 3.0, 7], [0, 0, 0, 1]])


def read(path):
    return nifti.read_voxels(nifti.read_header(path))


def saved(path, array=VOXELS, affine=AFFINE, kind=nibabel.Nifti1Image, scaling=None, order="<"):
    """A file written by nibabel: in either version, byte order, and with or without scaling."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    image = kind(array, affine, header)
    if scaling:
        image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reads_what_nibabel_reads(tmp_path, dtype, order, kind, suffix):
    path = saved(tmp_path / f"x{suffix}", VOXELS.astype(dtype), kind=kind, order=order)
    header, array, expected = nifti.read_header(path), read(path), nibabel.load(path)
    assert header.dtype.byteorder in (order, "|", "=")
    assert array.dtype == np.dtype(dtype)
    assert array.flags.f_contiguous
    np.testing.assert_array_equal(array, np.asarray(expected.dataobj))
    np.testing.assert_array_equal(header.affine, expected.affine)
    assert header.has_affine
    assert nifti.length_fault(header) is None


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize("scaling", [(0.5, 0), (1, -1024), (2.5, 3.25)])
def test_scales_as_the_header_asks(tmp_path, dtype, scaling):
    path = saved(tmp_path / "x.nii.gz", VOXELS.astype(dtype), scaling=scaling)
    array = read(path)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, nibabel.load(path).get_fdata(), rtol=1e-6)


def test_an_affine_may_be_missing(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VOXELS, None), tmp_path / "x.nii")
    assert not nifti.read_header(tmp_path / "x.nii").has_affine


def test_extensions_before_the_voxels_are_skipped(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nibabel.save(image, tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "x.nii.gz"), VOXELS)


def test_the_content_tells_whether_a_file_is_compressed(tmp_path):
    plain = saved(tmp_path / "x.nii").read_bytes()
    (tmp_path / "y.nii.gz").write_bytes(plain)
    (tmp_path / "z.nii").write_bytes(gzip.compress(plain))
    for name in ("y.nii.gz", "z.nii"):
        np.testing.assert_array_equal(read(tmp_path / name), VOXELS)
        assert nifti.length_fault(nifti.read_header(tmp_path / name)) is None


@pytest.mark.parametrize("splits", [[400], [352, 353], [10, 300, 400, 430]])
def test_gzip_of_several_members_is_read(tmp_path, splits):
    plain = saved(tmp_path / "x.nii").read_bytes()
    edges = [0, *splits, len(plain)]
    path = tmp_path / "y.nii.gz"
    path.write_bytes(b"".join(gzip.compress(plain[a:b]) for a, b in pairwise(edges)))
    np.testing.assert_array_equal(read(path), VOXELS)
    assert nifti.length_fault(nifti.read_header(path)) is None


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("more", [1, 3_000_000])
def test_bytes_after_the_voxels_are_refused(tmp_path, suffix, more):
    plain = saved(tmp_path / "x.nii").read_bytes()
    path = tmp_path / f"y{suffix}"
    path.write_bytes(gzip.compress(plain + bytes(more)) if suffix == ".nii.gz" else plain + bytes(more))
    message = f"{path}: truncated or damaged (expected {len(plain)} bytes, as its header says; received more); fetch it again"
    with pytest.raises(UserError, match=re.escape(message)):
        read(path)
    assert str(nifti.length_fault(nifti.read_header(path))) == message


@pytest.mark.parametrize("place", [-6, -40])
def test_changed_bytes_of_a_gzip_file_are_named_as_such(tmp_path, place):
    data = bytearray(gzip.compress(saved(tmp_path / "x.nii").read_bytes(), 0))  # stored, not deflated
    data[place] ^= 1
    (tmp_path / "y.nii.gz").write_bytes(data)
    with pytest.raises(UserError, match=r"its bytes changed after it was compressed \(the checksum of gzip differs\)"):
        read(tmp_path / "y.nii.gz")


def test_zeros_after_a_gzip_file_do_no_harm(tmp_path):
    path = saved(tmp_path / "x.nii.gz")
    path.write_bytes(path.read_bytes() + bytes(100))
    np.testing.assert_array_equal(read(path), VOXELS)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_anywhere_it_is_refused(tmp_path, suffix):
    path = saved(tmp_path / f"x{suffix}")
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"^\S*x.nii(.gz)?: [^\n]*$"):
            read(path)
        if length > 360:
            assert not _complete(path)


def _complete(path):
    try:
        return nifti.length_fault(nifti.read_header(path)) is None
    except UserError:
        return False


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_any_flipped_bit_of_a_gzip_file_is_found_or_does_no_harm(tmp_path, suffix):
    """In a plain file a flipped bit of the voxels passes unnoticed; any exception must be a UserError."""
    path = saved(tmp_path / f"x{suffix}")
    data = path.read_bytes()
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        array, error = outcome(path)
        assert error is None or "\n" not in error
        if array is not None and suffix == ".nii.gz":
            np.testing.assert_array_equal(array, VOXELS)


def outcome(path):
    """The voxels of a file, or the error of one line; any other exception is a bug."""
    try:
        header = nifti.read_header(path)
        nifti.length_fault(header)
        return nifti.read_voxels(header), None
    except UserError as error:
        return None, str(error)


def garbage(data, name):
    """Read bytes as a file; whatever they are, nothing but our error of one line may come."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        _, error = outcome(path)
        assert error is None or (error.startswith(str(path)) and "\n" not in error)


@given(st.binary(max_size=2000), st.sampled_from(["x.nii", "x.nii.gz"]), st.booleans())
def test_garbage_is_refused(data, name, compressed):
    garbage(gzip.compress(data) if compressed else data, name)


@given(st.lists(st.tuples(st.integers(0, 539), st.integers(0, 255)), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_garbage_in_a_header_is_refused_or_read(changes, version_2, compressed):
    kind = nibabel.Nifti2Image if version_2 else nibabel.Nifti1Image
    data = bytearray(kind(VOXELS, AFFINE).to_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    garbage(gzip.compress(bytes(data)) if compressed else bytes(data), "x.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_promises_more_than_can_be_is_refused_before_memory_is_taken(tmp_path, suffix):
    header = nibabel.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = header.binaryblock + bytes(1000)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    with pytest.raises(UserError, match=r"truncated or damaged \(expected 140724603847"):
        read(path)


def test_a_gzip_bomb_is_refused_where_its_header_ends(tmp_path):
    compressor = zlib.compressobj(9, wbits=31)
    data = compressor.compress(saved(tmp_path / "x.nii").read_bytes())
    data += b"".join(compressor.compress(bytes(1 << 20)) for _ in range(50))  # without an end, which is not looked for
    (tmp_path / "y.nii.gz").write_bytes(data)
    with pytest.raises(UserError, match="received more"):
        read(tmp_path / "y.nii.gz")


def test_a_header_of_a_larger_image_than_is_read_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "x.nii.gz")
    monkeypatch.setattr(nifti, "SCAN_BYTES", 471)
    with pytest.raises(UserError, match="names an image of 472 bytes; expected at most 471 bytes: is the file damaged"):
        read(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_of_two_types_is_refused(tmp_path, suffix):
    data = bytearray(saved(tmp_path / "x.nii").read_bytes())
    data[72:74] = (8).to_bytes(2, "little")
    path = tmp_path / f"y{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    with pytest.raises(UserError, match=r"received 8 bits \(bitpix\) and int16 \(datatype\), which has 16"):
        read(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_of_another_kind_is_named(tmp_path, compressed):
    page = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(page) if compressed else page)
    with pytest.raises(UserError, match="is a web page, such as of a login or an error, not the file itself"):
        read(tmp_path / "x.nii.gz")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.nii.gz")
    with within(20), pytest.raises(UserError, match="scan is a named pipe"):
        read(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "file not found"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(b"hello"), r"expected a NIfTI image; it is text \(hello\); download it again"),
        (lambda path: path.write_bytes(bytes(range(128, 256))), "not a NIfTI image"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "empty file"),
        (lambda path: (path.unlink(), path.mkdir()), "scan is a folder"),
        (lambda path: saved(path, VOXELS.astype(np.complex64)), "expected a NIfTI image of real numbers"),
    ],
)
def test_what_is_no_image_gives_one_line(tmp_path, spoil, message):
    path = saved(tmp_path / "x.nii")
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        nifti.read_header(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_images_of_a_stack_are_read_once(tmp_path):
    path = saved(tmp_path / "x.nii", np.stack([VOXELS, VOXELS + 1], axis=-1))
    cache = {}
    first = nifti.read_image(ImageRef(path, 0), cache)
    second = nifti.read_image(ImageRef(path, 1), cache)
    np.testing.assert_array_equal(first, VOXELS)
    np.testing.assert_array_equal(second, VOXELS + 1)
    assert np.shares_memory(first, cache[path])
    assert np.shares_memory(second, cache[path])


def test_trailing_axes_of_length_one_are_dropped(tmp_path):
    assert nifti.read_image(ImageRef(saved(tmp_path / "x.nii", VOXELS[..., None, None]))).shape == VOXELS.shape


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_written_is_read(tmp_path, name, dtype):
    nifti.write_image(tmp_path / name, VOXELS.astype(dtype), AFFINE)
    header = nifti.read_header(tmp_path / name)
    assert (header.dtype, header.scaled, header.has_affine) == (np.dtype(dtype), False, True)
    np.testing.assert_array_equal(header.affine, AFFINE)
    np.testing.assert_array_equal(read(tmp_path / name), VOXELS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_image_without_geometry_has_unit_spacing(tmp_path):
    nifti.write_image(tmp_path / "x.nii", VOXELS, None)
    np.testing.assert_array_equal(nifti.read_header(tmp_path / "x.nii").affine, np.eye(4))


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.b.nii.gz", "a.b"), ("a.nii", "a"), ("A.NII.GZ", "A"), ("a.gz", "a.gz"), ("a", "a"), ("x.nii.nii", "x.nii")],
)
def test_stem(name, stem):
    assert nifti.stem(Path("some.nii") / name) == stem


def test_codes_are_those_of_a_like_file_or_of_a_scanner(tmp_path):
    array, affine = np.ones((3, 4, 5), np.uint8), np.diag([1.0, 2, 3, 1])
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, 4)
    nibabel.save(image, tmp_path / "like.nii.gz")
    for like, codes in (("like.nii.gz", (0, 4)), ("slice.dcm", (1, 1))):
        nifti.write_image(tmp_path / "a.nii.gz", array, affine, like=tmp_path / like)
        header = nibabel.load(tmp_path / "a.nii.gz").header
        assert (int(header["qform_code"]), int(header["sform_code"])) == codes


def test_an_infinite_factor_of_the_voxels_is_refused_and_one_that_is_not_set_is_none(tmp_path):
    content = bytearray(saved(tmp_path / "a.nii").read_bytes())
    for value in (np.inf, -np.inf):
        content[112:116] = np.float32(value).tobytes()  # scl_slope
        (tmp_path / "b.nii").write_bytes(content)
        with pytest.raises(UserError, match=r"b\.nii: expected a finite factor of the voxels \(scl_slope\); received -?inf"):
            nifti.read_header(tmp_path / "b.nii")
    content[112:116] = np.float32(np.nan).tobytes()
    (tmp_path / "b.nii").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "b.nii"), VOXELS)
