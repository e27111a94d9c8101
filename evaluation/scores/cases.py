"""Scores of one case: the chosen metrics of every structure, its lesions, and what a case without usable prediction counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.metrics.catalogue import chosen_metrics
from common.metrics.label_pair import LabelPair, StructurePair
from common.metrics.lesion_rules import LESION_RULES
from common.metrics.metric import Metric
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, Structure, averaged, distinct, scored_structures

ScoreKey = tuple[Structure, str]
"""Key of a score: a structure, and the name of a metric of the catalogue."""


@dataclass(frozen=True)
class LesionScores:
    """Lesion of truth, or false positive, in one case under one rule; a row of per_lesion.csv.

    Attributes:
        structure: that the lesion is of.
        rule: name.
        true: False for a false positive.
        counted: the rule counts a lesion of this volume.
        volume_mm3: of the lesion.
        matched: a predicted lesion belongs to it.
        dice, hd95, nsd: with the predicted lesions that belong to it; of a missed or false one the rule's worst values.
    """

    structure: Structure
    rule: str
    true: bool
    counted: bool
    volume_mm3: float
    matched: bool
    dice: float
    hd95: float
    nsd: float


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case.

    Attributes:
        values: a number for each structure and metric that is known; NaN where a rule gives no value.
        absent: the structures that are absent in truth.
        lesions: of the rules among the metrics.
    """

    values: dict[ScoreKey, float]
    absent: set[Structure]
    lesions: list[LesionScores] = field(default_factory=list)


def score_case(
    pair: LabelPair, schema: LabelSchema, metrics: Sequence[Metric] | None = None, missing: bool = False
) -> CaseScores:
    """Metrics of every structure of a case; the class mean is that of the foreground classes.

    Args:
        pair: truth and prediction; of a case without usable prediction an empty one.
        schema: of the classes.
        metrics: to compute; by default those of the catalogue that need not be named.
        missing: the case has no usable prediction, so every metric with a worst value takes it, whatever truth holds.
    """
    metrics = chosen_metrics() if metrics is None else metrics
    values: dict[ScoreKey, float] = {}
    absent: set[Structure] = set()
    lesions: list[LesionScores] = []
    rules = list(dict.fromkeys(metric.rule.name for metric in metrics if metric.rule is not None))
    for first, others in distinct(scored_structures(schema)).items():
        if not first.members:
            continue
        found = pair.structure(first.members, first.name)
        known = {metric.name: value for metric in metrics if (value := _value(metric, found, missing)) is not None}
        for structure in (first, *others):
            if structure != CLASS_MEAN:
                values |= {(structure, name): value for name, value in known.items()}
                absent |= {structure} if found.overlap.truth == 0 else set()
        if found.has_masks and found.spacing_mm is not None:
            lesions += [lesion for rule in rules for lesion in lesion_scores(found, first, rule)]
    classes = averaged(CLASS_MEAN, schema)
    for metric in metrics:
        if metric.averaged and (classes[0], metric.name) in values:
            values[CLASS_MEAN, metric.name] = float(np.mean([values[each, metric.name] for each in classes]))
    return CaseScores(values, absent, lesions)


def lesion_scores(pair: StructurePair, structure: Structure, rule: str) -> list[LesionScores]:
    """Lesions of a structure under a rule: those of truth, then false positives."""
    compared = pair.lesions(LESION_RULES[rule])
    return [
        LesionScores(
            structure,
            rule,
            lesion.true,
            lesion.counted,
            lesion.volume_mm3,
            lesion.matched,
            *(compared.value_of(lesion, score) for score in ("dice", "hd95", "nsd")),
        )
        for lesion in (*compared.lesions, *compared.false_positives)
    ]


def mean_over(cases: Sequence[CaseScores], key: ScoreKey) -> float:
    """Mean of a score over the cases of a patient that have a value; NaN without any."""
    known = [case.values[key] for case in cases if not math.isnan(case.values[key])]
    return float(np.mean(known)) if known else math.nan


def _value(metric: Metric, pair: StructurePair, missing: bool) -> float | None:
    """Value of a metric, or the worst one."""
    value = metric(pair)
    worst = metric.worst_in(pair) if missing and value is not None else None
    return value if worst is None else worst
