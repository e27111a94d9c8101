import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.metrics.classification import accuracy, auc, f1
from common.metrics.classification_intervals import (
    accuracy_difference,
    accuracy_interval,
    accuracy_test,
    auc_interval,
    clustered_auc,
    f1_interval,
    hanley_mcneil_variance,
    ratio_interval,
)

WAYS = {accuracy: accuracy_interval, f1: f1_interval, auc: auc_interval}


def scored(truth, right):
    """Probabilities of two classes, the true one the most probable where `right`."""
    return np.eye(2)[np.where(right, truth, 1 - np.asarray(truth))] * 0.6 + 0.2


def delong(positives, negatives):
    """DeLong's variance from every pair."""
    wins = np.sign(np.subtract.outer(positives, negatives)) / 2 + 0.5
    return wins.mean(axis=1).var(ddof=1) / len(positives) + wins.mean(axis=0).var(ddof=1) / len(negatives)


@st.composite
def samples(draw):
    truth = draw(st.lists(st.booleans(), min_size=5, max_size=25))
    assume(any(truth) and not all(truth))
    score = draw(st.lists(st.integers(0, 8), min_size=len(truth), max_size=len(truth)))
    return np.array(truth), np.array(score, float)


def test_wilson_intervals_are_published_ones():
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = ratio_interval(np.arange(n) < hits, np.ones(n))
        assert found == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_the_variance_is_delongs_and_by_hand():
    positive = np.array([True, True, True, False, False])
    score = np.array([3.0, 1.0, 5.0, 2.0, 0.0])
    # Wins of the positives: 1, 1/2, 1; of the negatives: 2/3, 1. Variances 1/12 and 1/18.
    area, variance = clustered_auc(positive, score, np.arange(5))
    assert area == pytest.approx(5 / 6)
    assert variance == pytest.approx(1 / 12 / 3 + 1 / 18 / 2)
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(1, 1, 14).round(1), rng.normal(0, 1, 9).round(1)
    truth = np.repeat([True, False], [14, 9])
    _, variance = clustered_auc(truth, np.concatenate([positives, negatives]), np.arange(23))
    assert variance == pytest.approx(delong(positives, negatives))


def test_equal_slices_of_a_patient_have_the_variance_of_patients():
    rng = np.random.default_rng(1)
    truth, score = np.arange(16) % 2 == 0, rng.standard_normal(16)
    cluster = np.repeat(np.arange(16), 7)
    assert clustered_auc(truth[cluster], score[cluster], cluster) == pytest.approx(clustered_auc(truth, score, np.arange(16)))
    assert auc_interval(truth[cluster], score[cluster], cluster) == pytest.approx(auc_interval(truth, score))


def test_the_bounds_solve_newcombes_equation():
    rng = np.random.default_rng(2)
    truth = np.arange(30) % 2 == 0
    score = truth + rng.standard_normal(30)
    estimate, empirical = clustered_auc(truth, score, np.arange(30))
    factor = max(1, empirical / hanley_mcneil_variance(estimate, 15, 15))
    for bound in auc_interval(truth, score):
        error = math.sqrt(factor * hanley_mcneil_variance(bound, 15, 15))
        assert abs(bound - estimate) == pytest.approx(1.959964 * error, rel=1e-5)


def test_hanley_and_mcneils_own_example():
    # Hanley and McNeil (1982): an area of 0.893 with 51 abnormal and 58 normal images has a standard error of 0.032.
    assert math.sqrt(hanley_mcneil_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=5e-4)


def test_a_perfect_auc_has_an_interval_of_positive_width():
    truth = np.arange(20) < 10
    low, high = auc_interval(truth, truth + np.linspace(0, 0.5, 20))
    assert high == 1
    assert 0.7 < low < 0.9
    assert auc_interval(truth, -1.0 * truth) == pytest.approx((1 - high, 1 - low))


@settings(max_examples=60, deadline=None)
@given(samples())
def test_bounds_hold_the_auc_and_depend_on_ranks_alone(sample):
    truth, score = sample
    low, high = auc_interval(truth, score)
    area = clustered_auc(truth, score, np.arange(len(truth)))[0]
    assert 0 <= low <= area <= high <= 1
    assert low < high
    assert auc_interval(truth, np.exp(score)) == (low, high)
    order = np.random.default_rng(0).permutation(len(truth))
    assert auc_interval(truth[order], score[order]) == pytest.approx((low, high), abs=1e-12)
    assert auc_interval(~truth, score) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(samples())
def test_bounds_hold_accuracy_and_f1(sample):
    truth, score = sample
    probabilities = np.stack([1 - score / 8, score / 8], axis=1)
    for metric, interval in ((accuracy, accuracy_interval), (f1, f1_interval)):
        low, high = interval(truth.astype(int), probabilities)
        assert 0 <= low <= metric(truth.astype(int), probabilities) + 1e-12
        assert metric(truth.astype(int), probabilities) - 1e-12 <= high <= 1
        assert low < high


def test_f1_is_a_function_of_a_proportion():
    truth = np.array([1] * 8 + [0] * 8)
    right = np.array([1] * 6 + [0] * 2 + [1] * 7 + [0])
    low, high = f1_interval(truth, scored(truth, right))
    found = ratio_interval(np.arange(9) < 6, np.ones(9))  # 6 of the 9 that are positive or called so
    assert (low, high) == pytest.approx(tuple(2 * j / (1 + j) for j in found))


def test_more_slices_of_the_same_patients_are_no_more_certain():
    rng = np.random.default_rng(3)
    truth, patient = np.arange(12) % 2, rng.standard_normal(12)
    widths = {}
    for each in (5, 80):
        cluster = np.repeat(np.arange(12), each)
        logit = patient[cluster] + 0.5 * rng.standard_normal(len(cluster)) + 1.5 * truth[cluster]
        probability = 1 / (1 + np.exp(0.75 - logit))
        given = truth[cluster], np.stack([1 - probability, probability], axis=1), cluster
        widths[each] = [np.diff(interval(*given))[0] for interval in WAYS.values()]
    assert (np.array(widths[80]) > 0.8 * np.array(widths[5])).all()


@pytest.mark.parametrize("interval", WAYS.values())
def test_more_than_two_classes_have_the_mean_of_the_bounds(interval):
    rng = np.random.default_rng(4)
    truth = np.arange(24) % 3
    probabilities = rng.dirichlet([1, 1, 1], 24) * 0.6 + 0.4 * np.eye(3)[truth]
    low, high = interval(truth, probabilities)
    assert low < next(float(m(truth, probabilities)) for m, way in WAYS.items() if way is interval) < high
    if interval is auc_interval:
        bounds = [auc_interval(truth == c, probabilities[:, c]) for c in range(3)]
        assert (low, high) == pytest.approx(tuple(np.mean(bounds, axis=0)))


def test_two_classes_take_the_last_column():
    truth = np.arange(10) % 2
    probabilities = np.random.default_rng(5).dirichlet([1, 1], 10)
    assert auc_interval(truth, probabilities) == auc_interval(truth == 1, probabilities[:, 1])


def test_no_interval_for_few_patients_or_a_missing_class():
    truth, score = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.3, 0.6])
    probabilities = np.stack([1 - score, score], axis=1)
    cluster = np.repeat(np.arange(4), 5)
    for interval in WAYS.values():
        assert interval(truth, probabilities) == (None, None)
        assert interval(truth[cluster], probabilities[cluster], cluster) == (None, None)
    assert auc_interval(np.ones(9), np.arange(9.0)) == (None, None)
    assert f1_interval(np.zeros(9, int), np.eye(2)[np.zeros(9, int)]) == (None, None)
    assert accuracy_interval(np.zeros(9, int), np.eye(2)[np.zeros(9, int)])[1] == 1


@pytest.mark.parametrize(("patients", "true"), [(10, 0.9), (20, 0.75), (20, 0.97)])
def test_coverage_of_the_auc(patients, true):
    """1,000 seeded sets: the standard error of a coverage of 95 % is 0.7 %; DeLong's interval covers 0.97 in 7 of 10 sets."""
    rng = np.random.default_rng(patients)
    shift = {0.75: 0.9539, 0.9: 1.8124, 0.97: 2.6598}[true]
    truth = np.arange(patients) % 2 == 0
    bounds = np.array([auc_interval(truth, rng.standard_normal(patients) + shift * truth) for _ in range(1000)])
    assert 0.935 <= np.mean((bounds[:, 0] <= true) & (true <= bounds[:, 1])) <= 0.99


@pytest.mark.parametrize("score", WAYS)
def test_an_inflated_variance_widens_the_interval_around_the_same_score(score):
    truth = np.arange(20) % 2
    given = truth, scored(truth, np.arange(20) % 5 > 0)
    plain, once, inflated = (WAYS[score](*given, None, factor) for factor in (1.0, 1.0001, 1.8))
    assert inflated[0] < plain[0] <= float(score(*given)) <= plain[1] < inflated[1]
    np.testing.assert_allclose(once, plain, atol=1e-3)


def test_paired_differences_of_accuracies_are_covered_and_tested_exactly():
    one, other = np.array([1] * 9 + [0] * 3, bool), np.array([1] * 4 + [0] * 5 + [1] + [0] * 2, bool)
    value, low, high = accuracy_difference(one, other)  # 5 of 12 are right by the first alone, 1 by the second alone
    middle, spread = (6 - 2) / 14, (8 / 14 - (4 / 14) ** 2) / 14
    assert (value, low, high) == pytest.approx((4 / 12, middle - 1.959964 * spread**0.5, middle + 1.959964 * spread**0.5))
    assert accuracy_test(one, other) == pytest.approx(2 * (1 + 6) / 2**6)
    assert accuracy_test(one, one) == 1.0
    assert accuracy_difference(one[:4], other[:4]) == (0.0, None, None)
    assert accuracy_test(one[:4], other[:4]) is None
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        kinds = rng.choice(4, 12, p=[0.4, 0.25, 0.1, 0.25])
        _, low, high = accuracy_difference(kinds < 2, (kinds == 0) | (kinds == 2))
        covered += low <= 0.15 <= high
    assert 0.93 <= covered / 2000 <= 0.99
