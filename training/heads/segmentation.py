"""Segmentation head: a class for every voxel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common.tables import score_column
from data_prep.labels import LabelSchema
from data_prep.records.folder import Records
from training.data.batches import LABEL
from training.heads.base import CountedExamples, Head, Targets
from training.objectives.losses import FocalConfig

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SegmentationHead(Head):
    """Softmax over the classes of a label schema, one for every voxel.

    Attributes:
        schema: classes, ids and regions.
        loss_config: loss of training; not stored.
    """

    schema: LabelSchema
    loss_config: Any = field(default_factory=FocalConfig)

    kind = "segmentation"
    per_voxel = True
    scores = ("mean_iou", "mean_dice", "accuracy", "loss")
    words = {  # noqa: RUF012
        "mean_iou": "mean IoU with background",
        "mean_dice": "mean Dice with background",
        "accuracy": "accuracy of voxels",
    }

    @property
    def outputs(self) -> int:
        """Number of classes, background included."""
        return len(self.schema.classes)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, background first."""
        return self.schema.class_names

    def metadata(self) -> dict[str, Any]:
        """Kind, outputs and schema."""
        return {"kind": self.kind, "outputs": self.outputs, "schema": self.schema.to_dict()}

    @classmethod
    def from_metadata(cls, name: str, values: dict[str, Any], where: str) -> Self:
        """The inverse of `metadata`; `where` names the file in errors."""
        return cls(name, LabelSchema.from_dict(values.get("schema"), Path(f"{where}: head {name}")))

    def annotated(self, records: Records) -> list[str]:
        """All cases: a voxel that is not annotated has no bit in the label."""
        return list(records.cases)

    def read(self, records: Records, case: str, tumour: bool, annotates: bool) -> np.ndarray | None:
        """None: the target is the label, which is augmented with the picture."""
        return None

    def augmented(self, targets: Targets, annotates: bool) -> np.ndarray:
        """The label, bit-packed; zeros where the records do not annotate this head."""
        return targets[LABEL] if annotates else self.unannotated(targets[LABEL])

    def unannotated(self, target: np.ndarray) -> np.ndarray:
        """A label without a bit."""
        return np.zeros_like(target)

    def any_annotated(self, targets: Any) -> Any:
        """True where a voxel of a batch has a bit."""
        from keras import ops

        return ops.any(targets > 0)

    def check_training_cases(self, records: Sequence[Records], cases: Sequence[Sequence[str]]) -> None:
        """Nothing to refuse: any case will do."""

    def loss(self, changes: dict[str, float], examples: Sequence[tuple[Records, CountedExamples]]) -> "keras.losses.Loss":
        """The configured loss with the numbers of the phase."""
        loss_config = replace(self.loss_config, **changes)
        loss: keras.losses.Loss = loss_config.build(self.outputs, self.schema.region_indices().values())
        return loss

    def headline(self, row: Mapping[str, float], front: str, monitored: str = "") -> str | None:
        """Mean Dice of the foreground classes, as in tables of scores, then the monitored score; None without both."""
        dice = [row.get(front + score_column("dice", name), math.nan) for name in self.class_names[1:]]
        parts = [] if any(map(math.isnan, dice)) else [f"mean Dice without background {sum(dice) / len(dice):.3f}"]
        other = super().headline(row, front, monitored)
        return ", ".join([*parts, *([other] if other else [])]) or None

    def metrics(self, prefix: str) -> "list[keras.metrics.Metric]":
        """A confusion matrix of voxels, and the scores that follow from it."""
        from training.objectives.keras_objects import ConfusionMatrix

        return [ConfusionMatrix(self.class_names, prefix)]
