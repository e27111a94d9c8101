"""Losses from logits and bit-packed targets, averaged over the annotated voxels alone.

A target is a byte per voxel with one bit per class (`data_prep.labels`); a voxel without a bit is not annotated and weighs
nothing, and a batch without an annotated voxel has loss 0 and no gradient.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.errors import UserError

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
        return _voxel_loss(lambda bits, logits: focal(bits, logits, self.gamma, weights), self.name)


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
        return _voxel_loss(lambda bits, logits: focal(bits, logits, 0.0, weights), self.name)


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


def _voxel_loss(function: Any, name: str) -> "keras.losses.Loss":
    from training.objective import VoxelLoss

    return VoxelLoss(function, name)


def _per_class(values: list[float], classes: int, option: str) -> list[float]:
    """One number per class from a list of as many, or of one."""
    if len(values) not in (1, classes):
        raise UserError(f"--{option}: expected 1 or {classes} numbers (one per class); received {len(values)}")
    return list(values) * (classes if len(values) == 1 else 1)
