"""Something done to every case, in several processes, with a progress bar: checking them before work starts."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import as_completed
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from common.processes import worker_pool
from data_prep.scans.case import CaseFiles
from data_prep.sources.base import Source

T = TypeVar("T")
_function: Callable[[CaseFiles], Any]  # in a worker process: what it does to each case


def check_cases(
    source: Source, cases: list[CaseFiles], workers: int = 1, deep: bool = False, progress: bool = True
) -> list[str]:
    """All that is wrong with any of the cases, a line each, in the order of the cases.

    Args:
        source: where the cases come from.
        cases: those to look at.
        workers: processes; 1 works in this one.
        deep: read every voxel instead of headers, labels and floats.
        progress: show a bar on standard error.
    """
    found = each_case(partial(_check, source, deep), cases, workers, "checking" if progress else None)
    return [line for lines in found for line in lines]


def each_case(
    function: Callable[[CaseFiles], T], cases: list[CaseFiles], workers: int = 1, title: str | None = None
) -> list[T]:
    """What a function returns for each of the cases, in their order.

    Args:
        function: of a case; must be picklable, and stand in a module that imports no framework, where `workers` > 1.
        cases: what it is called with.
        workers: processes; 1 works in this one.
        title: of the progress bar on standard error; None shows none.

    Raises:
        UserError: a worker process died.
    """
    from tqdm import tqdm

    workers = min(workers, len(cases))
    results = _here(function, cases) if workers <= 1 else _spread(function, cases, workers)
    done: Iterable[tuple[int, T]] = tqdm(results, total=len(cases), desc=title, unit="case", disable=title is None)
    with closing(results):  # stops the processes at once where the loop is left early
        by_place = dict(done)
    return [by_place[place] for place in range(len(cases))]


def _check(source: Source, deep: bool, files: CaseFiles) -> list[str]:
    return source.check(files, deep)


def _here(function: Callable[[CaseFiles], T], cases: list[CaseFiles]) -> Generator[tuple[int, T], None, None]:
    for place, files in enumerate(cases):
        yield place, function(files)


def _spread(function: Callable[[CaseFiles], T], cases: list[CaseFiles], workers: int) -> Generator[tuple[int, T], None, None]:
    """Place and result of each case as they get ready."""
    with worker_pool(workers, _start, function) as pool:
        places = {pool.submit(_work, files): place for place, files in enumerate(cases)}
        for future in as_completed(places):
            yield places[future], future.result()


def _start(function: Callable[[CaseFiles], Any]) -> None:
    """Give a worker process the function once, not with every case."""
    global _function
    _function = function


def _work(files: CaseFiles) -> Any:
    return _function(files)
