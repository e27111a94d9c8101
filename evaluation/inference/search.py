"""Search for a post-processing: greedy, stage by stage, over settings that are applied to predicted cases.

Each stage starts from what those before it have chosen: (1) threshold, largest component and least voxels
of the foreground's components, all together; (2) the least voxels of each region's components, from the outermost region to the
innermost; (3) below how many voxels in the whole case an innermost region becomes a class of the region around it. A stage
changes the setting only where that betters the score by more than a margin. So not every combination is tried, and the cost is
the sum of the stages, not their product.

Components are sought once per case and stage (in the first, per threshold), and their voxels counted by true and predicted
class; a setting then only selects those that become another class.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np

from common.boxes import foreground_box
from common.metrics.catalogue import Metric
from common.metrics.label_pair import LabelPair, Spacing
from common.metrics.overlap import UNANNOTATED, confusion_matrix
from common.progress import progress as case_progress
from data_prep.labels import LabelSchema
from data_prep.structures import NestedRegion, Structure, region_tree
from evaluation.inference.postprocess import (
    FOREGROUND,
    PostprocessConfig,
    ReplaceRule,
    apply_classes,
    label_components,
)

SURELY_FOREGROUND = 0.49  # 1 minus background's probability where another class is the most probable one, less rounding
QUICK = 1  # level of zlib: maps of classes are runs of equal bytes, which it shrinks to a tenth or less


@dataclass(frozen=True)
class Grid:
    """Grid of the settings that are tried.

    Attributes:
        thresholds: None, the most probable class, comes first; the others rise.
        largest: True keeps only the largest component of the foreground; False comes first.
        least: least voxels of the foreground's components; 0 comes first.
        region_least: least voxels of each region's components, besides 0; empty: no such stages.
        below: voxels in a case below which an innermost region becomes another class, besides 0; empty: no such stages.
    """

    thresholds: list[float | None]
    largest: list[bool]
    least: list[int]
    region_least: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)

    def settings(self) -> list[PostprocessConfig]:
        """Settings of the first stage, thresholds outermost; the first changes nothing, and earlier ones change less."""
        return [
            PostprocessConfig(threshold=threshold, largest=largest, least_voxels={FOREGROUND: least} if least else {})
            for threshold, largest, least in product(self.thresholds, self.largest, self.least)
        ]


@dataclass(frozen=True)
class RegionStage:
    """Stage of the search: one number of one region.

    Attributes:
        region: the region, and the class that its voxels become.
        whole: the rule on all of its voxels in a case (`replace`), or else on each of its components (`least_voxels`).
        values: that are tried besides 0.
    """

    region: NestedRegion
    whole: bool
    values: list[int]

    @property
    def name(self) -> str:
        """Column in the table of settings."""
        return f"replace_{self.region.name}_below" if self.whole else f"least_voxels_{self.region.name}"

    def settings(self, current: PostprocessConfig, schema: LabelSchema) -> list[PostprocessConfig]:
        """Current setting with each of the values added."""
        name, target = self.region.name, schema.class_names[self.region.replacement]
        if self.whole:
            rules = [ReplaceRule(structure=name, below_voxels=value, by=target) for value in self.values]
            return [replace(current, replace=[*current.replace, rule]) for rule in rules]
        becomes = {**current.becomes, name: target}
        return [replace(current, least_voxels={**current.least_voxels, name: value}, becomes=becomes) for value in self.values]

    def parts(self, classes: np.ndarray) -> tuple[np.ndarray, int]:
        """Parts whose voxels a value is compared with, numbered from 1, and how many: the components, or the whole region."""
        mask = np.isin(classes, self.region.members)
        return (mask.astype(np.int32), 1) if self.whole else label_components(mask)


def region_stages(schema: LabelSchema, grid: Grid) -> list[RegionStage]:
    """Stages after the first, from the outermost region in; the whole foreground belongs to the first."""
    everything = tuple(range(1, len(schema.classes)))
    regions = [region for region in region_tree(schema) if region.members != everything]
    small = [RegionStage(region, False, grid.region_least) for region in regions if grid.region_least]
    rare = [region for region in regions if region.innermost and region.parent]
    return small + [RegionStage(region, True, grid.below) for region in rare if grid.below]


@dataclass(frozen=True)
class PredictedCase:
    """Packed prediction of a case: the classes that its probabilities give at any threshold of a grid.

    Attributes:
        patient: id.
        shape: (Z, H, W) of a box that holds all that is, or may be found to be, foreground.
        packed: compressed maps of the box, (4, Z, H, W) uint8: the truth; the most probable class but background, 0 where there
            can only be background; how many thresholds its probability reaches; 1 where it is the most probable of all classes.
        outside: annotated voxels outside the box.
        spacing_mm: distance of neighbouring voxels (z, y, x); None where it is unknown.
    """

    patient: str
    shape: tuple[int, ...]
    packed: bytes
    outside: int
    spacing_mm: Spacing | None = None

    def maps(self) -> np.ndarray:
        """Unpacked maps, read-only."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(4, *self.shape)


def pack_case(
    patient: str,
    probabilities: np.ndarray,
    truth: np.ndarray,
    grid: Grid,
    inside: np.ndarray | None = None,
    spacing_mm: Spacing | None = None,
) -> PredictedCase:
    """Pack a prediction, for all thresholds of a grid.

    Args:
        patient: id.
        probabilities: (Z, H, W, classes) float32.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated.
        grid: the settings to be tried; 255 thresholds at most.
        inside: (Z, H, W) bool, False where there can only be background.
        spacing_mm: distance of neighbouring voxels (z, y, x), for metrics in millimetres.
    """
    levels = np.array([threshold for threshold in grid.thresholds if threshold is not None], np.float32)
    foreground = 1 - probabilities[..., 0]
    possible = foreground >= min([SURELY_FOREGROUND, *levels])
    if inside is not None:
        possible &= inside
    box = foreground_box(possible | ((truth > 0) & (truth < UNANNOTATED)))
    part = probabilities[box]
    best = part[..., 1:].argmax(axis=-1).astype(np.uint8) + np.uint8(1)
    best[~possible[box]] = 0
    reached = np.searchsorted(levels, foreground[box], side="right").astype(np.uint8)
    likeliest = (part[..., 1:].max(axis=-1) > part[..., 0]).astype(np.uint8)
    outside = int(np.count_nonzero(truth < UNANNOTATED) - np.count_nonzero(truth[box] < UNANNOTATED))
    packed = zlib.compress(np.stack([truth[box], best, reached, likeliest]).tobytes(), QUICK)
    return PredictedCase(patient, best.shape, packed, outside, spacing_mm)


@dataclass(frozen=True)
class Trial:
    """Setting that was tried, and its scores.

    Attributes:
        stage: foreground, or the name of a `RegionStage`.
        setting: all of it.
        scores: (patients,) float64, of the metric; of a patient with several cases the mean.
    """

    stage: str
    setting: PostprocessConfig
    scores: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over patients."""
        return float(self.scores.mean())


Outcomes = Callable[[PredictedCase], Iterator[LabelPair]]  # case -> truth and prediction under each setting of a stage


@dataclass(frozen=True)
class Objective:
    """Objective of the search: a metric, averaged over structures, in a case.

    Attributes:
        metric: of the catalogue, one with a direction.
        structures: whose values are averaged.
    """

    metric: Metric
    structures: Sequence[Structure]

    def __call__(self, pair: LabelPair) -> float:
        """Value in a case.

        Raises:
            ValueError: the metric needs the spacing, and the case has none.
        """
        values = [self.metric(pair.structure(structure.members)) for structure in self.structures]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            raise ValueError(f"expected cases with a spacing for {self.metric.name}; received one without")
        return float(np.mean(known))


def search(
    cases: Sequence[PredictedCase],
    schema: LabelSchema,
    grid: Grid,
    objective: Objective,
    margin: float,
    progress: bool = False,
) -> tuple[list[Trial], int]:
    """Try settings stage by stage.

    Args:
        cases: packed for this grid, at least one.
        schema: of their classes.
        grid: the settings.
        objective: of a case under a setting.
        margin: a stage changes the setting only where the mean over patients becomes better by more than this.
        progress: show a bar on standard error.

    Returns:
        All trials, no post-processing first, and the index of the chosen one.
    """
    sign = objective.metric.sign
    outcomes: Outcomes = partial(foreground_outcomes, schema=schema, grid=grid)
    trials = _try(FOREGROUND, grid.settings(), cases, outcomes, objective, progress)
    chosen = choose([sign * trial.mean for trial in trials], margin)
    for stage in region_stages(schema, grid):
        current = trials[chosen]
        outcomes = partial(region_outcomes, stage=stage, current=current.setting, schema=schema, grid=grid)
        tried = _try(stage.name, stage.settings(current.setting, schema), cases, outcomes, objective, progress)
        best = choose([sign * trial.mean for trial in (current, *tried)], margin)
        chosen = len(trials) + best - 1 if best else chosen
        trials += tried
    return trials, chosen


def choose(means: Sequence[float], margin: float) -> int:
    """Place of the largest mean, the first of equals; 0, the earlier setting, where none is larger by more than `margin`."""
    best = int(np.argmax(means))
    return best if means[best] - means[0] > margin else 0


def foreground_outcomes(case: PredictedCase, schema: LabelSchema, grid: Grid) -> Iterator[LabelPair]:
    """Truth and prediction of a case under every setting of the first stage, in the order of `Grid.settings`."""
    maps, settings = case.maps(), iter(grid.settings())
    for level in range(len(grid.thresholds)):
        classes = _classes(maps, level)
        confusion = _confusion(case, maps[0], classes, schema)
        labels, count = label_components(classes > 0)
        counts = count_parts(labels, count, classes, maps[0], len(schema.classes))
        sizes = counts.sum(axis=(1, 2))
        for largest, least in product(grid.largest, grid.least):
            removed = sizes < least
            if largest and count:
                removed |= np.arange(count) != sizes.argmax()
            changed = _moved(confusion, counts[removed].sum(axis=0), 0)
            yield LabelPair(changed, maps[0], partial(apply_classes, next(settings), classes, schema), case.spacing_mm)


def region_outcomes(
    case: PredictedCase, stage: RegionStage, current: PostprocessConfig, schema: LabelSchema, grid: Grid
) -> Iterator[LabelPair]:
    """Truth and prediction of a case under every setting of a stage.

    Args:
        case: packed.
        stage: whose values are tried.
        current: the setting that they are added to.
        schema: of the classes.
        grid: that the case was packed for.
    """
    maps = case.maps()
    found = _classes(maps, grid.thresholds.index(current.threshold))
    classes = apply_classes(current, found, schema)
    confusion = _confusion(case, maps[0], classes, schema)
    counts = count_parts(*stage.parts(classes), classes, maps[0], len(schema.classes))
    sizes = counts.sum(axis=(1, 2))
    for value, setting in zip(stage.values, stage.settings(current, schema), strict=True):
        changed = _moved(confusion, counts[sizes < value].sum(axis=0), stage.region.replacement)
        yield LabelPair(changed, maps[0], partial(apply_classes, setting, found, schema), case.spacing_mm)


def count_parts(labels: np.ndarray, count: int, predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Count the voxels of parts of a volume by true and predicted class.

    Args:
        labels: (Z, H, W) int32, the part that each voxel belongs to, from 1; 0 for none.
        count: how many parts there are.
        predicted: (Z, H, W) uint8, class indices.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated.
        classes: how many classes there are.

    Returns:
        (parts, classes + 1, classes) int64, [part, truth, prediction]; the last row of truth is not annotated.
    """
    inside = labels > 0
    rows = np.minimum(truth[inside], classes).astype(np.int64)
    places = ((labels[inside] - 1) * np.int64(classes + 1) + rows) * classes + predicted[inside]
    shape = (count, classes + 1, classes)
    return np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)


def _classes(maps: np.ndarray, level: int) -> np.ndarray:
    """Class indices (Z, H, W) uint8 at a threshold, by its place in the grid: 0 is the most probable class."""
    _, best, reached, likeliest = maps
    return best * (reached >= level if level else likeliest)


def _confusion(case: PredictedCase, truth: np.ndarray, classes: np.ndarray, schema: LabelSchema) -> np.ndarray:
    """Confusion matrix of the whole case."""
    confusion = confusion_matrix(truth, classes, len(schema.classes))
    confusion[0, 0] += case.outside
    return confusion


def _moved(confusion: np.ndarray, counts: np.ndarray, target: int) -> np.ndarray:
    """A confusion matrix after some of its voxels, counted (classes + 1, classes), have become the class `target`."""
    annotated = counts[:-1]
    changed: np.ndarray = confusion - annotated
    changed[:, target] += annotated.sum(axis=1)
    return changed


def _try(
    stage: str,
    settings: Sequence[PostprocessConfig],
    cases: Sequence[PredictedCase],
    outcomes: Outcomes,
    objective: Objective,
    progress: bool,
) -> list[Trial]:
    """Trials of a stage: every setting scored on every patient; of one with several cases, or in several runs, the mean."""
    found: dict[str, list[list[float]]] = {}
    with case_progress(len(cases), f"trying {stage}" if progress else None) as bar:
        for case in cases:
            found.setdefault(case.patient, []).append([objective(pair) for pair in outcomes(case)])
            bar.update()
    table = np.array([np.mean(scores, axis=0) for scores in found.values()])
    return [Trial(stage, setting, column) for setting, column in zip(settings, table.T, strict=True)]
