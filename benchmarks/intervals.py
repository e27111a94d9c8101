"""Command: simulated coverage and mean width of 95 % intervals for few patients.

    python -m benchmarks.intervals

The tables of `docs/intervals.md`, in Markdown. A cell holds the share of simulated sets of patients whose interval holds the
true value, and the interval's mean width within the metric's range.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import cli
from common.errors import expect_number
from common.metrics.classification_intervals import Interval, accuracy_interval, auc_interval, clustered_auc, f1_interval
from common.metrics.statistics import FEWEST

PATIENTS = (6, 10, 20, 50)
CLASSIFIED = (10, 20, 50)
AUCS = (0.6, 0.75, 0.9, 0.97)
ACCURACIES = (0.6, 0.75, 0.9, 0.97)
PENALTY = 374.0  # HD95 of a missed patient in mm
LOG_MM = (1.6, 0.8)  # mean and standard deviation of ln(HD95 / mm)
Cells = dict[str, list[str]]
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(kw_only=True)
class IntervalsConfig:
    """Simulated coverage and mean width of 95 % intervals for few patients."""

    sets: int = 10_000
    """Simulated sets of patients of each cell, for intervals without resampling."""
    slow_sets: int = 1_500
    """Simulated sets for bootstraps, and for AUC, accuracy and F1."""
    resamples: int = 1_000
    """Resamples of a bootstrap."""
    seed: int = 0
    """Seed of the simulation."""

    def check(self) -> None:
        """Refuse numbers that simulate nothing."""
        for name in ("sets", "slow_sets", "resamples"):
            expect_number(name, getattr(self, name), 2)


@dataclass(frozen=True)
class Scores:
    """Distribution of one metric over patients.

    Attributes:
        title: of its table.
        draw: (generator, sets, patients) -> scores.
        mean: true mean.
        worst, best: ends of the metric's range; both infinite where it has none.
    """

    title: str
    draw: Draw
    mean: float
    worst: float = 0.0
    best: float = 1.0


def main(config: IntervalsConfig) -> None:
    """Print all tables."""
    config.check()
    start = time.process_time()
    for scores in SCORES:
        print_table(f"{scores.title}; true mean {scores.mean:.4g}", [f"n = {n}" for n in PATIENTS], mean_rows(scores, config))
    columns = ["t, none missed", "t, 8 % missed", "atom, none", "atom, 8 %"]
    print_table(f"Very few patients: Student t and mean with an atom; none below {FEWEST}", columns, few_rows(config))
    for share, spread in ((0.5, 1.0), (0.3, 1.0), (0.3, 2.0)):
        for n in CLASSIFIED:
            positives = round(n * share)
            title = f"AUC, {positives} positive and {n - positives} negative patients"
            title += "" if spread == 1 else f", spread of positives {spread:g} times that of negatives"
            print_table(title, [f"AUC {auc}" for auc in AUCS], auc_rows(positives, n - positives, spread, config))
    for correlation in (0.3, 0.6, 0.9):
        for n in CLASSIFIED:
            title = f"AUC over 2 to 15 slices of each of {n} patients, half positive, correlation {correlation}"
            print_table(title, [f"AUC {auc}" for auc in AUCS], slice_rows(n, correlation, config))
    for n in CLASSIFIED:
        columns = [f"accuracy {value}" for value in ACCURACIES]
        print_table(f"Accuracy and F1 of {n} patients, half of them positive", columns, accuracy_rows(n, config))
    print(f"\n{time.process_time() - start:.0f} s of CPU")


def print_table(title: str, columns: list[str], rows: Cells) -> None:
    """Print one table in Markdown."""
    width = max(map(len, ["interval", *rows]))
    print(f"\n**{title}**\n\n| {'interval':{width}} | " + " | ".join(f"{name:>13}" for name in columns) + " |")
    print(f"|{'-' * (width + 2)}|" + "|".join(["-" * 15] * len(columns)) + "|")
    for name, cells in rows.items():
        print(f"| {name:{width}} | " + " | ".join(f"{cell:>13}" for cell in cells) + " |", flush=True)


def cell(low: np.ndarray, high: np.ndarray, true: float, scale: float = 1.0) -> str:
    """Coverage and mean width of intervals, `0.946 0.239`; rounding errors count as covered."""
    covered = np.mean((low <= true + 1e-12) & (true - 1e-12 <= high))
    width = f"{np.mean(high - low) * scale:.3f}" if scale == 1 else f"{np.mean(high - low) * scale:.1f}"
    return f"{covered:.3f} {width}"


def _missed(a: float, b: float, share: float) -> Draw:
    def draw(rng: np.random.Generator, sets: int, n: int) -> np.ndarray:
        return np.where(rng.random((sets, n)) < share, 0.0, rng.beta(a, b, (sets, n)))

    return draw


def _nearly_missed(rng: np.random.Generator, sets: int, n: int) -> np.ndarray:
    return np.where(rng.random((sets, n)) < 0.08, rng.uniform(0, 0.05, (sets, n)), rng.beta(12, 2, (sets, n)))


def _hd95(rng: np.random.Generator, sets: int, n: int) -> np.ndarray:
    found = np.minimum(rng.lognormal(*LOG_MM, (sets, n)), PENALTY)
    return np.where(rng.random((sets, n)) < 0.05, PENALTY, found)


def _difference(rng: np.random.Generator, sets: int, n: int) -> np.ndarray:
    """Dice minus Dice: a shift of 0.02, and a spread that itself differs between patients."""
    return 0.02 + 0.05 * rng.standard_normal((sets, n)) * rng.choice([0.5, 1.0, 3.0], (sets, n))


SCORES = (
    Scores("Dice like beta(8, 2)", _missed(8, 2, 0), 0.8),
    Scores("Dice like beta(12, 2), 8 % of the patients missed", _missed(12, 2, 0.08), 0.92 * 12 / 14),
    Scores("Dice like beta(3, 2.2)", _missed(3, 2.2, 0), 3 / 5.2),
    Scores("Dice like beta(20, 2), 3 % missed", _missed(20, 2, 0.03), 0.97 * 20 / 22),
    Scores("Dice like beta(12, 2), 8 % nearly missed (0 to 0.05)", _nearly_missed, 0.92 * 12 / 14 + 0.08 * 0.025),
    Scores(
        "HD95 in mm, lognormal, 5 % missed (374 mm)",
        _hd95,
        0.95 * float(np.exp(LOG_MM[0] + LOG_MM[1] ** 2 / 2)) + 0.05 * PENALTY,
        PENALTY,
        0.0,
    ),
    Scores("Paired difference of Dice, heavy tails", _difference, 0.02, np.inf, np.inf),
)


def mean_rows(scores: Scores, config: IntervalsConfig) -> Cells:
    """Coverage and width of each interval of a mean, at each number of patients."""
    from benchmarks.interval_methods import BOUNDED, UNBOUNDED, bootstraps

    bounded = np.isfinite(scores.worst)
    shift, scale = (scores.worst, scores.best - scores.worst) if bounded else (0.0, 1.0)
    true, rows = (scores.mean - shift) / scale, Cells()
    for n in PATIENTS:
        drawn = (scores.draw(np.random.default_rng([config.seed, n]), config.sets, n) - shift) / scale
        found = {name: method(drawn) for name, method in (BOUNDED if bounded else UNBOUNDED).items()}
        found |= bootstraps(drawn[: config.slow_sets], config.resamples)
        for name, (low, high) in found.items():
            limits = (np.clip(low, 0, 1), np.clip(high, 0, 1)) if bounded else (low, high)
            rows.setdefault(name, []).append(cell(*limits, true, abs(scale)))
    return rows


def few_rows(config: IntervalsConfig) -> Cells:
    """Coverage and width for very few patients, from which `FEWEST` was chosen."""
    from benchmarks.interval_methods import atom, student

    rows = Cells()
    for n in range(2, 8):
        for method in (student, atom):
            for scores in SCORES[:2]:
                drawn = scores.draw(np.random.default_rng([config.seed, n]), config.sets, n)
                low, high = method(drawn)
                rows.setdefault(f"n = {n}", []).append(cell(np.clip(low, 0, 1), np.clip(high, 0, 1), scores.mean))
    return rows


def auc_rows(m: int, n: int, spread: float, config: IntervalsConfig) -> Cells:
    """Coverage and width of each interval of the AUC of normal scores, at each true AUC."""
    from benchmarks.interval_methods import auc_intervals

    rows = Cells()
    for true in AUCS:
        rng = np.random.default_rng([config.seed, m, n, round(100 * true)])
        positives = rng.normal(_shift(true, spread), spread, (config.slow_sets, m))
        negatives = rng.normal(0, 1, (config.slow_sets, n))
        found = auc_intervals(positives, negatives, config.resamples)
        truth = np.arange(m + n) < m
        own = (auc_interval(truth, np.concatenate(pair)) for pair in zip(positives, negatives, strict=True))
        for name, (low, high) in {**found, "Newcombe 5, scaled": _arrays(own)}.items():
            rows.setdefault(name, []).append(cell(np.clip(low, 0, 1), np.clip(high, 0, 1), true))
    return rows


def slice_rows(patients: int, correlation: float, config: IntervalsConfig) -> Cells:
    """Coverage and width of intervals of the AUC over slices, at each true AUC."""
    from scipy.special import expit, logit

    from benchmarks.interval_methods import Z

    cluster = np.repeat(np.arange(patients), np.random.default_rng(config.seed).integers(2, 16, patients))
    truth, rows = cluster % 2 == 0, Cells()
    for true in AUCS:
        rng = np.random.default_rng([config.seed, patients, round(100 * correlation), round(100 * true)])
        slices = np.arange(len(truth))
        found: dict[str, list[Any]] = {"DeLong over slices": [], "logit Obuchowski": [], "Newcombe 5, scaled": []}
        for _ in range(config.slow_sets):
            common = rng.standard_normal(patients)[cluster] * correlation**0.5
            score = common + rng.standard_normal(len(truth)) * (1 - correlation) ** 0.5 + _shift(true) * truth
            for name, groups in (("DeLong over slices", slices), ("logit Obuchowski", cluster)):
                auc, variance = clustered_auc(truth, score, groups)
                inner = float(np.clip(auc, 1e-9, 1 - 1e-9))
                half = Z * max(variance, 0.0) ** 0.5
                wide = half / (inner * (1 - inner))
                bounds = expit([logit(inner) - wide, logit(inner) + wide]) if groups is cluster else (auc - half, auc + half)
                found[name].append(np.clip(bounds, 0, 1))
            found["Newcombe 5, scaled"].append(auc_interval(truth, score, cluster))
        for name, bounds in found.items():
            rows.setdefault(name, []).append(cell(*_arrays(bounds), true))
    return rows


def accuracy_rows(patients: int, config: IntervalsConfig) -> Cells:
    """Coverage and width of intervals of accuracy and F1, for patients and for slices of patients, at each true accuracy."""
    from scipy.special import ndtri

    from benchmarks.interval_methods import bootstraps, clopper_pearson

    rows, truth = Cells(), np.arange(patients) % 2
    cluster = np.repeat(np.arange(patients), np.random.default_rng(config.seed).integers(2, 16, patients))
    share = float(truth[cluster].mean())
    for true in ACCURACIES:
        rng = np.random.default_rng([config.seed, patients, round(100 * true)])
        right = rng.random((config.slow_sets, patients)) < true
        given = [_probabilities(truth, row) for row in right]
        found = {
            "percentile bootstrap": bootstraps(right.astype(float), config.resamples)["percentile bootstrap"],
            "Clopper-Pearson": clopper_pearson(right.sum(axis=1), patients),
            "Wilson": _arrays(accuracy_interval(truth, each) for each in given),
        }
        for name, (low, high) in found.items():
            rows.setdefault(f"accuracy, {name}", []).append(cell(low, high, true))
        # Both classes are as easy and as frequent, so the true F1 is the accuracy.
        rows.setdefault("F1, Wilson", []).append(cell(*_arrays(f1_interval(truth, each) for each in given), true))
        limit = ndtri(true)
        common = rng.standard_normal((config.slow_sets, patients))[:, cluster] * 0.6**0.5
        right = common + rng.standard_normal(common.shape) * 0.4**0.5 < limit
        given = [_probabilities(truth[cluster], row) for row in right]
        by_slice = _arrays(accuracy_interval(truth[cluster], each) for each in given)
        rows.setdefault("slice accuracy, naive Wilson", []).append(cell(*by_slice, true))
        by_patient = _arrays(accuracy_interval(truth[cluster], each, cluster) for each in given)
        rows.setdefault("slice accuracy, Wilson", []).append(cell(*by_patient, true))
        over = 2 * true * share / (2 * true * share + 1 - true)  # slices of both classes are not equally many
        bounds = _arrays(f1_interval(truth[cluster], each, cluster) for each in given)
        rows.setdefault("slice F1, Wilson", []).append(cell(*bounds, over))
    return rows


def _probabilities(truth: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Probabilities (n, 2) whose most probable class is the true one where `right`."""
    return np.eye(2)[np.where(right, truth, 1 - truth)]


def _shift(auc: float, spread: float = 1.0) -> float:
    """Distance of the means of normal scores with this AUC."""
    from scipy.special import ndtri

    return float(ndtri(auc) * (1 + spread**2) ** 0.5)


def _arrays(bounds: Iterable[Interval | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.array(list(bounds), np.float64).T
    return low, high


if __name__ == "__main__":
    cli.run(main, IntervalsConfig)
