import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.metrics.statistics import (
    ATOM,
    FEWEST,
    STUDENT,
    Summary,
    holm,
    mean_interval,
    paired_columns,
    student_note,
    summarise,
    summarise_columns,
    wilcoxon_p,
)


def test_a_single_patient_has_no_spread_and_no_interval():
    assert summarise([0.3]) == Summary(patients=1, mean=0.3, sd=None, median=0.3, low=None, high=None)


def test_fewer_than_five_patients_have_no_interval():
    for count in range(1, FEWEST):
        for range_ in (None, (0, 1)):
            found = summarise(np.linspace(0.2, 0.9, count), range_=range_)
            assert found.low is found.high is None
            assert (found.sd is None) == (count == 1)
    assert summarise(np.linspace(0.2, 0.9, FEWEST)).low is not None


def test_a_summary_names_the_method_of_its_interval():
    table = np.random.default_rng(0).random((FEWEST, 2))
    assert [each.interval_method for each in summarise_columns(table, [None, (0, 1)])] == [STUDENT, ATOM]
    assert [each.interval_method for each in summarise_columns(table[1:], [None, (0, 1)])] == [None, None]
    assert student_note([]) == []
    (note,) = student_note(["HD95 of WT", "HD95 of ET"])
    assert note == f"{STUDENT}, because the value of a patient lies beyond the metric's worst value: HD95 of WT, HD95 of ET."


def test_equal_patients_of_a_metric_without_range_have_an_interval_of_no_width():
    found = summarise([0.1] * 7)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.sd == pytest.approx(0)


def test_the_summary_is_that_of_numpy():
    values = np.random.default_rng(1).random(11)
    found = summarise(values)
    assert (found.patients, found.mean, found.median) == (11, pytest.approx(values.mean()), pytest.approx(np.median(values)))
    assert found.sd == pytest.approx(values.std(ddof=1))


def test_the_interval_without_range_is_students():
    from scipy.stats import t, ttest_1samp

    values = np.random.default_rng(2).beta(5, 2, 12)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = summarise(values)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12))


def test_students_own_sleep_data():
    # Student (1908), additional hours of sleep by two drugs in ten patients; R: t.test(extra ~ group, paired = TRUE).
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    other = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    (found,) = paired_columns(one[:, None], other[:, None])
    assert (found.mean, found.low, found.high) == pytest.approx((-1.58, -2.4598858, -0.7001142), abs=1e-6)


def test_the_interval_of_a_metric_with_a_range_by_hand():
    # 8 of 10 patients above 0, all at 0.8: only their share is uncertain, so both bounds are Jeffreys' times 0.8.
    from scipy.stats import beta

    found = summarise([0.8] * 8 + [0.0] * 2, range_=(0, 1))
    assert found.mean == pytest.approx(0.64)
    assert found.low == pytest.approx(0.8 * beta.ppf(0.025, 8.5, 2.5))
    assert found.high == pytest.approx(0.8 * beta.ppf(0.975, 8.5, 2.5))
    # None missed: the upper bound is Student's on the logit scale.
    values = np.array([0.7, 0.75, 0.8, 0.85, 0.9, 0.65])
    half = 2.5705818 * values.std(ddof=1) / math.sqrt(6) / (values.mean() * (1 - values.mean()))
    odds = values.mean() / (1 - values.mean())
    high, low = (1 / (1 + math.exp(-math.log(odds) - sign * half)) for sign in (1, -1))
    found = summarise(values, range_=(0, 1))
    assert found.high == pytest.approx(high)
    ratio = math.hypot(math.log(beta.ppf(0.025, 6.5, 0.5)), math.log(low / values.mean()))
    assert found.low == pytest.approx(values.mean() * math.exp(-ratio))


@pytest.mark.parametrize(("values", "inside"), [([0.0] * 6, (0, 0.4)), ([1.0] * 6, (0.6, 1)), ([0.5] * 6, (0.3, 0.5))])
def test_equal_patients_of_a_metric_with_a_range_leave_others_possible(values, inside):
    found = summarise(values, range_=(0, 1))
    assert (found.low, found.high) == (pytest.approx(inside[0], abs=0.1), pytest.approx(inside[1], abs=0.1))
    assert found.low < found.high


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-300, 1 - 1e-16]), min_size=FEWEST, max_size=30))
def test_the_interval_holds_the_mean_and_stays_inside_the_range(values):
    found = summarise(values, range_=(0, 1))
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1
    assert found.low < found.high


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50).map(lambda n: n / 50), min_size=FEWEST, max_size=30))
def test_a_metric_whose_best_value_is_0_has_the_mirrored_interval(values):
    """HD95 of 0 to 374 mm, 374 mm for a missed patient."""
    dice, hd95 = np.array(values), 374 - 374 * np.array(values)
    found, mirrored = summarise(dice, range_=(0, 1)), summarise(np.clip(hd95, 0, 374), range_=(374, 0))
    assert 0 <= mirrored.low <= mirrored.high <= 374
    assert mirrored.low == pytest.approx(374 * (1 - found.high), abs=1e-6)
    assert mirrored.high == pytest.approx(374 * (1 - found.low), abs=1e-6)


def test_a_missed_patient_moves_the_lower_bound():
    values = np.random.default_rng(4).beta(12, 2, 10)
    one = summarise([*values[:-1], 0.0], range_=(0, 1))
    none = summarise(values, range_=(0, 1))
    assert one.low < none.low
    assert one.high < none.high


@pytest.mark.parametrize(
    ("name", "draw", "true", "least"),
    [
        ("beta(8, 2)", lambda rng, shape: rng.beta(8, 2, shape), 0.8, 0.95),
        ("missed", lambda rng, shape: rng.beta(12, 2, shape) * (rng.random(shape) > 0.08), 0.92 * 12 / 14, 0.94),
    ],
)
@pytest.mark.parametrize("patients", [6, 10, 20])
def test_coverage(name, draw, true, least, patients):
    """2,000 seeded sets: the standard error of a coverage of 95 % is 0.5 %."""
    table = draw(np.random.default_rng(patients), (patients, 2000))
    low, high = mean_interval(table, (0, 1))
    assert least <= np.mean((low <= true) & (true <= high)) <= 0.995
    low, high = mean_interval(table)
    covered = np.mean((low <= true) & (true <= high))
    assert (covered > 0.92) == (name == "beta(8, 2)")  # Student's t is right until patients are missed


def test_summaries_are_deterministic():
    values = np.random.default_rng(3).random(9)
    assert summarise(values) == summarise(values.copy())
    assert summarise(values, range_=(0, 1)) == summarise(values[::1].copy(), range_=(0, 1))


def test_every_column_has_its_own_range():
    values = np.random.default_rng(5).random(12)
    table = np.stack([values, 374 * values, values], axis=1)
    first, second, third = summarise_columns(table, ranges=[(0, 1), (374, 0), None])
    assert first == summarise(values, range_=(0, 1))
    assert second == summarise(374 * values, range_=(374, 0))
    assert third == summarise(values)
    with pytest.raises(ValueError, match="shorter"):
        summarise_columns(table, ranges=[None])
    with pytest.raises(ValueError, match="expected values of 0 to 1; received"):
        summarise(374 * values, range_=(0, 1))


@pytest.mark.parametrize("values", [[], [0.1, np.nan], [np.inf]])
def test_missing_values_are_refused_instead_of_dropped(values):
    with pytest.raises(ValueError, match="finite"):
        summarise(values)


def test_the_signed_rank_test_is_exact_for_few_patients():
    assert wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == 2 / 2**6
    assert wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) is None


def test_patients_without_a_difference_are_left_out_of_the_test():
    moved = np.array([0.3, -0.1, 0.2, 0.5, 0.45, 0.6])
    assert wilcoxon_p(np.array([*moved, 0, 0, 1e-12])) == wilcoxon_p(moved)
    assert wilcoxon_p(np.zeros(8)) == 1


def test_the_noise_of_floats_does_not_part_equal_differences():
    base = np.random.default_rng(7).random(40)
    assert wilcoxon_p((base + 0.1) - base) == wilcoxon_p(np.full(40, 0.1))


def test_the_correction_of_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, None, 0.8]) == [1, None, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_corrected_p_keep_their_order_and_never_fall(values):
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(corrected, np.float64)[order]) >= 0).all()


def test_columns_are_compared_patient_by_patient():
    one, other = np.random.default_rng(8).random((2, 12, 3))
    found = paired_columns(one, other)
    for column in range(3):
        expected = summarise(one[:, column] - other[:, column])
        assert (found[column].mean, found[column].low, found[column].n) == (
            pytest.approx(expected.mean),
            pytest.approx(expected.low),
            12,
        )
    with pytest.raises(ValueError, match="same patients"):
        paired_columns(one, other[:5])


def test_a_difference_cannot_be_larger_than_the_range():
    one, other = np.array([[1.0, 1, 1, 1, 0.2]]).T, np.zeros((5, 1))
    (free,) = paired_columns(one, other)
    (cut,) = paired_columns(one, other, ranges=[(0, 1)])
    assert free.high > 1
    assert (cut.low, cut.high) == (free.low, 1)
    assert paired_columns(one[:4], other[:4], ranges=[(0, 1)])[0].low is None


def test_nan_is_no_value_only_in_a_score_that_is_partial():
    table = np.array([[0.1, 0.5], [0.3, np.nan], [0.2, 0.7]])
    first, second = summarise_columns(table, may_lack_value=[False, True])
    assert (first.patients, second.patients, second.mean) == (3, 2, pytest.approx(0.6))
    (none,) = summarise_columns(table[1:2, 1:], may_lack_value=[True])
    assert (none.patients, none.low) == (0, None)
    assert np.isnan(none.mean)
    with pytest.raises(ValueError, match="finite"):
        summarise_columns(table, may_lack_value=[True, False])


def test_paired_differences_leave_out_patients_without_a_value():
    one, other = np.array([[0.5], [np.nan], [0.9]]), np.array([[0.4], [0.2], [np.nan]])
    (found,) = paired_columns(one, other, may_lack_value=[True])
    assert (found.n, found.mean) == (1, pytest.approx(0.1))
    with pytest.raises(ValueError, match="finite"):
        paired_columns(one, other)
