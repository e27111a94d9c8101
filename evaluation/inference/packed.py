"""Predicted cases packed for a search of post-processings: class maps, and how many levels of a grid probabilities reach."""

import zlib
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from common.boxes import foreground_box
from common.metrics.masks import Spacing
from common.metrics.overlap import UNANNOTATED
from data_prep.labels import LabelSchema
from data_prep.structures import region_tree
from evaluation.inference.postprocess import (
    FOREGROUND,
    HysteresisRule,
    PostprocessConfig,
    apply_hysteresis,
    members,
    structure_probability,
)

SURELY_FOREGROUND = 0.49  # 1 minus background's probability where another class is the most probable one, less rounding
QUICK = 1  # level of zlib: maps of classes are runs of equal bytes, which it shrinks to a tenth or less
ROUNDING = 1e-4  # by which a sum of classes may exceed the whole foreground
CLASS_MAPS = 4  # maps before those of hysteresis


@dataclass(frozen=True)
class Grid:
    """Grid of the settings that are tried.

    Attributes:
        thresholds: None, the most probable class, comes first; the others rise.
        largest: True keeps only the largest component of the foreground; False comes first.
        least: least voxels of the foreground's components; 0 comes first.
        region_least: least voxels of each region's components, besides 0; empty: no such stages.
        below: voxels in a case below which an innermost region becomes another class, besides 0; empty: no such stages.
        lows, highs: rising probabilities of hysteresis, tried for the foreground and each region; empty: no such stages.
    """

    thresholds: list[float | None]
    largest: list[bool]
    least: list[int]
    region_least: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)

    def settings(self) -> list[PostprocessConfig]:
        """Settings of the first stage, thresholds outermost; the first changes nothing, and earlier ones change less."""
        return [
            PostprocessConfig(threshold=threshold, largest=largest, least_voxels={FOREGROUND: least} if least else {})
            for threshold, largest, least in product(self.thresholds, self.largest, self.least)
        ]

    @property
    def levels(self) -> np.ndarray:
        """Rising probabilities of hysteresis, low and high ones, float32."""
        return np.unique(np.array([*self.lows, *self.highs], np.float32))

    def hysteresis_structures(self, schema: LabelSchema) -> list[str]:
        """Structures for which hysteresis is tried: the foreground, then the regions, from the outermost in."""
        if not (self.lows and self.highs):
            return []
        everything = tuple(range(1, len(schema.classes)))
        return [FOREGROUND, *(region.name for region in region_tree(schema) if region.members != everything)]


@dataclass(frozen=True)
class PredictedCase:
    """Packed prediction of a case: the classes that its probabilities give at any threshold of a grid.

    Attributes:
        patient: id.
        shape: (Z, H, W) of a box that holds all that is, or may be found to be, foreground.
        packed: compressed maps of the box, (4 + 2 s, Z, H, W) uint8: the truth; the most probable class but background, 0 where
            there can only be background; how many thresholds its probability reaches; 1 where it is the most probable of all
            classes; then for each of s structures of hysteresis how many levels its probability reaches, and its most probable
            class.
        outside: annotated voxels outside the box.
        spacing_mm: distance of neighbouring voxels (z, y, x); None where it is unknown.
        case_shape: (Z, H, W) of the whole case.
        planes: number of the maps.
    """

    patient: str
    shape: tuple[int, ...]
    packed: bytes
    outside: int
    spacing_mm: Spacing | None = None
    case_shape: tuple[int, ...] = ()
    planes: int = CLASS_MAPS

    def maps(self) -> np.ndarray:
        """Unpacked maps, read-only."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.planes, *self.shape)


def pack_case(
    patient: str,
    probabilities: np.ndarray,
    truth: np.ndarray,
    grid: Grid,
    schema: LabelSchema,
    inside: np.ndarray | None = None,
    spacing_mm: Spacing | None = None,
) -> PredictedCase:
    """Pack a prediction, for all settings of a grid.

    Args:
        patient: id.
        probabilities: (Z, H, W, classes) float32.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated.
        grid: of the settings; 255 thresholds and 255 levels at most.
        schema: of the classes.
        inside: (Z, H, W) bool, False where there can only be background.
        spacing_mm: distance of neighbouring voxels (z, y, x), for metrics in millimetres.
    """
    thresholds = np.array([threshold for threshold in grid.thresholds if threshold is not None], np.float32)
    foreground = 1 - probabilities[..., 0]
    possible = foreground >= min([SURELY_FOREGROUND, *thresholds, *(grid.levels[:1] - ROUNDING)])
    if inside is not None:
        possible &= inside
    box = foreground_box(possible | ((truth > 0) & (truth < UNANNOTATED)))
    part, allowed = probabilities[box], possible[box]
    best = part[..., 1:].argmax(axis=-1).astype(np.uint8) + np.uint8(1)
    best[~allowed] = 0
    reached = np.searchsorted(thresholds, foreground[box], side="right").astype(np.uint8)
    likeliest = (part[..., 1:].max(axis=-1) > part[..., 0]).astype(np.uint8)
    maps = [truth[box], best, reached, likeliest]
    for name in grid.hysteresis_structures(schema):
        classes = members(name, schema, "hysteresis")
        levels = np.searchsorted(grid.levels, structure_probability(part, classes), side="right").astype(np.uint8)
        maps += [levels * allowed, np.array(classes, np.uint8)[part[..., classes].argmax(axis=-1)]]
    outside = int(np.count_nonzero(truth < UNANNOTATED) - np.count_nonzero(truth[box] < UNANNOTATED))
    packed = zlib.compress(np.stack(maps).tobytes(), QUICK)
    return PredictedCase(patient, best.shape, packed, outside, spacing_mm, truth.shape, len(maps))


def packed_classes(maps: np.ndarray, setting: PostprocessConfig, grid: Grid, schema: LabelSchema) -> np.ndarray:
    """Class indices (Z, H, W) uint8 after the threshold and the hysteresis rules of a setting.

    Args:
        maps: of a case that was packed for this grid.
        setting: with a threshold and levels of the grid.
        grid: of the settings.
        schema: of the classes.
    """
    _, best, reached, likeliest = maps[:CLASS_MAPS]
    level = grid.thresholds.index(setting.threshold)
    classes = best * (reached >= level if level else likeliest)
    for rule in setting.hysteresis:
        classes = packed_hysteresis(maps, classes, rule, grid, schema)
    return classes


def packed_hysteresis(
    maps: np.ndarray, classes: np.ndarray, rule: HysteresisRule, grid: Grid, schema: LabelSchema
) -> np.ndarray:
    """Class indices after one hysteresis rule, from the levels of a packed case."""
    place = CLASS_MAPS + 2 * grid.hysteresis_structures(schema).index(rule.structure)
    needed = [int(np.searchsorted(grid.levels, np.float32(value))) + 1 for value in (rule.low, rule.high)]
    low, high = (maps[place] >= each for each in needed)
    return apply_hysteresis(rule, classes, low, high, maps[place + 1], schema)
