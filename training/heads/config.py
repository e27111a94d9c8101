"""Settings of the heads of a network that has several."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common.errors import UserError
from data_prep.records.folder import Records
from training.data.batches import LABEL
from training.heads import HEADS
from training.heads.base import Head
from training.heads.classification import ClassificationConfig, ClassificationHead
from training.heads.segmentation import SegmentationHead

RESERVED = {
    "chosen": "the folder of the chosen head's predictions",
    "loss": "the name of the loss",
    "val": "the beginning of the names of validation scores",
}
"""Names that no head may have -> their other meaning."""


@dataclass(kw_only=True)
class HeadConfig(ClassificationConfig):
    """A head of a network; `target`, `slices` and `balance` are of classification."""

    kind: Literal["segmentation", "classification"] = "segmentation"
    """segmentation: a class for each voxel, those of the records' labels; classification: a class for each slice."""

    @property
    def per_voxel(self) -> bool:
        """True where there are logits for every voxel."""
        return HEADS[self.kind].per_voxel

    def check(self, name: str) -> None:
        """Refuse settings of classification for a segmentation head.

        Args:
            name: of the head.

        Raises:
            UserError: names the head and the setting.
        """
        default = HeadConfig()
        for setting in ("target", "slices", "balance") if self.per_voxel else ():
            if getattr(self, setting) != getattr(default, setting):
                raise UserError(f"--heads: {name}: {setting}: belongs to kind classification; received kind {self.kind}")

    def make(self, name: str, records: Sequence[Records], loss: Any) -> Head:
        """The head.

        Args:
            name: of the head.
            records: folders that annotate it.
            loss: config of the loss of segmentation heads.

        Raises:
            UserError: the folders' classes differ, or they do not serve a classification.
        """
        if not self.per_voxel:
            return ClassificationHead.from_config(name, self, records)
        first = records[0]
        for other in records[1:]:
            if other.schema.class_names != first.schema.class_names:
                raise UserError(
                    f"{other.path}: expected the classes of {first.path} ({', '.join(first.schema.class_names)}); "
                    f"received {', '.join(other.schema.class_names)}"
                )
        return SegmentationHead(name, first.schema, loss)


def check_heads(heads: Mapping[str, HeadConfig]) -> None:
    """Refuse names of heads that name something else too, and settings that a head does not have.

    A head's name is that of a layer, of columns of history.csv and of a predictions folder.

    Raises:
        UserError: names the head.
    """
    for name, head in heads.items():
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise UserError(f"--heads: expected names of letters, digits and '_', such as mets; received {name!r}")
        reserved = RESERVED.get("val" if name.startswith("val_") else name)
        if name == LABEL and not head.per_voxel:
            reserved = "the name of the label"
        if reserved:
            raise UserError(f"--heads: {name}: is {reserved}; choose another name")
        head.check(name)
