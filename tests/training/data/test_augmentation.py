"""On-line augmentation of slices: a function of seed and step, of image and label alike."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.augmentation.draw import AugmentConfig
from tests.training.runs import assert_equal, read_batches, training_sources, tumour_grade
from training.data.augmentation import OnlineAugmentation
from training.data.batches import CLASSIFICATION, SEGMENTATION, InputConfig
from training.data.slices import training_slices

EVERYTHING = AugmentConfig(probability=0.8, elastic_sigma=3.0, crop=0.2, fill=0.3, fill_from=1)
GEOMETRY = AugmentConfig(probability=0.8, elastic=0, brightness=0, contrast=0, gamma=0, noise=0)
STILL = AugmentConfig(probability=0)


def batches(opened, augment, start=0, count=6, seed=0, **settings):
    config = InputConfig(batch_size=4, **settings)
    changed = OnlineAugmentation(augment, config.neighbours, unit_range=True)
    return read_batches(training_sources(opened, config), config, count, seed, start, changed)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_augmentation_is_the_same_with_any_number_of_threads(opened, threads):
    assert_equal(batches(opened, EVERYTHING, threads=threads), batches(opened, EVERYTHING, threads=2))


def test_augmentation_is_a_function_of_seed_and_step(opened):
    whole = batches(opened, EVERYTHING, count=20)
    for start in (1, 7, 13):  # within the first and the second pass of 12 steps
        assert_equal(batches(opened, EVERYTHING, start=start, count=4), whole[start : start + 4])
    other = batches(opened, EVERYTHING, count=20, seed=1)
    assert any((left[0] != right[0]).any() for left, right in zip(whole, other, strict=True))


def test_augmentation_is_drawn_anew_in_each_pass(opened):
    images = [image for image, _ in batches(opened, EVERYTHING, count=24)]
    first, second = (
        {picture.tobytes() for image in part for picture in image if picture.any()} for part in (images[:12], images[12:])
    )
    assert len(first & second) < len(first) / 4


def test_without_a_change_augmentation_changes_nothing(opened):
    config = InputConfig(batch_size=4)
    assert_equal(batches(opened, STILL), read_batches(training_sources(opened), config, 6))


def test_image_and_label_move_together(opened):
    changed = OnlineAugmentation(GEOMETRY, 0, unit_range=True)
    label = opened.shard("case_0").label[3]
    image = np.repeat((label > 1)[..., None], 4, axis=-1).astype(np.float32)
    moved = 0
    for seed in range(8):
        picture, targets = changed((image, {SEGMENTATION: label}), np.random.default_rng(seed))
        found = targets[SEGMENTATION]
        sure = found > 0  # what a rotation turned in from outside is not annotated
        agree = (picture[..., 0] > 0.5) == (found > 1)
        assert agree[sure].mean() > 0.9  # the picture is interpolated, the label is not
        moved += bool((found != label).any())
    assert moved >= 4


def test_neighbours_are_changed_like_their_slice(opened):
    image = opened.shard("case_0").image[3]
    label = {SEGMENTATION: opened.shard("case_0").label[3]}
    config = replace(EVERYTHING, noise=0.0, brightness=0.0, contrast=0.0)
    three = np.concatenate([image] * 3, axis=-1)
    picture, _ = OnlineAugmentation(config, 1, unit_range=True)((three, label), np.random.default_rng(3))
    np.testing.assert_array_equal(picture[..., :4], picture[..., 4:8])
    alone, _ = OnlineAugmentation(config, 0, unit_range=True)((image, label), np.random.default_rng(3))
    np.testing.assert_array_equal(picture[..., :4], alone)


def test_fill_puts_one_channel_in_the_place_of_others(opened):
    image = opened.shard("case_0").image[3]
    label = {SEGMENTATION: opened.shard("case_0").label[3]}
    always = OnlineAugmentation(replace(STILL, fill=1.0, fill_from=2), 0, unit_range=True)
    picture, targets = always((image, label), np.random.default_rng(0))
    np.testing.assert_array_equal(picture, np.repeat(image[..., 2:3], 4, axis=-1))
    np.testing.assert_array_equal(targets[SEGMENTATION], label[SEGMENTATION])
    sometimes = OnlineAugmentation(replace(STILL, fill=0.3, fill_from=2), 0, unit_range=True)
    pictures = [sometimes((image, label), np.random.default_rng(seed))[0] for seed in range(200)]
    filled = np.mean([(picture[..., 0] == image[..., 2]).all() for picture in pictures])
    assert filled == pytest.approx(0.3, abs=0.1)


def test_a_class_passes_augmentation_as_it_is(opened):
    (source,) = training_slices(opened, ["case_0"], InputConfig(), tumour_grade(opened))
    image, labels = source[3]
    picture, targets = OnlineAugmentation(EVERYTHING, 0, unit_range=True)((image, labels), np.random.default_rng(1))
    assert (picture.shape, picture.dtype) == (image.shape, image.dtype)
    assert (targets[CLASSIFICATION].tolist(), targets[CLASSIFICATION].dtype) == ([1.0], np.float32)


def test_bytes_that_are_resized_keep_their_range_in_augmentation(stored_as_uint8):
    config = InputConfig(resize=(8, 8))
    image, labels = training_slices(stored_as_uint8, ["case_0"], config)[0][3]
    contrast = replace(STILL, probability=1.0, flips=[], rotate_degrees=0, scale=0, elastic=0, gamma=0, noise=0)
    picture, _ = OnlineAugmentation(contrast, 0, unit_range=True)((image, labels), np.random.default_rng(0))
    assert picture.max() > image.max() / 2
