"""What happens at the end of an epoch: best and last weights, history, exact state, a line for people, and whether to stop."""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from common.files import atomic, write_text
from training.config import TrainingConfig
from training.data.batches import CATEGORY
from training.data.stopwatch import StopWatch
from training.optimizers import timed_rate
from training.phases import Phase
from training.state.checkpoint import Progress, save_state

HEADLINES = {"mean_iou": "mean IoU with background", "auc": "AUC", "accuracy": "accuracy"}
"""Column of the history -> what it is called in the line of an epoch; the first one that is there is printed."""


class EpochKeeper(keras.callbacks.Callback):
    """Keeps a run's files and decides when to stop.

    The state is written last: a training that is killed before goes on from the epoch before, and writes the same files anew.

    Args:
        folder: of the run.
        config: epochs, monitor, patience and max_minutes are used.
        progress: how far the training has come; updated.
        phase: that is trained.
        examples_per_epoch: slices or windows, for the speed that is printed.
        watch: tells how long batches were waited for.

    Attributes:
        ended: what ended the training before its last epoch: patience, max_minutes, or loss (no longer a number).
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        progress: Progress,
        phase: Phase,
        examples_per_epoch: int,
        watch: StopWatch,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._config = config
        self._progress = progress
        self._examples = examples_per_epoch
        self._phase = phase
        self._watch = watch
        self._started = time.monotonic()
        self._minutes_before = progress.minutes
        self._validating = 0.0
        self._bar: Any = None
        self.ended: str | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's progress bar."""
        self._epoch_started = time.monotonic()
        self._validating = 0.0
        self._waited_before = self._watch.seconds
        self._first_step = 0.0
        if self._config.schedule.name == "timed" and self._config.max_minutes:
            rate = timed_rate(self._phase.optimizer.learning_rate, self._progress.minutes, self._config.max_minutes)
            self.model.optimizer.learning_rate = rate
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        steps = self.params.get("steps")
        self._bar = tqdm(
            total=steps, desc=f"epoch {epoch + 1}/{self._config.total_epochs}", unit="step", leave=False, disable=None
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance the progress bar, and note when the first step, in which the network is compiled, was done."""
        self._bar.update()
        self._first_step = self._first_step or time.monotonic() - self._epoch_started

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Note when validation began."""
        self._validation_started = time.monotonic()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Note how long validation took."""
        self._validating = time.monotonic() - self._validation_started

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the run's files and say how the epoch went."""
        self._bar.close()
        progress, now = self._progress, time.monotonic()
        progress.epoch = epoch + 1
        progress.minutes = self._minutes_before + (now - self._started) / 60
        row = self._row({name: float(value) for name, value in (logs or {}).items()})
        progress.history.append(row)
        better = self._is_better(row)
        if better:
            progress.best, progress.best_epoch = row[f"val_{self._config.monitor}"], progress.epoch
        self._write(better)
        seconds = now - self._epoch_started
        print(self._line(row, seconds, better), flush=True)
        self.ended = self._reason_to_stop(seconds / 60)
        self.model.stop_training = self.ended is not None

    def _row(self, logs: dict[str, float]) -> dict[str, float]:
        progress = self._progress
        # The rate is that of the epoch's first step: at its end the optimizer already holds the next one's.
        front = {
            "epoch": progress.epoch,
            "phase": self._phase.number,
            "minutes": round(progress.minutes, 3),
            "learning_rate": self._rate,
        }
        logs = {name.replace(f"{CATEGORY}_", ""): value for name, value in logs.items()}  # Keras names the head in front
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        validation = {name: value for name, value in logs.items() if name.startswith("val_")}
        return front | {"loss": training.pop("loss")} | training | validation

    def _is_better(self, row: dict[str, float]) -> bool:
        """Whether the monitored score is the best so far; one that is not finite never is."""
        value = row.get(f"val_{self._config.monitor}", math.nan)
        if not math.isfinite(value):
            return False
        best = self._progress.best
        return best is None or (value < best if self._config.monitor == "loss" else value > best)

    def _write(self, better: bool) -> None:
        for name in ["last", "best"] if better else ["last"]:
            with atomic(self._folder / f"{name}.weights.h5") as temporary:
                self.model.save_weights(temporary)
        write_history(self._folder / "history.csv", self._progress.history)
        save_state(self._folder / "state", self.model, self._progress)

    def _line(self, row: dict[str, float], seconds: float, better: bool) -> str:
        training = max(seconds - self._validating, 1e-9)
        waited = (self._watch.seconds - self._waited_before) / training
        scores = _scores(row, "")
        if "val_loss" in row:
            scores += f"; validation {_scores(row, 'val_')}{' (best)' if better else ''}"
        left = self._minutes_left(seconds / 60)
        number = f"epoch {self._progress.epoch}/{self._config.total_epochs}"
        what = "slices" if self._config.input.patch is None else "windows"
        steps = self.params["steps"]
        share, seconds_of = ((steps - 1) / steps, training - self._first_step) if steps > 1 else (1.0, training)
        speed = f"{self._examples * share / max(seconds_of, 1e-9):.3g} {what}/s, {waited:.1%} of the time waiting for data"
        return f"{number}: {scores}; {speed}; about {left:.1f} min left"

    def _minutes_left(self, epoch_minutes: float) -> float:
        left = (self._config.total_epochs - self._progress.epoch) * epoch_minutes
        if self._config.max_minutes is not None:
            left = min(left, max(self._config.max_minutes - self._progress.minutes, 0.0))
        return left

    def _reason_to_stop(self, epoch_minutes: float) -> str | None:
        """Why the training ends before its last epoch, told to people too; None where it goes on."""
        progress, config = self._progress, self._config
        if not math.isfinite(progress.history[-1]["loss"]):
            print("stopped: the loss is no longer a number; try a lower learning rate or --precision float32")
            return "loss"
        if progress.epoch >= config.total_epochs:
            return None
        if config.patience is not None and progress.best_epoch and progress.epoch - progress.best_epoch >= config.patience:
            print(f"stopped: no better validation {config.monitor} for {config.patience} epochs")
            return "patience"
        if config.max_minutes is not None and progress.minutes + epoch_minutes > config.max_minutes:
            print(f"stopped: another epoch would pass --max_minutes {config.max_minutes:g}")
            return "max_minutes"
        return None


def _scores(row: dict[str, float], prefix: str) -> str:
    """The loss, and the score that tells people most."""
    name, words = next((name, words) for name, words in HEADLINES.items() if prefix + name in row)
    return f"loss {row[f'{prefix}loss']:.4f}, {words} {row[prefix + name]:.3f}"


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write history.csv: a row per epoch, the same columns in all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.9g}" for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """The TensorBoard callback, or none with one warning where TensorFlow, which writes its files, is missing."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        print("warning: TensorBoard logs need TensorFlow, which is not installed; history.csv alone is written")
        return []
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)]
