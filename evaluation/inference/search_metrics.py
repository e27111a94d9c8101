"""The scores by which a post-processing is chosen: a name, and the function that computes it of one case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.metrics.overlap import overlap


@dataclass(frozen=True)
class Outcome:
    """A case under a setting.

    Attributes:
        confusion: (classes, classes) int64 of the whole case, truth in rows.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated, of a box outside of which there is only background.
        predict: makes the predicted class indices (Z, H, W) uint8 of that box. It takes as long as applying the setting, which
            scores from counts do without.
    """

    confusion: np.ndarray
    truth: np.ndarray
    predict: Callable[[], np.ndarray]


Metric = Callable[[Outcome, Sequence[int]], float]

# A score is of a structure, the union of the given classes. One of components or of surfaces takes `truth` and `predict()`.
METRICS: dict[str, Metric] = {
    "dice": lambda outcome, members: overlap(outcome.confusion, members).dice,
    "iou": lambda outcome, members: overlap(outcome.confusion, members).iou,
    "sensitivity": lambda outcome, members: overlap(outcome.confusion, members).sensitivity,
    "precision": lambda outcome, members: overlap(outcome.confusion, members).precision,
}
