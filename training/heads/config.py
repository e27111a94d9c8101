"""Settings of the heads of a network that has several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from common.errors import UserError
from data_prep.records.folder import Records
from training.heads.base import Head
from training.heads.classification import ClassificationHead, TargetConfig
from training.heads.segmentation import SegmentationHead


@dataclass
class HeadConfig:
    """A head of a network."""

    kind: Literal["segmentation", "classification"] = "segmentation"
    """segmentation: a class for each voxel, those of the records' labels; classification: a class for each slice."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """Of classification: class of each patient."""
    slices: Literal["tumour", "all"] = "tumour"
    """Of classification: slices that have a class: those with annotated tumour, or all."""
    balance: bool = True
    """Of classification: weigh each class by the inverse of its share of the training slices."""

    def make(self, name: str, records: Sequence[Records], loss: Any) -> Head:
        """The head.

        Args:
            name: of the head.
            records: folders that annotate it.
            loss: config of the loss of segmentation heads.

        Raises:
            UserError: the folders' classes differ, or they do not serve a classification.
        """
        if self.kind == "classification":
            return ClassificationHead.from_config(name, self.target, records, self.slices == "tumour", self.balance)
        first = records[0]
        for other in records[1:]:
            if other.schema.class_names != first.schema.class_names:
                raise UserError(
                    f"{other.path}: expected the classes of {first.path} ({', '.join(first.schema.class_names)}); "
                    f"received {', '.join(other.schema.class_names)}"
                )
        return SegmentationHead(name, first.schema, loss)
