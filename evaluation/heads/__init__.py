"""Evaluators of heads: the lookup from a head's kind to the class that evaluates it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.cli import load_class
from common.errors import UserError
from training.run import Run

if TYPE_CHECKING:
    from evaluation.heads.base import HeadEvaluator

KINDS = {
    "segmentation": "evaluation.heads.segmentation:SegmentationEvaluator",
    "classification": "evaluation.heads.classification:ClassificationEvaluator",
}
"""Kind of head, as in run.json -> its evaluator, which is imported where a run has such a head."""


def evaluators_of(runs: Sequence[Run]) -> "list[HeadEvaluator]":
    """Evaluators of all heads of some runs, each with the runs that have it, in the order of prediction."""
    kinds = {name: head.kind for run in runs for name, head in run.heads.items()}
    evaluators = [load_class(KINDS[kind])(name, [run for run in runs if name in run.heads]) for name, kind in kinds.items()]
    return sorted(evaluators, key=lambda evaluator: evaluator.order)


def common_evaluators(runs: Sequence[Run]) -> "list[HeadEvaluator]":
    """Evaluators of the heads that all of some runs have.

    Raises:
        UserError: the runs have no head in common.
    """
    evaluators = evaluators_of(runs)
    common = [evaluator for evaluator in evaluators if len(evaluator.runs) == len(runs)]
    if not common:
        names = " and ".join(f"{evaluator.run.path.name} ({evaluator.kind})" for evaluator in evaluators)
        raise UserError(f"--runs: expected runs of one kind in a figure; received {names}; draw them one kind at a time")
    return common
