"""Contenders of `benchmarks.intervals`: 95 % intervals of a mean and of an AUC from the literature, for many sets at once."""

from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr, ndtri, stdtrit

from common.metrics.statistics import TAIL, atom_interval, student_interval

Bounds = tuple[np.ndarray, np.ndarray]
Z = float(ndtri(1 - TAIL))
TINY = 1e-300


def student(scores: np.ndarray) -> Bounds:
    """Student t interval (1908)."""
    return student_interval(scores.T)


def atom(scores: np.ndarray) -> Bounds:
    """Interval of a mean with an atom at 0: the toolkit's own."""
    return atom_interval(scores.T)


def logit_student(scores: np.ndarray) -> Bounds:
    """Student t on the logit scale of the mean, by the delta method."""
    mean = np.clip(scores.mean(axis=1), 1e-9, 1 - 1e-9)
    half = _half(scores) / (mean * (1 - mean))
    return expit(logit(mean) - half), expit(logit(mean) + half)


def johnson(scores: np.ndarray) -> Bounds:
    """Johnson's (1978) t, its centre moved by the skewness."""
    n, mean = scores.shape[1], scores.mean(axis=1)
    third = ((scores - mean[:, None]) ** 3).sum(axis=1) * n / ((n - 1) * (n - 2))
    centre = mean + third / (6 * n * scores.var(axis=1, ddof=1) + TINY)
    return centre - _half(scores), centre + _half(scores)


def hall(scores: np.ndarray) -> Bounds:
    """Student t through Hall's (1992) cubic transformation for skewness."""
    n, mean = scores.shape[1], scores.mean(axis=1)
    skew = ((scores - mean[:, None]) ** 3).mean(axis=1) / (scores.std(axis=1) ** 3 + TINY)
    error = scores.std(axis=1, ddof=1) / np.sqrt(n)
    safe = np.where(np.abs(skew) < 1e-6, 1e-6, skew)

    def inverse(quantile: float) -> np.ndarray:
        return np.sqrt(n) * 3 / safe * (np.cbrt(1 + safe * (quantile - skew / 6 / np.sqrt(n)) / np.sqrt(n)) - 1)

    quantile = float(stdtrit(n - 1, 1 - TAIL))
    return mean - error * inverse(quantile), mean - error * inverse(-quantile)


def added_patients(scores: np.ndarray) -> Bounds:
    """Student t after adding a patient at each end of the range (Agresti and Coull's idea for a mean)."""
    ends = np.broadcast_to([0.0, 1.0], (len(scores), 2))
    return student(np.concatenate([scores, ends], axis=1))


def anderson(scores: np.ndarray) -> Bounds:
    """Anderson's (1969) bounds from the Dvoretzky-Kiefer-Wolfowitz band (Massart, 1990); never too narrow."""
    n = scores.shape[1]
    band = np.sqrt(np.log(1 / TAIL) / (2 * n))

    def lower(values: np.ndarray) -> np.ndarray:
        masses = np.diff(np.minimum(np.arange(n + 1) / n + band, 1), prepend=0)[1:]
        return np.sort(values, axis=1) @ masses

    return lower(scores), 1 - lower(1 - scores)


def order_statistics(scores: np.ndarray, resamples: int = 1000) -> Bounds:
    """Bound by random order statistics of Learned-Miller and Thomas (2020)."""
    uniform = np.sort(np.random.default_rng(3).random((resamples, scores.shape[1])), axis=1)

    def upper(values: np.ndarray) -> np.ndarray:
        steps = np.diff(np.sort(values, axis=1), axis=1, append=1.0)
        return np.quantile(1 - steps @ uniform.T, 1 - TAIL, axis=1)

    return 1 - upper(1 - scores), upper(scores)


def betting(scores: np.ndarray, points: int = 201) -> Bounds:
    """Hedged capital of Waudby-Smith and Ramdas (2024), for a fixed number of patients; never too narrow."""
    sets, n = scores.shape
    means, order = np.linspace(0, 1, points), np.arange(1, n + 1)
    centre = (0.5 + np.cumsum(scores, axis=1)) / (order + 1)
    variance = (0.25 + np.cumsum((scores - centre) ** 2, axis=1)) / (order + 1)
    variance = np.concatenate([np.full((sets, 1), 0.25), variance[:, :-1]], axis=1)
    stakes = np.sqrt(2 * np.log(1 / TAIL) / (n * variance))
    up, down = np.zeros((sets, points)), np.zeros((sets, points))
    for i in range(n):
        gain = scores[:, i : i + 1] - means
        up += np.log1p(np.minimum(stakes[:, i : i + 1], 0.75 / np.maximum(means, 1e-9)) * gain)
        down += np.log1p(-np.minimum(stakes[:, i : i + 1], 0.75 / np.maximum(1 - means, 1e-9)) * gain)
    kept = np.maximum(up, down) < np.log(1 / TAIL)
    return np.where(kept, means, 2).min(axis=1), np.where(kept, means, -1).max(axis=1)


def bootstraps(scores: np.ndarray, resamples: int) -> dict[str, Bounds]:
    """Percentile, BCa (Efron, 1987) and studentised bootstrap (bootstrap-t) of the mean, with common draws."""
    n, mean = scores.shape[1], scores.mean(axis=1)
    weights = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    means = scores @ weights.T
    spread = np.sqrt(np.maximum((scores**2) @ weights.T - means**2, 0))
    pivots = (means - mean[:, None]) / np.maximum(spread, 1e-9)
    low, high = np.quantile(pivots, [TAIL, 1 - TAIL], axis=1)
    studentised = mean - high * scores.std(axis=1), mean - low * scores.std(axis=1)
    return {
        "percentile bootstrap": _percentile(means),
        "BCa bootstrap": bias_corrected(means, mean, scores - mean[:, None]),
        "bootstrap-t": studentised,
    }


def bias_corrected(drawn: np.ndarray, estimate: np.ndarray, influence: np.ndarray) -> Bounds:
    """BCa bounds of (sets, resamples) draws, from (sets, n) influence values (Efron, 1987)."""
    sets, resamples = drawn.shape
    below = (drawn < estimate[:, None] - 1e-12).mean(axis=1) + (np.abs(drawn - estimate[:, None]) <= 1e-12).mean(axis=1) / 2
    bias = ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))
    acceleration = (influence**3).sum(axis=1) / (6 * (influence**2).sum(axis=1) ** 1.5 + TINY)
    ordered, bounds = np.sort(drawn, axis=1), []
    for quantile in (-Z, Z):
        level = ndtr(bias + (bias + quantile) / (1 - acceleration * (bias + quantile)))
        bounds.append(ordered[np.arange(sets), np.clip((level * resamples).astype(int), 0, resamples - 1)])
    return bounds[0], bounds[1]


BOUNDED: dict[str, Callable[[np.ndarray], Bounds]] = {
    "Student t": student,
    "logit t": logit_student,
    "Johnson t": johnson,
    "Hall t": hall,
    "t, 2 patients added": added_patients,
    "Anderson, DKW": anderson,
    "order statistics": order_statistics,
    "betting": betting,
    "mean with an atom": atom,
}
UNBOUNDED: dict[str, Callable[[np.ndarray], Bounds]] = {"Student t": student, "Johnson t": johnson, "Hall t": hall}


def auc_intervals(positives: np.ndarray, negatives: np.ndarray, resamples: int) -> dict[str, Bounds]:
    """Intervals of an AUC over patients.

    Args:
        positives: (sets, m) scores.
        negatives: (sets, n) scores.
        resamples: of the bootstraps; 0 leaves them out.
    """
    sets, m = positives.shape
    n = negatives.shape[1]
    difference = positives[:, :, None] - negatives[:, None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    auc, first, second = wins.mean(axis=(1, 2)), wins.mean(axis=2), wins.mean(axis=1)
    error = np.sqrt(first.var(axis=1, ddof=1) / m + second.var(axis=1, ddof=1) / n)
    inner = np.clip(auc, 1e-9, 1 - 1e-9)
    half = Z * error / (inner * (1 - inner))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    hanley = np.sqrt((auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n))
    found = {
        "DeLong": (auc - Z * error, auc + Z * error),
        "logit DeLong": (expit(logit(inner) - half), expit(logit(inner) + half)),
        "Hanley-McNeil": (auc - Z * hanley, auc + Z * hanley),
    }
    if not resamples:
        return found
    counts = np.random.default_rng(5).multinomial(m + n, np.full(m + n, 1 / (m + n)), size=resamples).astype(float)
    counts = counts[(counts[:, :m].sum(axis=1) > 0) & (counts[:, m:].sum(axis=1) > 0)]
    one = counts[:, :m] / counts[:, :m].sum(axis=1, keepdims=True)
    other = counts[:, m:] / counts[:, m:].sum(axis=1, keepdims=True)
    drawn = wins.reshape(sets, -1) @ (one[:, :, None] * other[:, None, :]).reshape(len(counts), -1).T
    influence = np.concatenate([(first - auc[:, None]) / m, (second - auc[:, None]) / n], axis=1)
    pivots = np.empty_like(drawn)
    for s in range(sets):
        spread = ((wins[s] @ other.T - drawn[s]) ** 2 * one.T).sum(axis=0) / m
        spread += ((wins[s].T @ one.T - drawn[s]) ** 2 * other.T).sum(axis=0) / n
        pivots[s] = (drawn[s] - auc[s]) / np.sqrt(np.maximum(spread, 1e-9))
    low, high = np.quantile(pivots, [TAIL, 1 - TAIL], axis=1)
    found["percentile bootstrap"] = _percentile(drawn)
    found["BCa bootstrap"] = bias_corrected(drawn, auc, influence)
    found["bootstrap-t"] = auc - high * error, auc - low * error
    return found


def clopper_pearson(hits: np.ndarray, n: int) -> Bounds:
    """Exact interval of a proportion (1934), from (sets,) hits of n."""
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, TAIL), 0.0)
    return low, np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1 - TAIL), 1.0)


def _half(scores: np.ndarray) -> np.ndarray:
    n = scores.shape[1]
    half: np.ndarray = stdtrit(n - 1, 1 - TAIL) * scores.std(axis=1, ddof=1) / np.sqrt(n)
    return half


def _percentile(drawn: np.ndarray) -> Bounds:
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL], axis=1)
    return low, high
