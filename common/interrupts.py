"""Interrupts before a command begins: Ctrl-C, SIGTERM and SIGHUP end it during the imports of its modules in one line.

`common`, the first package that a command imports, installs this, and only where this process runs a command. Nothing has been
begun then, so the process ends at once. Later `common.processes.command_signals` takes over. A command that another one calls
starts with these signals blocked, because Python itself would answer them by a traceback before that.
"""

import os
import signal
import sys
from pathlib import Path

INTERRUPTED = 130  # exit status
TERMINATION = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
PARENT = "GLIOMA_PARENT_PROCESS"  # environment variable: id of the process with which a command ends
PACKAGES = ("data_prep", "models", "training", "evaluation")
PROGRAM = "glioskull"
STOPPED = "stopped by the user; anything that was finished is kept"


def install() -> None:
    """Install the handlers where this process runs a command, and where the signals have their default action."""
    if runs_command(sys.orig_argv):
        for number in (signal.SIGINT, *TERMINATION):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, end_at_once)
    if PARENT in os.environ:
        block(False)


def block(blocked: bool = True) -> None:
    """Block the signals that interrupt a command, in this thread and in processes that it starts; or deliver them again."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK if blocked else signal.SIG_UNBLOCK, {signal.SIGINT, *TERMINATION})


def runs_command(words: list[str]) -> bool:
    """True for the words of a process, python -m training.train or glioskull, that runs a command of the toolkit."""
    if "-m" in words[1:-1]:
        module = words[words.index("-m", 1) + 1]
        return module.partition(".")[0] in (*PACKAGES, PROGRAM)
    return any(Path(word).stem == PROGRAM for word in words[:2])


def end_at_once(number: int, frame: object) -> None:
    """End this process; nothing is closed, because nothing is open."""
    os.write(2, f"\n{STOPPED}\n".encode())
    os._exit(INTERRUPTED)
