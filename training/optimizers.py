"""Optimizers and learning-rate schedules by name."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import expect_number

if TYPE_CHECKING:
    import keras


@dataclass
class OptimizerConfig:
    """The optimizer."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam (Kingma and Ba, 2015), AdamW (Loshchilov and Hutter, 2019), or SGD with Nesterov momentum 0.99."""
    learning_rate: float = 5e-4
    """At the first step."""
    weight_decay: float = 1e-4
    """Of adamw."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; null: not clipped."""

    def check(self, where: str = "optimizer") -> None:
        """Refuse numbers that make no optimizer; `where` names the option in errors.

        Raises:
            UserError: a number out of its range.
        """
        expect_number(f"{where}.learning_rate", self.learning_rate, 0)
        expect_number(f"{where}.weight_decay", self.weight_decay, 0)
        expect_number(f"{where}.clip_norm", self.clip_norm, 0, above=True)


@dataclass
class ScheduleConfig:
    """Learning-rate schedule."""

    name: Literal["exponential", "cosine", "constant", "timed"] = "exponential"
    """exponential: by `decay` at each epoch; cosine: to zero at the last step; constant; timed: by a cosine to zero as
    `max_minutes` run out, a step at each epoch, so that any machine trains to the end of its schedule."""
    decay: float = 0.985
    """Factor per epoch of exponential."""
    warmup_epochs: float = 0.0
    """Epochs over which cosine first rises from zero."""

    def check(self, where: str = "schedule") -> None:
        """Refuse numbers that make no schedule; `where` names the option in errors.

        Raises:
            UserError: a number out of its range.
        """
        expect_number(f"{where}.decay", self.decay, 0, 1)
        expect_number(f"{where}.warmup_epochs", self.warmup_epochs, 0)


def build_optimizer(
    optimizer: OptimizerConfig, schedule: ScheduleConfig, steps_per_epoch: int, epochs: int
) -> "keras.optimizers.Optimizer":
    """The optimizer with its schedule, which counts the optimizer's own steps and so goes on exactly after a resume.

    Args:
        optimizer, schedule: their configs.
        steps_per_epoch: steps that make an epoch.
        epochs: length of the training, for cosine.
    """
    import keras

    rate = _schedule(schedule, optimizer.learning_rate, steps_per_epoch, epochs)
    common: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": optimizer.clip_norm}
    if optimizer.name == "adamw":
        return keras.optimizers.AdamW(weight_decay=optimizer.weight_decay, **common)
    if optimizer.name == "sgd":
        return keras.optimizers.SGD(momentum=0.99, nesterov=True, **common)
    return keras.optimizers.Adam(**common)


def timed_rate(rate: float, minutes: float, max_minutes: float) -> float:
    """Learning rate of the schedule `timed`: half a cosine over the minutes that a training may take.

    Args:
        rate: at the beginning.
        minutes: that have passed.
        max_minutes: that it may take.
    """
    return rate * 0.5 * (1 + math.cos(math.pi * min(minutes / max_minutes, 1.0)))


def _schedule(config: ScheduleConfig, rate: float, steps_per_epoch: int, epochs: int) -> Any:
    import keras

    if config.name == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(rate, steps_per_epoch, config.decay, staircase=True)
    if config.name == "cosine":
        warmup = round(config.warmup_epochs * steps_per_epoch)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(epochs * steps_per_epoch - warmup, 1),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    return rate
