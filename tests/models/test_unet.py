"""What a UNet is made of; what every network must do is in test_network.py."""

import numpy as np
import pytest

from common.errors import UserError
from models.unet import UNetConfig, without_levels
from tests.models.test_network import images

ONE = {"segmentation": 2}


def build(heads=None, channels=2, **options):
    """A small UNet."""
    config = UNetConfig(**{"filters": 2, "depth": 1} | options)
    config.check()
    return config.build(channels, heads or ONE)


def test_several_heads_share_one_network():
    network = build({"segmentation": 4, "other": 2}, 3)
    given = images(UNetConfig(depth=1))
    found = network.predict_on_batch(given)
    assert {name: values.shape for name, values in found.items()} == {
        "segmentation": (*given.shape[:-1], 4),
        "other": (*given.shape[:-1], 2),
    }


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


def filters_of(network, kind="_conv1"):
    return [layer.filters for layer in network.layers if layer.name.endswith(kind)]


@pytest.mark.parametrize("rank", [2, 3])
def test_widths_are_the_filters_of_each_level(rank):
    network = build(rank=rank, depth=2, widths=[3, 7, 4])
    assert filters_of(network) == [3, 7, 4, 7, 3]
    assert filters_of(build(depth=2, filters=3)) == [3, 6, 12, 6, 3]


@pytest.mark.parametrize("widths", [[3, 7], [3, 7, 4, 4], [3, 0, 4], []])
def test_widths_are_one_for_each_level_and_the_bottom(widths):
    with pytest.raises(UserError, match=r"--model\.widths: expected 3 numbers"):
        UNetConfig(depth=2, widths=widths).check()


def without_weights(network, ending):
    """Set what certain layers add to 0; what is left is what reaches a layer beside them."""
    for layer in network.layers:
        if layer.name.endswith(ending):
            layer.set_weights([np.zeros_like(array) for array in layer.get_weights()])


@pytest.mark.parametrize("rank", [2, 3])
def test_a_residual_block_adds_its_input_to_its_output(rank):
    import keras

    network = build(channels=2, rank=rank, residual=True, normalisation="none")
    without_weights(network, "conv2")
    given = np.abs(images(UNetConfig(rank=rank, depth=1), channels=2))
    first = keras.Model(network.input, network.get_layer("encoder1_relu2").output)
    np.testing.assert_array_equal(first.predict_on_batch(given), given)  # as many features go in as come out
    names = [layer.name for layer in network.layers]
    assert [name for name in names if name.endswith("_shortcut")] == ["bottom_shortcut", "decoder1_shortcut"]
    assert not any("shortcut" in layer.name for layer in build().layers)


@pytest.mark.parametrize("rank", [2, 3])
def test_an_attention_gate_weighs_the_encoders_features_place_by_place(rank):
    import keras

    network = build(rank=rank, filters=4, attention=True, normalisation="none")
    parts = [network.get_layer(name).output for name in ("encoder1_relu2", "gate1_weight", "gate1")]
    given = images(UNetConfig(rank=rank, depth=1), channels=2)
    skip, weight, gated = keras.Model(network.input, parts).predict_on_batch(given)
    assert weight.shape == (*skip.shape[:-1], 1)
    assert 0 < weight.min() < weight.max() < 1
    np.testing.assert_allclose(gated, skip * weight, rtol=1e-6)
    joined = network.get_layer("join1").input[0]
    assert joined is network.get_layer("gate1").output
    without_weights(network, "bottom_conv2")
    alone = keras.Model(network.input, parts).predict_on_batch(given)
    np.testing.assert_array_equal(alone[0], skip)
    assert not np.array_equal(alone[1], weight)  # it is what comes up from below that weighs


@pytest.mark.parametrize("rank", [2, 3])
def test_supervised_levels_stand_behind_the_first_ones_logits(rank):
    network = build({"segmentation": 3}, rank=rank, depth=3, deep_supervision=2)
    given = images(UNetConfig(rank=rank, depth=3), batch=1, factor=1, channels=2)
    found = network.predict_on_batch(given)["segmentation"]
    assert found.shape == (*given.shape[:-1], 9)
    np.testing.assert_array_equal(without_levels(network).predict_on_batch(given)["segmentation"], found[..., :3])
    for level, step in ((1, 2), (2, 4)):  # enlarged: constant within blocks of 2 or 4 voxels
        logits = found[..., 3 * level : 3 * level + 3]
        small = logits[(slice(None), *[slice(None, None, step)] * rank)]
        for axis in range(1, rank + 1):
            small = np.repeat(small, step, axis=axis)
        np.testing.assert_array_equal(logits, small)
        assert np.ptp(logits) > 0


def test_prediction_keeps_the_weights_and_loses_the_layers_of_levels():
    network = build(depth=2, deep_supervision=1)
    light = without_levels(network)
    names = {layer.name for layer in network.layers}
    assert {layer.name for layer in light.layers} == names - {
        *("segmentation_level2", "segmentation_enlarged2", "segmentation_levels")
    }
    assert light.get_layer("encoder1_conv1") is network.get_layer("encoder1_conv1")
    plain = build()
    assert without_levels(plain) is plain


@pytest.mark.parametrize("levels", [-1, 2, 3])
def test_there_are_as_many_levels_to_supervise_as_the_decoder_has_below_the_first(levels):
    with pytest.raises(UserError, match=r"--model\.deep_supervision"):
        UNetConfig(depth=2, deep_supervision=levels).check()


def test_a_3d_network_predicts_patches_and_a_2d_network_whole_slices():
    assert UNetConfig(rank=3).prediction_patch((4, 8, 8)) == (4, 8, 8)
    assert UNetConfig().prediction_patch((1, 8, 8)) is None
