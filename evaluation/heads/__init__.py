"""Heads in evaluation: the lookup from a head's kind to the class that evaluates it."""

from collections.abc import Sequence

from common.errors import UserError
from evaluation.heads.base import EvaluatedHead
from evaluation.heads.classification import ClassificationHead
from evaluation.heads.segmentation import SegmentationHead
from training.run import Run

KINDS: dict[str, type[EvaluatedHead]] = {"segmentation": SegmentationHead, "classification": ClassificationHead}
"""Kind of head, as in run.json -> its evaluation."""


def heads_of(runs: Sequence[Run]) -> list[EvaluatedHead]:
    """Evaluation of all heads of some runs, each with the runs that have it, in the order of prediction."""
    kinds = {name: head.kind for run in runs for name, head in run.heads.items()}
    heads = [KINDS[kind](name, [run for run in runs if name in run.heads]) for name, kind in kinds.items()]
    return sorted(heads, key=lambda head: head.order)


def common_heads(runs: Sequence[Run]) -> list[EvaluatedHead]:
    """Evaluation of the heads that all of some runs have.

    Raises:
        UserError: the runs have no head in common.
    """
    heads = heads_of(runs)
    common = [head for head in heads if len(head.runs) == len(runs)]
    if not common:
        names = " and ".join(f"{head.run.path.name} ({head.kind})" for head in heads)
        raise UserError(f"--runs: expected runs of one kind in a figure; received {names}; draw them one kind at a time")
    return common
