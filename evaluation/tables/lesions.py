"""Printed tables of lesions by volume: sensitivity and Dice of the lesions of all patients together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common.metrics.lesion_rules import LESION_RULES
from common.tables import counted, folded, wrapped
from data_prep.structures import Structure
from evaluation.scores.lesions import LesionScores
from evaluation.scores.patients import PatientScores

EDGES_MM3 = (0.0, 20.0, 100.0, 1000.0, 10000.0, float("inf"))
"""Volumes between which lesions are grouped; 20 mm3 divides small from large ones in BraTS 2026."""
NOTE = (
    "Lesions of all patients together, so there is no interval over patients. Dice: mean over true lesions, missed ones as 0; "
    "of found ones alone in the next column. Lesions that the rule's F1 and sensitivity leave out are left out here too. False "
    "positives are grouped by their own volume."
)


@dataclass(frozen=True)
class VolumeGroup:
    """Lesions of one structure between two volumes.

    Attributes:
        low, high: mm3, from and below.
        dice: (lesions,) float64, of the true lesions that the rule detects; 0 where missed.
        found: how many of them are matched.
        false_positives: predicted lesions of these volumes that belong to none.
    """

    low: float
    high: float
    dice: np.ndarray
    found: int
    false_positives: int

    @property
    def title(self) -> str:
        """Range of volumes: `20 to 100`, `10000 or more`."""
        return f"{self.low:g} or more" if np.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    @property
    def lesions(self) -> int:
        """Number of true lesions and false positives."""
        return len(self.dice) + self.false_positives

    @property
    def sensitivity(self) -> float:
        """Share of the true lesions that is found; NaN without any."""
        return self.found / len(self.dice) if len(self.dice) else float("nan")


def volume_groups(lesions: Sequence[LesionScores]) -> list[VolumeGroup]:
    """Lesions of one structure and rule by volume, from the smallest volumes on."""
    groups = []
    for low, high in pairwise(EDGES_MM3):
        inside = [lesion for lesion in lesions if low <= lesion.volume_mm3 < high]
        true = [each for each in inside if each.true and LESION_RULES[each.rule].detects(each.volume_mm3)]
        found = sum(lesion.matched for lesion in true)
        dice = np.array([lesion.dice for lesion in true], np.float64)
        groups.append(VolumeGroup(low, high, dice, found, sum(not lesion.true for lesion in inside)))
    return groups


def lesion_structures(lesions: Sequence[LesionScores], structures: Sequence[Structure]) -> list[Structure]:
    """Structures that lesions are of, in the order of `structures`, those of the schema."""
    places = {(each.kind, each.name): place for place, each in enumerate(structures)}
    return sorted({lesion.structure for lesion in lesions}, key=lambda each: places[each.kind, each.name])


def format_lesions(scores: PatientScores) -> str:
    """Text of the tables of all rules, a row per structure and range of volumes; empty without lesions."""
    parts = []
    for rule in dict.fromkeys(lesion.rule for _, _, lesion in scores.lesions):
        mine = [lesion for _, _, lesion in scores.lesions if lesion.rule == rule]
        rows = [["", "volume (mm3)", "lesions", "found", "sensitivity", "Dice", "Dice of found", "false positives"]]
        for structure in lesion_structures(mine, scores.structures):
            groups = volume_groups([lesion for lesion in mine if lesion.structure == structure])
            rows += [[structure.title, group.title, *_cells(group)] for group in groups if group.lesions]
        heading = f"Lesions by volume, {LESION_RULES[rule].title}; {counted(len(scores.patients), 'patient')}"
        if scores.missing:
            heading += f"; false positives leave out {counted(len(scores.missing), 'case')} without usable prediction"
        parts.append([*wrapped([heading]), "", *folded(rows, first=2)])
    return "\n\n".join("\n".join(part) for part in [*parts, wrapped([NOTE])]) if parts else ""


def _cells(group: VolumeGroup) -> list[str]:
    """Texts of a row; a dash where there is no lesion to average over."""
    if not len(group.dice):
        return ["0", "0", "-", "-", "-", str(group.false_positives)]
    found = f"{group.dice.sum() / group.found:.3f}" if group.found else "-"
    return [
        *(str(len(group.dice)), str(group.found), f"{group.sensitivity:.3f}", f"{group.dice.mean():.3f}", found),
        str(group.false_positives),
    ]
