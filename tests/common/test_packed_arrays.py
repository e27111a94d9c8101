"""Packed arrays: what a file states is compared with what it holds, before memory is taken."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from common.errors import UserError
from common.packed_arrays import check_hdf5, read_npz


def test_arrays_come_back_as_they_were_saved(tmp_path):
    given = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "text": np.array("ü"),
        "none": np.zeros((0, 3), np.float32),
    }
    np.savez(tmp_path / "s.npz", **given)
    found = read_npz(tmp_path / "s.npz", "state")
    assert list(found) == list(given)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def header(shape, dtype="<f4"):
    """Bytes of an array without values."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((10**12,)), "expected 0 bytes; its shape"),
        (header((1,)) + bytes(8), "expected 8 bytes; its shape"),
        (header((), "|O"), "holds object"),
        (b"\x93NUMPY\x01\x00\xff\xff", "damaged header"),
        (b"x", "damaged"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path, content, said):
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as packed:
        packed.writestr("a.npy", content)
    with pytest.raises(UserError, match=said):
        read_npz(tmp_path / "s.npz", "state")


def test_compressed_and_other_files_are_refused(tmp_path):
    path = tmp_path / "s.npz"
    np.savez_compressed(path, a=np.zeros(10**6))
    with pytest.raises(UserError, match=r"state is damaged \(a.npy is compressed\); delete it"):
        read_npz(path, "state", "delete it")
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="state is damaged"):
        read_npz(path, "state")
    with pytest.raises(UserError, match="state is damaged"):
        read_npz(tmp_path / "none.npz", "state")


def test_weights_are_counted_without_those_of_an_optimizer(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/conv/vars/0"] = np.zeros((3, 4), np.float32)
        file["optimizer/vars/0"] = np.zeros(7, np.float32)
    assert check_hdf5(tmp_path / "w.h5", "weights") == 12


def external(file):
    file["a"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file):
    file["a"] = h5py.SoftLink("/a")


def huge(file):
    file.create_dataset("a", (10**7, 10**7), np.float32, chunks=(100, 100))


def virtual(file):
    layout = h5py.VirtualLayout((4,), np.float32)
    file.create_virtual_dataset("a", layout)


def raw(file):
    file.create_dataset("a", (4,), np.float32, external=[("/etc/passwd", 0, 16)])


def objects(file):
    file.create_dataset("a", (4,), h5py.string_dtype())


@pytest.mark.parametrize("write", [external, soft, huge, virtual, raw, objects])
def test_weights_that_name_other_files_or_more_than_they_hold_are_refused(tmp_path, write):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write(file)
    with pytest.raises(UserError, match=r"w\.h5: weights: damaged, or no weights of Keras"):
        check_hdf5(tmp_path / "w.h5", "weights")


def test_what_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="damaged, or no weights"):
        check_hdf5(tmp_path / "w.h5", "weights")
    with pytest.raises(UserError, match="weights not found"):
        check_hdf5(tmp_path / "none.h5", "weights")
