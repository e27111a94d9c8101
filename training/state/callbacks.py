"""End of an epoch: best and last weights, history, exact state, the printed line, and whether to stop."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from tqdm import tqdm

from common.progress import ProgressLines
from common.tables import counted
from training.config import TrainingConfig
from training.data.stopwatch import StopWatch
from training.divergence import Diverged
from training.heads.base import Head, monitored_score, monitored_words
from training.optimizers import timed_rate
from training.phases import Phase
from training.run import Run
from training.state.averaging import averaged, swap_averages
from training.state.checkpoint import Progress, diverged_variable, save_state
from training.state.history import history_row, write_history
from training.state.weights import save_weights

SECONDS_OF_LINES = 60.0  # between two lines on how far an epoch is, in a log file
MEASURED = 5  # steps after the first one from which the time of the training is expected
TIMED_EPOCHS = 10  # fewer of a timed training are too coarse for its learning rate


class EpochKeeper(keras.callbacks.Callback):
    """Writes a run's files at the end of each epoch and decides when to stop.

    Of an epoch whose loss, weights or optimizer are not finite only the row of the history is kept, and the training ends by
    `Diverged`. The state is written last: a training that is killed before goes on from the epoch before, and writes the same
    files anew.

    Args:
        run: the folder.
        config: monitor, schedule and max_minutes are used.
        heads: of the network, by name.
        progress: updated at the end of each epoch.
        phases: all phases of the training.
        phase: the one that is trained.
        examples_per_epoch: slices or patches, for the speed that is printed.
        watch: measures the time that is spent waiting for batches.

    Attributes:
        ended: what ended the training before its last epoch: patience or max_minutes.
    """

    def __init__(
        self,
        run: Run,
        config: TrainingConfig,
        heads: Mapping[str, Head],
        progress: Progress,
        phases: Sequence[Phase],
        phase: Phase,
        examples_per_epoch: int,
        watch: StopWatch,
    ) -> None:
        super().__init__()
        self._run = run
        self._config = config
        self._heads = heads
        self._progress = progress
        self._examples = examples_per_epoch
        self._phase = phase
        self._later = phases[phase.number :]
        self._watch = watch
        self._started = time.monotonic()
        self._minutes_before, self._epochs_before = progress.minutes, progress.epoch
        self._validating = 0.0
        self._bar: Any = None
        self.ended: str | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's progress bar."""
        self._epoch_started = time.monotonic()
        self._validating = 0.0
        self._waiting_before = self._watch.seconds
        self._first_step = 0.0
        if self._phase.schedule.name == "timed" and self._config.max_minutes:
            rate = timed_rate(self._phase.optimizer.learning_rate, self._progress.minutes, self._config.max_minutes)
            self.model.optimizer.learning_rate = rate
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        steps, title = self.params["steps"], f"epoch {epoch + 1}/{self._last_epoch()}"
        if sys.stderr.isatty():
            self._bar = tqdm(total=steps, desc=title, unit="step", leave=False)
        else:
            self._bar = ProgressLines(steps, title, "step", least_seconds=SECONDS_OF_LINES)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance the progress bar; after the first steps of this process print how long the training is expected to take."""
        self._bar.update()
        elapsed = time.monotonic() - self._epoch_started
        self._first_step = self._first_step or elapsed  # in which the network is compiled
        if batch == MEASURED and self._progress.epoch == self._epochs_before:
            print(self._expected_time((elapsed - self._first_step) / MEASURED), flush=True)

    def _expected_time(self, seconds: float) -> str:
        """Line on the time of the training, from the seconds of a step."""
        epochs, steps = self._last_epoch() - self._progress.epoch, self.params["steps"]
        minutes, limit = seconds * steps * epochs / 60, self._config.max_minutes
        if limit is not None and self._progress.minutes + minutes > limit:
            left = limit - self._progress.minutes
            fitting = round(60 * left / max(seconds, 1e-9))
            longer = ""
            if fitting < steps:
                longer = f"; an epoch has {steps}, and the first is never cut: shorten it by --steps_per_epoch"
            elif self._phase.schedule.name == "timed" and fitting < TIMED_EPOCHS * steps:
                shorter = f"--steps_per_epoch {max(fitting // TIMED_EPOCHS, 1)} makes {TIMED_EPOCHS} of them"
                longer = f"; the learning rate falls from epoch to epoch: {shorter}"
            return f"time: {_duration(left)} (--max_minutes), about {fitting} steps of {seconds:.2g} s{longer}"
        aside = ", validation not counted" if self._config.validate else ""
        return f"time: about {_duration(minutes)} for {counted(epochs, 'epoch')} of {steps} steps of {seconds:.2g} s{aside}"

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Note when validation began; averaged weights are validated."""
        self._validation_started = time.monotonic()
        swap_averages(self.model)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Note how long validation took."""
        swap_averages(self.model)
        self._validating = time.monotonic() - self._validation_started

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the run's files and print how the epoch went."""
        self._bar.close()
        progress, now = self._progress, time.monotonic()
        minutes = self._minutes_before + (now - self._started) / 60
        # The rate is that of the epoch's first step: at its end the optimizer already holds the next one's.
        front = {
            "epoch": epoch + 1,
            "phase": self._phase.number,
            "minutes": round(minutes, 3),
            "learning_rate": self._rate,
        }
        logs = {} if logs is None else logs  # callbacks behind this one, such as TensorBoard, are given the same mapping
        logs |= self._loss_weights()
        row = history_row(front, {name: float(value) for name, value in logs.items()}, list(self._heads))
        self._refuse_divergence(row)
        progress.epoch, progress.minutes = epoch + 1, minutes
        progress.phase_epoch += 1
        progress.history.append(row)
        better = self._is_better(row)
        progress.waited = 0 if better else progress.waited + 1
        if better:
            progress.best, progress.best_epoch = row[f"val_{self._config.monitor}"], progress.epoch
        with averaged(self.model):
            save_weights(self.model, self._run, [f"{name}.weights.h5" for name in (["last", "best"] if better else ["last"])])
        write_history(self._run.path / "history.csv", progress.history)
        save_state(self._run.path / "state", self.model, progress)
        seconds = now - self._epoch_started
        print(self._line(row, seconds, better), flush=True)
        stop = self._reason_to_stop(self._next_epoch(seconds) / 60)
        self.model.stop_training = stop is not None
        self.ended = None if stop == "phase" else stop

    def _loss_weights(self) -> dict[str, float]:
        """Learnt weight of each head's loss, exp(-s) of its log variance s; none where the weights are fixed."""
        variances = self.model.log_variances if self._config.learns_loss_weights else {}
        return {f"{name}_loss_weight": math.exp(-float(keras.ops.convert_to_numpy(s))) for name, s in variances.items()}

    def _is_better(self, row: dict[str, float]) -> bool:
        """True where the monitored score is the best so far; one that is not finite never is."""
        monitor, best = self._config.monitor, self._progress.best
        value = row.get(f"val_{monitor}", math.nan)
        if not math.isfinite(value):
            return False
        return best is None or (value < best if monitor == "loss" or monitor.endswith("_loss") else value > best)

    def _refuse_divergence(self, row: dict[str, float]) -> None:
        """End the training where the epoch's loss or a variable is not finite: its last step may show in a variable alone.

        Raises:
            Diverged: in words that follow "diverged".
        """
        what = f"loss {row['loss']}" if not math.isfinite(row["loss"]) else ""
        if not what and (variable := diverged_variable(self.model)):
            what = f"{variable} is no longer finite"
        if what:
            write_history(self._run.path / "history.csv", [*self._progress.history, row])
            raise Diverged(f"in epoch {row['epoch']:.0f} ({what})")

    def _last_epoch(self) -> int:
        """Number of the last epoch, if no phase ends early from now on."""
        progress = self._progress
        return progress.epoch - progress.phase_epoch + self._phase.epochs + sum(phase.epochs for phase in self._later)

    def _next_epoch(self, seconds: float) -> float:
        """Seconds that the next epoch is expected to take: those of this one, its first step as long as the others."""
        steps = self.params["steps"]
        if steps < 2:
            return seconds
        return (seconds - self._validating - self._first_step) * steps / (steps - 1) + self._validating

    def _line(self, row: dict[str, float], seconds: float, better: bool) -> str:
        """Line of an epoch: scores, speed, and the time left by the mean epoch of this process, after the last one nothing."""
        training = max(seconds - self._validating, 1e-9)
        waiting = (self._watch.seconds - self._waiting_before) / training
        scores = self._scores(row, "")
        if "val_loss" in row:
            scores += f"; validation {self._scores(row, 'val_')}{' (best)' if better else ''}"
        minutes, limit = self._progress.minutes, self._config.max_minutes
        mean = (minutes - self._minutes_before) / (self._progress.epoch - self._epochs_before)
        left = (self._last_epoch() - self._progress.epoch) * mean
        if limit is not None:
            left = min(left, 0.0 if minutes + self._next_epoch(seconds) / 60 > limit else limit - minutes)
        what = "slices" if self._config.input.patch is None else "patches"
        steps = self.params["steps"]
        share, seconds_of = ((steps - 1) / steps, training - self._first_step) if steps > 1 else (1.0, training)
        speed = f"{self._examples * share / max(seconds_of, 1e-9):.3g} {what}/s, {waiting:.1%} of the time waiting for data"
        end = f"; about {left:.1f} min left" if left else ""
        return f"epoch {self._progress.epoch}/{self._last_epoch()}: {scores}; {speed}{end}"

    def _scores(self, row: dict[str, float], front: str) -> str:
        """The loss, and a score of each head: the monitored one where the head has it; and the monitored mean over heads."""
        parts = [f"loss {row[f'{front}loss']:.4f}"]
        monitor, several = self._config.monitor, len(self._heads) > 1
        of_head, monitored = monitored_score(monitor, self._heads)
        for name, head in self._heads.items():
            score = head.headline(row, f"{front}{name}_" if several else front, monitored)
            if score is not None:
                parts.append(f"{name} {score}" if several else score)
        mean = row.get(front + monitor)
        if several and of_head is None and monitor != "loss" and mean is not None:
            parts.append(f"{monitored_words(monitor, self._heads)} {mean:.3f}")
        return ", ".join(parts)

    def _reason_to_stop(self, epoch_minutes: float) -> str | None:
        """Why the training, or this phase alone ("phase"), ends before its last epoch; printed; None where it goes on."""
        progress, config, patience = self._progress, self._config, self._phase.patience
        if progress.phase_epoch >= self._phase.epochs and not self._later:
            return None
        over = progress.is_out_of_patience(self._phase)
        epochs = counted(patience or 0, "epoch")
        if over and not self._later:
            print(f"stopped: no better validation {config.monitor} for {epochs}")
            return "patience"
        if config.max_minutes is not None and progress.minutes + epoch_minutes > config.max_minutes:
            print(f"stopped: another epoch would pass --max_minutes {config.max_minutes:g}")
            return "max_minutes"
        if over and progress.phase_epoch < self._phase.epochs:
            print(f"phase {self._phase.number} ended: no better validation {config.monitor} for {epochs}")
            return "phase"
        return None


def _duration(minutes: float) -> str:
    """Minutes as words: `40 s`, `20 min`."""
    return f"{60 * minutes:.0f} s" if minutes < 1 else f"{minutes:.3g} min"
