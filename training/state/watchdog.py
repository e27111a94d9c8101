"""Watchdog of a training: where no step ends for ten minutes, the stacks of all threads are written, and a line is printed.

The first step compiles the network, which takes minutes at most. The training goes on, or hangs on: what it waits for stands in
the stacks.
"""

import faulthandler
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from common.files import write_text

if TYPE_CHECKING:
    import keras

STACKS = "stacks.txt"  # in the run
SECONDS = 600.0


class Watchdog:
    """Thread that watches the beats of a training in a `with` block.

    Args:
        folder: of the run; stacks are added to its `STACKS`.
        seconds: without a beat after which stacks are written, once until the next beat.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self._file = folder / STACKS
        self._seconds = seconds
        self._last = time.monotonic()
        self._is_quiet = False
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def beat(self) -> None:
        """Note that a step, of training or of validation, or an epoch has ended."""
        self._last, self._is_quiet = time.monotonic(), False

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds / 10):
            if not self._is_quiet and time.monotonic() - self._last >= self._seconds:
                self._is_quiet = True
                self._write_stacks()

    def _write_stacks(self) -> None:
        """Add the stacks of all threads to the file, and print where they are."""
        heading = f"{time.strftime('%Y-%m-%d %H:%M:%S')}: no step has ended for {self._seconds:g} s"
        with suppress(OSError):  # a full disk, say; the training goes on
            with tempfile.TemporaryFile("w+", encoding="utf-8") as stacks:
                faulthandler.dump_traceback(stacks, all_threads=True)
                stacks.seek(0)
                earlier = self._file.read_text(encoding="utf-8") if self._file.is_file() else ""
                write_text(self._file, f"{earlier}{heading}\n{stacks.read()}\n")
            print(
                f"\nwarning: no step has ended for {self._seconds / 60:.3g} minutes; what each thread does: {self._file}; "
                "if nothing follows, stop the training and go on with --resume",
                file=sys.stderr,
                flush=True,
            )


def beats(watchdog: Watchdog) -> "list[keras.callbacks.Callback]":
    """Callback by which each step, of training and of validation, and each epoch is a beat."""
    import keras

    def beat(*_: object, **logs: object) -> None:
        watchdog.beat()

    class Beats(keras.callbacks.Callback):
        """Beats of a watchdog."""

        on_train_batch_end = on_test_batch_end = on_epoch_begin = on_epoch_end = beat

    return [Beats()]
