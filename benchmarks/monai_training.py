"""Command: DiceCE and the learning rate of every step against MONAI.

    python -m benchmarks.monai_training

The loss is compared in value and gradient for all combinations of its options, MONAI in float64; the values are those that
`tests/training/objectives/test_dice_ce.py` holds. Learning rates are those of 5,000 steps of a cosine with and without warm-up.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from typing import Any, Literal

import numpy as np

from common import cli
from common.errors import MissingPackage
from training.objectives.losses import DiceCeConfig
from training.optimizers import OptimizerConfig, ScheduleConfig, build_optimizer

STEPS, EVERY = 5000, 250
RATE = 3e-4


@dataclass(kw_only=True)
class MonaiTrainingConfig:
    """Compare the loss dice_ce and the schedule cosine with DiceCELoss and WarmupCosineSchedule of MONAI."""

    classes: int = 3
    """Classes of the compared volumes, background included."""


def main(config: MonaiTrainingConfig) -> None:
    """Print the loss of each combination of options, and the largest differences.

    Raises:
        MissingPackage: PyTorch or MONAI is not installed.
    """
    for package in ("torch", "monai"):
        if find_spec(package) is None:
            raise MissingPackage(package, "the comparison (see requirements-peers.txt)")
    truth, logits = example(config.classes)
    apart, gradients_apart = 0.0, 0.0
    for loss in combinations():
        value, gradient = monai_dice_ce(loss, truth, logits)
        own, own_gradient = dice_ce(loss, truth, logits)
        apart = max(apart, abs(own - value) / value)
        gradients_apart = max(gradients_apart, float(np.abs(own_gradient - gradient).max() / np.abs(gradient).max()))
        probe = float(np.sum(gradient * direction(gradient.shape)))
        print(f"squared={loss.squared!s:5} background={loss.include_background!s:5} {loss.over:6} {value:.9f} {probe:.9f}")
    print(f"DiceCE: largest relative difference {apart:.1e}, of a gradient {gradients_apart:.1e} of its largest component")
    for warmup in (0, EVERY, 300):
        own_rates, rates = every_rate(warmup), monai_rates(warmup)
        largest = np.abs(own_rates - rates).max() / RATE
        print(f"cosine, warm-up over {warmup} of {STEPS} steps: rates differ by at most {largest:.1e} of the largest")


def combinations() -> list[DiceCeConfig]:
    """Loss configs of all combinations of the options, weights and smoothing other than MONAI's defaults."""
    overs: tuple[Literal["sample", "batch"], ...] = ("sample", "batch")
    choices = product((False, True), (False, True), overs)
    return [
        DiceCeConfig(
            dice=0.7,
            ce=1.3,
            squared=squared,
            include_background=background,
            over=over,
            smooth_numerator=0.5,
            smooth_denominator=2,
        )
        for squared, background, over in choices
    ]


def example(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Class indices (2, 4, 5, 6), the last class in the first sample alone, and logits (2, 4, 5, 6, classes) float32."""
    shape = (2, 4, 5, 6)
    truth = np.arange(np.prod(shape)).reshape(shape) * 7 % 11 % classes
    truth[1][truth[1] == classes - 1] = 0
    numbers = np.arange(np.prod(shape) * classes).reshape(*shape, classes)
    return truth, (3 * np.sin(1.7 * numbers)).astype(np.float32)


def direction(shape: tuple[int, ...]) -> np.ndarray:
    """Fixed direction in which gradients are compared."""
    return np.cos(np.arange(np.prod(shape)).reshape(shape))


def dice_ce(loss: DiceCeConfig, truth: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of this toolkit's loss."""
    import tensorflow as tf

    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss.build(logits.shape[-1])((1 << truth).astype(np.uint8), variable)
    return float(value), tape.gradient(value, variable).numpy()


def monai_dice_ce(loss: DiceCeConfig, truth: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of MONAI's loss with the same options, in float64."""
    import torch
    from monai.losses import DiceCELoss

    peer = DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        include_background=loss.include_background,
        squared_pred=loss.squared,
        batch=loss.over == "batch",
        lambda_dice=loss.dice,
        lambda_ce=loss.ce,
        smooth_nr=loss.smooth_numerator,
        smooth_dr=loss.smooth_denominator,
    )
    variable = torch.from_numpy(np.moveaxis(logits, -1, 1).astype(np.float64)).requires_grad_()
    value: Any = peer(variable, torch.from_numpy(truth[:, None]))
    value.backward()
    return float(value.detach()), np.moveaxis(variable.grad.numpy(), 1, -1)


def every_rate(warmup: int) -> np.ndarray:
    """Learning rate of each step of this toolkit's cosine."""
    import keras

    schedule = ScheduleConfig(name="cosine", warmup_steps=warmup)
    optimizer = build_optimizer(OptimizerConfig(name="adamw", learning_rate=RATE), schedule, EVERY, STEPS // EVERY)
    rates = []
    for step in range(STEPS):
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return np.array(rates)


def monai_rates(warmup: int) -> np.ndarray:
    """Learning rate of each step of MONAI's `WarmupCosineSchedule` with AdamW of PyTorch."""
    import torch
    from monai.optimizers.lr_scheduler import WarmupCosineSchedule

    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=RATE)
    schedule = WarmupCosineSchedule(optimizer, warmup_steps=warmup, t_total=STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)


if __name__ == "__main__":
    cli.run(main, MonaiTrainingConfig)
