"""Frozen layers: which they are, and that they do not move, batch statistics included."""

import numpy as np
import pytest

from common.errors import UserError
from models.unet import UNetConfig
from training.freezing import LayerFreezing


@pytest.fixture(scope="module")
def network():
    import keras

    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    return UNetConfig(filters=2, depth=1).build(1, {"segmentation": 2})


def changed(network):
    """Paths of the weights that a training step changes; they are put back."""
    before, kept = {each.path: np.array(each) for each in network.weights}, network.get_weights()
    network.compile("sgd", "mse", run_eagerly=True)
    rng = np.random.default_rng(0)
    network.train_on_batch(rng.normal(size=(2, 8, 8, 1)), {"segmentation": rng.normal(size=(2, 8, 8, 2))})
    found = {each.path for each in network.weights if not np.array_equal(before[each.path], np.array(each))}
    network.set_weights(kept)
    return found


def test_frozen_layers_do_not_move_and_train_again_later(network):
    freezing = LayerFreezing(network, [])
    every = changed(network)
    freezing.apply(["encoder", "bottom"], "freeze")
    some = changed(network)
    assert {path.partition("_")[0].partition("/")[0] for path in some} == {"up1", "decoder1", "segmentation"}
    freezing.apply([], "freeze")
    assert changed(network) == every


def test_fixed_layers_stay_frozen(network):
    freezing = LayerFreezing(network, [network.get_layer("encoder1_norm1")])
    freezing.apply([], "freeze")
    assert not [path for path in changed(network) if path.startswith("encoder1_norm1")]
    network.get_layer("encoder1_norm1").trainable = True


@pytest.mark.parametrize(
    ("prefixes", "said"),
    [
        (["backbone"], r"phase 1: freeze: expected beginnings of names of layers \(encoder1, bottom, .*\); received backbone"),
        (["encoder", "bottom", "up", "decoder", "segmentation"], "expected a layer that is trained"),
    ],
)
def test_prefixes_without_a_meaning_are_refused(network, prefixes, said):
    with pytest.raises(UserError, match=said):
        LayerFreezing(network, []).apply(prefixes, "phase 1: freeze")
    for layer in network.layers:
        layer.trainable = True
