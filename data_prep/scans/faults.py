"""Errors of image files that cannot be read, in the same words for every format."""

from pathlib import Path

from common.errors import UserError


def damaged(path: Path, reason: str) -> UserError:
    """Error for a file that is cut off or damaged."""
    return UserError(f"{path}: truncated or damaged ({' '.join(reason.split())}); fetch it again")


def too_short(path: Path, size: int) -> UserError:
    """Error for a file that ends before the `size` bytes that its header names."""
    return damaged(path, f"expected {size} bytes, as its header says; received fewer")


def unreadable(path: Path, error: Exception, kind: str) -> UserError:
    """Error for a file that cannot be opened or decoded.

    Args:
        path: the file.
        error: that reading it raised.
        kind: of the image that was expected, such as NIfTI.
    """
    if isinstance(error, FileNotFoundError):
        link = f"; it is a link to {path.resolve()}, which does not exist" if path.is_symlink() else ""
        return UserError(f"{path}: file not found{link}")
    if path.is_file() and path.stat().st_size == 0:
        return UserError(f"{path}: empty file; expected a {kind} image")
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"{path}: cannot be read ({error.strerror})")
    return damaged(path, str(error))
