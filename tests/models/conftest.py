"""Networks with published weights, and classifiers that hold them; their weights are left as they were."""

import numpy as np
import pytest

from models.efficientnet import EfficientNetLite0Config
from models.efficientnet_weights import FILE
from models.resnet50 import ResNet50Config
from tests.checkpoints import install_package, legacy_bytes
from tests.models.efficientnet_numpy import checkpoint
from tests.models.published import FILES, HEADS


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A `keras.applications.ResNet50` with made weights, and the folder of its files."""
    import keras

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("published")
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg")
    rng = np.random.default_rng(0)
    for variable in network.weights:
        if "kernel" not in variable.path:  # statistics and scales that are not those of a fresh network
            variable.assign(rng.uniform(0.8, 1.2, variable.shape))
    network.save(folder / FILES["plain"])
    network.save_weights(folder / FILES["plain_new"])
    with_top = keras.Model(network.input, keras.layers.Dense(7, name="predictions")(network.output))
    with_top.save(folder / FILES["top"])
    with_top.save_weights(folder / FILES["top_new"])
    with_top.save(folder / FILES["whole"])
    return network, folder


@pytest.fixture(scope="module")
def network(published):
    """A classifier of three channels with the published weights."""
    return ResNet50Config(weights=str(published[1] / FILES["plain"]), dense=4).build(3, HEADS, "minmax")


@pytest.fixture(scope="session")
def packaged(tmp_path_factory):
    """Made arrays of an EfficientNet-lite0, and a folder with the installed package that holds them."""
    arrays = checkpoint()
    folder = tmp_path_factory.mktemp("efficientnet")
    return arrays, install_package(folder, FILE.package, "0.1.0", {FILE.name: legacy_bytes(arrays)})


@pytest.fixture(scope="session")
def efficientnet(packaged):
    """A classifier of three channels with the weights of that package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packaged[1]))
        return EfficientNetLite0Config(weights="imagenet", dense=4).build(3, HEADS, "minmax")
