"""The Keras objects that training compiles a network with: a loss and a metric that read bit-packed targets."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from common.tables import score_column
from training.objectives.functions import one_hot

CARRY = 30  # bits that the low word of a count holds


class VoxelLoss(keras.losses.Loss):
    """A loss that is already a mean over the annotated voxels of its batch.

    A network under deep supervision gives the logits of its levels one behind the other; the loss of each level counts half as
    much as that of the level above (Isensee et al., 2021), the weights adding up to 1.

    Args:
        function: (targets, logits) -> scalar.
        name: names it.
        outputs: logits of one level; None where there is one level.
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str, outputs: int | None = None) -> None:
        super().__init__(name=name)  # the mean of one number: the function has averaged
        self._function = function
        self._outputs = outputs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of a batch, (1,); as a scalar Keras would not divide it by the number of devices that share a batch."""
        logits = to_target_size(y_pred, y_true)
        outputs = self._outputs or logits.shape[-1]
        levels = [logits[..., first : first + outputs] for first in range(0, logits.shape[-1], outputs)]
        weights = [0.5**level for level in range(len(levels))]
        losses = [weight * self._function(y_true, level) for weight, level in zip(weights, levels, strict=True)]
        return ops.reshape(sum(losses) / sum(weights), (1,))


class ConfusionMatrix(keras.metrics.Metric):
    """One confusion matrix (truth in rows) over an epoch, and the scores that follow from it.

    Counts are exact on every backend: two 32-bit words a cell, because JAX has no 64-bit integers by default and float32 stops
    counting at 2**24, which is less than two BraTS volumes.

    Args:
        classes: names of the classes, in the order of the logits.
        prefix: stands before the names of the scores.
    """

    def __init__(self, classes: list[str], prefix: str = "") -> None:
        super().__init__(name="confusion", dtype="int32")
        self.classes = classes
        self._prefix = prefix
        shape = (len(classes), len(classes))
        self.low = self.add_variable(shape, "zeros", dtype="int32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="int32", name="high")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: y_true (...) bit-packed, y_pred (..., classes) logits, those of lower levels behind them.

        Voxels without a bit do not count.
        """
        total = self.low + self._counts(y_true, to_target_size(y_pred, y_true)[..., : len(self.classes)])
        self.high.assign(self.high + ops.right_shift(total, CARRY))
        self.low.assign(ops.bitwise_and(total, (1 << CARRY) - 1))

    def result(self) -> dict[str, Any]:
        """accuracy, mean_iou, mean_dice, and iou_ and dice_ of each class; absent in truth and prediction counts 1.

        All are NaN where no voxel was counted.
        """
        # Whole numbers up to 2**24 are exact in float32; beyond, the ratio is off by less than 1e-6.
        counts = ops.cast(self.high, "float32") * float(1 << CARRY) + ops.cast(self.low, "float32")
        hits, truth, found = ops.diagonal(counts), ops.sum(counts, axis=1), ops.sum(counts, axis=0)
        iou = _ratio(hits, truth + found - hits)
        dice = _ratio(2.0 * hits, truth + found)
        scores = {"accuracy": _ratio(ops.sum(hits), ops.sum(counts)), "mean_iou": ops.mean(iou), "mean_dice": ops.mean(dice)}
        for index, name in enumerate(self.classes):
            scores[score_column("iou", name)] = iou[index]
            scores[score_column("dice", name)] = dice[index]
        counted = ops.any(counts > 0)
        return {self._prefix + name: ops.where(counted, score, float("nan")) for name, score in scores.items()}

    def _counts(self, bits: Any, logits: Any) -> Any:
        """(classes, classes) int32 counts of a batch; a product of one-hot matrices is exact in float32 up to 2**24."""
        classes = len(self.classes)
        truth = ops.reshape(one_hot(bits, classes), (-1, classes))
        found = ops.reshape(ops.one_hot(ops.argmax(logits, axis=-1), classes, dtype="float32"), (-1, classes))
        return ops.cast(ops.round(ops.matmul(ops.transpose(truth), found)), "int32")


class AnnotatedShare(keras.metrics.Mean):
    """Share of the examples that are in a batch with an annotation for a head.

    Keras averages the loss of a head over all batches, and that of a batch without annotation is 0. Divided by this share it is
    the mean over the batches that have one.

    Args:
        any_annotated: (targets) -> boolean scalar.
    """

    def __init__(self, any_annotated: Callable[[Any], Any]) -> None:
        super().__init__(name="annotated", dtype="float32")
        self._any_annotated = any_annotated

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the examples of a batch."""
        each = ops.cast(ops.reshape(y_true, (ops.shape(y_true)[0], -1))[:, 0], "float32")
        super().update_state(ops.zeros_like(each) + ops.cast(self._any_annotated(y_true), "float32"))


def classification_loss(weights: list[float]) -> keras.losses.Loss:
    """Cross-entropy from logits: binary of one logit for two classes, else categorical; mean over the annotated examples.

    Targets are class indices (N, 1), -1 where an example is not annotated; a batch without annotation has loss 0, no gradient.

    Args:
        weights: of the examples of each class.
    """

    def weighed(target: Any, logits: Any) -> Any:
        known = ops.cast(target[:, 0] >= 0, "float32")
        target = ops.maximum(target, 0.0)
        index = ops.cast(target[:, 0], "int32")
        if len(weights) == 2:
            losses = ops.binary_crossentropy(target, logits, from_logits=True)[:, 0]
        else:
            losses = ops.sparse_categorical_crossentropy(index, logits, from_logits=True)
        mean = ops.mean(losses * ops.take(ops.convert_to_tensor(weights, "float32"), index) * known)
        return mean * (ops.cast(ops.shape(known)[0], "float32") / ops.maximum(ops.sum(known), 1.0))

    return VoxelLoss(weighed, "cross_entropy")


def classification_metrics(classes: int) -> list[keras.metrics.Metric]:
    """Accuracy, and for two classes the AUC, over the annotated examples; from logits."""
    if classes > 2:
        return [AnnotatedCategoricalAccuracy("accuracy")]
    return [AnnotatedAccuracy("accuracy", threshold=0.0), AnnotatedAUC(from_logits=True, name="auc")]


class _Annotated:
    """Mix-in of a metric: class indices below 0 are not annotated and weigh nothing; without any annotated one it is NaN."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count the annotated examples of a batch."""
        known = ops.cast(y_true >= 0, "float32")
        return super().update_state(ops.maximum(y_true, 0.0), y_pred, known)  # type: ignore[misc]

    def result(self) -> Any:
        """The score over the annotated examples."""
        score = super().result()  # type: ignore[misc]
        return ops.where(self.annotated_count() > 0, score, ops.cast(float("nan"), score.dtype))

    def annotated_count(self) -> Any:
        """Number of annotated examples so far."""
        return self.count  # type: ignore[attr-defined]


class AnnotatedAccuracy(_Annotated, keras.metrics.BinaryAccuracy):
    """Binary accuracy over the annotated examples."""


class AnnotatedCategoricalAccuracy(_Annotated, keras.metrics.SparseCategoricalAccuracy):
    """Categorical accuracy over the annotated examples."""


class AnnotatedAUC(_Annotated, keras.metrics.AUC):
    """Area under the ROC curve over the annotated examples; NaN without examples of both classes."""

    def annotated_count(self) -> Any:
        """Number of annotated examples of the rarer class so far: those above and below the first threshold."""
        positive = self.true_positives[0] + self.false_negatives[0]
        return ops.minimum(positive, self.false_positives[0] + self.true_negatives[0])


def to_target_size(logits: Any, target: Any) -> Any:
    """Logits (N, H, W, classes) resized, linearly, to the pixels of their target (N, h, w); volumes stay as they are."""
    wanted = tuple(target.shape[1:])
    if len(wanted) != 2 or len(logits.shape) != 4 or wanted == tuple(logits.shape[1:3]):
        return logits
    return ops.image.resize(ops.cast(logits, "float32"), ops.shape(target)[1:3], interpolation="bilinear")


def _ratio(part: Any, whole: Any) -> Any:
    return ops.where(whole > 0, part / ops.maximum(whole, 1.0), 1.0)
