"""Classification scores: accuracy, F1, AUC, ROC curve, confusion matrix, Brier score and calibration. NumPy alone.

Truth is (n,) class indices, a prediction (n, classes) probabilities. With two classes the last one is the positive one. Scores
that are resampled take weights, (resamples, n): the count of each of the n in a resample; (resamples,) scores come back.
Without weights each counts once, and an array without axes comes back. Intervals: `common.metrics.classification_intervals`.
"""

from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Roc:
    """ROC curve: its points from (0, 0) to (1, 1), one per distinct score; float64.

    Attributes:
        false_positive_rate: share of the negatives that score at least the threshold.
        true_positive_rate: share of the positives that do.
        thresholds: falling; the first is infinite.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Reliability diagram: frequency of right predictions by their confidence, in bins of equal width.

    Attributes:
        edges: (bins + 1,) of 0..1; a bin holds its upper edge, the first its lower one as well.
        counts: (bins,) int64, number of predictions.
        confidence: (bins,) their mean probability; NaN where there are none.
        frequency: (bins,) share of them that is right; NaN where there are none.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al., 2015): mean of |frequency - confidence|, weighted by the counts."""
        filled = self.counts > 0
        gaps = np.abs(self.frequency[filled] - self.confidence[filled])
        return float((gaps * self.counts[filled]).sum() / self.counts.sum())


def predicted_classes(probabilities: np.ndarray) -> np.ndarray:
    """Most probable class of each row, (n,) int64; of equal ones the first."""
    classes: np.ndarray = probabilities.argmax(axis=1)
    return classes


def confusion(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Confusion matrix: counts by [truth, prediction], (classes, classes) int64."""
    classes = probabilities.shape[1]
    pairs = truth * classes + predicted_classes(probabilities)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Accuracy, the share of right predictions: (resamples,) float64, or () without weights."""
    weights, right = _weights(weights, len(truth)), predicted_classes(probabilities) == truth
    return np.asarray(weights @ right.astype(np.float64) / weights.sum(axis=-1))


def f1(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """F1 of the positive class, or the mean over classes where there are more than two; 0 where a class is in neither."""
    weights, predicted = _weights(weights, len(truth)), predicted_classes(probabilities)
    classes = probabilities.shape[1]
    scores = []
    for c in [1] if classes == 2 else range(classes):
        hits = np.asarray(weights @ ((truth == c) & (predicted == c)).astype(np.float64))
        both = np.asarray(weights @ ((truth == c).astype(np.float64) + (predicted == c)))
        scores.append(np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0))
    return np.asarray(np.mean(scores, axis=0))


def auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve; with more than two classes the mean of each against the rest.

    Returns:
        (resamples,) float64, or () without weights; NaN where a class is missing in truth.
    """
    classes = probabilities.shape[1]
    chosen = [1] if classes == 2 else range(classes)
    return np.asarray(np.mean([binary_auc(truth == c, probabilities[:, c], weights) for c in chosen], axis=0))


def binary_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """AUC of two classes: share of pairs in which the positive scores above the negative, ties counting a half.

    It is the U statistic of Mann and Whitney (1947) over the number of pairs.

    Args:
        positive: (n,) bool.
        score: (n,) real.
        weights: (resamples, n).

    Returns:
        (resamples,) float64, or () without weights; NaN where there are no positives or no negatives.
    """
    weights = _weights(weights, len(score))
    order = np.argsort(score, kind="stable")
    firsts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # of each distinct score
    positives = np.add.reduceat(weights[..., order] * positive[order], firsts, axis=-1)
    negatives = np.add.reduceat(weights[..., order] * ~positive[order], firsts, axis=-1)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = np.asarray(positives.sum(axis=-1) * negatives.sum(axis=-1))
    won = (positives * below).sum(axis=-1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def roc_curve(positive: np.ndarray, score: np.ndarray) -> Roc:
    """ROC curve of a score.

    Args:
        positive: (n,) bool.
        score: (n,) real.

    Raises:
        ValueError: there are no positives or no negatives.
    """
    if positive.all() or not positive.any():
        raise ValueError("expected positives and negatives; received one of them alone")
    order = np.argsort(-score, kind="stable")
    lasts = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each distinct score
    hits = np.cumsum(positive[order])[lasts]
    alarms = lasts + 1 - hits
    return Roc(
        false_positive_rate=np.concatenate([[0.0], alarms / alarms[-1]]),
        true_positive_rate=np.concatenate([[0.0], hits / hits[-1]]),
        thresholds=np.concatenate([[np.inf], score[order][lasts]]),
    )


def brier(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Brier score (1950), 0 at best: with two classes the mean squared error of the positive one's probability, otherwise of
    all classes' probabilities, summed over the classes.
    """
    right = np.eye(probabilities.shape[1])[truth]
    squares = ((probabilities - right) ** 2).sum(axis=1)
    return float(squares.mean() / (2 if probabilities.shape[1] == 2 else 1))


def calibration(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Calibration:
    """Reliability diagram (Guo et al., 2017) of the positive class's probability, of more classes of the predicted one's."""
    binary = probabilities.shape[1] == 2
    given = probabilities[:, 1] if binary else probabilities.max(axis=1)
    right = truth == (1 if binary else predicted_classes(probabilities))
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], given)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, given, bins) / counts
        frequency = np.bincount(index, right, bins) / counts
    return Calibration(edges, counts, confidence, frequency)


def _weights(weights: np.ndarray | None, count: int) -> np.ndarray:
    return np.ones(count) if weights is None else np.asarray(weights, np.float64)
