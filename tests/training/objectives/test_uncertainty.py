"""Learnt weights of heads' losses: their equations, and heads that a batch does not annotate."""

import numpy as np
import pytest


@pytest.fixture
def network():
    import keras

    from training.objectives.uncertainty import UncertainNetwork

    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 1))
    outputs = {name: keras.layers.Conv2D(2, 1, name=name)(inputs) for name in ("a", "b")}
    return UncertainNetwork(keras.Model(inputs, outputs), ["a", "b"])


def losses(network, targets):
    """Loss of each head and the gradient of the sum by both log variances."""
    import tensorflow as tf

    from training.heads.segmentation import SegmentationHead
    from training.objectives.losses import CrossEntropyConfig
    from training.objectives.uncertainty import UncertainLoss

    annotated = SegmentationHead.any_annotated
    image = np.random.default_rng(1).standard_normal((2, 4, 4, 1)).astype(np.float32)
    variances = network.log_variances
    with tf.GradientTape() as tape:
        plain, weighed = {}, {}
        for name, logits in network(image).items():
            loss = CrossEntropyConfig().build(2)
            plain[name] = loss(targets[name], logits)
            weighed[name] = UncertainLoss(loss, variances[name], lambda given: annotated(None, given))(targets[name], logits)
        total = sum(weighed.values())
    gradients = tape.gradient(total, [variances[name].value for name in ("a", "b")])
    return plain, weighed, dict(zip("ab", gradients, strict=True))


def test_the_loss_is_that_of_kendall(network):
    targets = {name: np.full((2, 4, 4), bit, np.uint8) for name, bit in (("a", 1), ("b", 2))}
    network.log_variances["b"].assign(0.7)
    plain, weighed, gradients = losses(network, targets)
    for name, log_variance in (("a", 0.0), ("b", 0.7)):
        expected = np.exp(-log_variance) * float(plain[name]) + log_variance / 2
        assert float(weighed[name]) == pytest.approx(expected, rel=1e-5)
        assert float(gradients[name]) == pytest.approx(0.5 - np.exp(-log_variance) * float(plain[name]), rel=1e-4)


def test_a_batch_without_annotation_moves_no_weight(network):
    targets = {"a": np.ones((2, 4, 4), np.uint8), "b": np.zeros((2, 4, 4), np.uint8)}
    network.log_variances["b"].assign(0.7)
    _, weighed, gradients = losses(network, targets)
    assert float(weighed["b"]) == 0
    assert float(gradients["b"]) == 0
    assert float(gradients["a"]) != 0


def test_log_variances_are_trained_and_saved(network, tmp_path):
    names = [variable.path.rpartition("/")[2] for variable in network.trainable_variables]
    assert {"a_log_variance", "b_log_variance"} <= set(names)
    network.log_variances["a"].assign(0.3)
    network.save_weights(tmp_path / "w.weights.h5")
    network.log_variances["a"].assign(0.0)
    network.load_weights(tmp_path / "w.weights.h5")
    assert float(network.log_variances["a"].value) == pytest.approx(0.3)
