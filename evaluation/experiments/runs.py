"""Runs of an experiment while they train: their history, and a line for each epoch.

STUDY/runs/NAME   a run              STUDY/logs/runs/NAME.yaml   every setting that it was begun with
                                     STUDY/logs/runs/NAME.log    output of its training and its scoring
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from common import cli
from common.files import write_yaml
from evaluation.experiments import runner
from training.config import TrainConfig
from training.resume import resume_options
from training.state.history import read_history

HistoryRow = dict[str, float]


class Epochs:
    """Watcher of a training's history that prints a line for each new epoch.

    Args:
        folder: of the run.
        config: of the training.
        should_stop: called with the row of every epoch, in order; true stops the training.

    Attributes:
        stopped: whether `should_stop` was true for an epoch.
    """

    def __init__(
        self, folder: Path, config: TrainConfig, should_stop: Callable[[HistoryRow], bool] = lambda row: False
    ) -> None:
        self._folder = folder
        self._config = config
        self._should_stop = should_stop
        self._before = len(read_history(folder))
        self._read = 0
        self.stopped = False

    def __call__(self) -> bool:
        """Read the history once; returns `stopped`."""
        rows = read_history(self._folder)
        while self._read < len(rows) and not self.stopped:
            row, self._read = rows[self._read], self._read + 1
            if self._read > self._before:
                print(self._line(rows[: self._read]), flush=True)
            self.stopped = self._should_stop(row)
        return self.stopped

    def _line(self, rows: list[HistoryRow]) -> str:
        """Scores of the last of some epochs, and the time that is left."""
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


def training_of(folder: Path, records: Path | None) -> runner.Training:
    """Training of a segmentation run of a study or sweep; its settings and its output are kept in `logs`.

    Args:
        folder: of the run.
        records: the one folder that it trains on; None: those in its config.
    """
    arguments = ("--config", log_path(folder, ".yaml"), *(() if records is None else ("--records", records)))
    resume = () if records is None else ("--records", records)
    return runner.Training(folder, "training.train", arguments, log_path(folder, ".log"), resume)


def train_run(training: runner.Training, config: TrainConfig, epochs: Epochs) -> int:
    """Train a run of a study or sweep to its end.

    Args:
        training: from `training_of`.
        config: every setting of a new training.
        epochs: watcher, which may stop the training.

    Returns:
        Exit status of the training; 0 where nothing was left to train.
    """
    if not (training.folder / "run.json").is_file():
        write_yaml(log_path(training.folder, ".yaml"), cli.as_dict(config))
    return runner.train(replace(training, resume=[*training.resume, *resume_options(config)]), epochs)


def log_path(folder: Path, suffix: str) -> Path:
    """Path of a run's file outside its folder: STUDY/logs/runs/NAME and a suffix."""
    return folder.parent.parent / "logs" / folder.parent.name / f"{folder.name}{suffix}"
