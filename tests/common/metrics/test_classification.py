import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.metrics import classification

# Few values, so that ties and the edges of bins are met often.
twentieths = st.integers(0, 20).map(lambda number: number / 20)


@st.composite
def binary(draw, both=True):
    """Truth and probabilities of two classes, both of them in truth."""
    truth = np.array(draw(st.lists(st.integers(0, 1), min_size=2, max_size=40)))
    if both:
        truth[:2] = 0, 1
    positive = draw(arrays.arrays(np.float64, len(truth), elements=twentieths))
    return truth, np.stack([1 - positive, positive], axis=1)


@st.composite
def multiclass(draw):
    """Truth and probabilities of three classes, all of them in truth."""
    truth = np.array([0, 1, 2, *draw(st.lists(st.integers(0, 2), max_size=30))])
    raw = draw(arrays.arrays(np.float64, (len(truth), 3), elements=st.integers(1, 9).map(float)))
    return truth, raw / raw.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=50)
@given(binary())
def test_scores_of_two_classes_are_those_of_scikit_learn(made):
    from sklearn import metrics

    truth, probabilities = made
    predicted = (probabilities[:, 1] > 0.5).astype(int)
    assert classification.accuracy(*made) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert classification.f1(*made) == pytest.approx(metrics.f1_score(truth, predicted, zero_division=0))
    assert classification.auc(*made) == pytest.approx(metrics.roc_auc_score(truth, probabilities[:, 1]))
    assert classification.brier(*made) == pytest.approx(metrics.brier_score_loss(truth, probabilities[:, 1]))
    np.testing.assert_array_equal(classification.confusion(*made), metrics.confusion_matrix(truth, predicted))


@settings(deadline=None, max_examples=50)
@given(multiclass())
def test_scores_of_three_classes_are_those_of_scikit_learn(made):
    from sklearn import metrics

    truth, probabilities = made
    predicted = probabilities.argmax(axis=1)
    assert classification.accuracy(*made) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert classification.f1(*made) == pytest.approx(metrics.f1_score(truth, predicted, average="macro", zero_division=0))
    expected = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert classification.auc(*made) == pytest.approx(expected)
    squares = (np.eye(3)[truth] - probabilities) ** 2
    assert classification.brier(*made) == pytest.approx(squares.sum() / len(truth))
    np.testing.assert_array_equal(classification.confusion(*made), metrics.confusion_matrix(truth, predicted))


@settings(deadline=None, max_examples=50)
@given(binary())
def test_the_roc_curve_is_that_of_scikit_learn_and_encloses_the_auc(made):
    from sklearn import metrics

    truth, probabilities = made
    found = classification.roc_curve(truth == 1, probabilities[:, 1])
    alarms, hits, thresholds = metrics.roc_curve(truth, probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, alarms)
    np.testing.assert_allclose(found.true_positive_rate, hits)
    np.testing.assert_allclose(found.thresholds, thresholds)
    area = np.trapezoid(found.true_positive_rate, found.false_positive_rate)
    assert area == pytest.approx(float(classification.auc(truth, probabilities)))


@settings(deadline=None, max_examples=50)
@given(binary(both=False))
def test_the_calibration_curve_is_that_of_scikit_learn(made):
    from sklearn.calibration import calibration_curve

    truth, probabilities = made
    found = classification.calibration(truth, probabilities)
    frequency, confidence = calibration_curve(truth, probabilities[:, 1], n_bins=classification.BINS)
    filled = found.counts > 0
    assert found.counts.sum() == len(truth)
    np.testing.assert_allclose(found.frequency[filled], frequency)
    np.testing.assert_allclose(found.confidence[filled], confidence)
    expected = np.abs(frequency - confidence) @ found.counts[filled] / len(truth)
    assert found.error == pytest.approx(expected)
    assert np.isnan(found.frequency[~filled]).all()


def test_calibration_of_several_classes_looks_at_the_predicted_one():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.15, 0.8, 0.05], [0.0, 0.05, 0.95]])
    found = classification.calibration(np.array([0, 1, 2, 2]), probabilities, bins=5)
    assert list(found.counts) == [0, 0, 0, 3, 1]
    assert found.frequency[3] == pytest.approx(2 / 3)
    assert found.error == pytest.approx((3 * (0.8 - 2 / 3) + 0.05) / 4)


@settings(deadline=None, max_examples=50)
@given(st.one_of(binary(), multiclass()), st.integers(0, 2**32 - 1))
def test_a_weight_is_as_many_copies(made, seed):
    truth, probabilities = made
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(truth)))
    weights[:, :3] += 1  # no class goes missing
    for score in (classification.accuracy, classification.f1, classification.auc):
        found = score(truth, probabilities, weights)
        assert found.shape == (3,)
        for row, value in zip(weights, found, strict=True):
            assert value == pytest.approx(float(score(np.repeat(truth, row), np.repeat(probabilities, row, axis=0))))


def test_there_is_no_auc_where_a_class_is_missing():
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert np.isnan(classification.auc(np.array([1, 1, 1]), probabilities))
    weights = np.array([[1, 1, 0], [0, 2, 1]])
    found = classification.auc(np.array([1, 0, 0]), probabilities, weights)
    assert found[0] == 1
    assert np.isnan(found[1])
    assert np.isnan(classification.auc(np.array([0, 1, 0]), np.full((3, 3), 1 / 3)))


@pytest.mark.parametrize("positive", [True, False])
def test_a_roc_curve_needs_both_classes(positive):
    with pytest.raises(ValueError, match="positives and negatives"):
        classification.roc_curve(np.full(3, positive), np.arange(3.0))


def test_equal_probabilities_predict_the_first_class():
    assert list(classification.predicted_classes(np.array([[0.5, 0.5], [0.4, 0.6]]))) == [0, 1]
