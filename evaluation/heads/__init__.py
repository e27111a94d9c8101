"""Evaluators of heads: the lookup from a head's kind to the class that evaluates it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.choices import load_class
from common.errors import UserError
from data_prep.labels import LabelSchema
from training.run import Run

if TYPE_CHECKING:
    from evaluation.heads.base import HeadEvaluator, PredictionTask, Predictor
    from evaluation.inference.postprocess import PostprocessConfig

KINDS = {
    "segmentation": "evaluation.heads.segmentation:SegmentationEvaluator",
    "classification": "evaluation.heads.classification:ClassificationEvaluator",
}
"""Kind of head, as in run.json -> its evaluator, which is imported where a run has such a head."""
SEVERAL = "evaluation.heads.several:SeveralHeadsPredictor"
"""Predictor of several heads that write voxels."""


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


def predictors_of(
    evaluators: "Sequence[HeadEvaluator]",
    task: "PredictionTask",
    schemas: Mapping[str, LabelSchema],
    rules: "Mapping[str, PostprocessConfig]",
) -> "list[Predictor]":
    """Predictors of all heads, in the order of prediction; one for all heads that write voxels, where there are several.

    Args:
        evaluators: of the heads.
        task: of the prediction; of several heads that write voxels each has a folder below its `out`.
        schemas: head that writes voxels -> schema of the ids that it writes.
        rules: head that writes voxels -> its post-processing.

    Raises:
        UserError: several heads that write voxels, and a run that has only some of them.
    """
    voxels = {evaluator.name: evaluator for evaluator in evaluators if evaluator.writes_voxels}
    folders = voxel_folders(task.out, evaluators)
    tasks = {
        name: replace(task, out=folder, schema=schemas[name], postprocess=rules[name])
        for name, folder in zip(voxels, folders, strict=True)
    }
    made = {name: evaluator.predictor(tasks[name]) for name, evaluator in voxels.items()}
    others = [evaluator.predictor(task) for evaluator in evaluators if not evaluator.writes_voxels]
    if len(voxels) < 2:
        return [*made.values(), *others]
    runs = [run for evaluator in voxels.values() for run in evaluator.runs]
    incomplete = next((run for run in runs if not set(voxels) <= set(run.heads)), None)
    if incomplete is not None:
        raise UserError(
            f"{incomplete.path}: expected a run with the heads {', '.join(voxels)}; received one with "
            f"{', '.join(incomplete.heads)}"
        )
    several: Predictor = load_class(SEVERAL)(made, task.out)
    return [several, *others]


def voxel_folders(out: Path, evaluators: "Sequence[HeadEvaluator]") -> list[Path]:
    """Predictions folder of each head that writes voxels: `out`, or of several heads a folder below it."""
    names = [evaluator.name for evaluator in evaluators if evaluator.writes_voxels]
    return [out / name for name in names] if len(names) > 1 else [out] * len(names)
