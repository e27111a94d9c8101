"""Cost of prediction: seconds per case, memory beyond the framework, and trainable parameters of the networks."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

UNITS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes on macOS, kilobytes on Linux
STATM = Path("/proc/self/statm")  # sizes of this process in pages, the second one resident; Linux alone


class CostMeter:
    """Meter of the seconds that each case takes, its files included, and of the memory from now on.

    It is made when the framework is loaded and networks and scans are not, so that the framework's own memory does not count.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._memory_before = resident_mb()

    @contextmanager
    def case(self) -> Iterator[None]:
        """Measure the block, which predicts one case."""
        begin = time.perf_counter()
        yield
        self._seconds.append(time.perf_counter() - begin)

    def facts(self, networks: Iterable[Any]) -> dict[str, float]:
        """Measured cost, as predictions.json stores it.

        Args:
            networks: loaded; those of frameworks other than Keras have no trainable parameters.

        Returns:
            `seconds_per_case`, the median over the cases, so that compiling in the first one does not count;
            `prediction_memory_mb`, the peak of the process beyond its memory when the meter was made; `peak_memory_mb` of the
            whole process; `trainable_parameters` of all networks.
        """
        weights = [weight for network in networks for weight in getattr(network, "trainable_weights", ())]
        peak = peak_mb()
        return {
            "seconds_per_case": round(median(self._seconds), 4) if self._seconds else 0.0,
            "prediction_memory_mb": round(max(peak - self._memory_before, 0.0), 1),
            "peak_memory_mb": round(peak, 1),
            "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in weights),
        }


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_PER_MB


def resident_mb() -> float:
    """Resident memory of this process now, in MB; the largest so far where the system does not have it."""
    if not STATM.is_file():
        return peak_mb()
    return int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**20
