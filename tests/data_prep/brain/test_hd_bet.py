from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from common.errors import UserError
from data_prep.brain.hd_bet import Upsampling, assign_weights, build_network, load_network, upsampling_matrix
from tests.checkpoints import install_hd_bet, legacy_bytes, threshold_arrays

PATH = Path("0.model")
PARAMETERS = 16_349_403  # of the published checkpoints, those of deep supervision aside


@pytest.fixture(scope="module")
def network():
    """A small network that calls the brighter of two groups of voxels brain."""
    made = build_network(filters=2)
    assign_weights(made, threshold_arrays(2), PATH)
    return made


@pytest.mark.parametrize("length", [1, 2, 5, 16])
def test_upsampling_is_linear_with_aligned_corners(length):
    values = np.random.default_rng(0).normal(size=length)
    places = np.linspace(0, length - 1, 2 * length)
    found = ops.convert_to_numpy(upsampling_matrix(length)) @ values
    np.testing.assert_allclose(found, np.interp(places, np.arange(length), values), atol=1e-5)


def test_upsampling_is_done_along_each_axis():
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    expected = image
    for axis in (1, 2, 3):
        matrix = ops.convert_to_numpy(upsampling_matrix(image.shape[axis]))
        expected = np.moveaxis(np.tensordot(matrix, expected, (1, axis)), 0, axis)
    layer = Upsampling()
    np.testing.assert_allclose(ops.convert_to_numpy(layer(image)), expected, atol=1e-5)
    assert layer.compute_output_shape((None, 3, None, 5, 2)) == (None, 6, None, 10, 2)


def test_the_published_network_has_its_number_of_weights():
    network = build_network()
    assert network.count_params() == PARAMETERS
    known = {"encoder1_init_conv", "encoder5_context5.bn_2", "encoder5_down4.downsample", "decoder2_loc3.conv2"}
    assert known <= {layer.name for layer in network.layers}
    assert network.output.shape == (None, None, None, None, 2)


def two_groups(shape):
    """Image of two groups of voxels, with noise."""
    noise = np.random.default_rng(0).normal(size=(1, *shape, 1)).astype(np.float32)
    return np.sign(noise) + 0.05 * noise


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 16, 48)])
def test_sides_of_any_multiple_of_16_keep_their_size(network, shape):
    image = two_groups(shape)
    logits = ops.convert_to_numpy(network.predict_on_batch(image))
    assert logits.shape == (1, *shape, 2)
    np.testing.assert_array_equal(logits[..., 1] > logits[..., 0], image[..., 0] > 0)


def test_a_strided_convolution_begins_at_the_first_voxel(network):
    arrays = threshold_arrays(2)
    arrays["down1.downsample.weight"][0, 0, 1, 1, 1] = 1
    made = build_network(filters=2)
    assign_weights(made, arrays, PATH)
    names = ("encoder1_down1.bn.activation", "encoder2_down1.downsample")
    inner = keras.Model(made.input, [made.get_layer(name).output for name in names])
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    before, after = (ops.convert_to_numpy(features) for features in inner(image))
    np.testing.assert_allclose(after[..., 0], before[:, ::2, ::2, ::2, 0], atol=1e-5)  # PyTorch: padding 1 on both sides


def test_bfloat16_agrees_and_logits_are_float32(network):
    half = build_network(filters=2, dtype="mixed_bfloat16")
    assign_weights(half, threshold_arrays(2), PATH)
    image = two_groups((16, 16, 16))
    one, other = (ops.convert_to_numpy(each.predict_on_batch(image)) for each in (network, half))
    assert other.dtype == np.float32
    np.testing.assert_allclose(other, one, atol=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loc2.conv1.bias": None}, r"0.model: expected weights of HD-BET; received no loc2.conv1.bias; install"),
        ({"up5.bias": np.zeros(2)}, r"received up5.bias as well"),
        ({"up1.bn.weight": np.zeros(3)}, r"up1.bn.weight: expected shape \(16,\); received \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(change, message):
    arrays = {name: array for name, array in (threshold_arrays(2) | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        assign_weights(build_network(filters=2), arrays, PATH)


def test_a_network_is_loaded_from_the_package(tmp_path, monkeypatch, network):
    arrays = {name: array.astype(np.float16) for name, array in threshold_arrays(2).items()}
    monkeypatch.syspath_prepend(str(install_hd_bet(tmp_path / "site", [legacy_bytes(arrays)])))
    calls, upsample = [], Upsampling.call
    monkeypatch.setattr(Upsampling, "call", lambda self, inputs: calls.append(1) or upsample(self, inputs))
    loaded = load_network(0)
    traced = len(calls)
    for shape in ((16, 48, 32), (32, 16, 16)):
        loaded.predict_on_batch(np.zeros((1, *shape, 1), np.float32))
    assert len(calls) == traced  # one graph for all sizes: that of a single size rounds bfloat16 otherwise
    for one, other in zip(loaded.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
