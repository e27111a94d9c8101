"""Processes that end with the process that started them: workers of a pool, and commands of ours that others call."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import IO, Any

from common.errors import UserError

POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0  # for the step that a training is in


@contextmanager
def worker_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; on any error, Ctrl-C included, what has not begun is dropped.

    Args:
        workers: processes.
        start: called first in each of them, with `arguments`.
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
    """Run one of our commands in a process of its own, and end it, gently, with this one or once it is enough.

    Args:
        command: its module, such as training.train.
        arguments: its command line.
        output: file that takes what it prints; None: it prints where this process does.
        enough: is asked every now and then.

    Returns:
        Its exit status.
    """
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    words = [sys.executable, "-m", command, *arguments]
    # In a group of its own Ctrl-C does not reach it; it is told once, by us.
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0)
    try:
        while _runs(process) and not enough():
            pass
    finally:
        _stop(process)
    return process.returncode


def _runs(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process still runs after a moment."""
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process, if it still runs; one that does not listen is killed, which costs a training an epoch at most."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:  # a second Ctrl-C comes here too
        process.kill()
        process.wait()


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A pool whose owner was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
