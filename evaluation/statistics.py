"""Means over patients and how far they can be trusted.

The interval is the 95 % percentile bootstrap of the mean (Efron and Tibshirani, 1993, chapter 13): patients are drawn with
replacement, never voxels, slices or cases. All columns of a table share the draws, and the draws depend on the seed and the
number of patients alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
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
