import numpy as np
import pytest

from common import scores
from data_prep.labels import bits_to_classes

NAMES = ["background", "edema", "non-enhancing tumor"]


@pytest.fixture
def metric():
    from training.objective import ConfusionMatrix

    return ConfusionMatrix(NAMES)


def batch(seed, classes=(0, 1, 2), annotated=0.8, shape=(2, 7, 5)):
    rng = np.random.default_rng(seed)
    bits = (1 << rng.choice(classes, shape)).astype(np.uint8)
    bits[rng.random(shape) > annotated] = 0
    return bits, rng.normal(size=(*shape, len(NAMES))).astype(np.float32)


def matrix(metric):
    return np.asarray(metric.high).astype(np.int64) * 2**30 + np.asarray(metric.low)


def results(metric):
    return {name: float(value) for name, value in metric.result().items()}


def test_it_counts_what_numpy_counts_over_all_batches(metric):
    expected = np.zeros((3, 3), np.int64)
    for seed in range(4):
        bits, logits = batch(seed)
        metric.update_state(bits, logits)
        expected += scores.confusion_matrix(bits_to_classes(bits), logits.argmax(axis=-1).astype(np.uint8), 3)
    np.testing.assert_array_equal(matrix(metric), expected)
    found = results(metric)
    assert found["accuracy"] == pytest.approx(scores.accuracy(expected))
    assert found["mean_iou"] == pytest.approx(scores.mean_iou(expected))
    assert found["mean_dice"] == pytest.approx(scores.mean_dice(expected))
    for place, name in enumerate(NAMES):
        assert found[scores.column("iou", name)] == pytest.approx(scores.iou_per_class(expected)[place])
        assert found[scores.column("dice", name)] == pytest.approx(scores.dice_per_class(expected)[place])
    assert len(found) == 3 + 2 * len(NAMES)


def test_a_class_absent_in_truth_and_prediction_counts_1(metric):
    bits = np.full((1, 4, 4), 1, np.uint8)
    logits = np.zeros((1, 4, 4, 3), np.float32)
    logits[..., 0] = 1
    metric.update_state(bits, logits)
    assert set(results(metric).values()) == {1.0}


def test_a_class_that_is_absent_in_truth_alone_counts_0(metric):
    bits = np.full((1, 4, 4), 1, np.uint8)
    logits = np.zeros((1, 4, 4, 3), np.float32)
    logits[..., 0] = 1
    logits[0, 0, 0, 1] = 2
    metric.update_state(bits, logits)
    found = results(metric)
    assert (found["iou_edema"], found["dice_edema"], found["iou_non_enhancing_tumor"]) == (0, 0, 1)
    assert found["iou_background"] == pytest.approx(15 / 16)


def test_nothing_annotated_counts_nothing(metric):
    bits, logits = batch(0, annotated=-1)
    metric.update_state(bits, logits)
    assert not matrix(metric).any()
    assert set(results(metric).values()) == {1.0}


def test_counts_are_exact_beyond_what_32_bits_hold(metric):
    start = np.full((3, 3), 5 * 2**30 - 3, np.int64)
    metric.low.assign((start % 2**30).astype(np.int32))
    metric.high.assign((start // 2**30).astype(np.int32))
    bits, logits = batch(1, shape=(2, 16, 16))
    metric.update_state(bits, logits)
    added = scores.confusion_matrix(bits_to_classes(bits), logits.argmax(axis=-1).astype(np.uint8), 3)
    assert added.min() > 3
    np.testing.assert_array_equal(matrix(metric), start + added)
    assert (np.asarray(metric.low) >= 0).all()
    assert (np.asarray(metric.low) < 2**30).all()
    assert results(metric)["mean_iou"] == pytest.approx(scores.mean_iou(start + added), abs=1e-6)


def test_reset_starts_anew(metric):
    metric.update_state(*batch(0))
    metric.reset_state()
    assert not matrix(metric).any()


def test_a_loss_is_the_mean_that_its_function_gives():
    from training.objective import VoxelLoss

    seen = []

    def function(bits, logits):
        seen.append(np.asarray(bits))
        return 2.5

    bits, logits = batch(0)
    assert float(VoxelLoss(function, "made")(bits, logits)) == 2.5
    np.testing.assert_array_equal(seen[0], bits)
