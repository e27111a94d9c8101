"""Stopwatch of data loading: time that training waits for batches."""

import time
from dataclasses import dataclass
from typing import Any

import grain


@dataclass
class StopWatch:
    """Time that was spent waiting.

    Attributes:
        seconds: in all, since it was made.
    """

    seconds: float = 0.0


class Timed(grain.IterDataset):
    """Dataset of the same batches that adds the time until each is ready to a stop watch.

    Batches that were read ahead are ready at once, so this is the time that a training waits for data.

    Args:
        batches: to be handed over.
        watch: where the time is added.
    """

    def __init__(self, batches: grain.IterDataset, watch: StopWatch) -> None:
        super().__init__(batches)
        self._watch = watch

    def __iter__(self) -> "_TimedIterator":
        return _TimedIterator(iter(self._parent), self._watch)


class _TimedIterator(grain.DatasetIterator):
    def __init__(self, batches: grain.DatasetIterator, watch: StopWatch) -> None:
        super().__init__(batches)
        self._watch = watch

    def __next__(self) -> Any:
        start = time.perf_counter()
        try:
            return next(self._parent)
        finally:
            self._watch.seconds += time.perf_counter() - start

    def get_state(self) -> dict[str, Any]:
        """Position of the iterator."""
        return self._parent.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Set the position of the iterator."""
        self._parent.set_state(state)
