"""Child processes that end with their parent: workers of a pool, and commands that others run.

SIGTERM and SIGHUP are treated as Ctrl-C, so a scheduler or a closed terminal stops a training as gently as a person does.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import IO, Any

from common.errors import UserError
from common.interrupts import PARENT, TERMINATION, block, end_at_once

POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0  # for the step that a training is in
SAFE_PATH = "PYTHONSAFEPATH"  # environment variable of Python, as its option -P
_received: set[int] = set()  # signals that have interrupted the command


@contextmanager
def current_folder_unsearched() -> Iterator[None]:
    """Let processes of Python that start within the block look for no modules in the current folder, not even at first.

    Those of a pool, and its helper, begin with `python -c`, which searches that folder before all others.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextmanager
def worker_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Pool of processes; on any error calls that have not begun are dropped, and on Ctrl-C those that run are ended too.

    Whatever a call writes must be atomic (`common.files.replacing`).

    Args:
        workers: processes.
        start: initialiser of each process, called with `arguments`.
        arguments: must be picklable.

    Raises:
        UserError: a worker process died.
    """
    others, hook = active_children(), threading.excepthook
    with current_folder_unsearched():
        with _interrupts_blocked():  # its locks start the process that tracks them
            pool = _Pool(workers, get_context("spawn"), _start, (start, arguments))
        try:
            yield pool
        except KeyboardInterrupt:
            threading.excepthook = partial(_without_cancelled, hook)
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise
        except BrokenProcessPool:
            raise UserError(f"a worker process died, perhaps for lack of memory; use fewer than {workers} --workers") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            threading.excepthook = hook


def _without_cancelled(hook: Callable[[threading.ExceptHookArgs], Any], arguments: threading.ExceptHookArgs) -> None:
    """Report an exception of a thread, but that of a pool's thread that marks a cancelled call as failed (CPython 3.11)."""
    if arguments.exc_type is not InvalidStateError:
        hook(arguments)


class _Pool(ProcessPoolExecutor):
    """Pool whose processes, which start when calls are submitted, never receive SIGINT or SIGHUP, not even when importing."""

    def submit(self, /, *arguments: Any, **keywords: Any) -> "Future[Any]":
        """Submit a call with these signals blocked: new processes inherit the mask, and this one receives them afterwards.

        SIGTERM, which ends new processes, only waits here: between their start and the data that they are sent it would leave
        them with half of it.
        """
        with deferred_interrupts(), _interrupts_blocked():
            return super().submit(*arguments, **keywords)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT and SIGHUP in this thread and in processes that it starts; one that came meanwhile is delivered at the end.

    A terminal sends them to all processes: SIGINT for Ctrl-C, SIGHUP when it is closed.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()  # its start unblocks SIGINT
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_command(
    command: str, arguments: Sequence[str], output: IO[str] | None = None, should_stop: Callable[[], bool] = lambda: False
) -> int:
    """Run a command of the toolkit in a child process, and interrupt it with this process or once `should_stop` is true.

    The child ends with this process in every case, a kill included (`command_signals`), and finds no modules in the current
    folder (-P).

    Args:
        command: its module, such as training.train.
        arguments: its command line.
        output: file for its standard output and error; None: those of this process.
        should_stop: called every half second; True interrupts the command.

    Returns:
        Its exit status.
    """
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), PARENT: str(os.getpid())}
    words = [sys.executable, "-P", "-m", command, *arguments]
    process = None
    try:
        block()
        try:
            # In a group of its own Ctrl-C does not reach it; `_stop` interrupts it once.
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        finally:
            block(False)
        while process.poll() is None and not should_stop():
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        if process is not None:
            _stop(process)
    return process.returncode


@contextmanager
def command_signals() -> Iterator[Callable[[], bool]]:
    """Signals of a command: SIGTERM and SIGHUP raise KeyboardInterrupt, and so does the end of the process that called it.

    A signal that is ignored, such as SIGHUP below nohup, stays ignored. Outside the main thread nothing changes. Yields a
    function that is true once a signal has come: libraries may raise another exception for the interrupt.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        Thread(target=_interrupt_with_parent, args=(int(parent),), daemon=True).start()
    if current_thread() is not main_thread():
        yield lambda: False
        return
    if parent is not None:  # a shell starts what it puts into the background with SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    defaults = (signal.SIG_DFL, signal.default_int_handler, end_at_once)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATION)}
    before = {number: handler for number, handler in before.items() if handler in defaults}
    if before:
        _received.clear()
    for number in before:
        signal.signal(number, _interrupt)
    unraisable = sys.unraisablehook
    sys.unraisablehook = partial(_interrupt_again, unraisable)
    try:
        yield lambda: bool(_received)
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt, and print at once that the command stops: a step of a training may still take seconds."""
    if not _received:
        with suppress(OSError):
            os.write(2, b"\nstopping ...\n")
    _received.add(number)
    raise KeyboardInterrupt


def _interrupt_again(hook: Callable[[Any], Any], unraisable: Any) -> None:
    """Interrupt once more where the interrupt came in a destructor or a callback of a weak reference, which swallow it."""

    def again() -> None:
        if signal.getsignal(signal.SIGINT) is _interrupt:  # the command still runs
            os.kill(os.getpid(), signal.SIGINT)

    if unraisable.exc_type is not KeyboardInterrupt or not _received:
        hook(unraisable)
        return
    timer = threading.Timer(POLL_SECONDS / 10, again)
    timer.daemon = True
    timer.start()


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold back the interrupts of a command until the block ends, for what cannot be broken off: the import of a framework."""
    waiting: list[int] = []
    numbers = [number for number in (signal.SIGINT, *TERMINATION) if signal.getsignal(number) is _interrupt]
    if current_thread() is not main_thread():
        numbers = []
    for number in numbers:
        signal.signal(number, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, _interrupt)
    if waiting:
        _interrupt(waiting[0], None)


def _interrupt_with_parent(parent: int) -> None:
    """Interrupt this process once its parent is another one than `parent`; end it if it does not react."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process, if it still runs; kill it after `GRACE_SECONDS`, which costs a training an epoch at most."""
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
    for name in ("SIGINT", "SIGHUP"):  # are for the process that started this one, as before by its mask
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """End this process when its parent dies; a worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
