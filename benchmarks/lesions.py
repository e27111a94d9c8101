"""Command: CPU time and peak memory of scoring one full-size case, as evaluation.score does it, lesion rules included.

    python -m benchmarks.lesions [--rules brats2023-met brats2026-mets]

Measured is `score_case` with a shipped label schema: its regions and classes, and every lesion listed. The case is synthetic:
one large tumour of three nested regions and several small ones; the prediction is moved and eroded, with false positives in all
of the head. Peak memory is that of this process, above what it held with the case in memory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from common import cli
from common.errors import expect_number
from common.hardware.memory import MEGABYTE, peak_memory
from common.metrics.catalogue import chosen_metrics
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from data_prep.labels import LabelSchema
from evaluation.scores.cases import CaseScores, score_case

SCHEMA = "brats2023"
SPACING = (1.0, 1.0, 1.0)
DEFINITIONS = ("hd95_max_voxel", "hd95_pooled", "nsd", "nsd_2mm")


@dataclass(kw_only=True)
class LesionsConfig:
    """Measure the scoring of one case."""

    rules: list[str] = field(default_factory=lambda: ["brats2023-met", "brats2024-met", "brats2026-mets"])
    """Lesion rules, each of which is measured with the default metrics, and all together with every definition."""
    shape: tuple[int, int, int] = (240, 240, 155)
    """Voxels along each axis."""
    lesions: int = 12
    """Small lesions beside the large one."""
    false_positives: int = 20
    """Small predicted lesions that are not there."""
    rounds: int = 3
    """Repeats, of which the median counts."""
    seed: int = 0
    """Seed of the places."""


def main(config: LesionsConfig) -> None:
    """Print seconds of CPU and megabytes of each group of metrics."""
    expect_number("rounds", config.rounds, 1)
    truth, prediction = make_case(config)
    schema = LabelSchema.load(SCHEMA)
    groups = {"default metrics": chosen_metrics(), "and HD95, NSD by all definitions": chosen_metrics(DEFINITIONS)}
    groups |= {f"default metrics and {rule}": chosen_metrics(rules=[rule]) for rule in config.rules}
    groups[f"all definitions and {len(config.rules)} rules"] = chosen_metrics(DEFINITIONS, config.rules)
    before = peak_memory() / MEGABYTE
    size = " x ".join(map(str, config.shape))
    print(f"{size} voxels, schema {SCHEMA}; CPU seconds, median and least of {config.rounds}; peak MB above {before:.0f}")
    for name, metrics in groups.items():
        seconds = sorted(_seconds(partial(score, truth, prediction, schema, metrics)) for _ in range(config.rounds))
        peak = peak_memory() / MEGABYTE - before
        print(f"{name:<36} {seconds[len(seconds) // 2]:6.2f} s  {seconds[0]:6.2f} s  {peak:6.0f} MB")


def score(truth: np.ndarray, prediction: np.ndarray, schema: LabelSchema, metrics: list[Metric]) -> CaseScores:
    """Scores of the case, from class indices on."""
    return score_case(LabelPair.count(truth, prediction, len(schema.classes), SPACING), schema, metrics)


def make_case(config: LesionsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic truth and prediction (x, y, z) uint8, class indices."""
    rng = np.random.default_rng(config.seed)
    truth, prediction = (np.zeros(config.shape, np.uint8) for _ in range(2))
    middle = np.array(config.shape) // 2
    large = middle + np.array(config.shape) // 8
    for volume, move, smaller in ((truth, 0, 0), (prediction, 3, 1)):
        for class_, radius in ((2, 38), (1, 24), (3, 17)):
            _paint(volume, large + move, min(radius, min(config.shape) // 4) - smaller, class_)
    span = np.array(config.shape) // 3
    for number in range(config.lesions + config.false_positives):
        centre = middle + rng.integers(-span, span)
        radius = int(rng.integers(2, 7))
        if number < config.lesions:
            _paint(truth, centre, radius, 3)
        _paint(prediction, centre + 1, radius - 1, 3)
    return truth, prediction


def _paint(volume: np.ndarray, centre: np.ndarray, radius: int, class_: int) -> None:
    """Set a ball of a class, in place."""
    low = [max(0, int(c) - radius) for c in centre]
    box = tuple(slice(first, max(0, int(c) + radius + 1)) for first, c in zip(low, centre, strict=True))
    part = volume[box]
    axes = np.ogrid[tuple(slice(first, first + size) for first, size in zip(low, part.shape, strict=True))]
    part[sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2] = class_


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    cli.run(main, LesionsConfig)
