"""Heads: named outputs of a network, one module per kind. This is the only place where a kind is looked up."""

from typing import Any

from common.errors import UserError
from training.heads.base import Head
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead

HEADS: dict[str, type[Head]] = {head.kind: head for head in (SegmentationHead, ClassificationHead)}
"""Kind, as run.json stores it -> class."""


def head_from_metadata(name: str, values: dict[str, Any], where: str) -> Head:
    """A head rebuilt from its entry in run.json; `where` names the file in errors.

    Raises:
        UserError: an unknown kind, or a value of another type than its kind needs.
    """
    kind = values.get("kind")
    if kind not in HEADS:
        raise UserError(f"{where}: head {name}: expected a kind of {', '.join(HEADS)}; received {kind}")
    return HEADS[kind].from_metadata(name, values, where)
