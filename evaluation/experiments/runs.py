"""Commands that a study calls, each in a process of its own; what they say goes into a log, and epochs are told as they end.

STUDY/runs/NAME   a run              STUDY/logs/runs/NAME.yaml   every setting that it was begun with
                                     STUDY/logs/runs/NAME.log    what its training and its scoring said
"""

import csv
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import cli, processes
from common.errors import UserError
from common.files import lock, make_folder, read_text, write_yaml
from training.config import TrainConfig
from training.run import Run

Row = dict[str, float]
CALL = "$ "  # what the lines of a log begin with that say what was called
BEFORE_RUN_JSON = ("config.yaml", "preparation.yaml", "schema.yaml")


class Epochs:
    """Looks at a training's history and tells of each epoch that came.

    Args:
        folder: of the run.
        config: of the training.
        hopeless: is asked of the row of every epoch, in order, whether the training is to be stopped.

    Attributes:
        stopped: whether it was.
    """

    def __init__(self, folder: Path, config: TrainConfig, hopeless: Callable[[Row], bool] = lambda row: False) -> None:
        self._folder = folder
        self._config = config
        self._hopeless = hopeless
        self._told = len(read_history(folder))
        self._seen = 0
        self.stopped = False

    def __call__(self) -> bool:
        """Look once; returns `stopped`."""
        rows = read_history(self._folder)
        while self._seen < len(rows) and not self.stopped:
            row, self._seen = rows[self._seen], self._seen + 1
            if self._seen > self._told:
                print(self._line(rows[: self._seen]), flush=True)
            self.stopped = self._hopeless(row)
        return self.stopped

    def _line(self, rows: list[Row]) -> str:
        """The last of some epochs, and the time that is left."""
        row, config = rows[-1], self._config
        score = row.get(f"val_{config.monitor}")
        validation = "" if score is None else f", validation {config.monitor} {score:.4f}"
        minutes = row["minutes"] - (rows[-2]["minutes"] if len(rows) > 1 else 0.0)
        left = (config.total_epochs - row["epoch"]) * minutes
        if config.max_minutes is not None:
            left = min(left, max(config.max_minutes - row["minutes"], 0.0))
        return (
            f"  epoch {row['epoch']:.0f}/{config.total_epochs}: loss {row['loss']:.4f}{validation}; about {left:.1f} min left"
        )


def read_history(run: Path) -> list[Row]:
    """The rows of a run's history.csv; none where no epoch was finished."""
    file = run / "history.csv"
    if not file.is_file():
        return []
    return [
        {name: float(value) for name, value in row.items()} for row in csv.DictReader(read_text(file, "history").splitlines())
    ]


def train(folder: Path, config: TrainConfig, records: Path, epochs: Epochs) -> int:
    """Train a run, or what is left of it.

    Args:
        folder: of the run.
        config: what a new one is trained with.
        records: what it is trained on.
        epochs: may stop it.

    Returns:
        The exit status of training.train; 0 where nothing was left to train.
    """
    words: list[object]
    if (folder / "run.json").is_file():
        _wait_until_free(folder)
        if Run(folder).facts.get("ended") or epochs():
            return 0
        words = ["--resume", folder]
    else:
        for name in BEFORE_RUN_JSON:  # of a training that was killed in its first moment
            (folder / name).unlink(missing_ok=True)
        write_yaml(beside(folder, ".yaml"), cli.as_dict(config))
        words = ["--config", beside(folder, ".yaml"), "--records", records, "--out", folder]
    status = call("training.train", words, beside(folder, ".log"), epochs)
    epochs()  # those that came after the last look
    return status


def beside(folder: Path, suffix: str) -> Path:
    """The file of a run that stands outside its folder: STUDY/logs/runs/NAME and a suffix."""
    return folder.parent.parent / "logs" / folder.parent.name / f"{folder.name}{suffix}"


def call(command: str, arguments: Sequence[object], log: Path, enough: Callable[[], bool] = lambda: False) -> int:
    """Run one of our commands in a process of its own, and end it, gently, with this one or once it is enough.

    Args:
        command: such as training.train.
        arguments: its command line.
        log: what it prints is added to this file.
        enough: is asked every now and then.

    Returns:
        Its exit status.
    """
    words = [str(argument) for argument in arguments]
    make_folder(log.parent)
    with log.open("a", encoding="utf-8") as file:
        print(f"{CALL}python {shlex.join(['-m', command, *words])}", file=file, flush=True)
        return processes.run_command(command, words, file, enough)


def failure(log: Path) -> str:
    """What the last command of a log said last: its error, or else its last line."""
    said = f"\n{read_text(log, 'log')}".rpartition(f"\n{CALL}")[2].splitlines()[1:]
    lines = [line.strip() for line in said if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1]


def _wait_until_free(folder: Path) -> None:
    """Wait for the training that a call which was killed has left behind; it goes on by itself."""
    make_folder(folder)  # refuses one that is not ours to write into, for which there is nothing to wait
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
