"""Binary cross-entropy plus Dice against NumPy, and what a class that is absent or a voxel that is not annotated costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from training.objectives.functions import soft_dice
from training.objectives.losses import BceDiceConfig


def made(seed=0, shape=(2, 5, 6), classes=2, spread=2.0, annotated=1.0):
    """Bit-packed targets and logits."""
    rng = np.random.default_rng(seed)
    bits = (1 << rng.integers(0, classes, shape)).astype(np.uint8)
    bits[rng.random(shape) >= annotated] = 0
    return bits, rng.normal(0, spread, (*shape, classes)).astype(np.float32)


def loss(bits, logits, **settings):
    return float(BceDiceConfig(**settings).build(logits.shape[-1])(bits, logits))


def value_and_gradient(bits, logits, **settings):
    import tensorflow as tf

    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        found = BceDiceConfig(**settings).build(logits.shape[-1])(bits, variable)
    return float(found), tape.gradient(found, variable).numpy()


def probabilities(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def dice_by_hand(bits, logits, smooth=1.0):
    """Dice loss of one sample: mean over the foreground classes."""
    p, losses = probabilities(logits), []
    for c in range(1, logits.shape[-1]):
        truth, found = (bits == 1 << c).astype(float), p[..., c] * (bits > 0)
        losses.append(1 - (2 * (truth * found).sum() + smooth) / (truth.sum() + found.sum() + smooth))
    return np.mean(losses)


def bce_by_hand(bits, logits):
    p = probabilities(logits)
    chosen = [p[..., c][bits == 1 << c] for c in range(logits.shape[-1])]
    return -np.log(np.concatenate(chosen)).mean()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    classes=st.integers(2, 5),
    annotated=st.floats(0.3, 1),
    smooth=st.sampled_from([1e-3, 1.0, 7.5]),
    bce=st.floats(0, 4),
    dice=st.floats(0, 4),
)
def test_each_term_is_the_formula_and_the_weights_are_linear(seed, classes, annotated, smooth, bce, dice):
    bits, logits = made(seed, (2, 4, 5), classes, annotated=annotated)
    bits[0, 0, 0] = 1  # at least one voxel is annotated
    expected_bce = bce_by_hand(bits, logits)
    annotated_samples = [(b, x) for b, x in zip(bits, logits, strict=True) if b.any()]  # others are left out of the mean
    expected_dice = np.mean([dice_by_hand(b, x, smooth) for b, x in annotated_samples])
    assert loss(bits, logits, bce=1, dice=0, smooth=smooth) == pytest.approx(expected_bce, rel=1e-4, abs=1e-5)
    assert loss(bits, logits, bce=0, dice=1, smooth=smooth) == pytest.approx(expected_dice, rel=1e-4, abs=1e-5)
    both = loss(bits, logits, bce=bce, dice=dice, smooth=smooth)
    assert both == pytest.approx(bce * expected_bce + dice * expected_dice, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("structures", "groups"), [("regions", [[1, 2, 3], [3]]), ("both", [[1], [2], [3], [1, 2, 3]])])
def test_dice_of_regions_is_that_of_their_unions(structures, groups):
    bits, logits = made(classes=4, annotated=0.8)
    p, truth = probabilities(logits), np.stack([bits == 1 << c for c in range(4)], axis=-1).astype(float)
    expected = []
    for sample in range(len(bits)):
        for group in groups:
            y, found = truth[sample][..., group].sum(-1), (p[sample] * (bits[sample] > 0)[..., None])[..., group].sum(-1)
            expected.append(1 - (2 * (y * found).sum() + 1) / (y.sum() + found.sum() + 1))
    dice = BceDiceConfig(bce=0, structures=structures).build(4, [[3, 1, 2], [3]])
    assert float(dice(bits, logits)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_dice_of_regions_needs_regions():
    with pytest.raises(
        UserError, match=r"^--loss\.structures regions: expected a label schema with regions; received one without"
    ):
        BceDiceConfig(structures="regions").build(2)


def test_of_two_classes_it_is_sigmoid_cross_entropy_of_the_difference_of_the_logits():
    import keras

    bits, logits = made(annotated=1)
    truth = (bits == 2).astype(np.float32)
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(truth[..., None], (logits[..., 1] - logits[..., 0])[..., None])
    assert loss(bits, logits, dice=0) == pytest.approx(float(expected), rel=1e-5)


def test_dice_is_the_mean_of_the_samples_and_not_that_of_their_pool():
    bits, logits = made(classes=3)
    bits[0], bits[1, :4] = 2, 1
    each = [dice_by_hand(b, x) for b, x in zip(bits, logits, strict=True)]
    pool = dice_by_hand(bits, logits)
    assert abs(np.mean(each) - pool) > 0.01
    assert loss(bits, logits, bce=0) == pytest.approx(np.mean(each), rel=1e-5)
    assert loss(bits, logits, bce=0, over="batch") == pytest.approx(pool, rel=1e-5)


@pytest.mark.parametrize("over", ["sample", "batch"])
def test_a_volume_is_summed_over_all_of_its_space(over):
    bits, logits = made(shape=(2, 3, 4, 5), classes=3)
    expected = np.mean([dice_by_hand(b, x) for b, x in zip(bits, logits, strict=True)])
    expected = dice_by_hand(bits, logits) if over == "batch" else expected
    assert float(soft_dice(bits, logits, over=over, smooth=(1.0, 1.0))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("over", ["sample", "batch"])
def test_an_absent_class_costs_nothing_unless_it_is_predicted_and_more_the_more_it_is(over):
    bits = np.ones((2, 8, 8), np.uint8)
    costs = []
    for wrong in (0, 1, 4, 16, 64):
        logits = np.zeros((2, 64, 2), np.float32)
        logits[..., 0] = 30
        logits[:, :wrong] = (0, 30)
        costs.append(loss(bits, logits.reshape(2, 8, 8, 2), bce=0, over=over))
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff(costs) > 0)
    assert costs[-1] < 1


def test_an_absent_class_that_is_predicted_has_a_gradient_that_takes_it_back():
    bits = np.ones((1, 4, 4), np.uint8)
    _, gradient = value_and_gradient(bits, np.zeros((1, 4, 4, 2), np.float32), bce=0)
    assert (gradient[..., 1] > 0).all()
    assert (gradient[..., 0] < 0).all()


@pytest.mark.parametrize("over", ["sample", "batch"])
def test_voxels_that_are_not_annotated_weigh_nothing(over):
    bits, logits = made(classes=3, annotated=0.5)
    value, gradient = value_and_gradient(bits, logits, over=over)
    assert not gradient[bits == 0].any()
    assert gradient[bits > 0].any(axis=-1).all()
    logits[bits == 0] = (-50, 0, 90)
    assert loss(bits, logits, over=over) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("over", ["sample", "batch"])
@pytest.mark.parametrize("classes", [2, 4])
def test_without_an_annotated_voxel_loss_and_gradient_are_exactly_0(over, classes):
    _, logits = made(classes=classes, spread=50)
    value, gradient = value_and_gradient(np.zeros(logits.shape[:-1], np.uint8), logits, over=over)
    assert value == 0.0
    assert not gradient.any()


def test_a_sample_that_is_not_annotated_weighs_nothing():
    bits, logits = made()
    alone = loss(bits[:1], logits[:1], bce=0)
    bits[1] = 0
    assert loss(bits, logits, bce=0) == pytest.approx(alone, rel=1e-5)


def test_half_precision_is_summed_in_float32():
    bits, logits = made(shape=(1, 128, 128))
    logits = logits.astype(np.float16)
    expected = bce_by_hand(bits, logits) + dice_by_hand(bits[0], logits[0])
    assert loss(bits, logits) == pytest.approx(expected, rel=1e-4)


def test_targets_may_come_as_keras_hands_them_over():
    bits, logits = made(classes=3)
    assert loss(bits.astype(np.float32), logits) == loss(bits, logits)
