"""DiceCE: its values and gradients are those that MONAI gave, and voxels that are not annotated weigh nothing."""

import re

import numpy as np
import pytest

from benchmarks.monai_training import combinations, dice_ce, direction, example
from common.errors import UserError
from training.objectives.losses import BceDiceConfig, DiceCeConfig

# Value, and gradient along a fixed direction, of DiceCELoss of MONAI 1.6.1 in float64: printed by
# `python -m benchmarks.monai_training`.
GOLDEN = (
    ((False, False, "sample"), 3.875945947, -0.040169346),
    ((False, False, "batch"), 3.860717395, -0.039574489),
    ((False, True, "sample"), 3.839192762, -0.040076422),
    ((False, True, "batch"), 3.827075229, -0.039663371),
    ((True, False, "sample"), 3.853624388, -0.039783885),
    ((True, False, "batch"), 3.833763069, -0.039045202),
    ((True, True, "sample"), 3.816356137, -0.039726578),
    ((True, True, "batch"), 3.800989651, -0.039222030),
)


def loss(bits, logits, **settings):
    return float(DiceCeConfig(**settings).build(logits.shape[-1])(bits, logits))


@pytest.mark.parametrize(("config", "golden"), list(zip(combinations(), GOLDEN, strict=True)))
def test_value_and_gradient_are_those_of_monai(config, golden):
    options, value, along = golden
    assert (config.squared, config.include_background, config.over) == options
    own, gradient = dice_ce(config, *example(3))
    assert own == pytest.approx(value, rel=1e-6)
    assert float(np.sum(gradient * direction(gradient.shape))) == pytest.approx(along, abs=1e-6 * float(np.abs(gradient).sum()))


def test_it_is_bce_dice_where_the_options_are_those_of_bce_dice():
    truth, logits = example(2)
    bits = (1 << truth).astype(np.uint8)
    own = loss(bits, logits, include_background=False, smooth_numerator=1.0, smooth_denominator=1.0, ce=0.3)
    assert own == float(BceDiceConfig(bce=0.3).build(2)(bits, logits))


def test_alpha_weighs_the_classes_in_the_cross_entropy_alone():
    truth, logits = example(3)
    bits = (1 << truth).astype(np.uint8)
    parts = [loss(bits, logits, dice=0.0, alpha=list(row)) for row in np.eye(3)]
    assert loss(bits, logits, dice=0.0, alpha=[1, 2, 3]) == pytest.approx(np.dot(parts, [1, 2, 3]), rel=1e-5)
    assert loss(bits, logits, ce=0.0, alpha=[1, 2, 3]) == loss(bits, logits, ce=0.0)


@pytest.mark.parametrize("over", ["sample", "batch"])
@pytest.mark.parametrize("squared", [False, True])
def test_voxels_that_are_not_annotated_weigh_nothing(over, squared):
    import tensorflow as tf

    truth, logits = example(3)
    bits = (1 << truth).astype(np.uint8)
    bits[:, :, 1::2] = 0
    config = DiceCeConfig(over=over, squared=squared)
    assert loss(bits, logits, over=over, squared=squared) == pytest.approx(
        loss(bits[:, :, ::2], logits[:, :, ::2], over=over, squared=squared), rel=1e-6
    )
    for annotated in (bits, np.zeros_like(bits)):
        variable = tf.Variable(logits)
        with tf.GradientTape() as tape:
            value = config.build(3)(annotated, variable)
        gradient = tape.gradient(value, variable).numpy()
        assert not gradient[annotated == 0].any()
        assert gradient[annotated > 0].any() == annotated.any()
    assert float(value) == 0.0  # without an annotated voxel, also where numerator and denominator are smoothed differently
    assert loss(np.zeros_like(bits), logits, over=over, smooth_numerator=0.0, smooth_denominator=3.0) == 0.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dice": -1.0}, "--loss.dice: expected at least 0; received -1.0"),
        ({"ce": -1.0}, "--loss.ce: expected at least 0; received -1.0"),
        ({"smooth_numerator": -1.0}, "--loss.smooth_numerator: expected at least 0; received -1.0"),
        ({"smooth_denominator": 0.0}, "--loss.smooth_denominator: expected at least 1e-06; received 0.0"),
        ({"alpha": [1.0, 2.0]}, "--loss.alpha: expected 1 or 3 numbers (one per class); received 2"),
    ],
)
def test_numbers_that_make_no_loss_are_refused(settings, said):
    with pytest.raises(UserError, match=re.escape(said)):
        DiceCeConfig(**settings).build(3)
