"""Geometry of augmentation while training, read off volumes of coordinates: slices and patches, both ranks."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import AugmentConfig, draw
from data_prep.prepare import PrepareConfig
from tests.data_prep.augmentation.synthetic import (
    OFF,
    analytic_coordinates,
    assert_elastic,
    assert_moved_exactly,
    coordinate_volume,
    label_at,
    scan,
)
from training.data.augmentation import OnlineAugmentation
from training.data.batches import SEGMENTATION, InputConfig
from training.data.patches import PatchSampler

GEOMETRY = {"brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "noise": 0.0, "probability": 1.0}
SHAPE = (44, 100, 96)
NO_INTENSITY = {"brightness": (0.0,) * 3, "contrast": (1.0,) * 3, "gamma": (1.0,) * 3, "sources": (0, 1, 2)}


class OneVolume:
    """In the place of records: a single case."""

    def __init__(self, image, label, spacing_mm=None):
        self._shard = SimpleNamespace(image=image, label=label)
        self.cases = {"case": SimpleNamespace(geometry=SimpleNamespace(spacing_mm=spacing_mm), voxels=None)}
        self.preparation = PrepareConfig(intensity="minmax")

    def case(self, case, copy):
        return self.cases[case]

    def shard(self, case, copy):
        return self._shard


def patch(records, size, start, augmentation):
    """A patch of the case: image (D, H, W, C) and label."""
    sampler = PatchSampler(records, [("case", 0)], InputConfig(patch=size), AugmentConfig(probability=0))
    image, labels = sampler.patch(np.array([0, 0]), start, augmentation)
    return image.reshape(*size, -1), labels[SEGMENTATION].reshape(size)


def augmented_slice(config, seed, shape):
    """One augmented slice of coordinates: image (1, H, W, 3), label, and the augmentation that was drawn."""
    image, label = coordinate_volume((1, *shape))
    change = OnlineAugmentation(config, 0, unit_range=False)
    changed, labels = change((image[0], {SEGMENTATION: label[0]}), np.random.default_rng(seed))
    return changed[None], labels[SEGMENTATION][None], draw(config, np.random.default_rng(seed), 3)


@pytest.mark.parametrize("seed", range(8))
def test_slices_move_exactly_as_drawn(seed):
    config = AugmentConfig(**GEOMETRY, elastic=0, rotate_degrees=40.0, scale=0.3, crop=0.3)
    image, label, drawn = augmented_slice(config, seed, (60, 70))
    expected = analytic_coordinates(drawn, (1, 60, 70), (0, 29.5, 34.5))
    assert_moved_exactly(image, label, expected, (1, 60, 70))


def test_elastic_displacements_of_slices_are_as_large_at_the_edges_as_in_the_middle():
    config = AugmentConfig(**GEOMETRY, elastic=1.0, elastic_sigma=5.0, rotate_degrees=0, scale=0.9, flips=[])
    displacements = []
    for seed in range(600):
        if draw(config, np.random.default_rng(seed), 3).scale < 1.3:
            continue  # displaced pixels at the edges would come from outside the slice
        image, label, drawn = augmented_slice(config, seed, (64, 60))
        assert image.min() > 0
        displacements.append(image - 1 - analytic_coordinates(drawn, (1, 64, 60), (0, 31.5, 29.5)))
        places = image - 1
        clear = (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=-1)
        np.testing.assert_array_equal(label[clear], label_at(np.rint(places[clear]).astype(int)))
    assert len(displacements) > 100
    assert_elastic(np.stack(displacements), 1.0, axes=(1, 2))


@pytest.mark.parametrize("size", [(1, 30, 34), (20, 30, 34)])
@pytest.mark.parametrize("rank", [2, 3])
def test_patches_move_exactly_as_drawn(rank, size):
    start = (12, 40, 31)
    changes = {"flips": ("z", "x"), "rotate_degrees": 25.0, "scale": 1.2, "crop": (0.9, 0.8), "crop_at": (0.05, -0.1)}
    turned = replace(OFF, rank=rank, **changes, **NO_INTENSITY, tilt_degrees=(15.0, -10.0) if rank == 3 else (0.0, 0.0))
    spacing = (2.0, 1.0, 1.0)
    image, label = patch(OneVolume(*coordinate_volume(SHAPE), spacing), size, start, turned)
    middle = tuple(first + (length - 1) / 2 for first, length in zip(start, size, strict=True))
    assert_moved_exactly(image, label, analytic_coordinates(turned, size, middle, spacing), SHAPE)


@pytest.mark.parametrize(("rank", "seeds"), [(2, 120), (3, 50)])
def test_elastic_displacements_of_patches_are_as_large_at_the_edges_as_in_the_middle(rank, seeds):
    size, start = (2, 60, 64) if rank == 2 else (20, 60, 64), (11, 20, 16)
    records = OneVolume(*coordinate_volume(SHAPE))
    expected = np.stack(np.meshgrid(*[np.arange(length) for length in size], indexing="ij"), axis=-1) + start
    displacements = []
    for seed in range(seeds):
        bent = replace(OFF, rank=rank, elastic=2.0, elastic_sigma=5.0, elastic_seed=seed, **NO_INTENSITY)
        image, label = patch(records, size, start, bent)
        assert image.min() > 0
        displacements.append(image - 1 - expected)
        places = image - 1
        clear = (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=-1)
        np.testing.assert_array_equal(label[clear], label_at(np.rint(places[clear]).astype(int)))
    assert_elastic(np.stack(displacements), 2.0, axes=range(3 - rank, 3))


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(probability=1.0, fill=0.3),
        AugmentConfig(rank=3, probability=1.0, tilt_degrees=20.0, flips=["x", "y", "z"]),
    ],
    ids=["rank 2", "rank 3"],
)
@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_a_patch_as_large_as_the_volume_is_the_stored_copy(config, dtype):
    image, label = scan(dtype)
    drawn = draw(config, np.random.default_rng(3), 4)
    spacing = (1.5, 1.0, 1.0)
    stored, bits = apply(drawn, image, label, unit_range=True, spacing_mm=spacing)
    found, classes = patch(OneVolume(image, label, spacing), label.shape, (0, 0, 0), drawn)
    np.testing.assert_array_equal(np.rint(found * 255).astype(np.uint8) if dtype == np.uint8 else found.astype(dtype), stored)
    np.testing.assert_array_equal(classes, bits)
