"""Cost of prediction: seconds per case, peak memory of the process, and trainable parameters of the networks."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

UNITS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes on macOS, kilobytes on Linux


class CostMeter:
    """Meter of the seconds that each case takes, its files included."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

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
            `peak_memory_mb` of the process so far; `trainable_parameters` of all networks.
        """
        weights = [weight for network in networks for weight in getattr(network, "trainable_weights", ())]
        return {
            "seconds_per_case": round(median(self._seconds), 4) if self._seconds else 0.0,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_PER_MB, 1),
            "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in weights),
        }
