"""Outcome of a case of a command that writes a folder for each: resumed where it is there, listed where it fails."""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import Problems, UserError, problem_lines
from common.files import checksum, remove_files
from common.manifests import CONTENT, MapOf, read_manifest
from common.tables import counted
from data_prep.alignment.manifests import read_case_facts
from data_prep.scans.case import CaseFiles

FACTS = "case.json"  # of a case's folder; written last, it commits the case
BEGUN = ".begun"  # empty file in the folder of a case that is not finished
DATA = ("*.nii.gz", "*.tfm")  # names of the files of a case that are read again
MADE = (FACTS, BEGUN, *DATA, "*.png")  # names of the files of a case
MOVABLE = ("source", "series")  # settings that are paths; their files are those of the cases


@dataclass(frozen=True)
class CaseOutcome:
    """Outcome of a case.

    Attributes:
        id: of the case.
        problem: lines of the error where it failed; the other attributes are empty then.
        warnings: a line each.
        is_renewed: it was there already, and was written again because its files had changed.
    """

    id: str
    problem: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    is_renewed: bool = False


class Written(NamedTuple):
    """Case that is there.

    Attributes:
        facts: content of its JSON file; empty where it failed.
        problem: lines of a user's mistake.
        is_renewed: as of `CaseOutcome`.
    """

    facts: dict[str, Any]
    problem: list[str]
    is_renewed: bool


def written_case(path: Path, files: CaseFiles, write: Callable[[CaseFiles], None]) -> Written:
    """Case of a folder, which is written first where it is missing, or where its scans or its own files have changed since.

    Args:
        path: JSON file of the facts, which is written last; its `sources` are those of `file_state`.
        files: the case.
        write: writes the case, its facts included.
    """
    was_there = path.is_file()
    try:
        is_current = was_there and _is_current(path, files)
        if not is_current:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / BEGUN).touch()
            path.unlink(missing_ok=True)
            write(files)
            (path.parent / BEGUN).unlink()
    except UserError as error:
        return Written({}, [line if files.id in line else f"{files.id}: {line}" for line in problem_lines(error)], False)
    return Written(read_case_facts(path), [], was_there and not is_current)


def _is_current(path: Path, files: CaseFiles) -> bool:
    """True for a case whose scans are those of before, and whose files are whole; cases of before have no checksums of them."""
    try:
        facts = read_case_facts(path)
    except UserError:  # a damaged file, which is written again
        return False
    if facts.get("sources") != file_state(files):
        return False
    stored = facts.get("files", {})
    return not stored or stored == checksums(path.parent, stored)


def checksums(folder: Path, names: Collection[str] | None = None) -> dict[str, str]:
    """Checksum of each file of a case that is read again, by name; of `names` those that are there."""
    paths = sorted(path for pattern in DATA for path in folder.glob(pattern))
    return {path.name: checksum(path) for path in paths if names is None or path.name in names}


def remove_other_cases(out: Path, cases: Collection[str]) -> None:
    """Remove the folders of cases that are not among those of the source, such as of a patient who withdrew.

    A folder that holds neither a finished case nor one that was begun is not ours, and stays; so do other files in one of ours.
    """
    is_case = {folder: (folder / FACTS).is_file() or (folder / BEGUN).is_file() for folder in sorted(out.iterdir())}
    others = [folder for folder in is_case if folder.name not in cases and is_case[folder]]
    removed = [folder for folder in others if remove_files(folder, MADE)]
    if kept := [folder for folder in others if folder not in removed and not folder.is_symlink()]:
        names = ", ".join(folder.name for folder in kept)
        print(f"warning: {out}: not in the source any more, and kept for the sake of other files: {names}", file=sys.stderr)
    if removed:
        names = ", ".join(folder.name for folder in removed)
        print(f"removed from {out}, because they are not in the source any more: {names}")


def moved_settings(out: Path, settings: dict[str, Any], cases: Sequence[CaseFiles]) -> list[str]:
    """Settings that name other places than those in a folder's config.yaml, where the files have only been moved.

    Args:
        out: the folder.
        settings: of this call.
        cases: of the source; each finished case of the folder must be among them with unchanged files.
    """
    file = out / "config.yaml"
    stored = read_manifest(file, "config", MapOf(CONTENT), advice="choose another --out") if file.is_file() else settings
    other = [name for name in MOVABLE if stored.get(name) != settings.get(name)]
    known = {files.id: files for files in cases}
    finished = out.glob(f"*/{FACTS}") if other else ()
    is_same = all(
        path.parent.name in known and read_case_facts(path).get("sources") == file_state(known[path.parent.name])
        for path in finished
    )
    return other if is_same else []


def file_state(files: CaseFiles) -> str:
    """SHA-256 of the sizes and times of change of a case's files, to detect changes of the source.

    Paths are left out, and times are hashed: they may name a patient, and the day of an examination.

    Raises:
        UserError: a file is not there any more, or cannot be read.
    """
    try:
        states = [path.stat() for path in files.paths]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return sha256(repr([(state.st_size, state.st_mtime_ns) for state in states]).encode()).hexdigest()


def finish(found: Sequence[CaseOutcome], what: str) -> None:
    """Print the warnings of all cases, and refuse those that failed.

    Args:
        found: the outcome of each case.
        what: was done with them, such as aligned.

    Raises:
        Problems: a case failed.
    """
    if renewed := sum(each.is_renewed for each in found):
        were = "cases were" if renewed > 1 else "case was"
        print(
            f"warning: {renewed} {were} {what} again: scans, annotation or rules have changed since, or files are damaged",
            file=sys.stderr,
        )
    for line in (line for each in found for line in each.warnings):
        print(f"warning: {line}", file=sys.stderr)
    problems = [line for each in found for line in each.problem]
    if problems:
        failed = sum(bool(each.problem) for each in found)
        others = "; the others are written" if failed < len(found) else ""
        raise Problems(problems, f"{failed} of {counted(len(found), 'case')} could not be {what}{others}")
