"""Parallel map over cases: in this process, in a pool of processes, or on a Dask cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import MissingPackage, Problems, UserError
from common.processes import worker_pool
from common.progress import progress

if TYPE_CHECKING:
    from distributed import Client

Case = TypeVar("Case")
Result = TypeVar("Result")
Outcomes = Iterable[tuple[int, Callable[[], Any]]]  # place of a case and its result, as they become ready

_function: Callable[[Any], Any]  # in a worker process: applied to each case


def case_name(case: Any) -> str:
    """Name of a case in error messages: its `id`, else the case itself as text."""
    return str(getattr(case, "id", case))


def map_cases(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    workers: "int | str | Client" = 1,
    *,
    title: str | None = None,
    name: Callable[[Case], str] = case_name,
) -> list[Result]:
    """Map a function over cases, in parallel, and print progress (`common.progress`).

    The first exception ends the map: cases that have not begun are dropped, running ones are waited for. Ctrl-C ends processes
    at once, and what they were writing is lost; those of a cluster go on with the cases that they have begun.

    Args:
        function: of a case. With several workers it must be picklable and stand in a module that imports no framework; on a
            cluster the workers must be able to import it.
        cases: arguments of the calls.
        workers: number of processes, 1 for this one; or the address of a Dask scheduler such as `tcp://host:8786`, the path of
            its scheduler file, or a `distributed.Client`.
        title: of the progress on standard error; None: none is printed.
        name: of a case, for errors.

    Returns:
        Results in the order of the cases.

    Raises:
        UserError: of the function, with the case's name; or a worker died, or no scheduler answers.
        MissingPackage: Dask is not installed.
        Exception: any other of the function, with the case's name as a note.
    """
    check_workers(workers)
    results: dict[int, Result] = {}
    with (
        _running(function, cases, workers) as outcomes,
        progress(len(cases), title) as bar,
    ):
        for place, result in outcomes:
            results[place] = _named(result, name(cases[place]))
            bar.update()
    return [results[place] for place in range(len(cases))]


def check_workers(workers: "int | str | Client") -> None:
    """Refuse a number of workers below 1, and text that is no address of a Dask scheduler.

    Raises:
        UserError: names the option `--workers`.
    """
    if isinstance(workers, int) and workers < 1:
        raise UserError(f"--workers: expected at least 1; received {workers}")
    if isinstance(workers, str) and "://" not in workers and not Path(workers).is_file():
        wanted = "a number of processes, a Dask scheduler's address such as tcp://host:8786, or its scheduler file"
        raise UserError(f"--workers: expected {wanted}; received {workers}")


def _running(function: Callable[[Any], Any], cases: Sequence[Any], workers: Any) -> AbstractContextManager[Outcomes]:
    """Outcomes of a function of each case by the kind of workers."""
    if not isinstance(workers, int):
        return _on_dask(function, cases, workers)
    processes = min(workers, len(cases))
    if processes > 1:
        return _in_pool(function, cases, processes)
    return nullcontext((place, partial(function, case)) for place, case in enumerate(cases))


@contextmanager
def _in_pool(function: Callable[[Any], Any], cases: Sequence[Any], workers: int) -> Iterator[Outcomes]:
    """Outcomes computed in a pool of processes that end with this one."""
    with worker_pool(workers, _set_function, function) as pool:
        places = {pool.submit(_call, case): place for place, case in enumerate(cases)}
        yield ((places[future], future.result) for future in as_completed(places))


def _set_function(function: Callable[[Any], Any]) -> None:
    """Give a worker process the function once, not with every case."""
    global _function
    _function = function


def _call(case: Any) -> Any:
    """Apply the function of this worker process."""
    return _function(case)


@contextmanager
def _on_dask(function: Callable[[Any], Any], cases: Sequence[Any], workers: "str | Client") -> Iterator[Outcomes]:
    """Outcomes computed by the workers of a Dask cluster; what has not begun is cancelled at the end."""
    try:
        import distributed
    except ImportError:
        raise MissingPackage("distributed", "--workers with a Dask scheduler") from None
    if isinstance(workers, str):
        address = {"scheduler_file": workers} if Path(workers).is_file() else {"address": workers}
        try:
            client = distributed.Client(**address)
        except (OSError, ValueError) as error:
            raise UserError(f"--workers {workers}: no Dask scheduler answers there ({error}); start it first") from None
    else:
        client = workers
    futures = client.map(function, cases, pure=False)
    places = {future.key: place for place, future in enumerate(futures)}
    try:
        yield ((places[future.key], future.result) for future in distributed.as_completed(futures))
    except distributed.KilledWorker:
        raise UserError("a Dask worker died, perhaps for lack of memory; give each worker more of it") from None
    finally:
        client.cancel(futures)
        if client is not workers:
            client.close()


def _named(result: Callable[[], Result], name: str) -> Result:
    """Result of a case; an exception is raised again with the case's name."""
    try:
        return result()
    except (BrokenProcessPool, MissingPackage):
        raise
    except UserError as error:
        if name in str(error):
            raise
        if isinstance(error, Problems):
            raise Problems(error.lines, f"{name}: {error.summary}") from None
        raise UserError(f"{name}: {error}") from None
    except Exception as error:
        error.add_note(f"case {name}")
        raise
