"""Child processes that end with their parent: workers of a pool, and commands that others run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import IO, Any

from common.errors import UserError

POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0  # for the step that a training is in


@contextmanager
def worker_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Pool of processes; on any error, Ctrl-C included, calls that have not begun are dropped.

    Args:
        workers: processes.
        start: initialiser of each process, called with `arguments`.
        arguments: must be picklable.

    Raises:
        UserError: a worker process died.
    """
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (start, arguments))
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError(f"a worker process died, perhaps for lack of memory; use fewer than {workers} --workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_command(
    command: str, arguments: Sequence[str], output: IO[str] | None = None, enough: Callable[[], bool] = lambda: False
) -> int:
    """Run a command of the toolkit in a process of its own; it is interrupted when this process ends or `enough` is true.

    Args:
        command: its module, such as training.train.
        arguments: its command line.
        output: file for its standard output and error; None: those of this process.
        enough: called every half second; True stops the command.

    Returns:
        Its exit status.
    """
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    words = [sys.executable, "-m", command, *arguments]
    # In a group of its own Ctrl-C does not reach it; `_stop` interrupts it once.
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0)
    try:
        while process.poll() is None and not enough():
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        _stop(process)
    return process.returncode


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process if it still runs, and kill it if that does not end it; a training loses one epoch at most."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:  # a second Ctrl-C comes here too
        process.kill()
        process.wait()


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Initialise a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """End this process when its parent dies; a worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
