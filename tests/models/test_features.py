"""Bottleneck features: the layer is found, and what is pooled over patches is what one pass over the volume gives."""

import keras
import numpy as np
import pytest

from common.errors import UserError
from models.custom import CustomConfig
from models.deepmedic import DeepMedicConfig
from models.features import FEATURES, LOGITS, POOLINGS, feature_network, pooled_features
from models.unet import UNetConfig
from models.volume import SlidingWindow

HEAD = "segmentation"


def small(rank):
    """Convolutions without context: features of a place depend on the voxels of its cell alone."""
    inputs = keras.Input((*[None] * rank, 1), name="image")
    features = getattr(keras.layers, f"AveragePooling{rank}D")(2, name="cells")(inputs)
    features = getattr(keras.layers, f"Conv{rank}D")(3, 1, activation="tanh", name="deep")(features)
    up = getattr(keras.layers, f"UpSampling{rank}D")(2, name="up")(features)
    return keras.Model(inputs, {HEAD: getattr(keras.layers, f"Conv{rank}D")(2, 1, name=HEAD)(up)}, name="small")


@pytest.fixture(scope="module")
def cells():
    """Feature network of `small` in 3D."""
    keras.utils.set_random_seed(0)
    return feature_network(small(3), HEAD, SlidingWindow(2, (8, 8, 8)))[0]


def reference(network, image):
    """Poolings of one pass over a volume whose sides are multiples of the cells."""
    outputs = network.predict_on_batch(image[None].astype(np.float32))
    features, logits = np.asarray(outputs[FEATURES])[0], np.asarray(outputs[LOGITS])[0]
    tumour = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    z, y, x = features.shape[:3]
    weight = tumour.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))[..., None]
    places = (0, 1, 2)
    return [features.mean(axis=places), features.max(axis=places), (weight * features).sum(axis=places) / weight.sum()]


@pytest.mark.parametrize(
    ("patch", "overlap"), [((12, 16, 20), 0.5), ((8, 8, 8), 0.5), ((8, 6, 8), 0.0), ((4, 10, 6), 0.8), ((16, 16, 24), 0.5)]
)
def test_pooled_features_do_not_depend_on_patches(cells, rng, patch, overlap):
    """Patches at multiples of the cells, with any overlap, also larger than the volume, whose zeros have no weight."""
    image = rng.normal(size=(12, 16, 20, 1))
    found = pooled_features(cells, image, SlidingWindow(2, patch, overlap), 3)
    assert list(found) == list(POOLINGS)
    for values, expected in zip(found.values(), reference(cells, image), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_slices_and_tiles_are_volumes_too(cells, rng):
    """A 2D network over whole slices, padded to its stride, and over patches of one slice."""
    image = rng.normal(size=(3, 8, 12, 1))
    flat, name = feature_network(small(2), HEAD, SlidingWindow(2))
    assert name == "deep"
    whole = pooled_features(flat, image, SlidingWindow(2), 2)
    for other in (SlidingWindow(2, (1, 4, 6)), SlidingWindow(4, least_size=(16, 16))):
        found = pooled_features(flat, image, other, 2)
        for pooling in POOLINGS:
            np.testing.assert_allclose(found[pooling], whole[pooling], rtol=1e-4, atol=1e-5, err_msg=str(other))


class Deep:
    """DeepMedic without weights to train: its patches are read by a margin of 7 voxels."""

    config = DeepMedicConfig(rank=3, filters=[2, 2], factors=[3], hidden=[3], dropout=0.0)


def test_tiles_of_a_network_without_padding_are_each_counted_once(rng):
    keras.utils.set_random_seed(1)
    config = Deep.config
    network = config.build(1, {HEAD: 2})
    image = rng.normal(size=(5, 7, 9, 1)).astype(np.float32)
    side = 6 + 2 * config.margin
    tiles = SlidingWindow(1, (side,) * 3, margin=config.margin)
    found, name = feature_network(network, HEAD, tiles, config.bottleneck)
    assert name == "hidden1"
    margin = config.margin
    padded = np.pad(image, [(margin, margin + 5)] * 3 + [(0, 0)])
    outputs = {name: np.asarray(values)[0, :5, :7, :9] for name, values in found.predict_on_batch(padded[None]).items()}
    pooled = pooled_features(found, image, tiles, 1)
    np.testing.assert_allclose(pooled["mean"], outputs[FEATURES].mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled["max"], outputs[FEATURES].max(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_the_bottleneck_is_found():
    """Of a UNet by its grid, whatever its options; of a model called as one layer inside it; or by its name."""
    unet = UNetConfig(rank=3, filters=2, depth=2, attention=True, residual=True)
    network = unet.build(2, {HEAD: 2, "grade": 1}, ["grade"])
    assert feature_network(network, HEAD, SlidingWindow(4, (8, 8, 8)))[1] == "bottom_relu2"
    assert feature_network(UNetConfig(filters=2).build(1, {HEAD: 2}), HEAD, SlidingWindow(8))[1] == "bottom_relu2"
    custom = CustomConfig(name="tests.models.custom_networks:tiny", stride=2).build(1, {HEAD: 2})
    inner, name = feature_network(custom, HEAD, SlidingWindow(2))
    assert "pooling" in name
    assert tuple(inner.predict_on_batch(np.zeros((1, 8, 8, 1), np.float32))[FEATURES].shape) == (1, 4, 4, 2)
    assert feature_network(custom, HEAD, SlidingWindow(2), "conv1")[1] == "conv1"


def test_wrong_layers_are_refused():
    network = UNetConfig(filters=2, depth=1).build(1, {HEAD: 2, "grade": 1}, ["grade"])
    with pytest.raises(
        UserError,
        match=r"--layer botom_relu2: expected a layer of the network unet, such as bottom_relu2; did you mean bottom_relu2",
    ):
        feature_network(network, HEAD, SlidingWindow(2), "botom_relu2")
    with pytest.raises(UserError, match=r"--layer grade_pooling: expected features of places, of the rank of the image"):
        feature_network(network, HEAD, SlidingWindow(2), "grade_pooling")
