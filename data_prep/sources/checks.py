"""Checks of cases before work starts."""

import sys
from functools import partial

from common.parallel import map_cases
from data_prep.scans.case import CaseFiles
from data_prep.sources.base import Source


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


def warn_of_first(lines: list[str], command: str) -> None:
    """Print the first of several warnings on standard error, and the command that lists all of them."""
    if lines:
        more = f" ({len(lines) - 1} more such lines: {command} lists all)" if len(lines) > 1 else ""
        print(f"warning: {lines[0]}{more}", file=sys.stderr)


def _check(source: Source, deep: bool, files: CaseFiles) -> list[str]:
    """Problems of one case."""
    return source.check(files, deep)
