"""Command: simulated coverage of the intervals of cross-validated linear classifiers.

    python -m benchmarks.cross_validated_intervals

A table of `docs/intervals.md`, in Markdown. Each set of patients has new random features and is cross-validated as by
`evaluation.classify_features`, with C fixed. The true value is the mean over all sets, without signal 0.5.
"""

from dataclasses import dataclass

import numpy as np

from common import cli
from common.errors import expect_number
from common.metrics.classification import accuracy, binary_auc
from common.metrics.classification_intervals import CROSS_VALIDATED, Interval, accuracy_interval, auc_interval
from common.tables import markdown
from evaluation.features.classifier import ClassifierConfig, Samples, fit
from evaluation.features.unseen import deal

PATIENTS = (20, 40)
SIGNALS = (0.0, 2.0, 4.0)


@dataclass(kw_only=True)
class CrossValidatedIntervalsConfig:
    """Simulated coverage of the intervals of cross-validated linear classifiers."""

    sets: int = 300
    """Simulated sets of patients of each row, half of them positive."""
    features: int = 100
    """Normally distributed features, of which one tells the class."""
    folds: int = 4
    """Outer folds."""
    c: float = 0.01
    """Inverse strength of the penalty."""
    seed: int = 0
    """Seed of the simulation."""

    def check(self) -> None:
        """Refuse numbers that simulate nothing."""
        for name in ("sets", "features", "folds"):
            expect_number(name, getattr(self, name), 2)
        expect_number("c", self.c, 0, above=True)


def main(config: CrossValidatedIntervalsConfig) -> None:
    """Print the table."""
    config.check()
    rows = [["patients", "signal", "mean AUC", "SD of the AUC", "AUC", "AUC, inflated", "accuracy", "accuracy, inflated"]]
    for patients in PATIENTS:
        for signal in SIGNALS:
            rows.append([str(patients), f"{signal:g} SD", *simulate(config, patients, signal)])
    print(markdown(rows))


def simulate(config: CrossValidatedIntervalsConfig, patients: int, signal: float) -> list[str]:
    """Cells of one row: mean and deviation of the AUC over sets; coverage of both intervals, each plain and inflated.

    Args:
        config: of the simulation.
        patients: of each set.
        signal: distance of the classes in the first feature, in standard deviations.
    """
    scores: list[tuple[float, float]] = []
    intervals: list[list[Interval]] = []
    for number in range(config.sets):
        truth, probabilities = cross_validated(config, patients, signal, config.seed + number)
        scores.append((float(binary_auc(truth == 1, probabilities[:, 1])), float(accuracy(truth, probabilities))))
        given = truth, probabilities, None
        intervals.append(
            [each(*given, factor) for each in (auc_interval, accuracy_interval) for factor in (1.0, CROSS_VALIDATED)]
        )
    values = np.array(scores)
    true = values.mean(axis=0) if signal else np.array([0.5, 0.5])
    held = [
        np.mean([low is not None and high is not None and low <= true[place // 2] <= high for low, high in found])
        for place, found in enumerate(zip(*intervals, strict=True))
    ]
    return [f"{values[:, 0].mean():.3f}", f"{values[:, 0].std():.3f}", *(f"{share:.3f}" for share in held)]


def cross_validated(
    config: CrossValidatedIntervalsConfig, patients: int, signal: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n,) and predicted probabilities (n, 2) of one set; arguments as of `simulate`."""
    rng = np.random.default_rng(seed)
    truth = np.arange(patients) % 2
    features = rng.normal(size=(patients, config.features))
    features[:, 0] += signal * truth
    names = [f"{number:03}" for number in range(patients)]
    fold_of = deal(dict(zip(names, truth.tolist(), strict=True)), {name: range(config.folds) for name in names}, seed)
    samples, found = Samples(features, truth, names), np.zeros((patients, 2))
    settings = ClassifierConfig((config.c,), 2, True, seed)
    for fold in range(config.folds):
        train = samples.of([name for name in names if fold_of[name] != fold])
        rows = [row for row, name in enumerate(names) if fold_of[name] == fold]
        found[rows] = fit(train, settings).pipeline.predict_proba(features[rows])
    return truth, found


if __name__ == "__main__":
    cli.run(main, CrossValidatedIntervalsConfig)
