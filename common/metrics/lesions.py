"""Lesion-wise scores of a structure under a rule: components, matching, and the lists that the means are taken over.

A rule (`common.metrics.lesion_rules`) decides how voxels become lesions, which predicted lesion belongs to which true one, and
what a missed or false lesion counts. Components and matching come first; distances of matched lesions are computed for HD95 and
NSD alone, from those of the whole structure.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from common.metrics.borders import BorderDistances, border_dice, pooled_percentile
from common.metrics.components import label_lesions
from common.metrics.lesion_rules import LesionRule
from common.metrics.mask_pair import MaskPair
from common.metrics.masks import Spacing
from common.metrics.surface import element_labels, robust_hausdorff, surface_dice

LEAST_OVERLAP = 1e-6  # Dice from which two lesions may be a pair in a one-to-one matching

Size = Literal["all", "large", "small"]


@dataclass(frozen=True)
class Lesion:
    """Lesion of truth, or a predicted lesion that belongs to none.

    Attributes:
        number: its label, in truth or, for a false positive, in the prediction.
        true: False for a false positive.
        voxels: how many it has.
        volume_mm3: their volume.
        counted: the rule counts a true lesion of this volume.
        predicted: labels of the predicted lesions that belong to it; empty where it is missed.
        dice: with all of these predicted lesions together; 0 where it is missed or false.
    """

    number: int
    true: bool
    voxels: int
    volume_mm3: float
    counted: bool
    predicted: tuple[int, ...] = ()
    dice: float = 0.0

    @property
    def matched(self) -> bool:
        """True where a predicted lesion belongs to it."""
        return bool(self.predicted)


@dataclass(frozen=True)
class Detection:
    """Counts of found, false and missed lesions, and the ratios of them; NaN where there is nothing to divide by."""

    tp: int
    fp: int
    fn: int

    @property
    def f1(self) -> float:
        """F1 = tp / (tp + fp / 2 + fn / 2)."""
        return _ratio(self.tp, self.tp + (self.fp + self.fn) / 2)

    @property
    def sensitivity(self) -> float:
        """Share of the true lesions that are found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are true."""
        return _ratio(self.tp, self.tp + self.fp)


@dataclass
class LesionComparison:
    """Lesions of one structure in truth and prediction, matched by a rule.

    Attributes:
        masks: of the structure in truth and in prediction.
        labels: numbers of the lesions that the voxels of both masks belong to, (x, y, z) int32 each; voxels outside a mask may
            have a number too, where components were sought in the dilated mask.
        spacing_mm: distance of voxels along each axis, as the rule applies it.
        rule: of the structure's region.
        penalty_mm: HD95 of a missed or false lesion.
        lesions: of truth, the uncounted ones too.
        false_positives: predicted lesions that belong to no true one.
        predicted: how many predicted lesions there are.
    """

    masks: MaskPair
    labels: tuple[np.ndarray, np.ndarray]
    spacing_mm: Spacing
    rule: LesionRule
    penalty_mm: float
    lesions: Sequence[Lesion]
    false_positives: Sequence[Lesion]
    predicted: int

    @cached_property
    def distances(self) -> dict[int, dict[str, float]]:
        """Number of each matched true lesion -> its HD95 in mm and its NSDs, by name."""
        found: dict[int, dict[str, float]] = {lesion.number: {} for lesion in self.lesions if lesion.matched}
        if found and "surface" in (self.rule.hd95, self.rule.nsd):
            self._add_surface_distances(found)
        if found and "border" in (self.rule.hd95, self.rule.nsd):
            self._add_border_distances(found)
        return found

    def _add_surface_distances(self, found: dict[int, dict[str, float]]) -> None:
        """Add HD95 and NSDs by surface area."""
        surfaces = self.masks.surfaces(self.spacing_mm)
        true = element_labels(surfaces.points.truth, self.labels[0], self.masks.truth)
        predicted = element_labels(surfaces.points.prediction, self.labels[1], self.masks.prediction)
        for number, truth, prediction in self._parts(true, predicted):
            distances = surfaces.part_distances(truth, prediction)
            found[number]["hd95"] = robust_hausdorff(distances, 95)
            found[number] |= {name: surface_dice(distances, tolerance) for name, tolerance in self._tolerances_mm.items()}

    def _add_border_distances(self, found: dict[int, dict[str, float]]) -> None:
        """Add HD95 and NSDs by border voxels, those of the rule that are defined by them."""
        borders = self.masks.borders(self.spacing_mm)
        true, predicted = self.labels[0][tuple(borders.truth.T)], self.labels[1][tuple(borders.prediction.T)]
        for number, truth, prediction in self._parts(true, predicted):
            distances = BorderDistances(*borders.part_distances(truth, prediction))
            if self.rule.hd95 == "border":
                found[number]["hd95"] = pooled_percentile(distances)
            if self.rule.nsd == "border":
                found[number] |= {name: border_dice(distances, tolerance) for name, tolerance in self._tolerances_mm.items()}

    @property
    def _tolerances_mm(self) -> dict[str, float]:
        """Tolerances of the rule's NSDs by name."""
        smallest = min(self.spacing_mm)
        return {name: smallest if each is None else each for name, each in self.rule.tolerances_mm.items()}

    def _parts(self, true: np.ndarray, predicted: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Number of each matched true lesion, its points of truth, and those of the predicted lesions that belong to it.

        Args:
            true, predicted: (n,) and (m,) numbers of the lesions that the points of both surfaces are of.
        """
        for lesion in self.lesions:
            if lesion.matched:
                yield lesion.number, true == lesion.number, np.isin(predicted, lesion.predicted)

    def values(self, score: str) -> list[float]:
        """Values over which the rule averages, in the order of the lesions, false positives last.

        Args:
            score: "dice", "hd95", or an NSD of the rule, such as "nsd"; the Dice and NSD of a missed or false lesion are 0, its
                HD95 is `penalty_mm`.

        Returns:
            Nothing where there is nothing to average, or no counted lesion in truth though the rule needs one.
        """
        worst = self.penalty_mm if score == "hd95" else 0.0
        matched_only = self.rule.average == "matched"
        chosen = [lesion for lesion in self.lesions if lesion.counted and (lesion.matched or not matched_only)]
        if self.rule.needs_truth and not chosen:
            return []
        values = [self._value(lesion, score) if lesion.matched else worst for lesion in chosen]
        if matched_only:
            return values or ([worst] if self.lesions or self.false_positives else [])
        return values + [worst] * len(self.false_positives) * self.rule.count_false

    def mean(self, score: str) -> float:
        """Mean of `values`; without any: the best value where the rule calls that perfect, else NaN."""
        values = self.values(score)
        if values:
            return float(np.mean(values))
        best = 0.0 if score == "hd95" else 1.0
        return best if self.rule.empty_is_perfect else math.nan

    def detection(self, size: Size = "all") -> Detection | None:
        """Found, false and missed lesions.

        Args:
            size: "all" counts every match. "large" and "small" take the true lesions of that size, count a match below the
                rule's least Dice as a miss, and count all false positives; rules without a size have "all" alone.

        Returns:
            None where truth has no lesion of that size; of "all" always counts.
        """
        lesions = [lesion for lesion in self.lesions if self.rule.detects(lesion.volume_mm3)]
        least = 0.0
        if size != "all" and self.rule.large_mm3 is not None:
            large = self.rule.large_mm3
            lesions = [lesion for lesion in lesions if (lesion.volume_mm3 >= large) == (size == "large")]
            least = self.rule.least_dice
            if not lesions:
                return None
        found = sum(lesion.matched and lesion.dice >= least for lesion in lesions)
        return Detection(found, len(self.false_positives), len(lesions) - found)

    def value_of(self, lesion: Lesion, score: str) -> float:
        """Value of one lesion, counted or not; that of a missed or false one as in `values`."""
        if not lesion.matched:
            return self.penalty_mm if score == "hd95" else 0.0
        return self._value(lesion, score)

    def _value(self, lesion: Lesion, score: str) -> float:
        """Value of a matched lesion."""
        return lesion.dice if score == "dice" else self.distances[lesion.number][score]


def compare_lesions(
    masks: MaskPair,
    spacing_mm: Spacing,
    rule: LesionRule,
    region: str = "",
    shape: Sequence[int] | None = None,
) -> LesionComparison:
    """Find the lesions of a structure in truth and prediction and match them by a rule.

    The dilation of one merged lesion is just its component of the dilated mask, so no lesion is dilated by itself;
    and a cut at the box of both masks changes no component, for dilated voxels meet between their origins.

    Args:
        masks: of truth and prediction, in a box that holds all of both.
        spacing_mm: distance of voxels along each axis.
        rule: of the task.
        region: name of the structure, for rules with exceptions.
        shape: of the whole array, for a penalty that is its diagonal; default: of the masks.
    """
    rule = rule.of_region(region)
    voxel_mm3 = math.prod(spacing_mm)
    truth, prediction = masks.truth.astype(bool, copy=False), masks.prediction.astype(bool, copy=False)
    removed = rule.threshold_mm3 / {"": math.inf, "voxels": 1.0, "mm3": voxel_mm3}[rule.drop_small]
    true = label_lesions(truth, rule.dilation)
    predicted = label_lesions(prediction, rule.dilation if rule.merge_prediction else 0, removed)
    voxels = np.flatnonzero(prediction)  # from here on only predicted voxels are looked at
    true_labels, predicted_labels = true.labels.ravel()[voxels], predicted.labels.ravel()[voxels]
    predicted_labels = np.where(predicted.voxels[predicted_labels] > 0, predicted_labels, 0)
    overlaps = _pair_counts(true_labels * truth.ravel()[voxels], predicted_labels)
    if rule.matching == "one-to-one":
        matches = _one_to_one(overlaps, true.voxels, predicted.voxels)
    else:
        matches = {}
        for number, other in _pair_counts(true_labels, predicted_labels):
            matches.setdefault(number, []).append(other)
    lesions = _true_lesions(rule, matches, overlaps, true.voxels, predicted.voxels, voxel_mm3)
    matched = {other for each in matches.values() for other in each}
    false_positives = [
        Lesion(number, False, int(predicted.voxels[number]), float(predicted.voxels[number] * voxel_mm3), True)
        for number in predicted.numbers
        if number not in matched
    ]
    penalty_mm = math.hypot(*(shape or truth.shape)) if rule.penalty_mm is None else rule.penalty_mm
    used_mm = (spacing_mm[2], spacing_mm[1], spacing_mm[0]) if rule.reversed_spacing else spacing_mm
    return LesionComparison(
        masks=masks,
        labels=(true.labels, predicted.labels),
        spacing_mm=used_mm,
        rule=rule,
        penalty_mm=penalty_mm,
        lesions=lesions,
        false_positives=false_positives,
        predicted=len(predicted.numbers),
    )


def _true_lesions(
    rule: LesionRule,
    matches: Mapping[int, Sequence[int]],
    overlaps: Mapping[tuple[int, int], int],
    sizes: np.ndarray,
    predicted_sizes: np.ndarray,
    voxel_mm3: float,
) -> list[Lesion]:
    """Lesions of truth with the Dice of each and the predicted lesions that belong to it.

    Args:
        rule: of the region.
        matches: true -> predicted lesions that belong to it.
        overlaps: (true, predicted lesion) -> voxels of both.
        sizes, predicted_sizes: voxels of each lesion by its number.
        voxel_mm3: volume of a voxel.
    """
    listed = []
    for number in (np.flatnonzero(sizes[1:]) + 1).tolist():
        predicted = tuple(matches.get(number, ()))
        both = sum(overlaps.get((number, other), 0) for other in predicted)
        dice = 2 * both / int(sizes[number] + predicted_sizes[list(predicted)].sum()) if predicted else 0.0
        volume = float(sizes[number] * voxel_mm3)
        listed.append(Lesion(number, True, int(sizes[number]), volume, rule.counts(volume), predicted, dice))
    return listed


def _pair_counts(one: np.ndarray, other: np.ndarray) -> dict[tuple[int, int], int]:
    """Number of voxels of each pair of labels that overlap, in rising order, of two lists of labels of the same voxels."""
    both = (one != 0) & (other != 0)
    width = np.int64(other.max(initial=0)) + 1
    codes, counts = np.unique(one[both] * width + other[both], return_counts=True)
    return {(int(code // width), int(code % width)): int(count) for code, count in zip(codes, counts, strict=True)}


def _one_to_one(overlaps: dict[tuple[int, int], int], sizes: np.ndarray, predicted: np.ndarray) -> dict[int, list[int]]:
    """Matching of true to predicted lesions with the largest sum of Dice, as lists of one.

    Groups of lesions that overlap each other are solved one by one, so many lesions make no large matrix.
    """
    from scipy.optimize import linear_sum_assignment

    found = {}
    for pairs in _overlap_groups(overlaps):
        rows, columns = ({number: i for i, number in enumerate(sorted({pair[side] for pair in pairs}))} for side in (0, 1))
        dice = np.zeros((len(rows), len(columns)))
        for number, other in pairs:
            dice[rows[number], columns[other]] = 2 * overlaps[number, other] / int(sizes[number] + predicted[other])
        numbers, others = list(rows), list(columns)
        for i, j in zip(*linear_sum_assignment(dice, maximize=True), strict=True):
            if dice[i, j] >= LEAST_OVERLAP:
                found[numbers[i]] = [others[j]]
    return found


def _overlap_groups(pairs: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Pairs (true, predicted lesion) in groups that share no lesion with another group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    listed = list(pairs)
    if not listed:
        return []
    true, predicted = np.array(listed).T
    shift = int(true.max()) + 1
    size = shift + int(predicted.max()) + 1
    graph = coo_array((np.ones(len(listed), bool), (true, predicted + shift)), shape=(size, size))
    groups: dict[int, list[tuple[int, int]]] = {}
    for pair, group in zip(listed, connected_components(graph, directed=False)[1][true].tolist(), strict=True):
        groups.setdefault(group, []).append(pair)
    return list(groups.values())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
