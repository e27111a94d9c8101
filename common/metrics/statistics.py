"""Means over patients, differences of them, and how far they can be trusted.

The interval is the 95 % percentile bootstrap of the mean (Efron and Tibshirani, 1993, chapter 13): patients are drawn with
replacement, never voxels, slices or cases. All columns of a table share the draws, and the draws depend on the seed and the
number of patients alone. Differences of two sets of scores are taken per patient first, so the interval is that of paired data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_PAIRS = 6  # with fewer, no result of a two-sided signed-rank test falls below 0.05
DECIMALS = 9  # to which differences are rounded before they are ranked, so that the noise of floats makes no ranks
AT_ONCE = 500  # resamples drawn at a time, which bounds memory for any number of patients


@dataclass(frozen=True)
class Summary:
    """One score over patients.

    Attributes:
        patients: how many.
        mean: over patients.
        sd: sample standard deviation; None for a single patient.
        median: over patients.
        low, high: 95 % bootstrap interval of the mean; None for a single patient, of whom no spread is known.
    """

    patients: int
    mean: float
    sd: float | None
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """How much one set of scores lies above another one of the same patients.

    Attributes:
        n: patients.
        mean: of the differences.
        low, high: 95 % bootstrap interval of the mean, patients drawn; None for a single patient.
        p: of the two-sided Wilcoxon signed-rank test; None for fewer than `FEWEST_PAIRS` patients.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


def summarise(values: Sequence[float] | np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> Summary:
    """Summarise one score, one value per patient.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    return summarise_columns(np.asarray(values, np.float64)[:, None], seed, resamples)[0]


def summarise_columns(table: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> list[Summary]:
    """Summarise several scores of the same patients.

    Args:
        table: (patients, scores).
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: no patient, or a value that is not finite.
    """
    table = np.asarray(table, np.float64)
    if len(table) == 0 or not np.isfinite(table).all():
        raise ValueError(f"expected finite values of at least one patient; received {table.shape}")
    single = len(table) == 1
    low, high = (table[0], table[0]) if single else bootstrap_interval(table, seed, resamples)
    spread = np.zeros(table.shape[1]) if single else table.std(axis=0, ddof=1)
    return [
        Summary(
            patients=len(table),
            mean=float(column.mean()),
            sd=None if single else float(spread[c]),
            median=float(np.median(column)),
            low=None if single else float(low[c]),
            high=None if single else float(high[c]),
        )
        for c, column in enumerate(table.T)
    ]


def paired_columns(one: np.ndarray, other: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> list[PairedDifference]:
    """Compare several scores of the same patients: `one` minus `other`, column by column.

    Args:
        one, other: (patients, scores), the same patients in the same order.
        seed, resamples: of the bootstrap.

    Raises:
        ValueError: shapes differ, no patient, or a value that is not finite.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape:
        raise ValueError(f"expected the same patients and scores twice; received {one.shape} and {other.shape}")
    differences = one - other
    return [
        PairedDifference(summary.patients, summary.mean, summary.low, summary.high, wilcoxon_p(column))
        for summary, column in zip(summarise_columns(differences, seed, resamples), differences.T, strict=True)
    ]


def wilcoxon_p(differences: np.ndarray) -> float | None:
    """Two-sided p of the Wilcoxon signed-rank test (Wilcoxon, 1945), patients without a difference left out as he did.

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
    """Correct the p of one family of tests (Holm, 1979), in the order given; None, a test that was not made, stays None."""
    made = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, place) in enumerate(made):
        least = max(least, min(1.0, (len(made) - rank) * p))
        corrected[place] = least
    return corrected


def bootstrap_interval(table: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % percentile bootstrap interval of each column's mean over the rows (patients)."""
    means = np.concatenate([weights @ table for weights in _draws(len(table), seed, resamples)])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    # Rounding must not push the bounds of a score that is the same in all patients outside what was seen.
    return np.clip(low, table.min(axis=0), None), np.clip(high, None, table.max(axis=0))


def _draws(patients: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Weights (resamples, patients), each row summing to 1: how often a patient is drawn, as a share."""
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, AT_ONCE):
        count = min(AT_ONCE, resamples - first)
        yield generator.multinomial(patients, np.full(patients, 1 / patients), size=count) / patients
