"""Loss functions of logits and bit-packed targets: soft Dice, focal cross-entropy, averaged over the annotated voxels alone.

A target is a byte per voxel with one bit per class (`data_prep.labels`); a voxel without a bit is not annotated and weighs
nothing, and a batch without an annotated voxel has loss 0 and no gradient.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

TINY = 1e-7  # keeps (1 - p) ** gamma differentiable at p = 1 for gamma < 1


def soft_dice(
    bits: Any,
    logits: Any,
    *,
    over: str,
    smooth: tuple[float, float],
    squared: bool = False,
    include_background: bool = False,
    groups: Sequence[Sequence[int]] = (),
) -> Any:
    """Soft Dice loss (Milletari et al., 2016): 1 - (2 sum p y + s) / (sum p^n + sum y^n + r) over space.

    n is 1, or 2 where squared. The loss is the mean over the structures, and over the annotated samples where `over` is
    "sample".

    Args:
        bits: (N, ...) integer, one bit per class; voxels without a bit are left out.
        logits: (N, ..., classes).
        over: "sample" sums over the space of each sample, "batch" over the samples too.
        smooth: s and r, in voxels.
        squared: whether the probabilities in the denominator are squared.
        include_background: whether the background is one of the classes.
        groups: structures in the place of the classes, each a union of classes, by their numbers.
    """
    truth = one_hot(bits, logits.shape[-1])
    annotated = ops.sum(truth, axis=-1, keepdims=True)
    found = ops.softmax(ops.cast(logits, "float32"), axis=-1) * annotated
    if groups:  # by sums: GPUs round a matrix product
        truth, found = (ops.stack([sum(x[..., c] for c in group) for group in groups], axis=-1) for x in (truth, found))
    elif not include_background:
        truth, found = truth[..., 1:], found[..., 1:]
    space = list(range(1, len(truth.shape) - 1))
    axes = [0, *space] if over == "batch" else space
    both = ops.sum(found * truth, axis=axes)
    total = ops.sum(ops.square(found) if squared else found, axis=axes) + ops.sum(truth, axis=axes)
    losses = ops.mean(1 - (2 * both + smooth[0]) / (total + smooth[1]), axis=-1)
    weight = ops.cast(ops.any(annotated > 0, axis=[*axes, -1]), "float32")  # a scalar over the batch
    return ops.sum(losses * weight) / ops.maximum(ops.sum(weight), 1.0)


def focal(bits: Any, logits: Any, gamma: float, alpha: list[float]) -> Any:
    """Categorical focal cross-entropy, mean over annotated voxels: sum_c -alpha_c y_c (1 - p_c)^gamma log p_c.

    From log-softmax, so that the gradient of a confidently wrong voxel does not vanish: Keras' own clips the probability, which
    caps the loss at 4.03 (alpha 0.25) and has no gradient beyond a logit gap of 17.

    Args:
        bits: (...) integer, one bit per class.
        logits: (..., classes).
        gamma: 0 gives cross-entropy.
        alpha: weight per class.
    """
    truth = one_hot(bits, logits.shape[-1])
    log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    losses = -log_p * truth * ops.convert_to_tensor(alpha, "float32")
    if gamma:
        losses = losses * ops.maximum(-ops.expm1(log_p), TINY) ** gamma
    return ops.sum(losses) / ops.maximum(ops.sum(truth), 1.0)


def one_hot(bits: Any, classes: int) -> Any:
    """Bit-packed targets (...) -> float32 (..., classes); a voxel that is not annotated is all zeros."""
    masks = ops.convert_to_tensor([1 << c for c in range(classes)], "int32")
    return ops.cast(ops.not_equal(ops.bitwise_and(ops.cast(bits, "int32")[..., None], masks), 0), "float32")
