"""Search space of a sweep: its settings, and the draw of a trial's hyper-parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from common.tables import score_column
from data_prep.records.folder import Records
from evaluation.experiments.settings import Options, TrainingSettings, option_text, parse_entry

if TYPE_CHECKING:
    import optuna


@dataclass(kw_only=True)
class SweepConfig(TrainingSettings):
    """A search for the best hyper-parameters."""

    trials: int = 30
    """Trials in all, pruned ones included; may grow from one call to the next."""
    metric: str = "val_mean_iou"
    """Score of a trial: a validation column of history.csv, of which its best epoch counts."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Direction of the metric: larger or smaller values are better."""
    seed: int = 0
    """Of the draws."""
    startup: int = 5
    """Trials that are drawn at random before TPE uses their scores, and that are finished before any is pruned."""
    warmup: int = 1
    """Epochs that every trial trains before it may be pruned."""
    prune: bool = True
    """Stop trials that are worse than the median of the others at the same epoch."""
    space: Options
    """Option of the training -> its choices [a, b, c] or its range {low: 0.0, high: 0.5}, to which `step` or `log: true` may be
    added; between whole numbers a range holds whole numbers alone."""

    def check(self, records: Records) -> None:
        """Refuse settings that cannot be searched.

        Raises:
            UserError: names the setting and the expected values.
        """
        expect_number("sweep.trials", self.trials, 1)
        expect_number("sweep.seed", self.seed, 0)
        expect_number("sweep.startup", self.startup, 0)
        expect_number("sweep.warmup", self.warmup, 0)
        names = ["loss", "accuracy", "mean_iou", "mean_dice"]
        names += [score_column(score, name) for score in ("iou", "dice") for name in records.schema.class_names]
        if self.metric.removeprefix("val_") not in names or not self.metric.startswith("val_"):
            known = ", ".join(f"val_{name}" for name in names)
            raise UserError(f"--sweep.metric: expected one of {known}; received {self.metric}")
        if self.metric == "val_loss" and self.direction == "maximize":
            raise UserError("--sweep.direction: the smaller val_loss the better; set minimize")


@dataclass(kw_only=True)
class Range:
    """Values from low to high, both included."""

    low: int | float
    """Smallest value."""
    high: int | float
    """Largest value."""
    log: bool = False
    """Draw evenly on a logarithmic scale."""
    step: int | float | None = None
    """Distance between values; null: 1 of whole numbers, none of others."""


Axis = list[Any] | Range
"""Values of an option: choices or a range."""


def axes(space: Options) -> dict[str, Axis]:
    """Every option with its choices or its range, as `SweepConfig.space` holds them.

    Raises:
        UserError: choices or a range from which nothing can be drawn.
    """
    if not space:
        raise UserError("--sweep.space: expected options to search, such as {model.depth: [2, 3]}; received none")
    return {name: _axis(f"--sweep.space: {name}", given) for name, given in space.items()}


def _axis(where: str, given: Any) -> Axis:
    if isinstance(given, list) and given:
        return given
    if not isinstance(given, dict):
        raise UserError(f"{where}: expected choices [a, b] or a range {{low: 0, high: 1}}; received {option_text(given)}")
    limits: Range = parse_entry(Range, given, where)
    if not limits.low < limits.high or (limits.log and limits.low <= 0):
        raise UserError(f"{where}: expected low < high, and low > 0 where log is true; received {option_text(given)}")
    if limits.step is not None and (limits.log or limits.step <= 0):
        raise UserError(f"{where}: expected a positive step, and none where log is true; received {option_text(given)}")
    return limits


def draw(trial: "optuna.Trial", name: str, axis: Axis) -> Any:
    """A trial's value of an option: that of an earlier call, or a new draw.

    Args:
        trial: of Optuna.
        name: of the option.
        axis: values to draw from.
    """
    if isinstance(axis, list):
        choices = {option_text(choice): choice for choice in axis}  # Optuna takes no lists as choices
        return choices[trial.suggest_categorical(name, list(choices))]
    step = axis.step or 1
    if isinstance(axis.low, int) and isinstance(axis.high, int) and isinstance(step, int):
        return trial.suggest_int(name, axis.low, axis.high, log=axis.log, step=step)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log, step=axis.step)
