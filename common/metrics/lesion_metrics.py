"""Lesion-wise metrics of a rule, as entries of the metric catalogue; the name of the rule stands behind an @."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from common.metrics.borders import BorderDistances, border_dice, pooled_percentile
from common.metrics.label_pair import StructurePair
from common.metrics.lesion_rules import LesionRule
from common.metrics.lesions import LesionComparison, Size
from common.metrics.metric import Metric


def lesion_metrics(rule: LesionRule) -> list[Metric]:
    """Metrics of a lesion rule, their names ending in `@RULE`."""
    perfect = 1.0 if rule.empty_is_perfect else math.nan
    f1 = partial(_ratio, ratio="f1", perfect=perfect)
    definition = "F1 = tp / (tp + fp / 2 + fn / 2) of lesions"
    found = [
        *_lesion_means(rule, perfect),
        _lesion(rule, "lesion_f1", "lesion F1", definition, f1, perfect),
        _lesion(
            rule,
            "lesion_sensitivity",
            "lesion sensitivity",
            "share of true lesions that are found, no value without true lesions,",
            partial(_ratio, ratio="sensitivity", perfect=math.nan),
            math.nan,
            shown="mean",
        ),
        *_lesion_counts(rule),
    ]
    sizes: list[Size] = [] if rule.large_mm3 is None else ["large", "small"]
    for size in sizes:
        limit = f"{'from' if size == 'large' else 'below'} {rule.large_mm3:g} mm3"
        compute = partial(_ratio, ratio="f1", perfect=math.nan, size=size)
        found.append(_lesion(rule, f"lesion_f1_{size}", f"F1 {size} lesions", f"F1 of lesions {limit}", compute, math.nan))
    return found + (_global_metrics(rule) if rule.reversed_spacing else [])


def _lesion_means(rule: LesionRule, perfect: float) -> list[Metric]:
    """Means of Dice, HD95 and NSD over lesions."""
    return [
        _lesion(rule, "lesion_dice", "lesion Dice", "mean Dice of lesions", lambda c: c.mean("dice"), perfect),
        _lesion(
            rule,
            "lesion_hd95",
            "lesion HD95",
            "mean HD95 of lesions in mm",
            lambda c: c.mean("hd95"),
            0.0 if rule.empty_is_perfect else math.nan,
            unit="mm",
            limits=(0.0, math.inf),
            direction="smaller",
            worst=rule.penalty_mm,
            case_worst=(lambda pair: math.hypot(*pair.case_shape)) if rule.penalty_mm is None else None,
            decimals=2,
        ),
        *(_lesion_nsd(rule, perfect, name, tolerance_mm) for name, tolerance_mm in rule.tolerances_mm.items()),
    ]


def _lesion_nsd(rule: LesionRule, perfect: float, name: str, tolerance_mm: float | None) -> Metric:
    """Mean NSD over lesions at one of the tolerances of a rule."""
    tolerance = "the smallest spacing" if tolerance_mm is None else f"{tolerance_mm:g} mm"
    heading = "lesion NSD" if name == "nsd" else f"lesion NSD {tolerance_mm:g} mm"
    return _lesion(rule, f"lesion_{name}", heading, f"mean NSD of lesions at {tolerance}", lambda c: c.mean(name), perfect)


def _lesion_counts(rule: LesionRule) -> list[Metric]:
    """Numbers of false, true and predicted lesions."""
    count: dict[str, Any] = {"limits": (0.0, math.inf), "worst": None, "both_absent": 0.0, "decimals": 2, "shown": "mean"}
    false = "predicted lesions that belong to no true one"
    true = "lesions of truth that F1 and sensitivity take in"
    return [
        _lesion(
            rule,
            "lesion_false",
            "false lesions",
            false,
            lambda c: float(len(c.false_positives)),
            direction="smaller",
            may_lack_value=True,  # of a case without a usable prediction
            **count,
        ),
        _lesion(
            rule,
            "lesions_true",
            "true lesions",
            true,
            lambda c: float(sum(rule.detects(lesion.volume_mm3) for lesion in c.lesions)),
            direction="neither",
            **count,
        ),
        _lesion(
            rule,
            "lesions_predicted",
            "predicted lesions",
            "lesions of the prediction",
            lambda c: float(c.predicted),
            direction="neither",
            **count,
        ),
    ]


def _lesion(
    rule: LesionRule,
    name: str,
    heading: str,
    definition: str,
    compute: Callable[[LesionComparison], float],
    both_absent: float = 0.0,
    **values: Any,
) -> Metric:
    """Metric of a rule, from the comparison of lesions."""
    return Metric(
        name=f"{name}@{rule.name}",
        heading=f"{heading}, {rule.name}",
        definition=f"{definition} by the rule {rule.name}: {rule.title}",
        compute=lambda pair: compute(pair.lesions(rule)),
        both_absent=None if math.isnan(both_absent) else both_absent,
        rule=rule,
        **{
            "may_lack_value": math.isnan(both_absent),
            "needs_spacing": True,
            "from_masks": True,
            "averaged": False,
            "by_default": False,
            "shown": "interval",
            **values,
        },
    )


def _ratio(comparison: LesionComparison, ratio: str, perfect: float, size: Size = "all") -> float:
    """Ratio of found, false and missed lesions; `perfect` where there is none of them, NaN where truth has none of the size."""
    detection = comparison.detection(size)
    value = math.nan if detection is None else float(getattr(detection, ratio))
    return perfect if math.isnan(value) and detection is not None else value


def _global_metrics(rule: LesionRule) -> list[Metric]:
    """Scores of whole regions as the official tool of BraTS 2026 computes them: in voxels, without spacing."""
    text = f"as {rule.version} computes it: in voxels, without spacing; without overlap the worst value"
    worst_mm = math.inf if rule.penalty_mm is None else rule.penalty_mm
    both: dict[str, Any] = {"from_masks": True, "averaged": False, "by_default": False, "may_lack_value": True, "rule": rule}
    return [
        Metric(
            name=f"global_hd95@{rule.name}",
            heading=f"global HD95, {rule.name}",
            definition=f"HD95 of border voxels, pooled, {text}",
            compute=partial(_global, worst=worst_mm, compute=pooled_percentile),
            unit="voxels",
            limits=(0.0, math.inf),
            direction="smaller",
            both_absent=None,
            worst=worst_mm,
            decimals=2,
            **both,
        ),
        Metric(
            name=f"global_nsd@{rule.name}",
            heading=f"global NSD, {rule.name}",
            definition=f"NSD of border voxels at half a voxel, {text}",
            compute=partial(_global, worst=0.0, compute=partial(border_dice, tolerance_mm=0.5)),
            both_absent=None,
            **both,
        ),
    ]


def _global(pair: StructurePair, worst: float, compute: Callable[[Any], float]) -> float:
    """Score of a whole region in voxels; NaN without it in both, `worst` without overlap."""
    if not pair.overlap.both:
        return worst if pair.overlap.truth or pair.overlap.predicted else math.nan
    return compute(BorderDistances(*pair.masks.borders((1.0, 1.0, 1.0)).distances))
