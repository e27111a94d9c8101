import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.metrics.statistics import (
    Summary,
    bootstrap_interval,
    holm,
    paired_columns,
    summarise,
    summarise_columns,
    wilcoxon_p,
)

patients = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def test_a_single_patient_has_no_spread_and_no_interval():
    assert summarise([0.3]) == Summary(patients=1, mean=0.3, sd=None, median=0.3, low=None, high=None)


def test_equal_patients_have_an_interval_of_no_width():
    found = summarise([0.1] * 7)
    assert (found.low, found.high) == (0.1, 0.1)
    assert found.sd == pytest.approx(0)


def test_the_summary_is_that_of_numpy():
    values = np.random.default_rng(1).random(11)
    found = summarise(values)
    assert (found.patients, found.mean, found.median) == (11, pytest.approx(values.mean()), pytest.approx(np.median(values)))
    assert found.sd == pytest.approx(values.std(ddof=1))


def test_the_interval_agrees_with_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(2).beta(5, 2, 40)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0))
    found = summarise(values, resamples=20_000)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=2e-3)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(patients)
def test_the_interval_holds_the_mean_and_stays_inside_what_was_seen(values):
    found = summarise(values, resamples=500)
    assert min(values) <= found.low <= found.high <= max(values)
    # Half of the resampled means lie on each side, up to the skew that few patients can have.
    assert found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high


def test_the_seed_alone_decides_the_draws():
    values = np.random.default_rng(3).random(9)
    assert summarise(values, seed=4) == summarise(values, seed=4)
    assert summarise(values, seed=4) != summarise(values, seed=5)


def test_columns_share_the_draws():
    values = np.random.default_rng(5).random(12)
    table = np.stack([values, values + 1, values[::-1]], axis=1)
    first, second, third = summarise_columns(table)
    assert first.low == pytest.approx(summarise(values).low)
    assert second.low == pytest.approx(first.low + 1)
    assert third.low != first.low


def test_resamples_are_not_lost_between_portions():
    table = np.random.default_rng(6).random((8, 1))
    few, many = bootstrap_interval(table, resamples=501), bootstrap_interval(table, resamples=500)
    assert few[0] != many[0]


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
    found = paired_columns(one, other, seed=2, resamples=400)
    for column in range(3):
        expected = summarise(one[:, column] - other[:, column], seed=2, resamples=400)
        assert (found[column].mean, found[column].low, found[column].n) == (
            pytest.approx(expected.mean),
            pytest.approx(expected.low),
            12,
        )
    with pytest.raises(ValueError, match="same patients"):
        paired_columns(one, other[:5])
