"""Interleaved timing of contenders, each in a process of its own, with its memory."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from common.errors import UserError
from common.hardware.memory import MEGABYTE, peak_memory, resident_memory
from common.processes import worker_pool


class Contender(Protocol):
    """Contender of a benchmark."""

    def repeat(self) -> Any:
        """Run the timed work once."""


@dataclass(frozen=True)
class Cost:
    """Cost of a contender's repeats.

    Attributes:
        seconds: median wall time of a repeat.
        cpu_seconds: median CPU time of a repeat, of all threads of its process.
        peak: peak memory of the process, in bytes.
        growth: `peak` less the memory after the contender was made.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    growth: int


class Worker:
    """Process of a contender.

    Args:
        name: for errors.
        pool: the process.
    """

    def __init__(self, name: str, pool: ProcessPoolExecutor) -> None:
        self._name = name
        self._pool = pool

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the contender and return its result."""
        return self.run(_ask, method, arguments)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the contender's process and return its result.

        Raises:
            UserError: the process died.
        """
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise UserError(f"{self._name}: its process died, perhaps for lack of memory; ask for something smaller") from None


@contextmanager
def workers(contenders: Mapping[str, Callable[[], Contender]]) -> Iterator[dict[str, Worker]]:
    """Workers of all contenders; the processes end with the block.

    Args:
        contenders: name -> factory, picklable.
    """
    with ExitStack() as stack:
        found = {name: Worker(name, stack.enter_context(worker_pool(1))) for name in contenders}
        for name, make in contenders.items():
            found[name].run(_make, make)
        yield found


def measure(found: Mapping[str, Worker], rounds: int) -> dict[str, Cost]:
    """Costs of contenders that run in turns, once per round; a first round is for warm-up and counts for memory only."""
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
    """Table with a row per contender: wall time, CPU time and memory growth with ratios to the first row, and peak memory."""
    first = next(iter(costs.values()))
    width = max(map(len, costs))
    rows = [f"{'':{width}}   wall s  ratio    CPU s  ratio  growth MB  ratio  peak MB"]
    for name, cost in costs.items():
        cells = f"{cost.seconds:8.3f} {cost.seconds / first.seconds:6.3f} "
        cells += f"{cost.cpu_seconds:8.3f} {cost.cpu_seconds / first.cpu_seconds:6.3f} "
        cells += f"{cost.growth / MEGABYTE:10.0f} {cost.growth / max(first.growth, 1):6.3f} {cost.peak / MEGABYTE:8.0f}"
        rows.append(f"{name:{width}} {cells}")
    return "\n".join(rows)


@dataclass
class _State:
    """State of a contender's process: the contender, and the memory in use after it was made."""

    contender: Any = None
    before: int = 0


_STATE = _State()


def _make(make: Callable[[], Contender]) -> None:
    _STATE.contender = make()
    _STATE.before = resident_memory()


def _ask(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_STATE.contender, method)(*arguments)


def _repeat() -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    _STATE.contender.repeat()
    return time.perf_counter() - wall, time.process_time() - cpu


def _memory() -> tuple[int, int]:
    """Peak memory, and its growth since before the first repeat."""
    peak = peak_memory()
    return peak, peak - _STATE.before


def hide_gpus() -> None:
    """Hide GPUs from processes that are started from now on."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
