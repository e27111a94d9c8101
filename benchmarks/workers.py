"""Contenders in processes of their own: each does a repeat when asked, so that repeats interleave and each tells its memory."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from common.errors import UserError
from common.processes import worker_pool

STATUS = Path("/proc/self/status")
MEGABYTE = 2**20


class Contender(Protocol):
    """What is timed."""

    def repeat(self) -> Any:
        """Do once what is timed."""


@dataclass(frozen=True)
class Cost:
    """What a contender's repeats cost.

    Attributes:
        seconds: median wall time of a repeat.
        cpu_seconds: median CPU time of a repeat, of all threads of its process.
        peak: most memory that the process ever held, in bytes.
        growth: `peak` less what it held once the contender was made.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    growth: int


class Worker:
    """A contender in a process of its own.

    Args:
        name: for errors.
        pool: the process.
    """

    def __init__(self, name: str, pool: ProcessPoolExecutor) -> None:
        self._name = name
        self._pool = pool

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the contender returns."""
        return self.run(_ask, method, arguments)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns in the contender's process.

        Raises:
            UserError: the process died.
        """
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise UserError(f"{self._name}: its process died, perhaps for lack of memory; ask for something smaller") from None


@contextmanager
def workers(contenders: Mapping[str, Callable[[], Contender]]) -> Iterator[dict[str, Worker]]:
    """Make each contender in a process of its own, and end the processes.

    Args:
        contenders: name -> what makes it; must be picklable.
    """
    with ExitStack() as stack:
        found = {name: Worker(name, stack.enter_context(worker_pool(1))) for name in contenders}
        for name, make in contenders.items():
            found[name].run(_make, make)
        yield found


def measure(found: Mapping[str, Worker], rounds: int) -> dict[str, Cost]:
    """Each contender once per round, one after the other; a round before them warms up and counts for memory alone."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, worker in found.items():
            spent = worker.run(_repeat)
            if number:
                times[name].append(spent)
    costs = {}
    for name, worker in found.items():
        wall, cpu = (median(values) for values in zip(*times[name], strict=True))
        costs[name] = Cost(wall, cpu, *worker.run(_memory))
    return costs


def cost_table(costs: Mapping[str, Cost]) -> str:
    """A row per contender: wall and CPU time and growth of memory, each with its ratio to the first row's, and peak memory."""
    first = next(iter(costs.values()))
    width = max(map(len, costs))
    rows = [f"{'':{width}}   wall s  ratio    CPU s  ratio  growth MB  ratio  peak MB"]
    for name, cost in costs.items():
        told = f"{cost.seconds:8.3f} {cost.seconds / first.seconds:6.3f} "
        told += f"{cost.cpu_seconds:8.3f} {cost.cpu_seconds / first.cpu_seconds:6.3f} "
        told += f"{cost.growth / MEGABYTE:10.0f} {cost.growth / max(first.growth, 1):6.3f} {cost.peak / MEGABYTE:8.0f}"
        rows.append(f"{name:{width}} {told}")
    return "\n".join(rows)


@dataclass
class _State:
    """What a contender's process holds: the contender, and the memory that was in use once it was made."""

    contender: Any = None
    before: int = 0


_STATE = _State()


def _make(make: Callable[[], Contender]) -> None:
    _STATE.contender = make()
    _STATE.before = _memory_of("VmRSS")


def _ask(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_STATE.contender, method)(*arguments)


def _repeat() -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    _STATE.contender.repeat()
    return time.perf_counter() - wall, time.process_time() - cpu


def _memory() -> tuple[int, int]:
    """Peak, and how far it lies above what was held before the first repeat."""
    peak = _memory_of("VmHWM")
    return peak, peak - _STATE.before


def _memory_of(entry: str) -> int:
    """Memory of this process in bytes: `VmRSS` now, `VmHWM` at its highest.

    The resource module's number is for systems without /proc alone: Linux starts a process with its parent's.
    """
    if STATUS.is_file():
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def hide_gpus() -> None:
    """Have processes that are started from here on compute on the processor."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
