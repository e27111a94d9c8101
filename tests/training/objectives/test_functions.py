import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from training.objectives.functions import focal, one_hot
from training.objectives.losses import CrossEntropyConfig, FocalConfig

CLASSES = 4


def made(seed=0, shape=(2, 5, 6), spread=3.0, annotated=1.0):
    """Bit-packed targets and logits."""
    rng = np.random.default_rng(seed)
    bits = (1 << rng.integers(0, CLASSES, shape)).astype(np.uint8)
    bits[rng.random(shape) >= annotated] = 0
    return bits, rng.normal(0, spread, (*shape, CLASSES)).astype(np.float32)


def by_hand(bits, logits, gamma, alpha):
    """The formula in float64."""
    logits = logits.astype(np.float64)
    log_p = logits - logits.max(axis=-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
    truth = (bits[..., None] & (1 << np.arange(logits.shape[-1]))) != 0
    losses = -np.asarray(alpha) * truth * (1 - np.exp(log_p)) ** gamma * log_p
    return losses.sum() / max(truth.sum(), 1)


def value_and_gradient(bits, logits, gamma=2.0, alpha=(1.0,) * CLASSES):
    import tensorflow as tf

    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = focal(bits, variable, gamma, list(alpha))
    return float(loss), tape.gradient(loss, variable).numpy()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    spread=st.floats(0, 30),
    annotated=st.floats(0, 1),
    gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]),
    alpha=st.lists(st.floats(0, 5), min_size=CLASSES, max_size=CLASSES),
)
def test_the_loss_is_the_formula(seed, spread, annotated, gamma, alpha):
    bits, logits = made(seed, (2, 3, 4), spread, annotated)
    value, gradient = value_and_gradient(bits, logits, gamma, alpha)
    assert value == pytest.approx(by_hand(bits, logits, gamma, alpha), rel=1e-4, abs=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_it_equals_that_of_keras_where_keras_clips_nothing(gamma):
    import keras

    bits, logits = made(spread=2.0)
    alpha = [0.1, 0.5, 1.0, 2.0]
    truth = keras.ops.convert_to_numpy(one_hot(bits, CLASSES))
    expected = keras.losses.CategoricalFocalCrossentropy(alpha=alpha, gamma=gamma, from_logits=True)(truth, logits)
    assert float(focal(bits, logits, gamma, alpha)) == pytest.approx(float(expected), rel=1e-5)


def test_gamma_0_is_cross_entropy():
    import keras

    bits, logits = made()
    truth = one_hot(bits, CLASSES)
    expected = float(keras.losses.CategoricalCrossentropy(from_logits=True)(truth, logits))
    assert float(CrossEntropyConfig().build(CLASSES)(bits, logits)) == pytest.approx(expected, rel=1e-5)
    assert float(FocalConfig(gamma=0.0).build(CLASSES)(bits, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gap", [5.0, 20.0, 60.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_confidently_wrong_voxel_keeps_its_gradient(gap, gamma):
    logits = np.array([[gap, 0, 0, 0]], np.float32)
    value, gradient = value_and_gradient(np.array([2], np.uint8), logits, gamma)
    assert value == pytest.approx(gap, rel=0.1)
    np.testing.assert_allclose(gradient[0, :2], [1, -1], atol=0.1)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_confidently_right_voxel_has_no_loss_and_a_finite_gradient(gamma):
    logits = np.array([[90, 0, 0, 0], [1e4, -1e4, 0, 0]], np.float32)
    value, gradient = value_and_gradient(np.array([1, 1], np.uint8), logits, gamma)
    assert value == 0
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_voxels_that_are_not_annotated_weigh_nothing():
    bits, logits = made(annotated=0.5)
    value, gradient = value_and_gradient(bits, logits)
    assert not gradient[bits == 0].any()
    logits[bits == 0] = 1e3
    assert value_and_gradient(bits, logits)[0] == value
    assert value == pytest.approx(value_and_gradient(bits[bits > 0], logits[bits > 0])[0], rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_without_an_annotated_voxel_loss_and_gradient_are_exactly_0(gamma):
    bits, logits = made(annotated=0.0, spread=50)
    value, gradient = value_and_gradient(bits, logits, gamma)
    assert value == 0.0
    assert not gradient.any()


def test_alpha_weighs_the_classes():
    bits, logits = made()
    parts = [float(focal(bits, logits, 2.0, list(row))) for row in np.eye(CLASSES)]
    assert float(focal(bits, logits, 2.0, [1, 2, 3, 4])) == pytest.approx(np.dot(parts, [1, 2, 3, 4]), rel=1e-5)
    assert float(FocalConfig(alpha=[3.0]).build(CLASSES)(bits, logits)) == pytest.approx(3 * sum(parts), rel=1e-5)


@pytest.mark.parametrize("config", [FocalConfig, CrossEntropyConfig])
@pytest.mark.parametrize("alpha", [[], [1.0, 2.0], [1.0] * 5])
def test_a_wrong_number_of_class_weights_is_refused(config, alpha):
    with pytest.raises(UserError, match=rf"--loss\.alpha: expected 1 or 4 numbers .* received {len(alpha)}"):
        config(alpha=alpha).build(CLASSES)


def test_logits_of_half_precision_are_summed_in_float32():
    bits, logits = made(shape=(1, 64, 64))
    logits = logits.astype(np.float16)
    value = focal(bits, logits, 2.0, [1.0] * CLASSES)
    assert value.dtype == "float32"
    assert float(value) == pytest.approx(by_hand(bits, logits, 2.0, [1] * CLASSES), rel=1e-4)


def test_bits_become_one_hot():
    expected = np.vstack([np.eye(8), np.zeros(8)])
    bits = np.array([1, 2, 4, 8, 16, 32, 64, 128, 0], np.uint8)
    for given_bits in (bits, bits.astype(np.float32)):  # Keras hands targets to losses as float32
        np.testing.assert_array_equal(one_hot(given_bits, 8), expected)
