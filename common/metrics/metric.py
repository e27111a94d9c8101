"""Metric and its scale as values: name, unit, direction, limits, absent rule, and the function of a structure in a case."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.metrics.label_pair import StructurePair
from common.metrics.lesion_rules import LesionRule

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

        def one(number: float) -> str:
            return f"{number if round(number, self.decimals) else 0.0:{form}}"  # no -0.000

        return one(value) + ("" if low is None or high is None else f" [{one(low)}, {one(high)}]")

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
        by_default: False for a metric that is computed only where it is named.
        rule: of lesions; `compute` then applies the absent rule, and `both_absent` and `worst` only describe it.
        may_lack_value: NaN from `compute` means that the rule gives no value; the patient is left out of the mean and counted.
        case_worst: `worst` of a rule whose penalty depends on the case, such as the diagonal of its array.
    """

    definition: str
    compute: Callable[[StructurePair], float]
    both_absent: float | None = 1.0
    worst: float | None = 0.0
    needs_spacing: bool = False
    from_masks: bool = False
    averaged: bool = True
    shown: Literal["interval", "mean", "files"] = "files"
    by_default: bool = True
    rule: LesionRule | None = None
    may_lack_value: bool = False
    case_worst: Callable[[StructurePair], float] | None = None

    def interval_range(self, values: Iterable[float]) -> tuple[float, float] | None:
        """(worst, best) value for the interval of a mean; None without a worst value, or where a value lies beyond it.

        NaN, no value, is passed over.
        """
        best = self.limits[self.sign > 0]
        if self.worst is None or not math.isfinite(best):
            return None
        low, high = sorted((self.worst, best))
        return (self.worst, best) if all(low <= value <= high for value in values if not math.isnan(value)) else None

    def __call__(self, pair: StructurePair) -> float | None:
        """Value for a structure in a case, the absent rule applied; None where it cannot be known (no spacing, no masks).

        Raises:
            ValueError: NaN from a metric that must have a value.
        """
        if (self.needs_spacing and pair.spacing_mm is None) or (self.from_masks and not pair.has_masks):
            return None
        absent = (pair.overlap.truth == 0) + (pair.overlap.predicted == 0)
        fixed = None if self.rule else (None, self.worst, self.both_absent)[absent]
        value = self.compute(pair) if fixed is None else fixed
        if math.isnan(value) and not self.may_lack_value:
            raise ValueError(f"expected a value of {self.name}; received NaN")
        return value

    def worst_in(self, pair: StructurePair) -> float | None:
        """Value that a case without a usable prediction counts.

        Returns:
            The worst value; NaN, no value, for a metric that has a direction and no worst value, such as a number of false
            lesions; None for one without direction, whose value is that of an empty prediction.
        """
        if self.case_worst is not None:
            return self.case_worst(pair)
        return math.nan if self.worst is None and self.judged else self.worst

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
            "lesion_rule": None if self.rule is None else self.rule.facts(),
        }
