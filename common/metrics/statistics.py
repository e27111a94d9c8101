"""Confidence intervals of means over patients, paired differences and their tests; never over voxels or slices.

Choice of the interval (`docs/intervals.md`, `python -m benchmarks.intervals`): simulated coverage first, then width.

* Student's t for a metric without a range, and for paired differences: 93 to 97 % coverage from 5 patients on, where a
  percentile bootstrap has 85 to 92 % up to 20 patients.
* No interval that uses the spread alone is right where some patients are missed altogether (score 0, or HD95 at its
  penalty): 6 of 10 sets of 6 patients hold none of 8 % missed patients, and Student's t then has 76 % coverage, the
  bootstrap 64 %. So a metric with a range gets the interval of a mean with an atom: Jeffreys' interval of the share of
  patients above the worst value (Brown et al., 2001), Student's t on the logit scale for the mean of these patients, and the
  interval of the product of both by the method of variance estimates recovery (MOVER; Zou and Donner, 2008). Its coverage is
  95 to 98 %, with missed patients and without (92 % in one case of 24; up to 99.9 % where some patients are nearly missed).
  Bounds that never fall short (Anderson, 1969; betting, Waudby-Smith and Ramdas, 2024) are one and a half to three times as
  wide. Where no patient was missed it is wider than Student's t, for a few patients cannot exclude that some are: by 0.15 at 6
  patients, 0.02 at 50.
* Below `FEWEST` patients there is no interval: it would be wider than half of the metric's range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
INTERVAL = f"{100 * LEVEL:g} % interval"
FEWEST = 5  # patients of an interval
FEWEST_PAIRS = 6  # with fewer, no result of a two-sided signed-rank test falls below 0.05
DECIMALS = 9  # to which scores are equal: the noise of floats makes no ranks, and no patient that is not missed
STUDENT = "Student's t"
ATOM = "t on the logit scale above the worst value and Jeffreys for the share above it, combined"
INTERVAL_NOTE = (
    f"{INTERVAL} of the mean over patients: where a metric has a worst value, t on the logit scale for the patients above it, "
    "Jeffreys for their share, and both combined (Zou and Donner, 2008); otherwise, and for differences, Student's t; none for "
    f"fewer than {FEWEST} patients"
)

Range = tuple[float, float]  # worst and best value of a metric, both finite: (0, 1) for Dice, (374, 0) for HD95


@dataclass(frozen=True)
class Summary:
    """Mean of one score over patients, with spread and interval.

    Attributes:
        patients: number of patients.
        mean: over patients; NaN without any.
        sd: sample standard deviation; None for a single patient.
        median: over patients.
        low, high: 95 % interval of the mean; None for fewer than `FEWEST` patients.
        interval_method: `STUDENT` or `ATOM`; None without an interval.
    """

    patients: int
    mean: float
    sd: float | None
    median: float
    low: float | None
    high: float | None
    interval_method: str | None = None


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of two sets of scores of the same patients.

    Attributes:
        n: patients with a value in both sets.
        mean: of the differences.
        low, high: 95 % Student t interval of the mean; None for fewer than `FEWEST` patients.
        p: of the two-sided Wilcoxon signed-rank test; None for fewer than `FEWEST_PAIRS` patients, and with `one_sided` ones.
        one_sided: patients with a value in one set alone. They are in one of both means, and not in that of the differences,
            which is then biased: a prediction gains by having no value where the other one's value is bad.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    one_sided: int = 0


def known_mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the values that are known (not NaN); NaN without any."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else math.nan


def summarise(values: Sequence[float] | np.ndarray, range_: Range | None = None) -> Summary:
    """Summary of one score, one value per patient.

    Args:
        values: (patients,).
        range_: worst and best value of the metric, or None.

    Raises:
        ValueError: no value, or one that is not finite or outside the range.
    """
    return summarise_columns(np.asarray(values, np.float64)[:, None], [range_])[0]


def summarise_columns(
    table: np.ndarray, ranges: Sequence[Range | None] | None = None, may_lack_value: Sequence[bool] | None = None
) -> list[Summary]:
    """Summaries of several scores of the same patients.

    Args:
        table: (patients, scores).
        ranges: (worst, best) value of each score, None for a score without; by default none has.
        may_lack_value: True for a score in which NaN is no value: the patient is left out of it, and `Summary.patients` counts
            the others; without any value the mean is NaN. By default NaN is refused.

    Raises:
        ValueError: no patient, or a value that is not finite or outside its range.
    """
    table = np.asarray(table, np.float64)
    missing = np.isnan(table) & np.array(False if may_lack_value is None else may_lack_value)
    if len(table) == 0 or not (np.isfinite(table) | missing).all():
        raise ValueError(f"expected finite values of at least one patient; received {table.shape}")
    given = [None] * table.shape[1] if ranges is None else ranges
    summaries = []
    for every, range_ in zip(table.T, given, strict=True):
        column = every[~np.isnan(every)]
        if not column.size:
            summaries.append(Summary(0, math.nan, None, math.nan, None, None))
            continue
        low, high = mean_interval(column[:, None], range_) if len(column) >= FEWEST else (None, None)
        summaries.append(
            Summary(
                patients=len(column),
                mean=float(column.mean()),
                sd=float(column.std(ddof=1)) if len(column) > 1 else None,
                median=float(np.median(column)),
                low=None if low is None else float(low[0]),
                high=None if high is None else float(high[0]),
                interval_method=None if low is None else STUDENT if range_ is None else ATOM,
            )
        )
    return summaries


def student_note(scores: Sequence[str]) -> list[str]:
    """Note for scores of metrics with a worst value that have Student's interval all the same; empty without such scores."""
    listed = ", ".join(scores)
    return [f"{STUDENT}, because the value of a patient lies beyond the metric's worst value: {listed}."] if scores else []


def paired_columns(
    one: np.ndarray,
    other: np.ndarray,
    ranges: Sequence[Range | None] | None = None,
    may_lack_value: Sequence[bool] | None = None,
) -> list[PairedDifference]:
    """Paired differences of several scores: `one` minus `other`, column by column.

    Args:
        one, other: (patients, scores), the same patients in the same order.
        ranges: (worst, best) value of each score; the interval is cut where no difference can be.
        may_lack_value: True for a score in which NaN is no value; a patient without one in either set is left out; where
            one set alone lacks it, the patient is counted in `PairedDifference.one_sided`.

    Raises:
        ValueError: shapes differ, no patient, or a value that is not finite.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape:
        raise ValueError(f"expected the same patients and scores twice; received {one.shape} and {other.shape}")
    differences = one - other
    given = [None] * one.shape[1] if ranges is None else ranges
    compared = []
    summaries = summarise_columns(differences, may_lack_value=may_lack_value)
    one_sided = (np.isnan(one) != np.isnan(other)).sum(axis=0).tolist()
    for summary, column, range_, alone in zip(summaries, differences.T, given, one_sided, strict=True):
        low, high = summary.low, summary.high
        if low is not None and high is not None and range_ is not None:
            most = abs(range_[1] - range_[0])
            low, high = max(low, -most), min(high, most)
        p = None if alone else wilcoxon_p(column[~np.isnan(column)])
        compared.append(PairedDifference(summary.patients, summary.mean, low, high, p, alone))
    return compared


def mean_interval(table: np.ndarray, range_: Range | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval (95 %) of each column's mean over patients.

    Args:
        table: (patients, columns), at least two patients.
        range_: worst and best value; None for Student's t without bounds.

    Returns:
        Lower and upper bounds, (columns,) float64 each, within the range.

    Raises:
        ValueError: a value lies outside the range.
    """
    if range_ is None:
        return student_interval(table)
    worst, best = range_
    scaled = (table - worst) / (best - worst)
    if scaled.min() < 0 or scaled.max() > 1:
        raise ValueError(f"expected values of {min(range_):g} to {max(range_):g}; received {table.min():g} to {table.max():g}")
    first, last = (worst + (best - worst) * bound for bound in atom_interval(scaled))
    return (first, last) if best > worst else (last, first)


def student_interval(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student t interval (1908) of each column's mean over patients, of (patients, columns)."""
    from scipy.special import stdtrit

    patients = len(table)
    mean = table.mean(axis=0)
    half = stdtrit(patients - 1, 1 - TAIL) * table.std(axis=0, ddof=1) / np.sqrt(patients)
    return mean - half, mean + half


def atom_interval(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of scores with an atom at 0: share above 0 times the mean of those above 0.

    Share: Jeffreys' interval, up to 1 where all patients lie above 0. Mean of those above: Student's t by the delta method on
    the logit scale. Product: MOVER on the logarithmic scale (Zou and Donner, 2008).

    Args:
        scaled: (patients, columns) of 0..1; 0, the worst value, is a missed patient.

    Returns:
        Lower and upper bounds, (columns,) float64 each, of 0..1.
    """
    from scipy.special import betaincinv, expit, logit, stdtrit

    patients, above = len(scaled), scaled > 10.0**-DECIMALS
    count = above.sum(axis=0)
    some, most = np.maximum(count, 1), np.maximum(count - 1, 1)
    mean = np.clip(np.where(count > 0, (above * scaled).sum(axis=0) / some, 0.5), 1e-12, 1 - 1e-12)
    error = np.sqrt((above * (scaled - mean) ** 2).sum(axis=0) / most / some)
    half = stdtrit(most, 1 - TAIL) * error / (mean * (1 - mean))
    mean_low = np.where(count > 1, expit(logit(mean) - half), 0.0)  # of one patient above 0 no spread is known
    mean_high = np.where(count > 1, expit(logit(mean) + half), 1.0)
    share = count / patients
    share_low = np.where(count > 0, betaincinv(count + 0.5, patients - count + 0.5, TAIL), 0.0)
    share_high = np.where(count < patients, betaincinv(count + 0.5, patients - count + 0.5, 1 - TAIL), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.hypot(np.log(share_low / share), np.log(mean_low / mean))
        up = np.hypot(np.log(share_high / share), np.log(mean_high / mean))
        low, high = share * mean * np.exp(-down), share * mean * np.exp(up)
    none = count == 0
    total = scaled.mean(axis=0)
    return np.where(none, 0.0, np.minimum(low, total)), np.where(none, share_high, np.clip(high, total, 1.0))


def wilcoxon_p(differences: np.ndarray) -> float | None:
    """Two-sided p of the Wilcoxon signed-rank test (Wilcoxon, 1945), patients without a difference left out.

    Args:
        differences: (patients,) finite.

    Returns:
        p of 0..1; 1 where no patient differs, None for fewer than `FEWEST_PAIRS` patients. SciPy chooses between the exact
        distribution, permutations and the normal one by the number of patients and whether ranks are tied.
    """
    from scipy.stats import wilcoxon

    if len(differences) < FEWEST_PAIRS:
        return None
    rounded = np.round(differences, DECIMALS)
    moved = rounded[rounded != 0]
    return float(wilcoxon(moved, zero_method="wilcox").pvalue) if moved.size else 1.0


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm-corrected p of one family of tests (1979), in the order given; None, a test that was not made, stays None."""
    made = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, index) in enumerate(made):
        least = max(least, min(1.0, (len(made) - rank) * p))
        corrected[index] = least
    return corrected
