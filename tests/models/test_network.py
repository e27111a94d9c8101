"""What every network must do, whichever it is: a new one joins by a line in NETWORKS."""

from importlib import import_module

import numpy as np
import pytest

from models import MODELS
from models.custom import CustomConfig
from models.deepmedic import DeepMedicConfig
from models.encoder_unet import EncoderUNetConfig
from models.hd_bet import HDBETConfig
from models.unet import UNetConfig, without_levels

EXTRAS = {"residual": True, "attention": True, "deep_supervision": 1}
TINY = "tests.models.custom_networks:tiny"
NETWORKS = {
    "unet 2d": UNetConfig(filters=2, depth=2),
    "unet 3d": UNetConfig(rank=3, filters=2, depth=1),
    "unet 2d, all options": UNetConfig(filters=2, depth=2, **EXTRAS),
    "unet 3d, all options": UNetConfig(rank=3, filters=2, depth=2, **EXTRAS),
    "unet of widths": UNetConfig(widths=[3, 2, 5], depth=2),
    "encoder unet": EncoderUNetConfig(weights=None, widths=[2, 2, 2, 2, 2]),
    "deepmedic 3d": DeepMedicConfig(filters=[2, 3], hidden=[4]),
    "deepmedic 2d, all options": DeepMedicConfig(
        rank=2, filters=[3, 3, 4], factors=[3, 5], residual=[2, 3], hidden=[4, 12], hidden_width=3, hidden_residual=[2]
    ),
    "custom 2d": CustomConfig(name=TINY, stride=2),
    "custom 3d": CustomConfig(name=TINY, rank=3, stride=2, args={"filters": 3}),
}
HEADS = {"segmentation": 4}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def config(request):
    return request.param


@pytest.fixture(scope="module")
def networks(config):
    """Two networks of a config, built from equal seeds; their weights are left as they were."""
    import keras

    made = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        made.append(config.build(3, HEADS))
    return made


@pytest.fixture
def policy():
    """Set a dtype policy for one test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def images(config, batch=2, factor=2, channels=3, seed=0):
    """Random images whose sides are different multiples of the stride, and the margin of a network without padding."""
    sides = [config.stride * (factor + axis) + 2 * config.margin for axis in range(config.rank)]
    return np.random.default_rng(seed).standard_normal((batch, *sides, channels)).astype(np.float32)


def layers(network):
    """All layers, those of models inside a model too."""
    for layer in network.layers:
        yield from layers(layer) if hasattr(layer, "layers") else (layer,)


def test_every_network_is_tested():
    entries = [entry.split(":") for entry in MODELS.values()]
    tested = {type(config) for config in NETWORKS.values()} | {HDBETConfig}  # the last one, of 100 layers, in test_hd_bet.py
    assert tested == {getattr(import_module(module), name) for module, name in entries}


def test_any_multiple_of_the_stride_gives_logits_of_its_size(config, networks):
    config.check()
    network = without_levels(networks[0])
    for factor in (1, 2):
        given = images(config, factor=factor)
        logits = network.predict_on_batch(given)
        sides = [side - 2 * config.margin for side in given.shape[1:-1]]
        assert {name: values.shape for name, values in logits.items()} == {"segmentation": (len(given), *sides, 4)}
        assert logits["segmentation"].dtype == np.float32
        assert np.isfinite(logits["segmentation"]).all()


def test_gradients_reach_every_weight(config, networks):
    import keras
    import tensorflow as tf

    network, _ = networks
    before = network.get_weights()  # a step of training moves statistics
    with tf.GradientTape() as tape:
        logits = network(images(config, batch=4), training=True)
        loss = sum(keras.ops.sum(values**2) for values in logits.values())
    gradients = tape.gradient(loss, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path
    network.set_weights(before)


def test_equal_seeds_make_equal_networks(networks):
    for first, second in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(first, second)


def test_weights_are_saved_and_loaded(config, networks, tmp_path):
    network, other = networks
    given = images(config)
    expected = network.predict_on_batch(given)["segmentation"]
    network.save_weights(tmp_path / "a.weights.h5")
    other.set_weights([values + 0.5 for values in network.get_weights()])
    assert (other.predict_on_batch(given)["segmentation"] != expected).any()
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.predict_on_batch(given)["segmentation"], expected)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_under_mixed_precision(config, policy, precision):
    policy(precision)
    network = config.build(3, HEADS)
    for made in (network, without_levels(network)):
        assert {value.dtype for value in made.output.values()} == {"float32"}
    inner = [layer for layer in layers(network) if "conv" in layer.name]
    assert inner
    assert all(layer.compute_dtype == precision.removeprefix("mixed_") for layer in inner)
    assert all(variable.dtype == "float32" for variable in network.trainable_variables)
