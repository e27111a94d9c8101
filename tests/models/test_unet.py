"""What every network must do, whichever it is; and what a UNet is made of."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from models import MODELS
from models.unet import UNetConfig


def config_of(name):
    module, config = MODELS[name].split(":")
    return getattr(import_module(module), config)


# One small network per entry of MODELS and rank; a new model joins by its entry.
SMALL = {
    (name, rank): replace(config_of(name)(), rank=rank, filters=2, depth=depth)
    for name in MODELS
    for rank, depth in ((2, 2), (3, 1))
}
HEADS = {"segmentation": 4, "other": 2}


@pytest.fixture(params=SMALL, ids=lambda key: f"{key[0]}-{key[1]}d")
def config(request):
    return SMALL[request.param]


@pytest.fixture
def policy():
    """Set a dtype policy for one test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def images(config, batch=2, factor=2, channels=3, seed=0):
    sides = [config.stride * (factor + axis) for axis in range(config.rank)]
    return np.random.default_rng(seed).standard_normal((batch, *sides, channels)).astype(np.float32)


def test_any_multiple_of_the_stride_gives_logits_of_its_size(config):
    network = config.build(3, HEADS)
    for factor in (1, 2, 3):
        given = images(config, factor=factor)
        logits = network.predict_on_batch(given)
        assert {name: values.shape for name, values in logits.items()} == {
            name: (*given.shape[:-1], classes) for name, classes in HEADS.items()
        }
        assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in logits.values())


def test_gradients_reach_every_weight(config):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    network = config.build(3, HEADS)
    with tf.GradientTape() as tape:
        logits = network(images(config, batch=4), training=True)
        loss = sum(keras.ops.sum(values**2) for values in logits.values())
    gradients = tape.gradient(loss, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_weights_are_saved_and_loaded(config, tmp_path):
    import keras

    keras.utils.set_random_seed(2)
    network, other = config.build(3, HEADS), config.build(3, HEADS)
    given = images(config)
    before, expected = other.predict_on_batch(given), network.predict_on_batch(given)
    assert (before["segmentation"] != expected["segmentation"]).any()
    network.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.predict_on_batch(given)["segmentation"], expected["segmentation"])


def test_equal_seeds_make_equal_networks(config):
    import keras

    made = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        made.append(config.build(3, HEADS).get_weights())
    for first, second in zip(*made, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_under_mixed_precision(config, policy, precision):
    policy(precision)
    network = config.build(3, HEADS)
    assert {value.dtype for value in network.output.values()} == {"float32"}
    inner = [layer for layer in network.layers if "conv" in layer.name]
    assert inner
    assert all(layer.compute_dtype == precision.removeprefix("mixed_") for layer in inner)
    assert all(variable.dtype == "float32" for variable in network.trainable_variables)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (UNetConfig(filters=32, depth=3, dropout=0.2), 1_930_212),
        (UNetConfig(filters=64, depth=4, normalisation="none"), 31_032_516),
    ],
    ids=["model1", "model2"],
)
def test_the_papers_models_have_their_number_of_parameters(config, count):
    assert config.build(4, {"segmentation": 4}).count_params() == count


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(
    ("normalisation", "kind"),
    [("none", None), ("batch", "BatchNormalization"), ("instance", "GroupNormalization"), ("group", "GroupNormalization")],
)
def test_each_convolution_is_followed_by_its_normalisation(rank, normalisation, kind):
    network = UNetConfig(rank=rank, filters=8, depth=1, normalisation=normalisation).build(2, {"segmentation": 2})
    blocks = [layer for layer in network.layers if "_conv" in layer.name]
    assert len(blocks) == 6
    assert all(layer.use_bias == (normalisation == "none") for layer in blocks)
    found = [layer for layer in network.layers if "_norm" in layer.name]
    assert [type(layer).__name__ for layer in found] == ([kind] * 6 if kind else [])
    given = images(UNetConfig(rank=rank, depth=1), channels=2)
    assert np.isfinite(network.predict_on_batch(given)["segmentation"]).all()


@pytest.mark.parametrize(("normalisation", "filters", "groups"), [("instance", 8, 8), ("group", 16, 2), ("group", 4, 1)])
def test_instance_and_group_normalisation_differ_in_their_groups(normalisation, filters, groups):
    network = UNetConfig(filters=filters, depth=1, normalisation=normalisation).build(2, {"segmentation": 2})
    values = np.random.default_rng(0).normal(3, 2, (1, 4, 4, filters)).astype(np.float32)
    normalised = np.asarray(network.get_layer("encoder1_norm1")(values)).reshape(16, groups, filters // groups)
    np.testing.assert_allclose(normalised.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(0, 2)), 1, atol=1e-2)


@pytest.mark.parametrize("rank", [2, 3])
def test_spatial_dropout_drops_whole_feature_maps_in_training_alone(rank):
    network = UNetConfig(rank=rank, filters=8, depth=1, dropout=0.5).build(2, {"segmentation": 2})
    assert kinds(network).count(f"SpatialDropout{rank}D") == 3
    dropout = network.get_layer("encoder1_dropout")
    ones = np.ones((4, *[2] * rank, 8), np.float32)
    dropped = np.asarray(dropout(ones, training=True)).reshape(4, -1, 8)
    assert (dropped.min(axis=1) == dropped.max(axis=1)).all()
    assert set(np.unique(dropped)) == {0, 2}
    np.testing.assert_array_equal(dropout(ones, training=False), ones)
    assert not any("Dropout" in kind for kind in kinds(UNetConfig(filters=2, depth=1).build(2, {"segmentation": 2})))


def test_l2_adds_the_penalty_of_every_kernel():
    network = UNetConfig(filters=2, depth=1, l2=0.01).build(2, {"segmentation": 2})
    kernels = [np.asarray(layer.kernel) for layer in network.layers if "_conv" in layer.name or layer.name.startswith("up")]
    expected = 0.01 * sum((kernel**2).sum() for kernel in kernels)
    assert len(kernels) == 7
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)
    assert UNetConfig(filters=2, depth=1).build(2, {"segmentation": 2}).losses == []
