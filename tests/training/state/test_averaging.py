"""Weight averaging: the average is what a formula gives, is exchanged and brought back, and is what a run keeps."""

import keras
import numpy as np
import pytest

from training.optimizers import OptimizerConfig, ScheduleConfig, build_optimizer
from training.state.averaging import averaged


def trained(ema, steps=4):
    """A model of one weight after steps of gradient 1, rate 1; its weight after each step."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
    optimizer = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0.0, ema=ema)
    model.compile(build_optimizer(optimizer, ScheduleConfig(name="constant"), 1, 1), "mse")
    model.optimizer.build(model.trainable_variables)
    weights = []
    for _ in range(steps):
        model.optimizer.apply([np.ones((1, 1), np.float32)], model.trainable_variables)
        weights.append(model.get_weights()[0].item())
    return model, weights


def test_the_average_is_exponential_over_the_steps_and_training_goes_on_with_the_weights():
    model, weights = trained(0.2)
    expected = weights[0]
    for momentum, weight in zip((2 / 11, 0.2, 0.2), weights[1:], strict=True):
        expected = momentum * expected + (1 - momentum) * weight
    with averaged(model):
        assert model.get_weights()[0].item() == pytest.approx(expected, rel=1e-5)
    assert model.get_weights()[0].item() == weights[-1] == -4


def test_without_an_average_nothing_is_exchanged():
    model, weights = trained(None)
    with averaged(model):
        assert model.get_weights()[0].item() == weights[-1]


def test_the_weights_are_brought_back_after_an_error():
    model, weights = trained(0.5)
    with pytest.raises(OSError, match="full"), averaged(model):
        raise OSError("full")
    assert model.get_weights()[0].item() == weights[-1]
