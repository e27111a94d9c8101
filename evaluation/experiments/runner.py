"""Runner of experiments: trainings and other commands in child processes, resumed where they were stopped.

Study, sweep and cross-validation call `train` for each of their runs. Children end with their parent, a kill included.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import processes
from common.errors import UserError
from common.files import lock, make_folder, read_text
from common.trust import trust_options
from training.divergence import divergence
from training.run import Run

CALL = "$ "  # begin of the lines of a log that hold a command


@dataclass(frozen=True)
class Training:
    """Training of one run.

    Attributes:
        folder: of the run.
        command: training.train or training.classify.
        arguments: command line of a new training, without --out.
        log: file for the output of the command; None: the terminal.
        resume: further arguments of a training that goes on (`training.resume.resume_options`).
    """

    folder: Path
    command: str
    arguments: Sequence[object]
    log: Path | None = None
    resume: Sequence[object] = ()


def train(training: Training, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Train a run to its end: start it, resume it, or skip it where it has ended.

    A folder left by a training that was killed before its run.json is started again (`training.start`).

    Args:
        training: of the run.
        should_stop: called every half second, and once before a resume; true stops the training after its step.

    Returns:
        Exit status of the command; 0 where nothing was left to train.
    """
    folder = training.folder
    started = (folder / "run.json").is_file()
    if started or folder.exists():
        _wait_until_free(folder)
    if started and (Run(folder).metadata.get("ended") or should_stop()):
        return 0
    arguments = ["--resume", folder, *training.resume] if started else [*training.arguments, "--out", folder]
    status = call(training.command, arguments, training.log, should_stop)
    if status and (folder / "run.json").is_file():
        Run(folder).mark_stopped()  # it was killed
    should_stop()  # for what came after its last call
    return status


def training_failure(training: Training, status: int) -> str | None:
    """Reason in one line why a run cannot be used after `train` returned `status`; None where it was trained."""
    if how := divergence_of(training):
        return f"its training diverged {how}; delete {training.folder} and lower its optimizer.learning_rate"
    return failure("training", status, training.log) if status else None


def divergence_of(training: Training) -> str | None:
    """Epoch and value in which a training diverged, in words; None where it did not."""
    return divergence(Run(training.folder)) if (training.folder / "run.json").is_file() else None


def failure(step: str, status: int, log: Path | None) -> str:
    """Reason in one line why a step, such as "scoring", failed; with the last error of its log where there is one."""
    return f"its {step} ended with status {status}" + (f" ({last_error(log)}); see {log}" if log else "")


def call(
    command: str, arguments: Sequence[object], log: Path | None = None, should_stop: Callable[[], bool] = lambda: False
) -> int:
    """Run a command of the toolkit in a child process, and interrupt it with this process or once `should_stop` is true.

    Args:
        command: its module, such as training.train, of a command that opens runs; it is given the trust of this one.
        arguments: its command line.
        log: file to which its output is added; None: the output of this process.
        should_stop: called every half second.

    Returns:
        Its exit status.
    """
    words = [*(str(argument) for argument in arguments), *trust_options()]
    try:
        if log is None:
            return processes.run_command(command, words, None, should_stop)
        make_folder(log.parent)
        with log.open("a", encoding="utf-8") as file:
            print(f"{CALL}python {shlex.join(['-m', command, *words])}", file=file, flush=True)
            return processes.run_command(command, words, file, should_stop)
    except KeyboardInterrupt:
        print("the same command, given again, goes on with what is left", flush=True)
        raise


def last_error(log: Path) -> str:
    """Last error of the last command of a log, or else its last line."""
    output = f"\n{read_text(log, 'log')}".rpartition(f"\n{CALL}")[2].splitlines()[1:]
    lines = [line.strip() for line in output if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no output"])[-1]


def _wait_until_free(folder: Path) -> None:
    """Wait for a training in this folder that another process still runs, such as one whose parent was just killed."""
    make_folder(folder)  # refuses a folder that cannot be written to, for which there is nothing to wait
    waiting = False
    while True:
        try:
            with lock(folder):
                return
        except UserError:
            if not waiting:
                print(f"{folder}: a training still writes here; waiting for its end", flush=True)
            waiting = True
            time.sleep(processes.POLL_SECONDS)
