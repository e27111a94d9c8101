"""Stem of a network: which weights belong to the image's channels, and what they become for other channels."""

import numpy as np
import pytest

from models.custom import CustomConfig
from models.deepmedic import DeepMedicConfig
from models.stem import match_channels, stem_variables
from models.unet import UNetConfig
from tests.networks import TinyClassifierConfig

CHANNELS = 4  # as many as filters, so that numbers alone do not tell a stem
NETWORKS = {
    "unet": (UNetConfig(filters=4, depth=1, residual=True, widths=[2, 4]), {"encoder1_conv1", "encoder1_shortcut"}),
    "deepmedic": (
        DeepMedicConfig(filters=[4, 4], hidden=[4], residual=[2]),
        {"normal_input_bias", "normal_conv1", "low3_input_bias", "low3_conv1"},
    ),
    "custom": (CustomConfig(name="tests.models.custom_networks:tiny", stride=2, args={"filters": 4}), {"conv1"}),
}


@pytest.mark.parametrize(("config", "layers"), NETWORKS.values(), ids=NETWORKS)
def test_the_stem_takes_the_image(config, layers):
    found = stem_variables(config.build(CHANNELS, {"segmentation": 4}))
    assert {variable.path.split("/")[-2] for variable in found} == layers
    assert all(variable.path.endswith("kernel") or variable.shape == (CHANNELS,) for variable in found)


def test_the_stem_of_a_backbone_is_found():
    network = TinyClassifierConfig().build(3, {"grade": 1}, ["grade"])
    assert [tuple(variable.shape) for variable in stem_variables(network)] == [(3, 3, 3, 8)]


def test_channels_of_equal_pictures_give_the_response_of_before(rng):
    kernel = rng.normal(size=(3, 3, 3, 2)).astype(np.float32)
    for new in (["x"], ["x", "y"], [*"uvwxyz"]):
        found = match_channels(kernel, ["a", "b", "c"], new)
        assert (found.shape, found.dtype) == ((3, 3, len(new), 2), np.float32)
        np.testing.assert_allclose(found.sum(axis=2), kernel.sum(axis=2), rtol=1e-5, atol=1e-6)


def test_channels_are_matched_by_name(rng):
    kernel = rng.normal(size=(3, 3, 3, 4, 2)).astype(np.float32)
    old = ["t1", "t1ce", "t2", "flair"]
    np.testing.assert_array_equal(match_channels(kernel, old, old[::-1]), kernel[..., ::-1, :])
    found = match_channels(kernel, old, ["FLAIR", "CT"])
    np.testing.assert_array_equal(found[..., 0, :], 2 * kernel[..., 3, :])
    np.testing.assert_allclose(found[..., 1, :], 2 * kernel.mean(axis=-2), rtol=1e-6)
    bias = rng.normal(size=4)
    np.testing.assert_array_equal(match_channels(bias, old, ["t2", "x"]), [bias[2], bias.mean()])
    assert match_channels(kernel, ["t1"], ["t2"]) is None
