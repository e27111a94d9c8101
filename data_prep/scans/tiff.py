"""TIFF reader and writer for slices: 8 bits, one channel (a mask) or three, one picture a file.

Pillow reads them in any compression and byte order; files that it would convert silently, such as 16 bits a channel, are
refused. Pillow is imported in functions: --help of the commands stays quick.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import write_serialised
from common.input_files import PICTURE_PIXELS, SLICE_BYTES, open_input
from data_prep.scans.faults import foreign_file, too_large, too_short, unreadable

SUFFIXES = (".tif", ".tiff")
MODES = {1: "L", 3: "RGB"}  # channels -> Pillow's name
WORDS = {1: "an 8-bit grey TIFF image of one channel", 3: "an 8-bit TIFF image of three channels"}
BITS = 258  # tags of TIFF 6.0
EXTENTS = ((273, 279), (324, 325))  # tags: offsets and lengths of the strips, of the tiles


@dataclass(frozen=True)
class Header:
    """Header of a slice.

    Attributes:
        path: the file.
        shape: (rows, columns).
    """

    path: Path
    shape: tuple[int, int]


def read_header(path: Path, channels: int) -> Header:
    """Read a slice's header only; a file shorter than its header states is refused.

    Args:
        path: the file.
        channels: 1 or 3, how many it must have.

    Raises:
        UserError: missing, empty, truncated, no TIFF, several pictures, or not 8 bits in so many channels.
    """
    with _opened(path, channels) as image:
        columns, rows = image.size
        return Header(path, (rows, columns))


def read_slice(path: Path, channels: int) -> np.ndarray:
    """Read a slice, uint8: (rows, columns), or (rows, columns, 3) for three channels.

    Raises:
        UserError: as `read_header`, or damaged.
    """
    with _opened(path, channels) as image:
        return np.asarray(image)


def write_slice(path: Path, pixels: np.ndarray) -> None:
    """Write a slice, uint8 (rows, columns) such as a mask, or (rows, columns, 3), as uncompressed TIFF, atomically.

    Raises:
        ValueError: another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
        raise ValueError(f"expected (rows, columns) or (rows, columns, 3) uint8; received {pixels.shape} {pixels.dtype}")
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    write_serialised(path, lambda file: picture.save(file, format="TIFF"))


@contextmanager
def _opened(path: Path, channels: int) -> Iterator[Any]:
    """Open a Pillow image of 8 bits in so many channels; any failure while it is open becomes a UserError."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers; problems that matter raise errors
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_input(path, SLICE_BYTES, "slice") as file, Image.open(file, formats=["TIFF"]) as image:
                _check(path, image, channels)
                yield image
    except UserError:
        raise
    except Exception as error:  # Pillow raises many types for a malformed file
        raise _unreadable(path, error) from None


def _check(path: Path, image: Any, channels: int) -> None:
    """Refuse other numbers of bits, channels or pictures, and a file that ends before its pixels do."""
    bits = tuple(image.tag_v2.get(BITS, (1,)))
    if image.mode != MODES[channels] or bits != (8,) * channels:
        received = f"mode {image.mode} of {', '.join(map(str, bits))} bits"
        raise UserError(f"{path}: expected {WORDS[channels]}; received {received}; convert it")
    if image.n_frames > 1:
        raise UserError(f"{path}: expected one picture; received {image.n_frames}; give one file per slice")
    ends = [
        start + length
        for starts, lengths in EXTENTS
        for start, length in zip(image.tag_v2.get(starts, ()), image.tag_v2.get(lengths, ()), strict=False)
    ]
    if ends and max(ends) > path.stat().st_size:
        raise too_short(path, max(ends))


def _unreadable(path: Path, error: Exception) -> UserError:
    """Error for a file that cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return too_large(path, "too many pixels", f"{PICTURE_PIXELS} pixels")
    if isinstance(error, UnidentifiedImageError) and path.stat().st_size:
        return UserError(foreign_file(path, "TIFF") or f"{path}: not a TIFF image, or damaged")
    return unreadable(path, error, "TIFF")
