"""Losses from logits and bit-packed targets, averaged over the annotated voxels alone.

A target is a byte per voxel with one bit per class (`data_prep.labels`); a voxel without a bit is not annotated and weighs
nothing, and a batch without an annotated voxel has loss 0 and no gradient.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number

if TYPE_CHECKING:
    import keras

TINY = 1e-7  # keeps (1 - p) ** gamma differentiable at p = 1 for gamma < 1


@dataclass
class FocalConfig:
    """Categorical focal cross-entropy (Lin et al., 2017)."""

    name: str = "focal"
    """Which loss: focal."""
    gamma: float = 2.0
    """Focusing exponent: the larger, the less an easy voxel counts."""
    alpha: list[float] = field(default_factory=lambda: [1.0])
    """Weight per class, background first; a single number weighs all alike."""

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes."""
        weights = _per_class(self.alpha, classes, "loss.alpha")
        return _voxel_loss(lambda bits, logits: focal(bits, logits, self.gamma, weights), self.name, classes)


@dataclass
class CrossEntropyConfig:
    """Categorical cross-entropy."""

    name: str = "cross_entropy"
    """Which loss: cross_entropy."""
    alpha: list[float] = field(default_factory=lambda: [1.0])
    """Weight per class, background first; a single number weighs all alike."""

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes."""
        weights = _per_class(self.alpha, classes, "loss.alpha")
        return _voxel_loss(lambda bits, logits: focal(bits, logits, 0.0, weights), self.name, classes)


@dataclass
class BceDiceConfig:
    """Binary cross-entropy plus soft Dice loss, each with its weight (Milletari et al., 2016, for Dice).

    With the two classes background and tumour the softmax of two logits is the sigmoid of their difference, and categorical
    cross-entropy is binary cross-entropy; with more classes the Dice losses of the foreground classes are averaged.
    """

    name: str = "bce_dice"
    """Which loss: bce_dice."""
    bce: float = 1.0
    """Weight of the cross-entropy, a mean over the annotated voxels."""
    dice: float = 1.0
    """Weight of the Dice loss."""
    over: Literal["sample", "batch"] = "sample"
    """Voxels of one Dice: those of each slice (or patch), of which the mean is taken, or of the batch."""
    smooth: float = 1.0
    """Voxels added to numerator and denominator: a class that is absent in truth costs next to nothing where nothing is
    predicted, and more the more is."""

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes.

        Raises:
            UserError: a weight below 0, or nothing to keep 0 / 0 from a slice without tumour.
        """
        expect_number("loss.bce", self.bce, 0)
        expect_number("loss.dice", self.dice, 0)
        expect_number("loss.smooth", self.smooth, 1e-6)
        return _voxel_loss(self._value, self.name, classes)

    def _value(self, bits: Any, logits: Any) -> Any:
        bce = focal(bits, logits, 0.0, [1.0] * logits.shape[-1])
        return self.bce * bce + self.dice * soft_dice(bits, logits, over=self.over, smooth=self.smooth)


def soft_dice(bits: Any, logits: Any, *, over: str, smooth: float) -> Any:
    """1 - (2 sum p y + s) / (sum p + sum y + s) over space, mean over the foreground classes (and annotated samples).

    Args:
        bits: (N, ...) integer, one bit per class; voxels without a bit are left out.
        logits: (N, ..., classes).
        over: "sample" sums over the space of each sample, "batch" over the samples too.
        smooth: s, in voxels.
    """
    from keras import ops

    truth = one_hot(bits, logits.shape[-1])
    annotated = ops.sum(truth, axis=-1, keepdims=True)
    found = (ops.softmax(ops.cast(logits, "float32"), axis=-1) * annotated)[..., 1:]
    truth = truth[..., 1:]
    axes = list(range(0 if over == "batch" else 1, len(truth.shape) - 1))
    both = ops.sum(found * truth, axis=axes)
    total = ops.sum(found, axis=axes) + ops.sum(truth, axis=axes)
    losses = ops.mean(1 - (2 * both + smooth) / (total + smooth), axis=-1)
    if over == "batch":
        return losses
    seen = ops.cast(ops.any(annotated > 0, axis=list(range(1, len(annotated.shape)))), "float32")
    return ops.sum(losses * seen) / ops.maximum(ops.sum(seen), 1.0)


def focal(bits: Any, logits: Any, gamma: float, alpha: list[float]) -> Any:
    """Categorical focal cross-entropy, mean over annotated voxels: sum_c -alpha_c y_c (1 - p_c)^gamma log p_c.

    From log-softmax, so that the gradient of a confidently wrong voxel stays alive: Keras' own clips the probability, which
    caps the loss at 4.03 (alpha 0.25) and kills its gradient beyond a logit gap of 17.

    Args:
        bits: (...) integer, one bit per class.
        logits: (..., classes).
        gamma: 0 gives cross-entropy.
        alpha: weight per class.
    """
    from keras import ops

    truth = one_hot(bits, logits.shape[-1])
    log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    losses = -log_p * truth * ops.convert_to_tensor(alpha, "float32")
    if gamma:
        losses = losses * ops.maximum(-ops.expm1(log_p), TINY) ** gamma
    return ops.sum(losses) / ops.maximum(ops.sum(truth), 1.0)


def one_hot(bits: Any, classes: int) -> Any:
    """Bit-packed targets (...) -> float32 (..., classes); a voxel that is not annotated is all zeros."""
    from keras import ops

    masks = ops.convert_to_tensor([1 << c for c in range(classes)], "int32")
    return ops.cast(ops.not_equal(ops.bitwise_and(ops.cast(bits, "int32")[..., None], masks), 0), "float32")


def _voxel_loss(function: Any, name: str, classes: int) -> "keras.losses.Loss":
    from training.objectives.keras_objects import VoxelLoss

    return VoxelLoss(function, name, classes)


def _per_class(values: list[float], classes: int, option: str) -> list[float]:
    """One number per class from a list of as many, or of one."""
    if len(values) not in (1, classes):
        raise UserError(f"--{option}: expected 1 or {classes} numbers (one per class); received {len(values)}")
    return list(values) * (classes if len(values) == 1 else 1)
