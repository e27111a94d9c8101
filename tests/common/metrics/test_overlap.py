import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.metrics import overlap as module
from common.metrics.overlap import Overlap, confusion_matrix, overlap
from tests.overlaps import per_class

RATIOS = ("dice", "iou", "sensitivity", "precision")
CLASSES = 4
SHAPE = (3, 4, 5)
truths = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255]))
predictions = arrays(np.uint8, SHAPE, elements=st.integers(0, CLASSES - 1))


def counted_one_by_one(truth, prediction, classes):
    counts = np.zeros((classes, classes), np.int64)
    for true, predicted in zip(truth.ravel(), prediction.ravel(), strict=True):
        if true != 255:
            counts[true, predicted] += 1
    return counts


@given(truths, predictions)
def test_every_annotated_voxel_is_counted_once(truth, prediction):
    found = confusion_matrix(truth, prediction, CLASSES)
    np.testing.assert_array_equal(found, counted_one_by_one(truth, prediction, CLASSES))
    assert found.dtype == np.int64


@given(truths, predictions, st.sets(st.integers(1, 3), min_size=1))
def test_a_regions_scores_are_those_of_the_union_of_its_masks(truth, prediction, members):
    found = overlap(confusion_matrix(truth, prediction, CLASSES), sorted(members))
    annotated = truth != 255
    true, predicted = np.isin(truth, list(members)) & annotated, np.isin(prediction, list(members)) & annotated
    both, either = int((true & predicted).sum()), int((true | predicted).sum())
    assert found == Overlap(int(true.sum()), int(predicted.sum()), both)
    if either:
        assert found.dice == pytest.approx(2 * both / (true.sum() + predicted.sum()))
        assert found.iou == pytest.approx(both / either)
        assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))


@given(truths, predictions)
def test_swapping_truth_and_prediction_swaps_sensitivity_and_precision(truth, prediction):
    truth = np.where(truth == 255, np.uint8(0), truth)
    one, other = confusion_matrix(truth, prediction, CLASSES), confusion_matrix(prediction, truth, CLASSES)
    np.testing.assert_array_equal(one, other.T)
    assert overlap(one, [2]).sensitivity == overlap(other, [2]).precision


def test_a_volume_of_several_chunks_is_counted_whole_in_any_memory_layout():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 60, 50, 40)).astype(np.uint8)
    assert truth.size > module.CHUNK
    expected = np.histogram2d(truth.ravel(), prediction.ravel(), bins=(range(4), range(4)))[0]
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 3), expected)
    np.testing.assert_array_equal(confusion_matrix(np.asfortranarray(truth), prediction, 3), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_wider_types_give_the_same_counts(dtype):
    truth, prediction = np.array([0, 1, 2, 255], dtype), np.array([0, 2, 2, 1], dtype)
    assert confusion_matrix(truth, prediction, 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [([0, 3], [0, 1]), ([0, 1], [0, 3]), ([0, 1], [0, -1]), ([0, 256], [0, 1]), ([-1, 1], [0, 1]), ([0, 1], [0, 255])],
)
def test_an_index_that_is_no_class_is_refused(truth, prediction):
    with pytest.raises(ValueError, match="expected indices"):
        confusion_matrix(np.array(truth, np.int16), np.array(prediction, np.int16), 3)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        confusion_matrix(np.zeros(2, np.uint8), np.zeros(3, np.uint8), 2)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(
    ("truth", "predicted", "both", "expected"),
    [(0, 0, 0, 1.0), (0, 5, 0, 0.0), (5, 0, 0, 0.0), (5, 7, 0, 0.0), (5, 5, 5, 1.0)],
    ids=["absent in both", "absent in truth alone", "absent in prediction alone", "disjoint", "equal"],
)
def test_the_absent_rule_holds_for_every_score(truth, predicted, both, expected, ratio):
    assert getattr(Overlap(truth, predicted, both), ratio) == expected


def test_scores_of_a_matrix_counted_by_hand():
    confusion = np.array([[90, 2, 0], [3, 5, 0], [0, 0, 0]])
    np.testing.assert_allclose(per_class(confusion, "iou"), [90 / 95, 5 / 10, 1.0])
    np.testing.assert_allclose(per_class(confusion, "dice"), [180 / 185, 10 / 15, 1.0])
    assert module.accuracy(confusion) == 0.95


@settings(max_examples=30)
@given(arrays(np.int64, (3, 3), elements=st.integers(0, 10**12)))
def test_all_scores_lie_between_0_and_1_also_for_counts_beyond_32_bits(confusion):
    found = [*per_class(confusion, "iou"), *per_class(confusion, "dice"), module.accuracy(confusion)]
    assert all(0 <= value <= 1 for value in found)


def test_nothing_annotated_is_nothing_wrong():
    empty = confusion_matrix(np.full(9, 255, np.uint8), np.ones(9, np.uint8), 2)
    assert empty.sum() == 0
    assert module.accuracy(empty) == 1
