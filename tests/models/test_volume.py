"""Networks over whole volumes: slices, and patches that are blended."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.grid.neighbours import with_neighbours
from models.volume import SlidingWindow, _mean_foreground, predict_patches, predict_slices, predict_volume


@pytest.fixture(scope="module")
def pointwise():
    """A network of 1 x 1 convolutions: a voxel's logits depend on that voxel alone."""
    import keras

    def build(channels):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, None, channels))
        return keras.Model(inputs, {"segmentation": keras.layers.Conv2D(3, 1)(keras.layers.Conv2D(4, 1)(inputs))})

    return build


class Recorder:
    """In the place of a network: keeps what it is given and returns it."""

    def __init__(self):
        self.batches = []

    def predict_on_batch(self, batch):
        self.batches.append(batch)
        return {"segmentation": batch}


def volume(shape, dtype=np.float32):
    return np.random.default_rng(1).uniform(1, 2, shape).astype(dtype)


def together(parts, shape, head="segmentation"):
    """The logits of all slices, which must come in order and once each."""
    places, values = zip(*((place, logits[head]) for place, logits in parts), strict=True)
    assert np.concatenate([np.arange(place.start, place.stop) for place in places]).tolist() == list(range(shape[0]))
    return np.concatenate(values)


@pytest.mark.parametrize("shape", [(5, 7, 9, 2), (4, 8, 8, 2), (1, 1, 1, 2), (9, 3, 16, 2)])
@pytest.mark.parametrize(
    ("stride", "batch_size", "least"), [(1, 1, (0, 0)), (8, 2, (0, 0)), (4, 8, (20, 10)), (8, 3, (16, 16))]
)
def test_padding_is_cut_off_again(pointwise, shape, stride, batch_size, least):
    network, image = pointwise(2), volume(shape)
    parts = predict_slices(network, image, SlidingWindow(stride, least_size=least), batch_size)
    logits = together(parts, shape)
    assert logits.dtype == np.float32
    assert logits.shape == (*shape[:3], 3)
    np.testing.assert_allclose(logits, network.predict_on_batch(image)["segmentation"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "stride", "least", "padded"),
    [
        ((3, 5, 16, 1), 8, (0, 0), (8, 16)),
        ((3, 240, 240, 1), 16, (256, 256), (256, 256)),
        ((3, 9, 9, 1), 4, (10, 30), (12, 32)),
    ],
)
def test_every_batch_has_one_shape_and_zeros_around_the_slice(shape, stride, least, padded):
    network, image = Recorder(), volume(shape, np.float16)
    values = together(predict_slices(network, image, SlidingWindow(stride, least_size=least), 2), shape)
    np.testing.assert_array_equal(values, image)
    assert [batch.shape for batch in network.batches] == [(2, *padded, 1)] * 2
    assert all(batch.dtype == np.float32 for batch in network.batches)
    for batch in network.batches:
        assert np.count_nonzero(batch) == 2 * shape[1] * shape[2]
    rows = np.flatnonzero(network.batches[0][0].any(axis=(1, 2)))
    assert abs(rows[0] - (padded[0] - 1 - rows[-1])) <= 1


def test_the_last_batch_is_filled_with_repeats():
    network, image = Recorder(), volume((5, 2, 2, 1))
    parts = list(predict_slices(network, image, SlidingWindow(1), 3))
    assert [place for place, _ in parts] == [slice(0, 3), slice(3, 5)]
    np.testing.assert_array_equal(network.batches[1], image[[3, 4, 4]])
    assert parts[1][1]["segmentation"].shape == (2, 2, 2, 1)


def test_a_network_of_neighbouring_slices_sees_what_training_saw(pointwise):
    image = volume((7, 6, 5, 2))
    network = pointwise(6)
    logits = together(predict_slices(network, image, SlidingWindow(4, neighbours=1), 3), image.shape)
    seen = with_neighbours(image, np.arange(7), 1)
    np.testing.assert_allclose(logits, network.predict_on_batch(seen)["segmentation"], rtol=1e-5, atol=1e-6)


def test_slices_are_resized_for_the_network_and_its_logits_back():
    network, image = Recorder(), np.repeat(np.repeat(volume((3, 4, 6, 1)), 2, axis=1), 2, axis=2)
    values = together(predict_slices(network, image, SlidingWindow(1, resize=(4, 6)), 3), image.shape)
    assert network.batches[0].shape == (3, 4, 6, 1)
    np.testing.assert_allclose(network.batches[0], image[:, ::2, ::2], rtol=1e-6)
    assert values.shape == image.shape
    np.testing.assert_allclose(values.mean(), image.mean(), rtol=0.02)


class Ramp:
    """A network whose logits grow along both axes of the picture, whatever it shows."""

    def predict_on_batch(self, batch):
        rows, columns = np.mgrid[: batch.shape[1], : batch.shape[2]]
        return {
            "segmentation": np.broadcast_to((rows + 10 * columns)[None, ..., None], batch.shape).astype(np.float32),
            "category": batch[:, 0, 0],
        }


@pytest.mark.parametrize(
    ("flips", "rows", "columns"), [((), [0, 1, 2], [0, 10]), (("y",), [1] * 3, [0, 10]), (("x", "y"), [1] * 3, [5] * 2)]
)
def test_logits_are_the_mean_of_all_mirrored_views(flips, rows, columns):
    image = volume((2, 3, 2, 1))
    ((_, logits),) = predict_slices(Ramp(), image, SlidingWindow(1, flips=flips), 2)
    expected = np.add.outer(rows, columns)
    np.testing.assert_allclose(logits["segmentation"][0, ..., 0], expected)
    corners = [image[:, y, x] for y in ((0, -1) if "y" in flips else (0,)) for x in ((0, -1) if "x" in flips else (0,))]
    np.testing.assert_allclose(logits["category"], np.mean(corners, axis=0), rtol=1e-6)


class Pointwise:
    """In the place of a network: a voxel's logits follow from its channels alone."""

    def __init__(self):
        self.shapes = []

    def predict_on_batch(self, batch):
        assert batch.dtype == np.float32
        self.shapes.append(batch.shape)
        return {"segmentation": np.stack([batch.sum(axis=-1), batch[..., 0] ** 2, -batch[..., -1]], axis=-1)}


def pointwise_logits(image):
    return Pointwise().predict_on_batch(image.astype(np.float32))["segmentation"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    patch=st.tuples(st.integers(2, 8), st.integers(1, 8), st.integers(1, 8)),
    overlap=st.floats(0, 0.9),
    batch_size=st.integers(1, 5),
    flips=st.sets(st.sampled_from("xyz")),
)
def test_patches_of_a_pointwise_network_blend_to_its_logits(shape, patch, overlap, batch_size, flips):
    image, network = volume((*shape, 2)), Pointwise()
    sliding = SlidingWindow(1, patch, overlap, flips=tuple(flips))
    logits = together(predict_patches(network, image, sliding, batch_size), shape)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, pointwise_logits(image), rtol=2e-6, atol=2e-6)
    assert {seen[1:] for seen in network.shapes} == {(*patch, 2)}
    assert max(seen[0] for seen in network.shapes) <= batch_size


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_stored_intensities_become_float32(dtype):
    image = (100 * volume((5, 6, 7, 2))).astype(dtype)
    logits = together(predict_patches(Pointwise(), image, SlidingWindow(1, (4, 4, 4))), image.shape)
    np.testing.assert_allclose(logits, pointwise_logits(image), rtol=1e-5)


class Placed:
    """In the place of a network: a voxel's logits depend on its place in the patch."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def predict_on_batch(self, batch):
        at = np.stack(np.meshgrid(*[np.arange(side) for side in batch.shape[1:-1]], indexing="ij"), axis=-1)
        return {"segmentation": (batch[..., :1] + self.factor * at).astype(np.float32)}


def bell(side):
    """Sigma of an eighth of the side, and a floor of a tenth."""
    return np.maximum(np.exp(-(((np.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) / 2), 0.1)


def naive(network, image, patch, starts):
    """The weighed mean, accumulated in float64 over the whole padded volume."""
    pads = [(patch_side, patch_side) for patch_side in patch]
    padded = np.pad(image, [*pads, (0, 0)]).astype(np.float32)
    weight = np.einsum("i,j,k->ijk", *map(bell, patch))[..., None]
    total, norm = np.zeros((*padded.shape[:3], 3)), np.zeros((*padded.shape[:3], 1))
    for start in product(*starts):
        place = tuple(slice(first + side, first + 2 * side) for first, side in zip(start, patch, strict=True))
        total[place] += weight * network.predict_on_batch(padded[place][None])["segmentation"][0]
        norm[place] += weight
    inner = tuple(slice(side, side + length) for side, length in zip(patch, image.shape, strict=False))
    return total[inner] / norm[inner]


@pytest.mark.parametrize(
    ("shape", "patch", "overlap", "starts"),
    [
        ((12, 10, 8), (8, 8, 8), 0.5, [[0, 4], [0, 2], [0]]),
        ((9, 8, 20), (4, 8, 8), 0.5, [[0, 2, 3, 5], [0], [0, 4, 8, 12]]),
        ((5, 6, 8), (8, 8, 8), 0.5, [[-2], [-1], [0]]),
        ((16, 8, 8), (8, 8, 8), 0.0, [[0, 8], [0], [0]]),
        ((10, 8, 8), (8, 8, 8), 0.75, [[0, 2], [0], [0]]),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_network_that_depends_on_the_place_gives_gaussian_averages(shape, patch, overlap, starts, batch_size):
    image = volume((*shape, 1))
    parts = list(predict_patches(Placed(), image, SlidingWindow(1, patch, overlap), batch_size))
    logits = together(parts, shape)
    np.testing.assert_allclose(logits, naive(Placed(), image, patch, starts), rtol=1e-5, atol=1e-5)
    assert logits.std() > 0


def test_slices_are_done_with_as_the_patches_go_up():
    image = volume((20, 6, 6, 1))
    parts = list(predict_patches(Placed(), image, SlidingWindow(1, (8, 6, 6), 0.5)))
    assert [(place.start, place.stop) for place, _ in parts] == [(0, 4), (4, 8), (8, 12), (12, 20)]


def test_sums_are_those_of_one_patches_slices(monkeypatch):
    """However many slices the volume has."""
    from models import volume as module

    held = []
    add = module._Blend.add

    def watched(blend, logits, places):
        add(blend, logits, places)
        held.extend(total.shape for total in blend._sums.values())

    monkeypatch.setattr(module._Blend, "add", watched)
    together(predict_patches(Pointwise(), volume((70, 6, 6, 1)), SlidingWindow(1, (4, 4, 4))), (70,))
    assert set(held) == {(4, 6, 6, 3)}


class Graded:
    """In the place of a network: foreground where the image is above 1, and a class that is the patch's largest value."""

    def __init__(self, margin=0, voxels=True):
        self.margin, self.voxels = margin, voxels

    def predict_on_batch(self, batch):
        inner = batch[(slice(None), *[slice(self.margin, side - self.margin) for side in batch.shape[1:-1]])]
        logits = {"grade": inner.max(axis=(1, 2, 3))}
        return logits | {"tumour": np.concatenate([0 * inner, 40.0 * (inner > 1) - 20], axis=-1)} if self.voxels else logits


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_class_of_patches_is_that_of_the_patches_with_foreground(margin, batch_size):
    image = np.full((12, 8, 8, 1), -5, np.float32)
    image[5, 1, 2], image[1, 6, 6] = 3, 7  # both patches of their slices; others have no foreground, and the class -5
    side = 4 + 2 * margin
    sliding = SlidingWindow(1, (side, side, side), 0.0, margin=margin)
    parts = list(predict_volume(Graded(margin), image, sliding, batch_size))
    grades = np.concatenate([logits["grade"] for _, logits in parts])[:, 0]
    np.testing.assert_allclose(grades, [*[7] * 4, *[3] * 4, *[-5] * 4], atol=0.01)
    assert together(parts, image.shape, "tumour").argmax(axis=-1).sum() == 2


def test_without_a_segmentation_all_patches_count_alike():
    image = np.zeros((4, 8, 4, 1), np.float32)
    image[0, 0], image[0, 7] = 2, 4
    ((part, logits),) = predict_volume(Graded(voxels=False), image, SlidingWindow(1, (4, 4, 4), 0.0), 1)
    assert part == slice(0, 4)
    np.testing.assert_allclose(logits["grade"], np.full((4, 1), 3))


def test_mirrored_patches_are_averaged():
    image = volume((4, 5, 6, 1))
    ((_, plain),) = predict_patches(Placed(), image, SlidingWindow(1, (4, 5, 6)))
    ((_, mirrored),) = predict_patches(Placed(), image, SlidingWindow(1, (4, 5, 6), flips=("x", "y", "z")))
    expected = image + np.array([1.5, 2.0, 2.5], np.float32)  # the middle of the patch, wherever a voxel stands
    np.testing.assert_allclose(mirrored["segmentation"], expected, rtol=1e-5)
    assert not np.allclose(plain["segmentation"], expected)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    patch=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    neighbours=st.integers(0, 2),
    batch_size=st.integers(1, 4),
)
def test_patches_of_one_slice_carry_their_neighbours(shape, patch, neighbours, batch_size):
    image = volume((*shape, 2))
    sliding = SlidingWindow(1, (1, *patch), neighbours=neighbours)
    network = Pointwise()
    logits = together(predict_patches(network, image, sliding, batch_size), shape)
    expected = pointwise_logits(with_neighbours(image, np.arange(shape[0]), neighbours))
    np.testing.assert_allclose(logits, expected, rtol=2e-6, atol=2e-6)
    assert {seen[1:] for seen in network.shapes} == {(*patch, 2 * (2 * neighbours + 1))}
    assert len(network.shapes) >= shape[0] / batch_size  # each slice once: slices do not overlap


def test_a_sliding_window_without_a_patch_takes_slices():
    image = volume((3, 8, 8, 2))
    for patch, seen in ((None, (3, 8, 8, 2)), ((2, 4, 4), (1, 2, 4, 4, 2)), ((1, 4, 4), (3, 4, 4, 2))):
        network = Pointwise()
        logits = together(predict_volume(network, image, SlidingWindow(4, patch), seen[0]), image.shape)
        assert network.shapes[0] == seen
        np.testing.assert_allclose(logits, pointwise_logits(image), rtol=2e-6, atol=2e-6)


def test_patches_need_a_size():
    with pytest.raises(ValueError, match="with a patch"):
        list(predict_patches(Pointwise(), volume((3, 8, 8, 2)), SlidingWindow(4)))


@pytest.mark.filterwarnings("error")
def test_the_weight_of_a_patch_is_its_mean_foreground_probability():
    """Of far apart logits too, without a warning."""
    logits = np.array([[[0.0, 0.0, 0.0], [100.0, -900.0, -900.0]], [[-900.0, 100.0, 0.0], [0.0, 0.0, 0.0]]], np.float32)
    np.testing.assert_allclose(_mean_foreground(logits), [1 / 3, 5 / 6], rtol=1e-6)
