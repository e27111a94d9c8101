"""Confidence intervals of accuracy, F1 and AUC, for patients and for slices clustered in patients.

Choice of the intervals (`docs/intervals.md`, `python -m benchmarks.intervals`): simulated coverage first, then width. All are
score intervals: the variance is that of the bound, not that of the estimate. So an AUC or accuracy of 1 in a small sample has
an interval of positive width, which DeLong's method and every bootstrap lack.

Slices of one patient resemble each other. They count for no more than their patient does: sample sizes are numbers of patients,
and smaller ones where the variance between patients is larger than that.
"""

from collections.abc import Callable

import numpy as np

from common.metrics.classification import predicted_classes
from common.metrics.statistics import FEWEST, LEVEL

AUC_INTERVAL = f"{100 * LEVEL:g} % score interval"
AUC_INTERVAL_NOTE = (
    f"{AUC_INTERVAL}: Newcombe's (2006) method 5 for the AUC, Wilson's (1927) for accuracy and F1; sample sizes are numbers of "
    f"patients; none for fewer than {FEWEST}"
)
CROSS_VALIDATED = 1.8
"""Inflation for a cross-validated linear classifier of features: classifiers of folds share training patients, so predictions
are not independent (Bengio and Grandvalet, 2004). Chosen by simulated coverage (docs/intervals.md)."""
NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %
HALVINGS = 60  # of a bisection on 0..1, down to rounding

Interval = tuple[float, float] | tuple[None, None]


def accuracy_interval(
    truth: np.ndarray, probabilities: np.ndarray, cluster: np.ndarray | None = None, inflation: float = 1.0
) -> Interval:
    """Wilson score interval of the accuracy.

    Args:
        truth: (n,) class indices.
        probabilities: (n, classes).
        cluster: (n,) the patient of each slice; None where each of the n is a patient.
        inflation: factor of the variance, such as `CROSS_VALIDATED`.

    Returns:
        95 % bounds; None for fewer than `FEWEST` patients.
    """
    return ratio_interval(predicted_classes(probabilities) == truth, np.ones(len(truth)), cluster, inflation)


def f1_interval(
    truth: np.ndarray, probabilities: np.ndarray, cluster: np.ndarray | None = None, inflation: float = 1.0
) -> Interval:
    """Score interval of the F1 of the positive class, or of the mean over classes where there are more than two.

    F1 = 2 J / (1 + J), and J = TP / (TP + FP + FN) is a proportion: F1's bounds are those of J's Wilson interval. Bounds of a
    mean over classes are the means of the bounds, as if all classes erred together, which is the widest that it can be.

    Args:
        truth: (n,) class indices.
        probabilities: (n, classes).
        cluster: (n,) the patient of each slice; None where each of the n is a patient.
        inflation: factor of the variance, such as `CROSS_VALIDATED`.

    Returns:
        95 % bounds; None for fewer than `FEWEST` patients, or where a class is neither in truth nor predicted.
    """

    def one(c: int) -> Interval:
        true, predicted = truth == c, predicted_classes(probabilities) == c
        low, high = ratio_interval(true & predicted, true | predicted, cluster, inflation)
        return (None, None) if low is None or high is None else (2 * low / (1 + low), 2 * high / (1 + high))

    return _mean_over_classes(probabilities.shape[1], one)


def auc_interval(truth: np.ndarray, score: np.ndarray, cluster: np.ndarray | None = None, inflation: float = 1.0) -> Interval:
    """Score interval of the area under the ROC curve: Newcombe's (2006) method 5, for clusters too.

    Bounds are the AUCs that lie a normal quantile of their own standard errors from the estimate. The variance is Hanley and
    McNeil's (1982) as a function of the AUC, with numbers of patients as sample sizes. Where the empirical variance between
    patients (DeLong et al., 1988; Obuchowski, 1997, for clusters) is larger, the function is multiplied by their ratio at the
    estimate: so unequal spreads of both classes, and clusters that hold both classes, are accounted for.

    Args:
        truth: (n,) bool or 0 and 1; class indices where `score` has columns.
        score: (n,) real; or (n, classes) probabilities: of two classes the last one's is taken, of more the mean of each class
            against the rest, whose bounds are the means of the classes' bounds (the widest that it can be).
        cluster: (n,) the patient of each slice; None where each of the n is a patient.
        inflation: factor of the variance, such as `CROSS_VALIDATED`.

    Returns:
        95 % bounds; None for fewer than `FEWEST` patients, or where a class is missing in truth.
    """
    if score.ndim == 2:
        return _mean_over_classes(score.shape[1], lambda c: auc_interval(truth == c, score[:, c], cluster, inflation))
    patients, index = np.unique(np.arange(len(truth)) if cluster is None else cluster, return_inverse=True)
    positive = truth.astype(bool)
    if len(patients) < FEWEST or positive.all() or not positive.any():
        return None, None
    estimate, empirical = clustered_auc(positive, score, index)
    sizes = len(np.unique(index[positive])), len(np.unique(index[~positive]))
    expected = hanley_mcneil_variance(estimate, *sizes)
    factor = inflation * (max(1.0, empirical / expected) if expected > 0 else 1.0)
    bounds = []
    for end in (0.0, 1.0):
        inside, outside = estimate, end
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            error = (factor * hanley_mcneil_variance(middle, *sizes)) ** 0.5
            if abs(middle - estimate) <= NORMAL_QUANTILE * error:
                inside = middle
            else:
                outside = middle
        bounds.append(inside)
    return bounds[0], bounds[1]


def accuracy_difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float | None, float | None]:
    """Paired difference of two accuracies on the same patients, with Bonett and Price's (2012) adjusted Wald interval.

    Args:
        one, other: (n,) bool, whether each patient is classified correctly.

    Returns:
        Accuracy of the first minus that of the second; 95 % bounds, None for fewer than `FEWEST` patients.
    """
    difference = float(one.mean() - other.mean())
    if len(one) < FEWEST:
        return difference, None, None
    first, second = ((np.count_nonzero(only) + 1) / (len(one) + 2) for only in (one & ~other, other & ~one))
    middle = first - second
    half = NORMAL_QUANTILE * ((first + second - middle**2) / (len(one) + 2)) ** 0.5
    return difference, max(middle - half, -1.0), min(middle + half, 1.0)


def accuracy_test(one: np.ndarray, other: np.ndarray) -> float | None:
    """Exact McNemar test (1947) of two accuracies on the same patients: two-sided p; None for fewer than `FEWEST` patients.

    Args:
        one, other: (n,) bool, whether each patient is classified correctly.
    """
    from scipy.stats import binomtest

    if len(one) < FEWEST:
        return None
    better, worse = np.count_nonzero(one & ~other), np.count_nonzero(other & ~one)
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def hanley_mcneil_variance(auc: float, positives: int, negatives: int) -> float:
    """Variance of an AUC as a function of itself (Hanley and McNeil, 1982), both sizes by their mean (Newcombe, 2006)."""
    others = (positives + negatives) / 2 - 1
    return auc * (1 - auc) * (1 + others * ((1 - auc) / (2 - auc) + auc / (1 + auc))) / (positives * negatives)


def clustered_auc(positive: np.ndarray, score: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """AUC and its variance between clusters (Obuchowski, 1997); DeLong's (1988) where each of the n is a cluster.

    Args:
        positive: (n,) bool, of both kinds.
        score: (n,) real.
        cluster: (n,) indices 0..clusters - 1.

    Returns:
        AUC of 0..1; variance, 0 where one kind stands in a single cluster.
    """
    one, other = np.sort(score[positive]), np.sort(score[~positive])
    # Share of the other kind below a positive (above a negative), ties counting a half.
    below = (np.searchsorted(other, score[positive]) + np.searchsorted(other, score[positive], "right")) / 2 / len(other)
    above = 1 - (np.searchsorted(one, score[~positive]) + np.searchsorted(one, score[~positive], "right")) / 2 / len(one)
    auc = float(below.mean())
    clusters = int(cluster.max()) + 1
    first = np.bincount(cluster[positive], below - auc, clusters) / len(one)
    second = np.bincount(cluster[~positive], above - auc, clusters) / len(other)
    ones, others = (len(np.unique(cluster[kind])) for kind in (positive, ~positive))
    if ones < 2 or others < 2:
        return auc, 0.0
    products = 2 * clusters / (clusters - 1) * (first @ second)
    return auc, float(ones / (ones - 1) * (first @ first) + others / (others - 1) * (second @ second) + products)


def ratio_interval(hits: np.ndarray, units: np.ndarray, cluster: np.ndarray | None = None, inflation: float = 1.0) -> Interval:
    """Wilson score interval (1927) of sum(hits) / sum(units), for clusters by their effective number.

    The effective sample size is the number of patients, or ratio (1 - ratio) / variance between patients where that is less.

    Args:
        hits: (n,) bool or 0 and 1.
        units: (n,) likewise, at least as large.
        cluster: (n,) the patient of each slice; None where each of the n is a patient.
        inflation: factor of the variance, such as `CROSS_VALIDATED`.

    Returns:
        95 % bounds; None for fewer than `FEWEST` patients, or where there are no units.
    """
    patients, index = np.unique(np.arange(len(hits)) if cluster is None else cluster, return_inverse=True)
    parts, wholes = (np.bincount(index, each, len(patients)) for each in (hits, units))
    if len(patients) < FEWEST or wholes.sum() == 0:
        return None, None
    ratio = float(parts.sum() / wholes.sum())
    variance = float(((parts - ratio * wholes) ** 2).sum() / wholes.sum() ** 2)
    size = float(np.count_nonzero(wholes))
    if variance > 0:
        size = min(size, ratio * (1 - ratio) / variance)
    size /= inflation
    square = NORMAL_QUANTILE**2
    middle = (ratio + square / (2 * size)) / (1 + square / size)
    half = NORMAL_QUANTILE / (1 + square / size) * (ratio * (1 - ratio) / size + square / (4 * size**2)) ** 0.5
    return min(max(middle - half, 0.0), ratio), max(min(middle + half, 1.0), ratio)


def _mean_over_classes(classes: int, interval: Callable[[int], Interval]) -> Interval:
    """Means of both bounds over the classes; of two classes the bounds of the last one."""
    lows, highs = [], []
    for c in [1] if classes == 2 else range(classes):
        low, high = interval(c)
        if low is None or high is None:
            return None, None
        lows.append(low)
        highs.append(high)
    return float(np.mean(lows)), float(np.mean(highs))
