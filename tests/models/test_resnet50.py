"""The classifier: what its backbone is given, what trains and what does not."""

import numpy as np
import pytest

from common.errors import UserError
from common.files import checksum
from models import CLASSIFIERS
from models.resnet50 import ResNet50Config
from tests.models.published import FILES, HEADS, images, trained_step
from training.freezing import LayerFreezing


@pytest.fixture
def policy():
    """Set a dtype policy for one test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def test_it_is_registered():
    assert CLASSIFIERS["resnet50"] == f"{ResNet50Config.__module__}:{ResNet50Config.__name__}"


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_images_of_any_size_give_a_row_of_logits(network, size):
    found = network(images(size))
    assert set(found) == {"grade"}
    assert found["grade"].shape == (2, 1)
    assert ResNet50Config().stride == 1


def test_the_backbone_sees_what_keras_applications_shows_it(published, network):
    from keras.applications.resnet50 import preprocess_input

    given = images()
    expected = published[0](preprocess_input(255 * given))
    found = network.get_layer("backbone")(network.get_layer("preprocessing")(given))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_origin_is_told_in_words(published):
    assert ResNet50Config().origin() == "random initialisation"
    assert ResNet50Config(weights="imagenet").origin() == "ImageNet (keras.applications)"
    path = published[1] / FILES["plain"]
    assert ResNet50Config(weights=str(path)).origin() == f"file plain.h5 (crc32c {checksum(path)})"
    with pytest.raises(UserError, match="not found"):
        ResNet50Config(weights="nowhere.h5").origin()


def test_only_random_weights_train_altogether(network):
    assert ResNet50Config().fixed_layers(network) == []
    assert len(ResNet50Config(weights="imagenet").fixed_layers(network)) == 53


@pytest.mark.parametrize("weights", ["weights.npz", ""])
def test_names_that_no_weights_have_are_refused(weights):
    with pytest.raises(UserError, match=r"--model.weights: expected imagenet, null, or a file"):
        ResNet50Config(weights=weights).check()
    ResNet50Config(weights="some.weights.h5").check()


def is_norm(path):
    return path.split("/")[0].endswith("_bn")


def test_the_head_trains_alone_first_and_the_convolutions_with_it_later(network):
    backbone = {variable.path for variable in network.get_layer("backbone").weights}
    head = {variable.path for variable in network.weights if variable.path.startswith("grade")}
    freezing = LayerFreezing(network, ResNet50Config(weights="imagenet").fixed_layers(network))
    changed = trained_step(network, freezing, ["backbone"])
    assert changed.isdisjoint(backbone)
    assert {"grade_dense/kernel", "grade_norm/moving_mean", "grade/kernel"} <= changed & head

    changed = trained_step(network, freezing)
    assert not [name for name in changed if is_norm(name)]
    assert {name for name in backbone if name.endswith("kernel")} <= changed
    assert {"grade_dense/kernel", "grade/kernel"} <= changed

    assert trained_step(network, freezing, ["backbone"]).isdisjoint(backbone)


def test_random_weights_train_with_live_batch_norms(policy):
    policy("mixed_bfloat16")
    model = ResNet50Config(dense=4, momentum=0.8).build(3, HEADS, "minmax")
    assert model(images())["grade"].dtype == "float32"
    assert model.get_layer("backbone").get_layer("conv1_bn").momentum == 0.8
    changed = trained_step(model)
    assert {"conv1_bn/moving_mean", "conv1_bn/gamma", "conv5_block3_3_bn/moving_variance", "conv1_conv/kernel"} <= changed


def test_a_runs_weights_need_no_pretrained_file():
    model = ResNet50Config(weights="gone.h5", dense=4).build(1, HEADS, "minmax", load_pretrained=False)
    assert model.count_params() > 20_000_000
