"""Scores of one case: the chosen metrics of every structure, its lesions, and what a case without usable prediction counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.metrics.catalogue import chosen_metrics
from common.metrics.label_pair import LabelPair, StructurePair
from common.metrics.metric import Metric
from common.metrics.statistics import known_mean
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, Structure, averaged, distinct, scored_structures
from evaluation.scores.lesions import LesionScores, lesion_scores, rule_structures

ScoreKey = tuple[Structure, str]
"""Key of a score: a structure, and the name of a metric of the catalogue."""


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
    """Metrics of every structure of a case, those of a lesion rule for its own regions alone.

    The class mean is that of the foreground classes.

    Args:
        pair: truth and prediction; of a case without usable prediction an empty one.
        schema: of the classes.
        metrics: to compute; by default those of the catalogue that need not be named.
        missing: the case has no usable prediction, so every metric takes its `Metric.worst_in`, whatever truth holds.
    """
    metrics = chosen_metrics() if metrics is None else metrics
    plain = [metric for metric in metrics if metric.rule is None]
    values: dict[ScoreKey, float] = {}
    absent: set[Structure] = set()
    structures = scored_structures(schema)
    for first, others in distinct(structures).items():
        if not first.members:
            continue
        found = pair.structure(first.members, first.name)
        known = _values(found, plain, missing)
        for structure in (first, *others):
            if structure != CLASS_MEAN:
                values |= {(structure, name): value for name, value in known.items()}
                absent |= {structure} if found.overlap.truth == 0 else set()
    lesions: list[LesionScores] = []
    for rule in dict.fromkeys(metric.rule for metric in metrics if metric.rule is not None):
        own = [metric for metric in metrics if metric.rule == rule]
        for region, structure in rule_structures(rule, structures).items():
            found = pair.structure(structure.members, region)
            values |= {(structure, name): value for name, value in _values(found, own, missing).items()}
            if found.has_masks and found.spacing_mm is not None:
                lesions += lesion_scores(found, structure, rule.name)
    classes = averaged(CLASS_MEAN, schema)
    for metric in plain:
        if metric.averaged and (classes[0], metric.name) in values:
            values[CLASS_MEAN, metric.name] = float(np.mean([values[each, metric.name] for each in classes]))
    return CaseScores(values, absent, lesions)


def mean_over(cases: Sequence[CaseScores], key: ScoreKey) -> float:
    """Mean of a score over the cases of a patient that have a value; NaN without any."""
    return known_mean([case.values[key] for case in cases])


def _values(pair: StructurePair, metrics: Sequence[Metric], missing: bool) -> dict[str, float]:
    """Values of metrics by name, or the worst ones; those that cannot be known are left out."""
    values: dict[str, float] = {}
    for metric in metrics:
        value = metric(pair)
        worst = metric.worst_in(pair) if missing and value is not None else None
        if value is not None:
            values[metric.name] = value if worst is None else worst
    return values
