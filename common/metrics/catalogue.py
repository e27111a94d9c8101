"""Metric catalogue: every segmentation metric with its name, unit, direction, absent rule and function.

Adding a metric is one entry here (and its function in its module). Scores, tables, comparison, tuning, rankings of studies and
figures find every metric in `METRICS`; those with `by_default` are always computed, the others where they are named.
Lesion-wise metrics carry their rule in their name: `lesion_dice@brats2023-met`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from common.errors import UserError, did_you_mean
from common.metrics.borders import max_percentile, pooled_percentile
from common.metrics.label_pair import StructurePair
from common.metrics.lesion_metrics import lesion_metrics
from common.metrics.lesion_rules import LESION_RULES
from common.metrics.metric import Metric
from common.metrics.surface import robust_hausdorff, surface_dice

MISSED_MM = 374.0
"""HD95 of a structure that exactly one of truth and prediction has: the penalty of BraTS 2023 (Synapse syn51156910, code of
rachitsaluja/BraTS-2023-Metrics), just above the diagonal of 240 x 240 x 155 mm. A missed case so stays in every mean."""


def _hd95(name: str, heading: str, definition: str, compute: Callable[[StructurePair], float], **values: Any) -> Metric:
    """HD95 by one of its definitions."""
    return Metric(
        name=name,
        heading=heading,
        definition=f"95th percentile{definition}",
        compute=compute,
        unit="mm",
        limits=(0.0, math.inf),
        direction="smaller",
        both_absent=0.0,
        worst=MISSED_MM,
        needs_spacing=True,
        from_masks=True,
        decimals=2,
        shown="interval",
        **values,
    )


_CATALOGUE = (
    Metric(
        name="dice",
        heading="Dice",
        definition="2 |T and P| / (|T| + |P|)",
        compute=lambda pair: pair.overlap.dice,
        shown="interval",
    ),
    Metric(name="iou", heading="IoU", definition="|T and P| / |T or P|", compute=lambda pair: pair.overlap.iou),
    Metric(
        name="sensitivity",
        heading="sensitivity",
        definition="|T and P| / |T|",
        compute=lambda pair: pair.overlap.sensitivity,
        shown="mean",
    ),
    Metric(
        name="precision",
        heading="precision",
        definition="|T and P| / |P|",
        compute=lambda pair: pair.overlap.precision,
        shown="mean",
    ),
    _hd95(
        "hd95",
        "HD95",
        " of the distances between the surfaces of T and P in mm, by surface area, the larger of both directions "
        "(compute_robust_hausdorff of google-deepmind/surface-distance)",
        lambda pair: robust_hausdorff(pair.surfaces, 95),
    ),
    Metric(
        name="true_ml",
        heading="true volume",
        definition="volume of T in millilitres",
        compute=lambda pair: pair.overlap.truth * (pair.voxel_ml or math.nan),
        unit="ml",
        limits=(0.0, math.inf),
        direction="neither",
        both_absent=None,
        worst=None,
        needs_spacing=True,
        averaged=False,
        decimals=2,
    ),
    Metric(
        name="predicted_ml",
        heading="predicted volume",
        definition="volume of P in millilitres",
        compute=lambda pair: pair.overlap.predicted * (pair.voxel_ml or math.nan),
        unit="ml",
        limits=(0.0, math.inf),
        direction="neither",
        both_absent=None,
        worst=None,
        needs_spacing=True,
        averaged=False,
        decimals=2,
    ),
)


def _nsd(name: str, tolerance_mm: float) -> Metric:
    """Normalised surface Dice at a tolerance."""
    return Metric(
        name=name,
        heading=f"NSD {tolerance_mm:g} mm",
        definition=f"normalised surface Dice: area of the surfaces of T and P within {tolerance_mm:g} mm of the other, over "
        "the area of both (compute_surface_dice_at_tolerance of google-deepmind/surface-distance)",
        compute=lambda pair: surface_dice(pair.surfaces, tolerance_mm),
        needs_spacing=True,
        from_masks=True,
        shown="interval",
        by_default=False,
    )


_ON_REQUEST = (
    _hd95(
        "hd95_max_voxel",
        "HD95 (voxels, larger)",
        ", interpolated, of the distances between border voxels of T and P in mm, the larger of both directions "
        "(compute_hausdorff_distance of MONAI)",
        lambda pair: max_percentile(pair.borders),
        by_default=False,
    ),
    _hd95(
        "hd95_pooled",
        "HD95 (voxels, pooled)",
        ", interpolated, of the distances between border voxels of T and P in mm, both directions in one list "
        "(hd95 of medpy; panoptica)",
        lambda pair: pooled_percentile(pair.borders),
        by_default=False,
    ),
    _nsd("nsd", 1.0),
    _nsd("nsd_2mm", 2.0),
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (*_CATALOGUE, *_ON_REQUEST, *(each for rule in LESION_RULES.values() for each in lesion_metrics(rule)))
}
"""Name -> metric, the lesion-wise ones of all rules among them."""


def chosen_metrics(names: Sequence[str] = (), rules: Sequence[str] = ()) -> list[Metric]:
    """Metrics to compute, in the order of the catalogue: the default ones, those named, and all of the lesion rules named.

    Args:
        names: of `METRICS`.
        rules: of `LESION_RULES`.

    Raises:
        UserError: an unknown name.
    """
    for name in names:
        expect_metric("metrics", name)
    for name in rules:
        if name not in LESION_RULES:
            near = did_you_mean(name, LESION_RULES)
            known = "" if near else f"; they are {', '.join(LESION_RULES)}"
            raise UserError(f"--lesions: expected lesion rules of docs/metrics.md; received {name}{near}{known}")
    return [
        metric
        for metric in METRICS.values()
        if metric.by_default or metric.name in names or (metric.rule is not None and metric.rule.name in rules)
    ]


def expect_metric(option: str, name: str, judged: bool = False) -> Metric:
    """Metric by its name.

    Args:
        option: that names it, for the error.
        judged: it must have a direction.

    Raises:
        UserError: an unknown name, or one without direction.
    """
    fitting = [known for known, metric in METRICS.items() if metric.judged or not judged]
    if name in fitting:
        return METRICS[name]
    plain = [known for known in fitting if METRICS[known].rule is None]
    near = did_you_mean(name, plain) or did_you_mean(name, fitting)
    known = "" if near else f"; they are {', '.join(plain)}, and by lesion rule such as lesion_dice@brats2023-met"
    kind = "a metric with a direction" if judged else "a metric of docs/metrics.md"
    raise UserError(f"--{option}: expected {kind}; received {name}{near}{known}")


def absent_rule(metrics: Iterable[Metric]) -> str:
    """Sentence on structures that truth, prediction or both lack, for the metrics that have such a rule."""
    groups: dict[tuple[str, str], list[str]] = {}
    for metric in metrics:
        if metric.both_absent is not None and metric.worst is not None and metric.rule is None:
            unit = f" {metric.unit}" if metric.unit else ""
            values = f"{metric.both_absent:g}{unit}", f"{metric.worst:g}{unit}"
            groups.setdefault(values, []).append(metric.heading)
    rules = [f"{', '.join(names)}: {both} and {one}" for (both, one), names in groups.items()]
    return (
        "Value of a structure absent in truth and in prediction, and of one absent in only one of them (missed, or predicted "
        f"though it is not there): {'; '.join(rules)}."
    )


def rule_notes(metrics: Sequence[Metric]) -> list[str]:
    """Notes below a table: the absent rule, and each lesion rule with its version and what differs from the official code."""
    plain = [absent_rule(metrics)] if any(metric.rule is None and metric.worst is not None for metric in metrics) else []
    rules = dict.fromkeys(metric.rule.name for metric in metrics if metric.rule is not None)
    return plain + [f"{name}: {LESION_RULES[name].title}. {LESION_RULES[name].note}" for name in rules]
