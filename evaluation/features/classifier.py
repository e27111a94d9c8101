"""Linear classifier of pooled features: standardisation and logistic regression, its C chosen in nested folds by patient.

Each fold standardises its features by its own training patients. C, the inverse strength of the L2 penalty, is that with the
lowest cross-entropy over the patients of inner folds of the training patients, of equal ones the smallest. Test patients have
no part in either. Each patient has the same weight, however many cases it has; with `balance` each class has the same weight.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.features.unseen import deal

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ITERATIONS = 5000
LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Samples:
    """Features of cases; all have one entry per case.

    Attributes:
        features: (n, F) float64.
        targets: (n,) class indices.
        patients: ids.
    """

    features: np.ndarray
    targets: np.ndarray
    patients: list[str]

    def of(self, patients: Sequence[str]) -> "Samples":
        """Cases of some patients."""
        rows = [row for row, patient in enumerate(self.patients) if patient in patients]
        return Samples(self.features[rows], self.targets[rows], [self.patients[row] for row in rows])

    def weights(self, balance: bool) -> np.ndarray:
        """Weight of each case, (n,) of mean 1: patients weigh alike, or with `balance` classes do, and in them patients."""
        cases = Counter(self.patients)
        weights = np.array([1 / cases[patient] for patient in self.patients])
        if balance:
            weights /= np.bincount(self.targets, weights)[self.targets]
        return weights / weights.mean()


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of the classifier.

    Attributes:
        c: values to choose from.
        inner_folds: most inner folds; there are as many as the rarest class has training patients, if these are fewer.
        balance: whether classes weigh alike.
        seed: of the inner folds.
    """

    c: tuple[float, ...]
    inner_folds: int
    balance: bool
    seed: int


@dataclass(frozen=True)
class Fitted:
    """Classifier of one fold.

    Attributes:
        pipeline: fitted on all training patients.
        c: chosen.
        losses: mean cross-entropy over inner folds for each C, in rising order; empty where there was one value alone.
        inner_folds: number of them.
    """

    pipeline: "Pipeline"
    c: float
    losses: list[float]
    inner_folds: int


def fit(train: Samples, config: ClassifierConfig) -> Fitted:
    """Choose C and fit the classifier on all training cases.

    Args:
        train: at least two patients of each class.
        config: settings.
    """
    if len(config.c) == 1:
        return Fitted(_pipeline(train, config.c[0], config.balance), config.c[0], [], 0)
    targets = dict(zip(train.patients, train.targets.tolist(), strict=True))
    count = min(config.inner_folds, *Counter(targets.values()).values())
    fold_of = deal(targets, {patient: range(count) for patient in targets}, config.seed)
    values = sorted(config.c)
    losses = np.zeros(len(values))
    weights = train.weights(config.balance)
    for fold in range(count):
        inside = train.of([patient for patient in targets if fold_of[patient] != fold])
        rows = [row for row, patient in enumerate(train.patients) if fold_of[patient] == fold]
        for place, c in enumerate(values):
            found = _pipeline(inside, c, config.balance).predict_proba(train.features[rows])
            right = found[np.arange(len(rows)), train.targets[rows]]
            losses[place] -= (weights[rows] * np.log(np.maximum(right, LEAST_PROBABILITY))).sum() / len(train.patients)
    chosen = values[int(losses.argmin())]
    return Fitted(_pipeline(train, chosen, config.balance), chosen, losses.tolist(), count)


def _pipeline(train: Samples, c: float, balance: bool) -> "Pipeline":
    """Standardisation and logistic regression (cross-entropy and an L2 penalty of 1 / C), fitted."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a large C on separable classes has no finite optimum
        return pipeline.fit(train.features, train.targets, logisticregression__sample_weight=train.weights(balance))
