"""Sampling of volumes and slices at coordinates, against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from data_prep.grid import sampling
from data_prep.grid.sampling import sample, sample_slices, to_float
from tests.data_prep.augmentation.synthetic import noise, waves

SHAPE = (12, 26, 22)
SEEDS = st.integers(0, 10**6)


def random_coordinates(seed, size, plane=False):
    """An affine map of a patch into and beyond the volume (3, z, y, x) float32; `plane`: (2, y, x), rows and columns."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(length) - (length - 1) / 2 for length in size], indexing="ij")
    count = len(axes)
    shape = SHAPE[1:] if plane else SHAPE
    matrix, middle = np.eye(count) + rng.uniform(-0.7, 0.7, (count, count)), rng.uniform(0.3, 0.7, count) * shape
    places = np.tensordot(matrix, np.stack(axes), 1) + middle.reshape(-1, *[1] * count)
    return places.astype(np.float32)


def reference(image, label, places):
    """SciPy's answer: (z, y, x, C) and (z, y, x)."""
    channels = [
        map_coordinates(image[..., channel], places, order=1, mode="grid-constant") for channel in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1), map_coordinates(label, places, order=0, mode="grid-constant")


def clear(places):
    """Where the nearest voxel is no matter of rounding."""
    return (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=0)


def tolerance(image):
    """1/32 of the step between neighbouring voxels along each axis, zeros around included."""
    padded = np.pad(image, [(1, 1)] * 3 + [(0, 0)])
    return sum(np.abs(np.diff(padded, axis=axis)).max() for axis in range(3)) / 32 + 1e-5


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS, channels=st.sampled_from([1, 2, 5]))
def test_a_volume_is_sampled_as_by_scipy_within_a_32nd_of_a_voxel(seed, channels):
    image, label = waves(SHAPE, channels), noise(SHAPE)[1]
    places = random_coordinates(seed, (6, 20, 18))
    sampled, classes = sample(image, label, places)
    expected, bits = reference(image, label, places)
    np.testing.assert_allclose(sampled, expected, atol=tolerance(image))
    np.testing.assert_array_equal(classes[clear(places)], bits[clear(places)])
    assert (sampled.dtype, classes.dtype) == (np.float32, np.uint8)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS, channels=st.sampled_from([1, 2, 5]))
def test_slices_are_sampled_as_by_scipy_within_a_32nd_of_a_pixel(seed, channels):
    image, label = waves(SHAPE, channels), noise(SHAPE)[1]
    numbers = np.array([3, 11, -1, 0, 12, 3])
    plane = random_coordinates(seed, (20, 18), plane=True)
    sampled, classes = sample_slices(image, label, numbers, plane)
    places = np.stack(np.broadcast_arrays(numbers[:, None, None].astype(np.float32), *plane[:, None]))
    expected, bits = reference(image, label, places)
    np.testing.assert_allclose(sampled, expected, atol=tolerance(image))
    np.testing.assert_array_equal(classes[clear(places)], bits[clear(places)])
    assert not sampled[[2, 4]].any()
    assert not classes[[2, 4]].any()


def test_long_patches_are_sampled_in_parts(monkeypatch):
    image, label = waves(SHAPE), noise(SHAPE)[1]
    places = random_coordinates(1, (6, 20, 18))
    at_once = sample(image, label, places)
    monkeypatch.setattr(sampling, "MOST_ROWS", 40)
    in_parts = sample(image, label, places)
    np.testing.assert_allclose(in_parts[0], at_once[0], atol=1e-6)
    np.testing.assert_array_equal(in_parts[1], at_once[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_whole_coordinates_give_the_voxels_themselves(dtype):
    image, label = noise(SHAPE)
    image = np.rint(image * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype)
    places = np.stack(np.meshgrid(*[np.arange(length, dtype=np.float32) for length in SHAPE], indexing="ij"))
    for sampled, classes in (
        sample(image[::-1, :, ::-1], label[::-1, :, ::-1], places),
        sample_slices(image[::-1, :, ::-1], label[::-1, :, ::-1], np.arange(SHAPE[0]), places[1:, 0]),
    ):
        np.testing.assert_array_equal(sampled, to_float(image[::-1, :, ::-1]))
        np.testing.assert_array_equal(classes, label[::-1, :, ::-1])


def test_bytes_become_0_to_1():
    np.testing.assert_array_equal(to_float(np.array([0, 51, 255], np.uint8)), np.array([0, 0.2, 1], np.float32))


@pytest.mark.parametrize("shift", [(100, 0, 0), (0, -100, 0), (0, 0, 100)])
def test_coordinates_wholly_outside_the_volume_give_zeros(shift):
    image, label = noise(SHAPE)
    places = random_coordinates(0, (4, 8, 8)) + np.array(shift, np.float32)[:, None, None, None]
    for sampled, classes in (
        sample(image, label, places),
        sample_slices(image, label, np.rint(places[0, :, 0, 0]).astype(int), places[1:, 0]),
    ):
        assert (sampled.shape, classes.shape) == ((4, 8, 8, 2), (4, 8, 8))
        assert not sampled.any()
        assert not classes.any()


class Watched(np.ndarray):
    """An array that keeps how much of it was read."""

    def __getitem__(self, key):
        part = super().__getitem__(key)
        self.read.append(np.size(part))
        return part

    def __array_finalize__(self, other):
        self.read = [] if other is None else getattr(other, "read", [])


def test_only_the_box_around_the_coordinates_is_read():
    image = np.random.default_rng(0).random((40, 60, 60, 1), np.float32)
    label = np.ones(image.shape[:3], np.uint8)
    watched = image.view(Watched)
    watched.read = []
    places = np.stack(np.meshgrid(*[np.arange(20.5, 20.5 + side, dtype=np.float32) for side in (4, 10, 10)], indexing="ij"))
    sample(watched, label, places)
    assert max(watched.read) <= 5 * 11 * 11
