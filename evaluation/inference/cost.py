"""Cost of prediction: seconds per case, memory beyond the framework, and trainable parameters of the networks."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from common.errors import UserError
from common.hardware.memory import GIGABYTE, MEGABYTE, peak_memory, resident_memory

MEASURED = 2  # cases from which the cost of all is expected; in the first one networks are compiled


class CostMeter:
    """Meter of the seconds that each case takes, its files included, and of the memory from now on.

    It is made when the framework is loaded and networks and scans are not, so that the framework's own memory does not count.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._memory_before = resident_memory()
        self._begun = time.time()

    @contextmanager
    def case(self) -> Iterator[None]:
        """Measure the block, which predicts one case."""
        begin = time.perf_counter()
        yield
        self._seconds.append(time.perf_counter() - begin)

    def forecast(self, cases: int, folder: Path) -> str:
        """Line on time, memory and disk of all cases, measured on the first two; empty but after the second of more.

        Args:
            cases: that are predicted.
            folder: that their files are written into; what an earlier call has left there does not count.

        Raises:
            UserError: the disk has no room for the others.
        """
        if len(self._seconds) != MEASURED or cases <= MEASURED:
            return ""
        minutes = (sum(self._seconds) + (cases - MEASURED) * self._seconds[-1]) / 60
        written = [path.stat() for path in folder.rglob("*") if path.is_file()]
        each = sum(file.st_size for file in written if file.st_mtime >= self._begun) / MEASURED
        needed, free = (cases - MEASURED) * each, shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"{folder}: expected {needed / GIGABYTE:.1f} GB of disk for {cases - MEASURED} more cases; received "
                f"{free / GIGABYTE:.1f} GB free; the same command goes on from here"
            )
        parts = (
            f"about {minutes:.1f} min for {cases} cases",
            f"{peak_memory() / GIGABYTE:.1f} GB of memory",
            f"{cases * each / GIGABYTE:.2f} GB of disk ({free / GIGABYTE:.0f} GB free)",
        )
        return f"expected from the first two cases: {', '.join(parts)}"

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
        peak = peak_memory()
        return {
            "seconds_per_case": round(median(self._seconds), 4) if self._seconds else 0.0,
            "prediction_memory_mb": round(max(peak - self._memory_before, 0) / MEGABYTE, 1),
            "peak_memory_mb": round(peak / MEGABYTE, 1),
            "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in weights),
        }
