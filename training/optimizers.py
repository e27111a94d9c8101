"""Optimizers and learning-rate schedules by name."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from training.layer_rates import variable_factors, with_layer_rates
from training.moving_average import with_growing_momentum

if TYPE_CHECKING:
    import keras


LARGEST_RATE = 1e38  # of float32


@dataclass
class OptimizerConfig:
    """The optimizer."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Adam (Kingma and Ba, 2015), AdamW (Loshchilov and Hutter, 2019), SGD with Nesterov momentum, or RMSProp (Tieleman and
    Hinton, 2012; rho 0.9, epsilon 1e-4) with Nesterov momentum, as DeepMedic was trained."""
    learning_rate: float = 5e-4
    """At the first step."""
    weight_decay: float = 1e-4
    """Of adamw: each step first multiplies all weights, biases and normalisation included as in PyTorch, by 1 - learning rate *
    this, so the decay is decoupled from the gradient and follows the schedule."""
    momentum: float | None = None
    """Nesterov momentum of sgd and rmsprop; null: 0.99 of sgd, 0.6 of rmsprop."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; null: not clipped."""
    ema: float | None = None
    """Momentum of the moving average of the weights (Polyak and Juditsky, 1992), such as 0.99, which it grows to over the first
    steps; the average is validated, kept and predicted with; null: the weights of the last step."""
    rates: dict[str, float] = field(default_factory=dict)
    """Factors of the learning rate of layers whose names begin so, such as {backbone: 0.1} for a pretrained encoder; their
    weights do not decay."""

    def check(self, where: str = "optimizer") -> None:
        """Refuse numbers that make no optimizer; `where` names the option in errors.

        Raises:
            UserError: a number out of its range, or momentum of an optimizer that has none.
        """
        expect_number(f"{where}.learning_rate", self.learning_rate, 0, LARGEST_RATE)
        expect_number(f"{where}.weight_decay", self.weight_decay, 0)
        expect_number(f"{where}.momentum", self.momentum, 0, 0.999)
        if self.momentum is not None and self.name in ("adam", "adamw"):
            raise UserError(f"--{where}.momentum: belongs to sgd and rmsprop; received {self.momentum} with {self.name}")
        expect_number(f"{where}.clip_norm", self.clip_norm, 0, above=True)
        expect_number(f"{where}.ema", self.ema, 0, 0.99999)
        for prefix, factor in self.rates.items():
            expect_number(f"{where}.rates.{prefix}", factor, 0)


@dataclass
class ScheduleConfig:
    """Learning-rate schedule."""

    name: Literal["exponential", "cosine", "constant", "step", "timed"] = "exponential"
    """exponential: by `decay` at each epoch; cosine: to zero at the last step; constant; step: by `decay` after each of the
    `milestones`; timed: by a cosine to zero as `max_minutes` run out, a step at each epoch, so that any machine trains to the
    end of its schedule."""
    decay: float = 0.985
    """Factor per epoch of exponential, and per milestone of step."""
    milestones: list[int] = field(default_factory=list)
    """Epochs of the phase after which step changes the rate, such as [12, 16, 19]; other schedules have none."""
    warmup_epochs: float = 0.0
    """Epochs over which cosine first rises from zero."""
    warmup_steps: int | None = None
    """Steps over which cosine first rises from zero, in the place of warmup_epochs."""

    def check(self, where: str = "schedule") -> None:
        """Refuse numbers that make no schedule; `where` names the option in errors.

        Raises:
            UserError: a number out of its range, milestones that do not rise, or milestones of another schedule than step.
        """
        expect_number(f"{where}.decay", self.decay, 0, 1)
        expect_number(f"{where}.warmup_epochs", self.warmup_epochs, 0)
        expect_number(f"{where}.warmup_steps", self.warmup_steps, 0)
        if self.warmup_epochs and self.warmup_steps is not None:
            raise UserError(
                f"--{where}.warmup_steps: expected steps or epochs of warm-up; received both; set warmup_epochs to 0"
            )
        for option in ("warmup_epochs", "warmup_steps"):
            if self.name != "cosine" and getattr(self, option):
                raise UserError(
                    f"--{where}.{option}: belongs to the schedule cosine; received {getattr(self, option)} with {self.name}"
                )
        given = self.milestones
        if self.name != "step" and given:
            raise UserError(f"--{where}.milestones: belong to the schedule step; received {given} with {self.name}")
        rising = all(before < after for before, after in zip([0, *given], given, strict=False))
        if self.name == "step" and not (given and rising):
            raise UserError(
                f"--{where}.milestones: expected rising numbers of epochs from 1, such as [12, 16, 19]; received {given}"
            )

    def warmup(self, steps_per_epoch: int) -> int:
        """Steps of warm-up, of epochs of so many steps."""
        return round(self.warmup_epochs * steps_per_epoch) if self.warmup_steps is None else self.warmup_steps


def build_optimizer(
    optimizer: OptimizerConfig,
    schedule: ScheduleConfig,
    steps_per_epoch: int,
    epochs: int,
    network: "keras.Model | None" = None,
) -> "keras.optimizers.Optimizer":
    """The optimizer with its schedule, which counts the optimizer's own steps and so goes on exactly after a resume.

    Args:
        optimizer, schedule: their configs.
        steps_per_epoch: steps that make an epoch.
        epochs: length of the training, for cosine.
        network: that is trained; needed where layers have rates of their own.

    Raises:
        UserError: a rate for layers that the network does not have.
    """
    import keras

    factors = variable_factors(network, optimizer.rates) if network is not None and optimizer.rates else {}

    def make(kind: type, **settings: Any) -> "keras.optimizers.Optimizer":
        rated = with_layer_rates(kind, factors) if factors else kind
        return (rated if optimizer.ema is None else with_growing_momentum(rated))(**settings)

    rate = _schedule(schedule, optimizer.learning_rate, steps_per_epoch, epochs)
    common: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": optimizer.clip_norm}
    if optimizer.ema is not None:
        common |= {"use_ema": True, "ema_momentum": optimizer.ema}
    if optimizer.name == "adamw":
        return make(keras.optimizers.AdamW, weight_decay=optimizer.weight_decay, **common)
    if optimizer.name == "sgd":
        momentum = 0.99 if optimizer.momentum is None else optimizer.momentum
        return make(keras.optimizers.SGD, momentum=momentum, nesterov=True, **common)
    if optimizer.name == "rmsprop":
        from training.rmsprop import NesterovRMSprop

        momentum = 0.6 if optimizer.momentum is None else optimizer.momentum
        return make(NesterovRMSprop, rho=0.9, momentum=momentum, epsilon=1e-4, **common)
    return make(keras.optimizers.Adam, **common)


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
        # Of N steps, W of them warm-up, step s has the rate r s / W below W, then r (1 + cos(pi (s - W) / (N - W))) / 2.
        warmup = config.warmup(steps_per_epoch)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            epochs * steps_per_epoch - warmup,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if config.name == "step":
        bounds = [epoch * steps_per_epoch - 1 for epoch in config.milestones]  # the last step of the old rate
        rates = [rate * config.decay**number for number in range(len(bounds) + 1)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(bounds, rates)
    return rate
