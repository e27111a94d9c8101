"""Outcome of a case of a command that writes a folder for each: resumed where it is there, listed where it fails."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import Problems, UserError
from common.files import read_json
from common.tables import counted
from data_prep.scans.case import CaseFiles


@dataclass(frozen=True)
class CaseOutcome:
    """Outcome of a case.

    Attributes:
        id: of the case.
        problem: lines of the error where it failed; the other attributes are empty then.
        warnings: a line each.
    """

    id: str
    problem: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def written_facts(path: Path, files: CaseFiles, write: Callable[[CaseFiles], None]) -> tuple[dict[str, Any], list[str]]:
    """Facts of a case, which is written first where it is missing or where its scans have changed since.

    Args:
        path: JSON file of the facts, which is written last; its `sources` are those of `file_state`.
        files: the case.
        write: writes the case, its facts included.

    Returns:
        The facts, and no line; or none, and the lines of a user's mistake.
    """
    try:
        if not path.is_file() or read_json(path, "case")["sources"] != file_state(files):
            path.unlink(missing_ok=True)
            write(files)
    except UserError as error:
        return {}, [line if files.id in line else f"{files.id}: {line}" for line in str(error).splitlines()]
    return read_json(path, "case"), []


def file_state(files: CaseFiles) -> list[dict[str, int]]:
    """Size and time of change of each of a case's files, to detect changes of the source; paths may name a patient.

    Raises:
        UserError: a file is not there any more, or cannot be read.
    """
    try:
        states = [path.stat() for path in files.paths]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return [{"bytes": state.st_size, "changed": state.st_mtime_ns} for state in states]


def finish(found: Sequence[CaseOutcome], what: str) -> None:
    """Print the warnings of all cases, and refuse those that failed.

    Args:
        found: the outcome of each case.
        what: was done with them, such as aligned.

    Raises:
        Problems: a case failed.
    """
    for line in (line for each in found for line in each.warnings):
        print(f"warning: {line}", file=sys.stderr)
    problems = [line for each in found for line in each.problem]
    if problems:
        failed = sum(bool(each.problem) for each in found)
        others = "; the others are written" if failed < len(found) else ""
        raise Problems(problems, f"{failed} of {counted(len(found), 'case')} could not be {what}{others}")
