"""NIfTI reader and writer.

A file is read through one bounded buffer of the size that its header names, so a damaged or hostile file can neither exhaust
memory nor pass as complete. A file that goes on after its voxels is refused as one that ends before them.
"""

import gzip
import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip, isal_zlib

from common.errors import UserError
from common.files import write_bytes
from common.input_files import SCAN_BYTES, open_input, size_text
from data_prep.scans.case import ImageRef
from data_prep.scans.faults import foreign, too_large, too_long, too_short, unreadable
from data_prep.scans.nifti_affine import SCANNER, copy_forms, header_kinds, read_affine

LONGEST_HEADER = 544  # NIfTI-2 with its extension flag; NIfTI-1 takes 352
DAMAGED = cast(type[Exception], isal_zlib.error)
SIZES = {struct.pack(order + "i", size) for order in "<>" for size in (348, 540)}  # of the header, a file's first bytes
SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"
COMPRESSION = 1  # level at which files are written; higher ones take far longer and make them little smaller
BLOCK = 1 << 20
DEFLATE_LIMIT = 1032  # no byte of a gzip file inflates to more
# nibabel prints problems of a header; they are part of our errors.
QUIET = logging.Logger("nifti headers", level=logging.CRITICAL + 1)


@dataclass(frozen=True)
class Header:
    """NIfTI header.

    Attributes:
        path: the file.
        shape: axes of the file, three or four.
        dtype: of the voxels as stored, byte order included.
        affine: (4, 4) float64, voxel indices -> millimetres, whatever the header's unit.
        has_affine: False where neither sform nor qform is set, so that the affine is a guess from the voxel sizes.
        slope, inter: values are stored * slope + inter; (1, 0) where the file does not scale.
        offset: first byte of the voxels.
        forms_apart_mm: largest distance of a voxel's positions by sform and by qform; 0 where one of both is not set.
        unit: name of the header's unit of length where it is not the millimetre; else empty.
        has_sizes: False where the header's voxel sizes are 0, for which 1 mm stands.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    affine: np.ndarray
    has_affine: bool
    slope: float
    inter: float
    offset: int
    forms_apart_mm: float = 0.0
    unit: str = ""
    has_sizes: bool = True

    @property
    def size(self) -> int:
        """Bytes of the whole file, decompressed."""
        return self.offset + prod(self.shape) * self.dtype.itemsize

    @property
    def scaled(self) -> bool:
        """True where stored values must be scaled."""
        return (self.slope, self.inter) != (1.0, 0.0)


def read_header(path: Path) -> Header:
    """Read a file's header only.

    Raises:
        UserError: missing, empty, not NIfTI, or an invalid header.
    """
    try:
        with _open(path) as file:
            return _parse(path, file.read(LONGEST_HEADER))
    except (OSError, EOFError, DAMAGED) as error:
        raise unreadable(path, error, "NIfTI") from None


def length_fault(header: Header) -> UserError | None:
    """Error for a file that is shorter or longer than its header says, without decompressing it where that is possible."""
    length = header.path.stat().st_size
    if not _compressed(header.path):
        fault = too_short if length < header.size else too_long
        return None if length == header.size else fault(header.path, header.size)
    with header.path.open("rb") as file:
        file.seek(-4, io.SEEK_END)
        (inflated,) = struct.unpack("<I", file.read(4))
    if inflated == header.size % 2**32:
        return None
    try:  # a file of several gzip members: its trailer holds the length of the last one
        read_voxels(read_header(header.path))
    except UserError as error:
        return error
    return None


def read_voxels(header: Header) -> np.ndarray:
    """Read a file's voxels as stored (Fortran order), scaled to float32 only where the header has a slope.

    Raises:
        UserError: truncated or damaged.
    """
    voxels = _allocate(header)
    try:
        with _open(header.path) as file:
            count = header.offset
            while count > 0 and (part := file.read(min(count, BLOCK))):
                count -= len(part)
            found = _fill(file, voxels)
            goes_on = bool(file.read(1))  # reaching the end is what verifies a gzip file's checksum
    except EOFError:
        raise too_short(header.path, header.size) from None
    except (OSError, DAMAGED) as error:
        raise unreadable(header.path, error, "NIfTI") from None
    if found < voxels.nbytes:
        raise too_short(header.path, header.size)
    if goes_on:
        raise too_long(header.path, header.size)
    array = voxels.reshape(header.shape, order="F")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not header.scaled:
        return array
    with np.errstate(over="ignore", invalid="ignore"):  # values that overflow become infinite, which readers refuse
        return (array * np.float32(header.slope) + np.float32(header.inter)).astype(np.float32, copy=False)


def read_image(image: ImageRef, cache: dict[Path, np.ndarray] | None = None) -> np.ndarray:
    """Read a three-dimensional image (i, j, k); a file of several images is read once, into `cache`."""
    if image.index is None:
        array = read_voxels(read_header(image.path))
        while array.ndim > 3 and array.shape[-1] == 1:  # trailing axes of length one, which some tools write
            array = array[..., 0]
        return array
    cache = {} if cache is None else cache
    if image.path not in cache:
        cache[image.path] = read_voxels(read_header(image.path))
    return cache[image.path][..., image.index]


def write_image(path: Path, array: np.ndarray, affine: np.ndarray | None, like: Path | None = None) -> None:
    """Write an array (i, j, k) or (i, j, k, n) as NIfTI-1, atomically.

    Args:
        path: the file, `.nii` or `.nii.gz`.
        array: any real dtype; it is stored as `writable` says.
        affine: (4, 4), millimetres; None writes unit spacing.
        like: file of the same grid; if it is NIfTI, its sform, qform, their codes and its unit are kept, else both forms are
            `affine`, in millimetres of a scanner.
    """
    import nibabel

    stored = writable(array)
    image = nibabel.Nifti1Image(stored, np.eye(4) if affine is None else affine, dtype=stored.dtype)
    image.header.set_xyzt_units("mm" if affine is not None else "unknown")
    if like is not None and affine is not None:
        if like.name.lower().endswith(SUFFIXES):
            with _open(like) as file:
                copy_forms(_raw_header(file.read(LONGEST_HEADER)), image, affine)
        else:
            image.set_sform(affine, SCANNER)
            image.set_qform(affine, SCANNER)
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, COMPRESSION, mtime=0) if path.name.endswith(".gz") else content)


def writable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that programs read from NIfTI: bool as uint8, 64-bit integers as int32 where they fit, float16 as
    float32, longer floats as float64.
    """
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
    if array.dtype.itemsize < 8 or array.dtype.kind not in "iu" or not array.size:
        return array
    bounds = np.iinfo(np.int32)
    return array.astype(np.int32) if bounds.min <= array.min() and array.max() <= bounds.max else array


def stem(path: Path) -> str:
    """File name without `.nii` or `.nii.gz` of any letter case."""
    name = path.name
    return next((name[: -len(suffix)] for suffix in reversed(SUFFIXES) if name.lower().endswith(suffix)), name)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed where its first bytes are those of gzip: the name may be wrong."""
    with open_input(path, SCAN_BYTES, "scan") as file:
        compressed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not compressed:
            yield file
            return
        with igzip.open(file, "rb") as inflated:
            yield cast(BinaryIO, inflated)


def _compressed(path: Path) -> bool:
    """True for a gzip file, by its first bytes."""
    with open_input(path, SCAN_BYTES, "scan") as file:
        return file.read(len(GZIP)) == GZIP


def _allocate(header: Header) -> np.ndarray:
    """Array for the voxels (1-D); a header with more voxels than the file can hold is refused before memory is allocated."""
    try:
        length = header.path.stat().st_size * (DEFLATE_LIMIT if _compressed(header.path) else 1)
    except OSError as error:
        raise unreadable(header.path, error, "NIfTI") from None
    if length < header.size:
        raise too_short(header.path, header.size)
    if header.size > SCAN_BYTES:
        raise too_large(header.path, f"an image of {size_text(header.size)}", size_text(SCAN_BYTES))
    return np.empty(prod(header.shape), header.dtype)


def _parse(path: Path, start: bytes) -> Header:
    """Header from the first bytes of a file."""
    if not start:
        raise UserError(f"{path}: empty file; expected a NIfTI image")
    if start[:4] not in SIZES and (problem := foreign(path, start, "NIfTI")):
        raise UserError(problem)
    try:
        raw = _raw_header(start)
        bits, has_sizes, stored_slope = int(raw["bitpix"]), bool(raw["pixdim"][1:4].all()), float(raw["scl_slope"])
        raw.check_fix(logger=QUIET)
        slope, inter = raw.get_slope_inter()
        shape = tuple(int(length) for length in raw.get_data_shape())
        found = read_affine(raw)
        offset, dtype = int(raw.get_data_offset()), raw.get_data_dtype()
    except Exception as error:  # nibabel raises many types for a malformed header
        raise UserError(f"{path}: not a NIfTI image ({' '.join(str(error).split())})") from None
    if not shape or min(shape) < 1 or dtype.kind not in "iuf" or offset < raw.sizeof_hdr:
        received = f"shape {shape}, type {dtype}, voxels from byte {offset}"
        raise UserError(f"{path}: expected a NIfTI image of real numbers in one file; its header holds {received}")
    if bits != 8 * dtype.itemsize:
        received = f"{bits} bits (bitpix) and {dtype.name} (datatype), which has {8 * dtype.itemsize}"
        raise UserError(f"{path}: expected a header that names one type of voxels; received {received}; save the image again")
    if np.isinf(stored_slope):  # NaN and 0 mean by the standard that values are not scaled
        raise UserError(f"{path}: expected a finite factor of the voxels (scl_slope); received {stored_slope}; save it again")
    slope, inter = 1.0 if slope is None else slope, 0.0 if inter is None else inter
    return Header(
        path, shape, dtype, found.affine, found.is_known, slope, inter, offset, found.forms_apart_mm, found.unit, has_sizes
    )


def _raw_header(start: bytes) -> Any:
    """Header of nibabel from the first bytes of a file; not checked."""
    version_2 = struct.unpack("<i", start[:4].ljust(4, b"\0"))[0] in (540, 469893120)
    kind = header_kinds()[version_2]
    return kind(start[: kind.sizeof_hdr], check=False)


def _fill(file: BinaryIO, voxels: np.ndarray) -> int:
    """Read into the array's memory until it is full or the file ends; returns the bytes read."""
    buffer = voxels.view(np.uint8).data
    found = 0
    while found < len(buffer):
        count = file.readinto(buffer[found : found + BLOCK])  # type: ignore[attr-defined]
        if not count:
            break
        found += count
    return found
