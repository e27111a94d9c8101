"""Input files of others: ordinary files alone, of at most a stated size, opened without waiting; text of any Unicode form.

A pipe, a device or a sparse file of terabytes would otherwise decide how long a command runs and how much memory it takes.
All limits of files and folders stand here.
"""

import codecs
import os
import stat
from pathlib import Path
from typing import BinaryIO

from common.errors import UserError

MIB, GIB = 1 << 20, 1 << 30
TEXT_BYTES = 64 * MIB  # of a table, list, config or manifest
SCAN_BYTES = 16 * GIB  # of a NIfTI file, as it is stored and decompressed
SLICE_BYTES = 2 * GIB  # of a TIFF or DICOM file, as it is stored and decompressed
SLICE_VOXELS = 1 << 30  # rows x columns x frames of a DICOM file, or slices of a series
PICTURE_PIXELS = 89_478_485  # of a TIFF file: what Pillow reads without a warning
WEIGHTS_BYTES = 64 * GIB  # of a file of weights
TABLE_COLUMNS = 4096
FOLDER_FILES = 2_000_000  # in a folder of scans and all below it
FOLDER_DEPTH = 64  # of the folders below it

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
ENCODINGS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Byte order mark at the beginning of a text -> its encoding; without one it is UTF-8."""


def expect_file(path: Path, most_bytes: int | None, what: str = "file") -> int:
    """Size in bytes of an ordinary file, which is not opened.

    Args:
        path: the file.
        most_bytes: that it may have; None where no more than its beginning is read.
        what: it is, in the error.

    Raises:
        UserError: a folder, pipe, socket or device, or a file of more than `most_bytes`.
        OSError: there is none, or its folder cannot be read.
    """
    status = path.stat()
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise UserError(f"{path}: {what} is {kind}; expected an ordinary file")
    if most_bytes is not None and status.st_size > most_bytes:
        size, most = size_text(status.st_size), size_text(most_bytes)
        raise UserError(f"{path}: {what} has {size}; expected at most {most}: is it the right file?")
    return status.st_size


def open_input(path: Path, most_bytes: int | None, what: str = "file") -> BinaryIO:
    """Open an ordinary file for reading bytes, without waiting for a writer where it has become a pipe.

    Args, Raises: as of `expect_file`.
    """
    expect_file(path, most_bytes, what)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "rb")


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8, or UTF-16 with a byte order mark, which is left out; lines end in a line feed alone.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    mark, encoding = next(((mark, name) for mark, name in ENCODINGS.items() if content.startswith(mark)), (b"", "utf-8"))
    text = content[len(mark) :].decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def size_text(size: int) -> str:
    """Size in words: `12 bytes`, `3.5 MiB`, `2 GiB`."""
    unit, name = (GIB, "GiB") if size >= GIB else (MIB, "MiB") if size >= MIB else (1, "bytes")
    return f"{size / unit:.4g} {name}" if unit > 1 else f"{size} {name}"


def path_of(folder: Path, text: str) -> Path:
    """Path that a table or list names, relative to its folder; backslashes of Windows stand for slashes where a file is so."""
    path = folder / text
    if "\\" not in text or os.sep == "\\" or path.exists():
        return path
    return folder / text.replace("\\", "/")
