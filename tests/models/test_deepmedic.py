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


@pytest.mark.parametrize("factors", [[], [2], [3], [4], [3, 5]])
@pytest.mark.parametrize("output", [1, 4, 7])
def test_the_field_of_a_voxel_is_centred_on_its_cell(factors, output):
    """Gradients of the middle output's logits: zero beyond the receptive field, and as far to the left as to the right."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    config = DeepMedicConfig(rank=2, filters=[2, 2], factors=factors, hidden=[2], l1=0, l2=0)
    network = config.build(1, {"segmentation": 2})
    side = output + 2 * config.margin
    image = tf.constant(np.random.default_rng(0).standard_normal((1, side, side, 1)), tf.float32)
    for voxel in range(output):
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = tf.reduce_sum(network(image)["segmentation"][0, voxel, voxel])
        reached = np.flatnonzero(np.abs(tape.gradient(value, image).numpy()[0, ..., 0]).sum(axis=0))
        at = voxel + config.margin
        for factor in [1, *factors]:
            cell = voxel // factor * factor + (factor - 1) // 2 + config.margin
            assert {cell - 2 * factor, cell, cell + 2 * factor} <= set(reached)
        assert at - reached[0] <= config.receptive_field
        assert reached[-1] - at <= config.receptive_field


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("factors", [[], [3], [2, 3]])
def test_tiles_equal_the_whole_volume(rank, factors):
    import keras

    keras.utils.set_random_seed(1)
    config = replace(TINY, rank=rank, factors=factors, residual=[2])
    network = config.build(2, {"segmentation": 3, "other": 2})
    image = np.random.default_rng(2).standard_normal((7, 13, 10, 2)).astype(np.float32)
    margin, step = config.margin, 6
    padded = np.pad(image, [(margin, margin + 6)] * 3 + [(0, 0)])
    if rank == 2:
        padded = padded[margin : margin + 7]
        whole = network.predict_on_batch(padded)
    else:
        whole = {name: values[0] for name, values in network.predict_on_batch(padded[None]).items()}
    side = step + 2 * margin
    patch = (side if rank == 3 else 1, side, side)
    for batch_size in (1, 3):
        parts = list(predict_volume(network, image, SlidingWindow(1, patch, margin=margin), batch_size))
        for name in ("segmentation", "other"):
            tiled = np.concatenate([logits[name] for _, logits in parts])
            assert tiled.shape[:3] == image.shape[:3]
            np.testing.assert_allclose(tiled, whole[name][:7, :13, :10], rtol=0, atol=2e-6)


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


def test_residuals_to_fewer_filters_are_refused():
    with pytest.raises(UserError, match="do not decrease"):
        DeepMedicConfig(filters=[3, 3, 2], residual=[3]).build(1, {"segmentation": 2})
