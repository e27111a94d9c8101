import numpy as np
import pytest

from common.metrics import overlap
from common.tables import score_column
from data_prep.labels import bits_to_classes
from tests.overlaps import per_class

NAMES = ["background", "edema", "non-enhancing tumor"]


@pytest.fixture
def metric():
    from training.objectives.keras_objects import ConfusionMatrix

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
        expected += overlap.confusion_matrix(bits_to_classes(bits), logits.argmax(axis=-1).astype(np.uint8), 3)
    np.testing.assert_array_equal(matrix(metric), expected)
    found = results(metric)
    assert found["accuracy"] == pytest.approx(overlap.accuracy(expected))
    assert found["mean_iou"] == pytest.approx(per_class(expected, "iou").mean())
    assert found["mean_dice"] == pytest.approx(per_class(expected, "dice").mean())
    for place, name in enumerate(NAMES):
        assert found[score_column("iou", name)] == pytest.approx(per_class(expected, "iou")[place])
        assert found[score_column("dice", name)] == pytest.approx(per_class(expected, "dice")[place])
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
    assert np.isnan(list(results(metric).values())).all()


def test_counts_are_exact_beyond_what_32_bits_hold(metric):
    start = np.full((3, 3), 5 * 2**30 - 3, np.int64)
    metric.low.assign((start % 2**30).astype(np.int32))
    metric.high.assign((start // 2**30).astype(np.int32))
    bits, logits = batch(1, shape=(2, 16, 16))
    metric.update_state(bits, logits)
    added = overlap.confusion_matrix(bits_to_classes(bits), logits.argmax(axis=-1).astype(np.uint8), 3)
    assert added.min() > 3
    np.testing.assert_array_equal(matrix(metric), start + added)
    assert (np.asarray(metric.low) >= 0).all()
    assert (np.asarray(metric.low) < 2**30).all()
    assert results(metric)["mean_iou"] == pytest.approx(per_class(start + added, "iou").mean(), abs=1e-6)


def test_reset_starts_anew(metric):
    metric.update_state(*batch(0))
    metric.reset_state()
    assert not matrix(metric).any()


def test_a_loss_is_the_mean_that_its_function_gives():
    from training.objectives.keras_objects import VoxelLoss

    seen = []

    def function(bits, logits):
        seen.append(np.asarray(bits))
        return 2.5

    bits, logits = batch(0)
    assert float(VoxelLoss(function, "made")(bits, logits)) == 2.5
    np.testing.assert_array_equal(seen[0], bits)


def as_linear(logits, size):
    """Bilinear resizing with pixel centres at halves, edges repeated, in NumPy."""
    for axis, wanted in enumerate(size, start=1):
        length = logits.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if place == axis else 1 for place in range(4)])
        upper = np.take(logits, np.minimum(low + 1, length - 1), axis)
        logits = np.take(logits, low, axis) * (1 - share) + upper * share
    return logits


@pytest.mark.parametrize("size", [(8, 12), (6, 5), (4, 9)])
def test_logits_are_resized_linearly_to_the_pixels_of_their_target(size):
    from training.objectives.keras_objects import to_target_size

    logits = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    found = to_target_size(logits, np.zeros((2, *size), np.uint8))
    np.testing.assert_allclose(found, as_linear(logits, size), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 4, 5, 6, 3), (2, 1), (2, 3)])
def test_logits_of_the_right_size_volumes_and_categories_stay_as_they_are(shape):
    from training.objectives.keras_objects import to_target_size

    logits = np.zeros(shape, np.float16)
    target = np.zeros((2, 1) if len(shape) == 2 else shape[:-1], np.uint8)
    assert to_target_size(logits, target) is logits


def test_loss_and_metric_see_logits_at_the_pixels_of_the_target(metric):
    from training.objectives.losses import BceDiceConfig

    bits, _ = batch(0, shape=(2, 8, 10))
    logits = np.random.default_rng(1).normal(size=(2, 4, 5, 3)).astype(np.float32)
    large = as_linear(logits, (8, 10)).astype(np.float32)
    loss = BceDiceConfig().build(3)
    assert float(loss(bits, logits)) == pytest.approx(float(loss(bits, large)), rel=1e-5)
    metric.update_state(bits, logits)
    expected = overlap.confusion_matrix(bits_to_classes(bits), large.argmax(axis=-1).astype(np.uint8), 3)
    np.testing.assert_array_equal(matrix(metric), expected)


def cross_entropy(truth, logits):
    """Of each slice, in NumPy."""
    logits = logits.astype(np.float64)
    logits = np.concatenate([np.zeros_like(logits), logits], axis=1) if logits.shape[1] == 1 else logits
    shifted = logits - logits.max(axis=1, keepdims=True)
    return (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(truth)), truth]).astype(float)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.5, 3.0], [1.0, 1.0, 1.0], [0.2, 1.0, 4.0]])
def test_the_loss_of_a_category_is_weighed_cross_entropy(weights):
    from training.objectives.keras_objects import classification_loss

    rng = np.random.default_rng(2)
    truth = np.arange(12) % len(weights)
    logits = rng.normal(0, 3, (12, 1 if len(weights) == 2 else len(weights))).astype(np.float32)
    expected = (cross_entropy(truth, logits) * np.array(weights)[truth]).mean()
    found = classification_loss(weights)(truth[:, None].astype(np.float32), logits)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_confidently_wrong_slice_keeps_a_finite_loss():
    from training.objectives.keras_objects import classification_loss

    for logits in ([[60.0]], [[60.0, 0.0, 0.0]]):
        weights = [1.0] * max(len(logits[0]), 2)
        target = np.array([[0.0 if len(logits[0]) == 1 else 2.0]], np.float32)
        assert float(classification_loss(weights)(target, np.array(logits, np.float32))) == pytest.approx(60, rel=1e-4)


def test_accuracy_and_auc_are_told_from_logits():
    from training.objectives.keras_objects import classification_metrics

    truth = np.array([[0], [0], [1], [1], [1]], np.float32)
    logits = np.array([[-2], [0.3], [-0.1], [0.4], [5]], np.float32)  # 1 of 2 and 2 of 3 right; 5 of 6 pairs in order
    accuracy, auc = classification_metrics(2)
    for metric in (accuracy, auc):
        metric.update_state(truth, logits)
    assert (accuracy.name, auc.name) == ("accuracy", "auc")
    assert float(accuracy.result()) == pytest.approx(0.6)
    assert float(auc.result()) == pytest.approx(5 / 6, abs=0.02)


def test_examples_of_one_class_have_no_auc():
    from training.objectives.keras_objects import classification_metrics

    for target in (0.0, 1.0):
        accuracy, auc = classification_metrics(2)
        for metric in (accuracy, auc):
            metric.update_state(np.full((3, 1), target, np.float32), np.array([[-2], [0.3], [5]], np.float32))
        assert np.isfinite(float(accuracy.result()))
        assert np.isnan(float(auc.result()))


def test_of_three_categories_accuracy_counts_the_most_probable():
    from training.objectives.keras_objects import classification_metrics

    (accuracy,) = classification_metrics(3)
    accuracy.update_state(np.array([[0], [1], [2], [2]], np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    assert float(accuracy.result()) == pytest.approx(0.75)


LOSSES = ["FocalConfig", "CrossEntropyConfig", "BceDiceConfig"]


def built(name, classes=3):
    from training.objectives import losses

    return getattr(losses, name)().build(classes)


@pytest.mark.parametrize("shape", [(2, 7, 5), (2, 4, 5, 6)])
@pytest.mark.parametrize("name", LOSSES)
def test_equal_levels_have_the_loss_of_one(name, shape):
    bits, logits = batch(0, shape=shape)
    loss = built(name)
    one = float(loss(bits, logits))
    for levels in (2, 3):
        assert float(loss(bits, np.concatenate([logits] * levels, axis=-1))) == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_each_level_counts_half_as_much_as_the_one_above(name):
    shape = (2, 4, 5, 6)
    bits = batch(0, shape=shape)[0]
    levels = [batch(seed, shape=shape)[1] for seed in (1, 2, 3)]
    loss = built(name)
    alone = [float(loss(bits, level)) for level in levels]
    assert len({round(value, 4) for value in alone}) == 3
    expected = (alone[0] + alone[1] / 2 + alone[2] / 4) / 1.75
    assert float(loss(bits, np.concatenate(levels, axis=-1))) == pytest.approx(expected, rel=1e-5)


def test_levels_of_resized_slices_are_brought_to_the_target_too():
    bits, _ = batch(0, shape=(2, 8, 10))
    levels = [np.random.default_rng(seed).normal(size=(2, 4, 5, 3)).astype(np.float32) for seed in (1, 2)]
    loss = built("FocalConfig")
    expected = sum(weight * float(loss(bits, level)) for weight, level in zip((2 / 3, 1 / 3), levels, strict=True))
    assert float(loss(bits, np.concatenate(levels, axis=-1))) == pytest.approx(expected, rel=1e-5)


def test_the_metric_reads_the_first_level(metric):
    from training.objectives.keras_objects import ConfusionMatrix

    bits, logits = batch(0, shape=(2, 4, 5, 6))
    metric.update_state(bits, logits)
    supervised = ConfusionMatrix(NAMES)
    supervised.update_state(bits, np.concatenate([logits, 9 * batch(1, shape=(2, 4, 5, 6))[1]], axis=-1))
    np.testing.assert_array_equal(matrix(supervised), matrix(metric))
    assert matrix(metric).sum() == np.count_nonzero(bits)


def test_gradients_reach_the_convolutions_of_levels():
    import keras
    import tensorflow as tf

    from models.unet import UNetConfig

    keras.utils.set_random_seed(0)
    network = UNetConfig(filters=2, depth=3, deep_supervision=2).build(2, {"segmentation": 3})
    bits = batch(0, shape=(2, 8, 8))[0]
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    heads = [network.get_layer(name).kernel for name in ("segmentation", "segmentation_level2", "segmentation_level3")]
    with tf.GradientTape() as tape:
        loss = built("FocalConfig")(bits, network(images, training=True)["segmentation"])
    gradients = tape.gradient(loss, [kernel.value for kernel in heads])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_of_classes_are_nan_until_an_example_is_annotated(classes):
    from training.objectives.keras_objects import classification_metrics

    logits = np.array([[1.0], [-1.0]]) if classes == 2 else np.eye(3)[:2]
    for metric in classification_metrics(classes):
        metric.update_state(np.array([[-1.0], [-1.0]]), logits)
        assert np.isnan(float(metric.result()))
        metric.update_state(np.array([[1.0], [-1.0]]), logits)
        assert np.isfinite(float(metric.result())) or metric.name == "auc"
        metric.update_state(np.array([[-1.0], [0.0]]), logits)
        assert np.isfinite(float(metric.result()))


def test_the_share_of_examples_in_batches_with_an_annotation():
    from keras import ops

    from training.objectives.keras_objects import AnnotatedShare

    share = AnnotatedShare(lambda targets: ops.any(targets > 0))
    for targets in ([[0], [0], [0]], [[0], [1]], [[1], [1], [1]]):
        share.update_state(np.array(targets, np.uint8), None)
    assert float(share.result()) == pytest.approx(5 / 8)
    share.reset_state()
    assert float(share.result()) == 0
