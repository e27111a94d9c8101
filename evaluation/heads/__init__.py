"""Evaluators of heads: the lookup from a head's kind to the class that evaluates it."""

from collections.abc import Sequence

from common.errors import UserError
from evaluation.heads.base import HeadEvaluator
from evaluation.heads.classification import ClassificationEvaluator
from evaluation.heads.segmentation import SegmentationEvaluator
from training.run import Run

KINDS: dict[str, type[HeadEvaluator]] = {"segmentation": SegmentationEvaluator, "classification": ClassificationEvaluator}
"""Kind of head, as in run.json -> its evaluator."""


def evaluators_of(runs: Sequence[Run]) -> list[HeadEvaluator]:
    """Evaluators of all heads of some runs, each with the runs that have it, in the order of prediction."""
    kinds = {name: head.kind for run in runs for name, head in run.heads.items()}
    evaluators = [KINDS[kind](name, [run for run in runs if name in run.heads]) for name, kind in kinds.items()]
    return sorted(evaluators, key=lambda evaluator: evaluator.order)


def common_evaluators(runs: Sequence[Run]) -> list[HeadEvaluator]:
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
