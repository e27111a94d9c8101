"""Checks of cases before work starts, and warnings about a source."""

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from common.parallel import map_cases
from common.tables import counted
from data_prep.scans.case import CaseFiles
from data_prep.sources.base import Source

MOST_KINDS = 8  # of warnings that are printed where the cases have more


def check_cases(
    source: Source, cases: list[CaseFiles], workers: int | str = 1, deep: bool = False, progress: bool = True
) -> list[str]:
    """Problems of the cases, a line each, in the order of the cases.

    Args:
        source: of the cases.
        cases: to be checked.
        workers: as of `common.parallel.map_cases`.
        deep: read every voxel instead of headers, labels and floats.
        progress: show a bar on standard error.
    """
    title = "checking" if progress else None
    found = map_cases(partial(_check, source, deep), cases, workers, title=title)
    return [line for lines in found for line in lines]


def without_label(case: str, problem: str = "has no label") -> str:
    """Problem of a case without annotation, of which no records are made; or of a source whose cases have none."""
    return (
        f"{case}: {problem}; records need one (leave the case out by --split.file; scans to be predicted need none: "
        "check --purpose prediction)"
    )


def warn_of(lines: Sequence[str]) -> None:
    """Print warnings on standard error, a line each."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def warn_of_kinds(lines: Sequence[str], command: str = "") -> None:
    """Print the first warning of each kind on standard error, and the command that lists all of them, if there is one.

    Args:
        lines: warnings about cases, "FILE OR CASE: text"; those whose texts differ in numbers alone are of one kind.
        command: prints every line.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines:
        kinds[re.sub(r"\S*\d\S*", "", line.partition(": ")[2])].append(line)
    shown = list(kinds.values())[:MOST_KINDS]
    for first, *others in shown:
        all_lines = f": {command} lists all" if command else ""
        more = f" (and {counted(len(others), 'such line')} more{all_lines})" if others else ""
        warn_of([f"{first}{more}"])
    if rest := len(lines) - sum(map(len, shown)):
        warn_of([f"{counted(rest, 'line')} of other kinds: {command} lists all"])


def _check(source: Source, deep: bool, files: CaseFiles) -> list[str]:
    """Problems of one case."""
    return source.check(files, deep)
