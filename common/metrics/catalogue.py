"""Metric catalogue: every segmentation metric with its name, unit, direction, absent rule and function.

Adding a metric is one entry here (and its function in its module). Scores, tables, comparison, tuning, rankings of studies and
figures loop over `METRICS`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.metrics.label_pair import StructurePair
from common.metrics.surface import hd95

ARROWS = {"larger": " ↑", "smaller": " ↓", "neither": ""}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Scale of a score: its heading, unit, limits, direction and decimals.

    Attributes:
        name: key in files and options.
        heading: in tables and figures, without unit.
        unit: "" for a ratio, "mm" or "ml".
        limits: least and largest value; infinity where there is no bound.
        direction: "larger" or "smaller" values are better; "neither" for a quantity that is not judged.
        decimals: in printed tables.
    """

    name: str
    heading: str
    unit: str = ""
    limits: tuple[float, float] = (0.0, 1.0)
    direction: Literal["larger", "smaller", "neither"] = "larger"
    decimals: int = 3

    @property
    def label(self) -> str:
        """Heading with unit: `HD95 (mm)`."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    @property
    def arrow_label(self) -> str:
        """Heading with unit and the direction that is better: `HD95 (mm) ↓`."""
        return self.label + ARROWS[self.direction]

    @property
    def judged(self) -> bool:
        """True where one value can be better than another."""
        return self.direction != "neither"

    @property
    def sign(self) -> int:
        """1 where larger values are better, -1 where smaller ones are, 0 where neither is."""
        return {"larger": 1, "smaller": -1, "neither": 0}[self.direction]

    def text(self, value: float, low: float | None = None, high: float | None = None, signed: bool = False) -> str:
        """Value as printed, with its interval where both bounds are given: `0.850 [0.700, 1.000]`."""
        form = f"{'+' if signed else ''}.{self.decimals}f"
        interval = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
        return f"{value:{form}}{interval}"

    def change(self, difference: float) -> str:
        """`better`, `worse` or `equal` for a difference as printed; empty where neither direction is better."""
        moved = round(difference, self.decimals) * self.sign
        return "" if not self.judged else "better" if moved > 0 else "worse" if moved < 0 else "equal"

    def best(self, values: Iterable[float]) -> float:
        """Best of several values of a score that is judged."""
        return max(values, key=lambda value: self.sign * value)

    def worst_first(self, scores: Mapping[str, float]) -> list[str]:
        """Names from the worst value to the best, those of equal values in alphabetical order."""
        return sorted(scores, key=lambda name: (self.sign * scores[name], name))


@dataclass(frozen=True, kw_only=True)
class Metric(Scale):
    """Metric of one structure in one case.

    Attributes:
        definition: in words; T are the voxels of the structure in truth, P those in the prediction.
        compute: structure's truth and prediction -> value. Called only where both have voxels, unless `worst` is None.
        both_absent: value where neither truth nor prediction has the structure; None: `compute` gives it.
        worst: value where exactly one of them has it (missed, or predicted though it is not there); None: `compute` gives it.
        needs_spacing: True where the value is unknown without the distance of voxels.
        from_masks: True where `compute` reads masks; other metrics follow from the confusion matrix alone.
        averaged: True where the class mean has it.
        shown: "interval" in tables of scores per patient with its interval, and by default in comparisons and studies; "mean"
            without it; "files" in files alone. The table of scores on records has every metric with a direction.
    """

    definition: str
    compute: Callable[[StructurePair], float]
    both_absent: float | None = 1.0
    worst: float | None = 0.0
    needs_spacing: bool = False
    from_masks: bool = False
    averaged: bool = True
    shown: Literal["interval", "mean", "files"] = "files"

    def interval_range(self, values: Iterable[float]) -> tuple[float, float] | None:
        """(worst, best) value for the interval of a mean; None without a worst value, or where a value lies beyond it."""
        if self.worst is None or self.both_absent is None:
            return None
        low, high = sorted((self.worst, self.both_absent))
        return (self.worst, self.both_absent) if all(low <= value <= high for value in values) else None

    def __call__(self, pair: StructurePair) -> float | None:
        """Value for a structure in a case, the absent rule applied; None where it cannot be known (no spacing, no masks)."""
        if (self.needs_spacing and pair.spacing_mm is None) or (self.from_masks and not pair.has_masks):
            return None
        absent = (pair.overlap.truth == 0) + (pair.overlap.predicted == 0)
        fixed = (None, self.worst, self.both_absent)[absent]
        return self.compute(pair) if fixed is None else fixed

    def facts(self) -> dict[str, Any]:
        """Entry of a manifest: what a value of this metric means."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.limits]
        return {
            "heading": self.heading,
            "definition": self.definition,
            "unit": self.unit,
            "limits": bounds,
            "better": self.direction,
            "both_absent": self.both_absent,
            "one_absent": self.worst,
        }


MISSED_MM = 374.0
"""HD95 of a structure that exactly one of truth and prediction has: the penalty of BraTS 2023 (Synapse syn51156910, code of
rachitsaluja/BraTS-2023-Metrics), just above the diagonal of 240 x 240 x 155 mm. A missed case so stays in every mean."""

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
    Metric(
        name="hd95",
        heading="HD95",
        definition="95th percentile of the distances between the surfaces of T and P in mm, by surface area, the larger of "
        "both directions (compute_robust_hausdorff of google-deepmind/surface-distance)",
        compute=lambda pair: hd95(*pair.masks, pair.known_spacing_mm),
        unit="mm",
        limits=(0.0, math.inf),
        direction="smaller",
        both_absent=0.0,
        worst=MISSED_MM,
        needs_spacing=True,
        from_masks=True,
        decimals=2,
        shown="interval",
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
METRICS: dict[str, Metric] = {metric.name: metric for metric in _CATALOGUE}


def absent_rule(metrics: Iterable[Metric]) -> str:
    """Sentence on structures that truth, prediction or both lack, for the metrics that have such a rule."""
    groups: dict[tuple[str, str], list[str]] = {}
    for metric in metrics:
        if metric.both_absent is not None and metric.worst is not None:
            unit = f" {metric.unit}" if metric.unit else ""
            values = f"{metric.both_absent:g}{unit}", f"{metric.worst:g}{unit}"
            groups.setdefault(values, []).append(metric.heading)
    rules = [f"{', '.join(names)}: {both} and {one}" for (both, one), names in groups.items()]
    return (
        "Value of a structure absent in truth and in prediction, and of one absent in only one of them (missed, or predicted "
        f"though it is not there): {'; '.join(rules)}."
    )
