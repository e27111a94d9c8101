"""Progress of long work on standard error: a bar in a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.printable import raw
from common.tables import counted

PARTS = 10  # of the work, after each of which a line may be printed
LEAST_SECONDS = 5.0


class ProgressLines:
    """Plain lines of progress, at most one for each tenth of the work and every few seconds; quick work prints none.

    Args:
        total: pieces of work.
        title: printed in front.
        unit: noun of a piece, in the singular.
        least_seconds: between two lines.
    """

    def __init__(self, total: int, title: str, unit: str, least_seconds: float = LEAST_SECONDS) -> None:
        self._least_seconds = least_seconds
        self._total = total
        self._title = title
        self._unit = unit
        self._done = 0
        self._printed = 0
        self._started = self._last = time.monotonic()

    def update(self, pieces: int = 1) -> None:
        """Count pieces of work that are done."""
        self._done += pieces
        now, part = time.monotonic(), self._done * PARTS // self._total
        if part == self._printed or now - self._last < self._least_seconds or self._done >= self._total:
            return
        self._printed, self._last = part, now
        left = (now - self._started) / self._done * (self._total - self._done) / 60
        what = f"{self._done} of {counted(self._total, self._unit)}"
        print(f"{self._title}: {what}, about {left:.1f} min left", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the progress, as that of tqdm is ended; lines stay."""


@contextmanager
def progress(total: int, title: str | None, unit: str = "case") -> Iterator[Any]:
    """Progress on standard error; its `update(n)` counts what is done.

    Args:
        total: pieces of work.
        title: of the bar, or in front of each line; None: nothing is printed.
        unit: noun of a piece, in the singular.
    """
    if title is not None and not sys.stderr.isatty():
        yield ProgressLines(total, title, unit)
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit=unit, file=raw(sys.stderr), disable=title is None) as bar:
        yield bar
