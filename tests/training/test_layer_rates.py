"""Factors of the learning rate by layer: what each layer's weights change by in a step."""

import numpy as np
import pytest

from common.errors import UserError
from training.layer_rates import variable_factors
from training.optimizers import OptimizerConfig, ScheduleConfig, build_optimizer


@pytest.fixture
def network():
    """Ones on a path through a nested network: backbone (of two layers), then a head."""
    import keras

    inner = keras.Input((1,))
    dense = {"use_bias": False, "kernel_initializer": "ones"}
    features = keras.layers.Dense(1, name="stage2", **dense)(keras.layers.Dense(1, name="stage1", **dense)(inner))
    outer = keras.Input((1,))
    backbone = keras.Model(inner, features, name="backbone")
    return keras.Model(outer, keras.layers.Dense(1, name="head", **dense)(backbone(outer)))


def changes(network, optimizer):
    """Change of each kernel by one step along a gradient of ones."""
    built = build_optimizer(optimizer, ScheduleConfig(name="constant"), 1, 1, network)
    variables = network.trainable_variables
    built.build(variables)
    built.apply([np.ones((1, 1), np.float32)] * len(variables), variables)
    return {variable.path.split("/")[-2]: variable.numpy().item() - 1 for variable in variables}


def test_each_layer_moves_by_its_own_rate(network):
    sgd = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.0, rates={"backbone": 0.5, "stage1": 0.1})
    assert changes(network, sgd) == pytest.approx({"stage1": -0.01, "stage2": -0.05, "head": -0.1}, rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_every_optimizer_takes_rates_and_such_weights_do_not_decay(network, name):
    whole = {"learning_rate": 0.01, "weight_decay": 0.0}
    expected = changes(network, OptimizerConfig(name=name, **whole))["head"]
    for variable in network.trainable_variables:
        variable.assign(np.ones((1, 1)))
    found = changes(network, OptimizerConfig(name=name, **(whole | {"weight_decay": 1.0}), rates={"backbone": 0.1}))
    decay = 0.01 if name == "adamw" else 0
    assert found == pytest.approx({"stage1": expected / 10, "stage2": expected / 10, "head": expected - decay}, rel=1e-4)


def test_layers_that_do_not_exist_and_factors_below_0_are_refused(network):
    with pytest.raises(UserError, match=r"names of layers \(backbone, stage1, stage2, head\); received trunk"):
        variable_factors(network, {"trunk": 0.1})
    with pytest.raises(UserError, match=r"--optimizer.rates.backbone: expected at least 0; received -1"):
        OptimizerConfig(rates={"backbone": -1}).check()
