"""Confusion matrices of voxels, and the overlap ratios that follow from them.

A confusion matrix is (classes, classes) int64: the row is the class in truth, the column the class predicted. Matrices add up;
ratios do not, so nothing here averages over batches. Voxels that are not annotated are in no matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNANNOTATED = 255
CHUNK = 1 << 16  # voxels counted at a time: np.bincount widens to int64, which should stay in the processor's cache


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix of voxels by true and predicted class.

    Args:
        truth: class indices of any shape, uint8; 255 where a voxel is not annotated.
        prediction: class indices of the same shape.
        classes: number of classes, 15 at most.

    Returns:
        (classes, classes) int64, [truth, prediction].

    Raises:
        ValueError: shapes differ, or an index is neither a class nor, in truth, 255.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"expected truth and prediction of one shape; received {truth.shape} and {prediction.shape}")
    unannotated = truth == UNANNOTATED
    # An extra row takes what is not annotated. All pairs fit in one byte, so the pass over the volume stays small.
    rows = np.where(unannotated, truth.dtype.type(classes), truth)
    _check(rows, classes + 1)
    _check(prediction, classes)
    if np.count_nonzero(rows == classes) != np.count_nonzero(unannotated):
        raise ValueError(f"expected indices of 0..{classes - 1} or {UNANNOTATED} in truth; received {classes}")
    pairs = (rows.astype(np.uint8) * np.uint8(classes) + prediction.astype(np.uint8)).ravel(order="K")
    counts = np.zeros((classes + 1) * classes, np.int64)
    for first in range(0, pairs.size, CHUNK):
        counts += np.bincount(pairs[first : first + CHUNK], minlength=counts.size)
    return counts.reshape(classes + 1, classes)[:classes]


@dataclass(frozen=True)
class Overlap:
    """Overlap counts of a structure's true and predicted voxels; every ratio follows the absent rule.

    Attributes:
        truth: voxels of the structure in truth.
        predicted: voxels of it in the prediction.
        both: voxels in truth and prediction.
    """

    truth: int
    predicted: int
    both: int

    @property
    def dice(self) -> float:
        """Dice-Sørensen coefficient."""
        return self._ratio(2 * self.both, self.truth + self.predicted)

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard index)."""
        return self._ratio(self.both, self.truth + self.predicted - self.both)

    @property
    def sensitivity(self) -> float:
        """Share of the true voxels that was found (recall); 0 where something was predicted that is not there."""
        return self._ratio(self.both, self.truth)

    @property
    def precision(self) -> float:
        """Share of the predicted voxels that is true; 0 where nothing was predicted though something is there."""
        return self._ratio(self.both, self.predicted)

    def _ratio(self, part: int, whole: int) -> float:
        if self.truth == 0 and self.predicted == 0:
            return 1.0
        return part / whole if whole else 0.0


def overlap(confusion: np.ndarray, members: Sequence[int]) -> Overlap:
    """Overlap counts of a class (`[c]`) or of a region, the union of the classes `members`."""
    chosen = list(members)
    return Overlap(
        truth=int(confusion[chosen].sum()),
        predicted=int(confusion[:, chosen].sum()),
        both=int(confusion[np.ix_(chosen, chosen)].sum()),
    )


def accuracy(confusion: np.ndarray) -> float:
    """Share of the annotated voxels that got their class; 1 where there is no annotated voxel."""
    total = int(confusion.sum())
    return int(np.trace(confusion)) / total if total else 1.0


def _check(indices: np.ndarray, count: int) -> None:
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise ValueError(f"expected indices of 0..{count - 1}; received {indices.min()}..{indices.max()}")
