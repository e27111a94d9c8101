"""Atomic files, JSON and YAML, checksums, and a lock on a folder."""

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import yaml

from common.errors import UserError
from common.input_files import TEXT_BYTES, decoded, open_input
from common.yaml_loader import parse_json, parse_yaml, yaml_error

BLOCK = 1 << 20  # bytes read at once
LOCK = ".lock"  # file in a folder that a command writes into, see `lock`
TEMPORARY = re.compile(r"\.tmp[1-9][0-9]*\..+", re.DOTALL)  # name of a file that `replacing` has not finished


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Atomic write: yields a temporary file beside `path`, which replaces `path` when the block ends without an error.

    The content is synchronised to disk before the rename, so a crash leaves the old file or the new one, never a part.
    Two processes may write the same path at once: the later one wins.

    Raises:
        OSError: no space left, no permission and the like; it names `path`.
    """
    temporary = path.with_name(f".tmp{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """True for a file of the name that `replacing` gives its temporary ones; links and folders never are."""
    return TEMPORARY.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes, atomically."""
    with replacing(path) as file:
        file.write(content)


def write_serialised(path: Path, serialise: Callable[[BytesIO], object]) -> None:
    """Write what a library serialises, atomically.

    Libraries meet no full disk so, at which HDF5 crashes and others raise errors of their own, because they write to memory.

    Args:
        path: the file.
        serialise: writes the content to a file in memory.
    """
    memory = BytesIO()
    serialise(memory)
    write_bytes(path, memory.getbuffer())


def copy_file(source: Path, path: Path) -> None:
    """Copy a file's content, atomically."""
    with source.open("rb") as content, replacing(path) as file:
        shutil.copyfileobj(content, file, BLOCK)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, with keys in the order given, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write YAML with keys in the order given, atomically."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def read_text(path: Path, what: str) -> str:
    """Read a text file of UTF-8, or UTF-16 with its mark; `what` names it in the error where that fails."""
    try:
        with open_input(path, TEXT_BYTES, what) as file:
            text = decoded(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: {what} not found") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: {what} is not UTF-8 text (line {line}); save it as UTF-8 (Excel: CSV UTF-8)") from None
    except OSError as error:
        raise UserError(f"{path}: {what} cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise UserError(f"{path}: {what} is not text, or UTF-16 without its mark; save it as UTF-8 (Excel: CSV UTF-8)")
    return text


def read_json(path: Path, what: str) -> Any:
    """Read JSON; `what` names the file in the error where that fails."""
    try:
        return parse_json(read_text(path, what))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: {what} is not JSON (line {error.lineno}: {error.msg})") from None
    except ValueError as error:
        raise UserError(f"{path}: {what}: {error}") from None


def read_yaml(path: Path, what: str, as_text: bool = False) -> Any:
    """Read YAML; `what` names the file in the error where that fails, or where a key stands twice in one mapping.

    With `as_text` nothing becomes a number, a date or null: ids keep their zeros.
    """
    try:
        return parse_yaml(read_text(path, what), as_text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {what} is not YAML ({yaml_error(error)})") from None


def read_lines(path: Path, what: str) -> list[str]:
    """Read a text file's non-empty lines, stripped."""
    return [line.strip() for line in read_text(path, what).splitlines() if line.strip()]


def checksum(path: Path) -> str:
    """CRC-32C of a file, 8 hexadecimal digits."""
    crc = google_crc32c.Checksum()
    with open_input(path, None) as file:
        while block := file.read(BLOCK):
            crc.update(block)
    return crc.digest().hex()


def refuse_inside(out: Path, source: Path) -> None:
    """Refuse to write into a source of scans, which is read only.

    Raises:
        UserError: `out` is the source or lies in it.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out {out}: lies in the source {source}, which is never written to; choose another folder")


def make_folder(folder: Path) -> None:
    """Create a folder to write into, before work starts.

    Raises:
        UserError: a file of that name exists, or the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror or "cannot be made"
    if reason:
        raise UserError(f"{folder}: expected a folder to write into ({reason}); make it writable or choose another")


def refuse_foreign(folder: Path, what: str, own: Collection[str] = ()) -> None:
    """Refuse a folder for new content that holds anything of somebody else; the one rule of what counts as empty.

    Locks, and files that a killed process left half written, count as nothing.

    Args:
        folder: need not exist.
        what: the content, in the error, such as "the records".
        own: names that a command which was stopped at its beginning leaves there.

    Raises:
        UserError: names the folder and what it holds.
    """
    others = foreign_names(folder, own)
    if others:
        raise UserError(f"{folder}: expected an empty or new folder for {what}; it holds {others[0]!r}; choose another --out")


def foreign_names(folder: Path, own: Collection[str] = ()) -> list[str]:
    """Names in a folder that count as content of somebody else, sorted; `own` as of `refuse_foreign`."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() else []
    return sorted(path.name for path in folder.iterdir() if path.name not in (LOCK, *own) and not is_temporary(path))


def remove_unfinished(folder: Path, deep: bool = True) -> None:
    """Delete files that killed processes left half written in a folder, whose lock must be held, and with `deep` in all below.

    Links are not followed.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = folders if deep else []
        for path in (Path(parent, name) for name in names):
            if is_temporary(path):
                path.unlink()


def remove_files(folder: Path, patterns: Iterable[str]) -> bool:
    """Delete files below a folder whose names fit a pattern, and folders that are empty then; True where it is gone.

    Links are neither followed nor deleted, and other files stay.
    """
    wanted = [*patterns]
    if folder.is_symlink():
        return False
    for parent, _, names in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink() and (is_temporary(path) or any(path.match(pattern) for pattern in wanted)):
                path.unlink()
        with suppress(OSError):  # it is not empty
            Path(parent).rmdir()
    return not folder.exists()


@contextmanager
def lock(folder: Path, what: str = "", own: Collection[str] = ()) -> Iterator[None]:
    """Lock `folder` for this process, so that two commands do not write into it at once.

    Where the block ends with an error before anything was written, its file and the folders that were made for it are removed.

    Args:
        folder: is made where it is missing.
        what: content of the folder; without it, a folder that no command has locked before may hold anything.
        own: as of `refuse_foreign`.

    Raises:
        UserError: another process holds it, it cannot be written to, or it holds something of somebody else.
    """
    import filelock

    if what and not (folder / LOCK).exists():
        refuse_foreign(folder, what, own)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    make_folder(folder)
    before = {path.name for path in folder.iterdir()}
    guard = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        guard.acquire()
    except filelock.Timeout:
        raise UserError(f"{folder}: another command is writing here; wait for it or choose another folder") from None
    try:
        yield
    except BaseException:
        if LOCK not in before and {path.name for path in folder.iterdir()} == before | {LOCK}:
            (folder / LOCK).unlink()
            with suppress(OSError):  # a folder that another command has written into since
                for each in made:
                    each.rmdir()
        raise
    finally:
        guard.release()
