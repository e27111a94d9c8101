"""Errors of image files that cannot be read, in the same words for every format."""

from pathlib import Path

from common.errors import UserError
from common.input_files import open_input

LOOKED_AT = 512  # first bytes of a file, by which its kind is known
QUOTED = 40  # characters of a text that an error shows
LFS, ANNEX = b"version https://git-lfs", b"/annex/objects/"
WEB_PAGE = (b"<!doctype html", b"<html")
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"\x1f\x8b": "compressed by gzip once more; decompress it once",
    b"BZh": "compressed by bzip2; decompress it",
    b"\xfd7zXZ\0": "compressed by xz; decompress it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; decompress it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"NRRD": "an NRRD image; convert it to NIfTI",
    b"ObjectType =": "a MetaImage (.mha); convert it to NIfTI",
    b"NDims =": "a MetaImage (.mha); convert it to NIfTI",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB ": "a MATLAB file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
}
"""First bytes of files of other kinds -> what they are, and what to do."""
DICOM = (128, b"DICM")


def damaged(path: Path, reason: str) -> UserError:
    """Error for a file that is cut off or damaged."""
    return UserError(f"{path}: truncated or damaged ({' '.join(reason.split())}); fetch it again")


def too_short(path: Path, size: int) -> UserError:
    """Error for a file that ends before the `size` bytes that its header names."""
    return damaged(path, f"expected {size} bytes, as its header says; received fewer")


def too_long(path: Path, size: int) -> UserError:
    """Error for a file that goes on after the `size` bytes that its header names."""
    return damaged(path, f"expected {size} bytes, as its header says; received more")


def too_large(path: Path, what: str, most: str) -> UserError:
    """Error for an image that is refused before memory is taken for it.

    Args:
        path: the file.
        what: its header names, such as `65535 x 65535 pixels`.
        most: that is read.
    """
    return UserError(f"{path}: its header names {what}; expected at most {most}: is the file damaged?")


def unreadable(path: Path, error: Exception, kind: str) -> UserError:
    """Error for a file that cannot be opened or decoded.

    Args:
        path: the file.
        error: that reading it raised.
        kind: of the image that was expected, such as NIfTI.
    """
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: file not found{_link(path)}")
    if path.is_file() and path.stat().st_size == 0:
        return UserError(f"{path}: empty file; expected a {kind} image")
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"{path}: cannot be read ({error.strerror})")
    if "crc" in str(error).lower() or "checksum" in str(error).lower():
        return UserError(f"{path}: its bytes changed after it was compressed (the checksum of gzip differs); fetch it again")
    return damaged(path, str(error))


def foreign(path: Path, start: bytes, kind: str) -> str | None:
    """Error line for a file that is of another kind than its name says, by its first bytes; None where they say nothing.

    Args:
        path: the file.
        start: its first bytes, decompressed, at best `LOOKED_AT` of them.
        kind: of the image that was expected, such as NIfTI.
    """
    if start.startswith(LFS):
        return f"{path}: is a Git LFS pointer, not the file itself: run git lfs pull"
    if start.startswith(ANNEX):
        return f"{path}: is a git-annex pointer, not the file itself: run git annex get"
    if start.lstrip().lower().startswith(WEB_PAGE):
        return f"{path}: is a web page, such as of a login or an error, not the file itself: download it again"
    found = next((words for magic, words in FOREIGN.items() if start.startswith(magic) and words != f"a {kind} picture"), None)
    if found is None and start[DICOM[0] :].startswith(DICOM[1]):
        found = "a DICOM file; give its folder as the source"
    if found is None and start.strip() and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        words = " ".join(start.decode("ascii").split())
        found = f"text ({words[:QUOTED]}{' ...' if len(words) > QUOTED else ''}); download it again"
    return None if found is None else f"{path}: expected a {kind} image; it is {found}"


def foreign_file(path: Path, kind: str) -> str | None:
    """Error line for an ordinary file of another kind than its name says; None where its first bytes say nothing."""
    with open_input(path, None) as file:
        return foreign(path, file.read(LOOKED_AT), kind)


def _link(path: Path) -> str:
    """End of an error about a link whose file is not there."""
    if not path.is_symlink():
        return ""
    target = path.resolve()
    advice = "; it is managed by git-annex: run git annex get" if "annex/objects" in target.as_posix() else ""
    return f"; it is a link to {target}, which does not exist{advice}"
