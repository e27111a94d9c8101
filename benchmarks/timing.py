"""Interleaved repeats: each contender once per round, so that a busy machine slows all alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(contenders: Mapping[str, Callable[[], None]], rounds: int, cpu: bool) -> dict[str, float]:
    """Median seconds of each contender.

    Args:
        contenders: name -> what to run.
        rounds: how often each is run; one round before them warms caches up and is not counted.
        cpu: CPU time of this process and its threads, else wall time.
    """
    clock = time.process_time if cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if number:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(medians: dict[str, float], unit: str, rate: Callable[[float], float]) -> str:
    """A row per contender: its rate in `unit`, and its time relative to the first one's."""
    first = next(iter(medians.values()))
    width = max(map(len, medians))
    rows = [f"{name:{width}}  {rate(value):10.4g} {unit}  {value / first:6.3f}" for name, value in medians.items()]
    return "\n".join([f"{'':{width}}  {'':10} {'':{len(unit)}}  time relative to the first row", *rows])
