"""Packed arrays of a file, `.npz` and HDF5, read with bounds: no pickle, no links, and no array larger than its file.

Both formats state shapes apart from values, and a few bytes can state terabytes. Each shape is compared with the bytes that the
file holds before memory is taken.
"""

import io
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.input_files import GIB, WEIGHTS_BYTES, open_input

STATE_BYTES = 64 * GIB
MOST_ARRAYS = 100_000
LONGEST_HEADER = 10_000  # bytes of an array's header
DTYPES = "biufU"  # kinds of NumPy that hold values alone: flags, numbers, text
MOST_SHRUNK = 1000  # by which HDF5 may have compressed a weights file


def read_npz(path: Path, what: str, advice: str = "") -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file that `numpy.savez` has written, by name.

    Args:
        path: the file.
        what: names it in errors.
        advice: end of an error line.

    Raises:
        UserError: no such file, damaged or compressed, objects, or a shape that does not fit the bytes.
    """
    try:
        with open_input(path, STATE_BYTES, what) as file:
            if file.read(2) != b"PK":  # Python's reader takes an archive behind other bytes
                raise ValueError("no archive of arrays")
            packed = zipfile.ZipFile(file)
            members = packed.infolist()
            if len(members) > MOST_ARRAYS:
                raise ValueError(f"{len(members)} arrays, more than {MOST_ARRAYS}")
            if len({member.filename for member in members}) < len(members):
                raise ValueError("two arrays of one name")
            return {member.filename.removesuffix(".npy"): _array(packed, member) for member in members}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: {what} is damaged ({reason}){f'; {advice}' if advice else ''}") from None


def _array(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Array of a member of an archive.

    Raises:
        ValueError: compressed, of objects, or of other bytes than its header states.
    """
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    content = packed.read(member)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{member.filename} has the version {version}")
    try:
        shape, by_columns, dtype = readers[version](stream, max_header_size=LONGEST_HEADER)
    except Exception as error:  # a damaged header raises many types
        raise ValueError(f"{member.filename} has a damaged header ({type(error).__name__})") from None
    if dtype.kind not in DTYPES or any(length < 0 for length in shape):
        raise ValueError(f"{member.filename} holds {dtype}")
    size = prod(shape) * dtype.itemsize
    if size != len(content) - stream.tell():
        raise ValueError(f"{member.filename}: expected {len(content) - stream.tell()} bytes; its shape {shape} takes {size}")
    values = np.frombuffer(content, dtype, prod(shape), stream.tell()) if size else np.zeros(shape, dtype).reshape(-1)
    return values.reshape(shape, order="F" if by_columns else "C")


def check_hdf5(path: Path, what: str) -> int:
    """Check a weights file before anything reads it: groups and arrays of numbers alone, none larger than the file.

    Args:
        path: the file.
        what: names it in errors.

    Returns:
        How many numbers it holds, without those of an optimizer.

    Raises:
        UserError: no HDF5, links, virtual or external arrays, objects, or shapes beyond what the file can hold.
    """
    import h5py

    try:
        with open_input(path, WEIGHTS_BYTES, what) as file:
            size = file.seek(0, io.SEEK_END)
        with h5py.File(path, "r") as opened:
            sizes: dict[str, int] = {}
            _walk(opened, "", sizes, 0)
            numbers = sum(count for name, count in sizes.items() if not name.startswith("/optimizer"))
            if sum(sizes.values()) > MOST_SHRUNK * size:
                raise ValueError(f"arrays of {sum(sizes.values())} numbers in a file of {size} bytes")
            return numbers
    except FileNotFoundError:
        raise UserError(f"{path}: {what} not found") from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: {what}: damaged, or no weights of Keras ({reason})") from None


def _walk(group: Any, place: str, sizes: dict[str, int], depth: int) -> None:
    """Count the numbers of each array below a group of HDF5.

    Raises:
        ValueError: a link, or an array of something else than numbers.
    """
    import h5py

    if depth > 64 or len(sizes) > MOST_ARRAYS:
        raise ValueError("more groups or arrays than a network has")
    for name in group:
        where = f"{place}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{where} is a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            _walk(item, where, sizes, depth + 1)
            continue
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in DTYPES or item.is_virtual or item.external:
            raise ValueError(f"{where} is no array of numbers in this file")
        sizes[where] = prod(item.shape)
