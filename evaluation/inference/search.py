"""Search for a post-processing: greedy, stage by stage, over settings that are applied to predicted cases.

Each stage starts from what those before it have chosen: (1) threshold, largest component and least voxels of the foreground's
components, all together; (2) both thresholds of hysteresis, of the foreground and of each region; (3) the least voxels of each
region's components; (4) below how many voxels in the whole case an innermost region becomes a class of the region around it.
Regions go from the outermost to the innermost. A stage changes the setting only where that betters the score by more than a
margin. So not every combination is tried, and the cost is the sum of the stages, not their product.

But for hysteresis, components are sought once per case and stage (in the first, per threshold), and their voxels counted by
true and predicted class; a setting then only selects those that become another class.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from common.metrics.components import label_components
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from common.metrics.overlap import confusion_matrix
from common.metrics.statistics import known_mean
from common.progress import progress as case_progress
from data_prep.labels import LabelSchema
from data_prep.structures import NestedRegion, Structure, region_tree
from evaluation.inference.packed import Grid, PredictedCase, packed_classes, packed_hysteresis
from evaluation.inference.postprocess import (
    FOREGROUND,
    HysteresisRule,
    PostprocessConfig,
    ReplaceRule,
    apply_classes,
)


@dataclass(frozen=True)
class RegionStage:
    """Stage of the search: number of voxels of one region.

    Attributes:
        region: the region, and the class that its voxels become.
        is_all: the rule on all of its voxels in a case (`replace`), or else on each of its components (`least_voxels`).
        values: that are tried besides 0.
    """

    region: NestedRegion
    is_all: bool
    values: list[int]

    @property
    def name(self) -> str:
        """Column in the table of settings."""
        return f"replace_{self.region.name}_below" if self.is_all else f"least_voxels_{self.region.name}"

    def settings(self, current: PostprocessConfig, schema: LabelSchema) -> list[PostprocessConfig]:
        """Current setting with each of the values added."""
        name, target = self.region.name, schema.class_names[self.region.replacement]
        if self.is_all:
            rules = [ReplaceRule(structure=name, below_voxels=value, by=target) for value in self.values]
            return [replace(current, replace=[*current.replace, rule]) for rule in rules]
        becomes = {**current.becomes, name: target}
        return [replace(current, least_voxels={**current.least_voxels, name: value}, becomes=becomes) for value in self.values]

    def parts(self, classes: np.ndarray) -> tuple[np.ndarray, int]:
        """Parts whose voxels a value is compared with, numbered from 1, and how many: the components, or the whole region."""
        mask = np.isin(classes, self.region.members)
        return (mask.astype(np.int32), 1) if self.is_all else label_components(mask)


@dataclass(frozen=True)
class HysteresisStage:
    """Stage of the search: both thresholds of hysteresis of one structure.

    Attributes:
        structure: foreground, or a region.
        becomes: class of the voxels that leave it.
        pairs: (low, high) that are tried besides no rule.
    """

    structure: str
    becomes: str
    pairs: list[tuple[float, float]]

    @property
    def name(self) -> str:
        """Column in the table of settings."""
        return f"hysteresis_{self.structure}"

    def settings(self, current: PostprocessConfig) -> list[PostprocessConfig]:
        """Current setting with each of the rules added."""
        rules = [HysteresisRule(structure=self.structure, low=low, high=high, becomes=self.becomes) for low, high in self.pairs]
        return [replace(current, hysteresis=[*current.hysteresis, rule]) for rule in rules]


def hysteresis_stages(schema: LabelSchema, grid: Grid) -> list[HysteresisStage]:
    """Stages after the first, for the foreground and the regions from the outermost in."""
    replacements = {region.name: schema.class_names[region.replacement] for region in region_tree(schema)}
    pairs = [(low, high) for low, high in product(grid.lows, grid.highs) if low <= high]
    names = grid.hysteresis_structures(schema)
    return [HysteresisStage(name, replacements.get(name, schema.class_names[0]), pairs) for name in names if pairs]


def region_stages(schema: LabelSchema, grid: Grid) -> list[RegionStage]:
    """Stages after those of thresholds, from the outermost region in; the whole foreground belongs to the first."""
    everything = tuple(range(1, len(schema.classes)))
    regions = [region for region in region_tree(schema) if region.members != everything]
    small = [RegionStage(region, False, grid.region_least) for region in regions if grid.region_least]
    rare = [region for region in regions if region.innermost and region.parent]
    return small + [RegionStage(region, True, grid.below) for region in rare if grid.below]


@dataclass(frozen=True)
class Trial:
    """Setting that was tried, and its scores.

    Attributes:
        stage: foreground, or the name of a `RegionStage`.
        setting: all of it.
        scores: (patients,) float64, of the metric; of a patient with several cases the mean; NaN where the metric's rule gives
            no value.
    """

    stage: str
    setting: PostprocessConfig
    scores: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the patients that have a value; NaN without any."""
        return known_mean(self.scores)


Outcomes = Callable[[PredictedCase], Iterator[LabelPair]]
"""Case -> truth and prediction under each setting of a stage; the same object again where a setting changes nothing."""


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
        """Value in a case, the mean over structures that have one; NaN without any.

        Raises:
            ValueError: the metric needs the spacing, and the case has none.
        """
        values = [self.metric(pair.structure(structure.members, structure.name)) for structure in self.structures]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            raise ValueError(f"expected cases with a spacing for {self.metric.name}; received one without")
        return known_mean(known)


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
    stages: list[HysteresisStage | RegionStage] = [*hysteresis_stages(schema, grid), *region_stages(schema, grid)]
    for stage in stages:
        current = trials[chosen]
        if isinstance(stage, HysteresisStage):
            settings = stage.settings(current.setting)
            outcomes = partial(hysteresis_outcomes, settings=settings, schema=schema, grid=grid)
        else:
            settings = stage.settings(current.setting, schema)
            outcomes = partial(region_outcomes, stage=stage, current=current.setting, schema=schema, grid=grid)
        tried = _try(stage.name, settings, cases, outcomes, objective, progress)
        best = choose([sign * trial.mean for trial in (current, *tried)], margin)
        chosen = len(trials) + best - 1 if best else chosen
        trials += tried
    return trials, chosen


def choose(means: Sequence[float], margin: float) -> int:
    """Place of the largest mean, the first of equals; 0, the earlier setting, where none is larger by more than `margin`.

    NaN, no value in any patient, is below every other mean.
    """
    known = [-math.inf if math.isnan(mean) else mean for mean in means]
    best = int(np.argmax(known))
    return best if known[best] - known[0] > margin else 0


def foreground_outcomes(case: PredictedCase, schema: LabelSchema, grid: Grid) -> Iterator[LabelPair]:
    """Truth and prediction of a case under every setting of the first stage, in the order of `Grid.settings`."""
    maps = case.maps()
    for threshold in grid.thresholds:
        classes = packed_classes(maps, PostprocessConfig(threshold=threshold), grid, schema)
        confusion = _confusion(case, maps[0], classes, schema)
        labels, count = label_components(classes > 0)
        counts = count_parts(labels, count, classes, maps[0], len(schema.classes))
        sizes = counts.sum(axis=(1, 2))
        pair, before = None, np.zeros(0, bool)
        for largest, least in product(grid.largest, grid.least):
            removed = sizes < least
            if largest and count:
                removed |= np.arange(count) != sizes.argmax()
            if pair is None or not np.array_equal(removed, before):
                changed = _moved(confusion, counts[removed].sum(axis=0), 0)
                pair, before = _pair(case, maps[0], changed, partial(_replaced, classes, labels, removed, 0)), removed
            yield pair


def hysteresis_outcomes(
    case: PredictedCase, settings: Sequence[PostprocessConfig], schema: LabelSchema, grid: Grid
) -> Iterator[LabelPair]:
    """Truth and prediction of a case under settings that differ in their last hysteresis rule.

    Args:
        case: packed.
        settings: of a stage.
        schema: of the classes.
        grid: that the case was packed for.
    """
    maps = case.maps()
    start = packed_classes(maps, replace(settings[0], hysteresis=settings[0].hysteresis[:-1]), grid, schema)
    pair, before = None, start
    for setting in settings:
        found = packed_hysteresis(maps, start, setting.hysteresis[-1], grid, schema)
        if pair is None or not np.array_equal(found, before):
            classes = apply_classes(setting, found, schema)
            confusion = _confusion(case, maps[0], classes, schema)
            pair, before = _pair(case, maps[0], confusion, partial(_same, classes)), found
        yield pair


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
    found = packed_classes(maps, current, grid, schema)
    classes = apply_classes(current, found, schema)
    confusion = _confusion(case, maps[0], classes, schema)
    labels, count = stage.parts(classes)
    counts = count_parts(labels, count, classes, maps[0], len(schema.classes))
    sizes, target = counts.sum(axis=(1, 2)), stage.region.replacement
    pair, before = None, np.zeros(0, bool)
    for value in stage.values:
        moved = sizes < value
        if pair is None or not np.array_equal(moved, before):
            changed = _moved(confusion, counts[moved].sum(axis=0), target)
            pair, before = _pair(case, maps[0], changed, partial(_replaced, classes, labels, moved, target)), moved
        yield pair


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


def _pair(case: PredictedCase, truth: np.ndarray, confusion: np.ndarray, predict: Callable[[], np.ndarray]) -> LabelPair:
    """Truth and prediction of a packed case."""
    return LabelPair(confusion, truth, predict, case.spacing_mm, shape=case.case_shape or None)


def _same(classes: np.ndarray) -> np.ndarray:
    return classes


def _confusion(case: PredictedCase, truth: np.ndarray, classes: np.ndarray, schema: LabelSchema) -> np.ndarray:
    """Confusion matrix of the whole case."""
    confusion = confusion_matrix(truth, classes, len(schema.classes))
    confusion[0, 0] += case.outside
    return confusion


def _replaced(classes: np.ndarray, labels: np.ndarray, moved: np.ndarray, target: int) -> np.ndarray:
    """Class indices after some of the parts, numbered by `labels`, have become the class `target`; a new array."""
    found = classes.copy()
    found[np.concatenate([[False], moved])[labels]] = target
    return found


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
            scores: list[float] = []
            before = None
            for pair in outcomes(case):
                scores.append(scores[-1] if pair is before else objective(pair))
                before = pair
            found.setdefault(case.patient, []).append(scores)
            bar.update()
    table = np.array([[known_mean(column) for column in np.array(scores).T] for scores in found.values()])
    return [Trial(stage, setting, column) for setting, column in zip(settings, table.T, strict=True)]
