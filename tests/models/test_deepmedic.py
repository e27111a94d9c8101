"""DeepMedic: the published sizes, and independence of what lies beyond its field."""

from dataclasses import replace

import numpy as np
import pytest

from common.configs import find_config
from common.errors import UserError
from common.files import read_yaml
from models.deepmedic import DeepMedicConfig
from models.volume import SlidingWindow, predict_volume

TINY = DeepMedicConfig(filters=[2, 3], hidden=[4])


def published(name):
    """The network of a shipped config."""
    values = read_yaml(find_config(f"braintumornet/{name}", "config"), "config")["model"]
    return DeepMedicConfig(**values)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("train_deepmedic_original", (663_163, 663_012, 659_919)),
        ("train_deepmedic_v06", (1_053_163, 1_053_012, 1_049_919)),
        ("train_deepmedic_v08", (2_013_767, 2_013_516, 2_008_901)),
    ],
)
def test_trainable_parameters_are_those_published(name, counts):
    config = published(name)
    config.check()
    for (channels, classes), expected in zip([(4, 5), (4, 4), (2, 5)], counts, strict=True):
        network = config.build(channels, {"segmentation": classes})
        assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == expected


@pytest.mark.parametrize(("output", "sizes"), [(1, [17, 17, 17]), (9, [25, 19, 18]), (21, [37, 23, 21]), (29, [45, 26, 22])])
def test_segments_have_the_published_sizes(output, sizes):
    assert published("train_deepmedic_v08").segment_sizes(output) == sizes
    assert published("train_deepmedic_original").segment_sizes(output) == sizes[:2]


def test_receptive_fields_are_those_published():
    fields = {factors: DeepMedicConfig(factors=list(factors)).receptive_field for factors in [(), (3,), (3, 5)]}
    assert fields == {(): 17, (3,): 51, (3, 5): 85}


@pytest.mark.parametrize("name", ["train_deepmedic_original", "train_deepmedic_v06", "train_deepmedic_v08"])
def test_pathways_take_segments_of_their_size_from_one_patch(name):
    config = replace(published(name), filters=[1] * 8, hidden=[3, 3])
    network = config.build(1, {"segmentation": 2})
    for output in (1, 9, 21):
        side = output + 2 * config.margin
        first = [network.get_layer(f"{path}_input_bias") for path in ("normal", *[f"low{f}" for f in config.factors])]
        import keras

        sizes = keras.Model(network.input, [layer.output for layer in first])(np.zeros((1, *[side] * 3, 1), np.float32))
        assert [size.shape[1] for size in sizes] == config.segment_sizes(output)
        assert network(np.zeros((1, *[side] * 3, 1)))["segmentation"].shape == (1, *[output] * 3, 2)


def fields_on_diagonal(network, image):
    """For each output, the positions along x of the input that the voxels (v, v) depend on, v = 0, 1, ..., by gradients."""
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        sums = {
            name: [tf.reduce_sum(values[0, voxel, voxel]) for voxel in range(values.shape[1])]
            for name, values in network(image).items()
        }
    return {
        name: [
            set(np.flatnonzero(np.abs(tape.gradient(each, image).numpy()[0, ..., 0]).sum(axis=0)).tolist()) for each in values
        ]
        for name, values in sums.items()
    }


@pytest.mark.parametrize("hidden_width", [1, 3])
@pytest.mark.parametrize("factors", [[], [2], [3], [4], [3, 5]])
def test_the_field_of_a_voxel_is_centred_on_its_cell(factors, hidden_width):
    """In each pathway every f-th voxel up to n f beside the cell's, n the number of convolutions; of the logits all of them."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = 2
    config = DeepMedicConfig(rank=2, filters=[2] * layers, factors=factors, hidden=[2], hidden_width=hidden_width, l1=0, l2=0)
    network = config.build(1, {"segmentation": 2})
    names = {1: f"normal_conv{layers}"} | {factor: f"low{factor}_crop" for factor in factors}
    outputs = {str(factor): network.get_layer(name).output for factor, name in names.items()} | network.output
    parts, beside = keras.Model(network.input, outputs), hidden_width // 2
    for output in (1, 4, 7):
        side = output + 2 * config.margin
        image = tf.constant(np.random.default_rng(0).standard_normal((1, side, side, 1)), tf.float32)
        found = fields_on_diagonal(parts, image)
        fields = {voxel: set() for voxel in range(output)}
        for factor in names:
            for voxel in range(output):
                cell = voxel // factor * factor + (factor - 1) // 2 + config.margin
                field = {cell + factor * step for step in range(-layers, layers + 1)}
                assert found[str(factor)][voxel] == field
                fields[voxel] |= field
        for voxel in range(output):
            near = [fields[other] for other in range(max(voxel - beside, 0), min(voxel + beside + 1, output))]
            expected = set().union(*near)
            assert found["segmentation"][voxel] == expected
            assert {max(0, min(expected)), max(expected)} <= set(range(side))


def make_exact(network, seed):
    """Give a network small whole numbers as weights, so that its sums are exact in float32 in any order."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        low, high = {"gamma": (1, 2), "moving_variance": (1, 1), "alpha": (0, 1)}.get(weight.name, (-1, 1))
        weight.assign(rng.integers(low, high + 1, weight.shape).astype(np.float32))


def whole_logits(network, image, config, inner, flips):
    """Logits of one run over a volume that is zero-padded to multiples of the tiles, averaged over mirrored inputs."""
    axes = range(3) if config.rank == 3 else range(1, 3)
    pads = [
        (config.margin, config.margin - length % -inner) if axis in axes else (0, 0) for axis, length in enumerate(image.shape)
    ]
    padded = np.pad(image, pads)
    total = {}
    ways = [[], *([[{"x": 2, "y": 1, "z": 0}[flip]] for flip in flips])]
    for way in ways:
        batch = np.flip(padded, way)
        logits = network.predict_on_batch(batch if config.rank == 2 else batch[None])
        for name, values in logits.items():
            back = np.flip(values if config.rank == 2 else values[0], way)
            total[name] = total.get(name, 0) + back / len(ways)
    depth, height, width = image.shape[:3]
    return {name: values[:depth, :height, :width] for name, values in total.items()}


TILED = {
    "full resolution": (replace(TINY, factors=[]), 6, ""),
    "factor 3": (replace(TINY, factors=[3], residual=[2]), 6, ""),
    "factors 2, 3": (replace(TINY, factors=[2, 3], residual=[2]), 6, ""),
    "factors 3, 5": (DeepMedicConfig(filters=[2], hidden=[4], factors=[3, 5]), 15, ""),
    "mirrored": (replace(TINY, factors=[3]), 6, "x"),
    "slices": (replace(TINY, rank=2, factors=[2, 3], residual=[2]), 6, ""),
    "mirrored slices": (replace(TINY, rank=2, factors=[3]), 6, "y"),
    "own patch": (DeepMedicConfig(filters=[2], hidden=[3], factors=[2]), None, ""),
}


@pytest.mark.parametrize("case", TILED)
def test_tiles_equal_the_whole_volume(case, monkeypatch):
    """Exactly, in batches of one tile and of several; normalisation by a variance of 1, whose root is approximate otherwise."""
    import keras

    def shifted(self, inputs, training=None, mask=None):
        return (inputs - self.moving_mean) * self.gamma + self.beta

    monkeypatch.setattr(keras.layers.BatchNormalization, "call", shifted)
    config, inner, flips = TILED[case]
    network = config.build(2, {"segmentation": 3, "other": 2})
    make_exact(network, seed=1)
    shape = (7, 13, 10, 2) if inner == 6 else (16, 13, 10, 2) if inner else (3, 4, 40, 2)
    image = np.random.default_rng(2).integers(-2, 3, shape).astype(np.float32)
    side = inner and inner + 2 * config.margin
    patch = config.prediction_patch(None) if side is None else (side if config.rank == 3 else 1, side, side)
    inner = patch[-1] - 2 * config.margin
    assert max(image.shape) > inner  # more than one tile
    expected = whole_logits(network, image, config, inner, flips)
    for batch_size in (1, 3):
        sliding = SlidingWindow(1, patch, flips=tuple(flips), margin=config.margin)
        parts = list(predict_volume(network, image, sliding, batch_size))
        for name in ("segmentation", "other"):
            tiled = np.concatenate([logits[name] for _, logits in parts])
            assert np.ptp(tiled) > 0
            np.testing.assert_array_equal(tiled * 2, np.round(tiled * 2))
            np.testing.assert_array_equal(tiled, expected[name])


def test_prediction_tiles_begin_at_multiples_of_all_factors():
    for factors in ([], [3], [3, 5], [4, 7]):
        config = DeepMedicConfig(factors=factors)
        inner = config.prediction_patch(None)[0] - 2 * config.margin
        assert all(inner % factor == 0 for factor in factors)
        assert inner >= 30


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filters": []}, "--model.filters"),
        ({"factors": [1]}, "--model.factors"),
        ({"residual": [1]}, "--model.residual"),
        ({"residual": [9]}, "--model.residual"),
        ({"hidden_residual": [3]}, "--model.hidden_residual"),
        ({"dropout": 1.0}, "--model.dropout"),
    ],
)
def test_numbers_that_make_no_network_are_refused(options, text):
    with pytest.raises(UserError, match=text):
        DeepMedicConfig(**options).check()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"factors": [3, 3]}, r"--model\.factors: expected different numbers; received \[3, 3\]"),
        (
            {"filters": [3, 3, 2], "residual": [3]},
            r"--model\.residual: expected at least the 3 features of its shortcut in layer 3; received 2",
        ),
        (
            {"filters": [4, 6], "factors": [3], "hidden": [8, 8], "hidden_residual": [2]},
            r"--model\.hidden_residual: expected at least the 12 features of its shortcut in layer 2; received 8",
        ),
        (
            {"filters": [2], "hidden": [8, 9, 7], "hidden_residual": [3]},
            r"--model\.hidden_residual: expected at least the 8 features of its shortcut in layer 3; received 7",
        ),
    ],
)
def test_pathways_that_cannot_be_joined_and_residuals_to_fewer_features_are_refused(options, text):
    with pytest.raises(UserError, match=text):
        DeepMedicConfig(**options).check()


def test_a_residual_to_fewer_filters_than_channels_is_refused_when_the_network_is_built():
    config = DeepMedicConfig(filters=[3, 3], residual=[2], factors=[], hidden=[])
    config.check()
    with pytest.raises(UserError, match=r"--model\.residual: expected at least the 4 features of its shortcut in layer 2"):
        config.build(4, {"segmentation": 2})
    assert config.build(3, {"segmentation": 2}).output["segmentation"].shape[-1] == 2


def test_residuals_to_as_many_or_more_features_can_be_built():
    config = DeepMedicConfig(filters=[2, 3, 3], residual=[3], factors=[3], hidden=[6, 6], hidden_residual=[2])
    config.check()
    assert config.build(2, {"segmentation": 2}).count_params() > 0
