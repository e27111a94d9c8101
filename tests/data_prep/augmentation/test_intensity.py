"""Intensity transforms: inside the brain alone, of the stated size."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import AugmentConfig, case_rng, draw
from data_prep.augmentation.intensity import IntensityChanges, brain_statistics
from tests.data_prep.augmentation.synthetic import EVERYTHING, OFF, SHAPE, scan


def z_scored(dtype=np.float32):
    image, label = scan(np.float32)
    brain = image.any(-1)
    image[brain] = (image[brain] - image[brain].mean(0)) / image[brain].std(0) * 3
    return image.astype(dtype), label


def test_z_scores_are_not_clipped():
    image, label = z_scored()
    image[image.any(-1)] += 1  # the deviation is not the root of the mean square
    image[10, 20, 18, 0] = 0  # a score that happens to be 0 is still brain
    shifted, _ = apply(replace(OFF, brightness=(1.0, -1.0, 0.0, 0.0)), image, label, unit_range=False)
    brain = image.any(-1)
    np.testing.assert_allclose(shifted[brain, 0], image[brain, 0] + image[brain, 0].std(), atol=1e-4)
    np.testing.assert_allclose(shifted[brain, 1], image[brain, 1] - image[brain, 1].std(), atol=1e-4)
    np.testing.assert_array_equal(shifted[..., 2:], image[..., 2:])
    assert shifted.max() > 5
    assert shifted.min() < -5
    turned, _ = apply(replace(OFF, rotate_degrees=5.0, elastic=1.0), image, label, unit_range=False)
    assert turned.min() < -3


def test_contrast_turns_about_the_mean_of_the_brain():
    image, label = z_scored()
    image[image.any(-1)] += 7
    brain = image.any(-1)
    changed, _ = apply(replace(OFF, contrast=(0.5, 1.0, 1.5, 1.0)), image, label, unit_range=False)
    for channel, factor in enumerate((0.5, 1.0, 1.5, 1.0)):
        mean = image[brain, channel].mean()
        np.testing.assert_allclose(changed[brain, channel], mean + factor * (image[brain, channel] - mean), atol=1e-3)


def test_gamma_is_a_power_in_unit_range():
    image, label = scan(np.float32)
    bent = replace(OFF, gamma=(0.5, 1.0, 1.0, 2.0))
    changed, _ = apply(bent, image, label, unit_range=True)
    np.testing.assert_allclose(changed[..., 0], np.sqrt(image[..., 0]), atol=1e-6)
    np.testing.assert_array_equal(changed[..., 1:3], image[..., 1:3])
    np.testing.assert_allclose(changed[..., 3], image[..., 3] ** 2, atol=1e-6)


def test_gamma_of_other_intensities_keeps_black_and_the_mean():
    image, label = z_scored()
    image[image.any(-1)] += 50
    image[10, 20, 18] = [20, 35, 50, 60]  # far below, and further: black is 3 deviations (of 3) below the mean
    brain = image.any(-1)
    changed, _ = apply(replace(OFF, gamma=(0.5, 1.0, 1.0, 2.0)), image, label, unit_range=False)
    for channel, gamma in ((0, 0.5), (3, 2.0)):
        values = image[brain, channel].astype(np.float64)
        black = values.mean() - 3 * values.std()
        expected = black + (values.mean() - black) * (np.maximum(values - black, 0) / (values.mean() - black)) ** gamma
        np.testing.assert_allclose(changed[brain, channel], expected, rtol=1e-4)
    np.testing.assert_allclose(changed[..., 1:3], image[..., 1:3], rtol=1e-6)
    assert not changed[~brain].any()


@pytest.mark.parametrize("rank", [2, 3])
def test_a_bias_field_is_a_smooth_factor_of_what_lies_above_black(rank):
    image, label = np.full((6, 40, 36, 4), 2.0, np.float32), np.ones((6, 40, 36), np.uint8)
    image[:, 0] = 0.5  # black
    image[0, 0, 0] = 0
    changed, _ = apply(replace(OFF, rank=rank, bias=(0.3, 0.0, -0.3, 0.1)), image, label, unit_range=False)
    black = np.maximum(image[image.any(-1)].mean(0) - 3 * image[image.any(-1)].std(0), 0.5)[0]
    field = np.log((changed[:, 1:] - black) / (2 - black))
    np.testing.assert_allclose(field[..., 2], -field[..., 0], atol=1e-4)
    np.testing.assert_allclose(field[..., 3], field[..., 0] / 3, atol=1e-4)
    assert not field[..., 1].any()
    assert field[..., 0].std() == pytest.approx(0.3, rel=0.2)
    assert np.abs(np.diff(field[..., 0], axis=1)).max() < 0.15
    assert (np.ptp(field[:, 5, 5, 0]) == 0) == (rank == 2)
    assert not changed[0, 0, 0].any()


def test_blur_lowers_the_resolution_of_its_channel_inside_the_brain():
    image, label = z_scored()
    brain = image.any(-1)
    changed, _ = apply(replace(OFF, blur=(1.5, 0.0, 0.0, 0.0)), image, label, unit_range=False)
    middle = (slice(8, 12), slice(15, 25), slice(15, 25))
    assert changed[middle][..., 0].std() < 0.4 * image[middle][..., 0].std()
    np.testing.assert_array_equal(changed[..., 1:], image[..., 1:])
    assert not changed[~brain].any()


def test_noise_has_the_stated_size_differs_between_slices_and_is_named_by_its_seed():
    image, label = z_scored()
    brain = image.any(-1)
    noisy = apply(replace(OFF, noise=0.5), image, label, unit_range=False)[0]
    np.testing.assert_allclose((noisy - image)[brain].std(0), 0.5 * image[brain].std(0), rtol=0.05)
    middle = (noisy - image)[8:12, 15:25, 15:25].reshape(4, -1)
    assert np.abs(np.corrcoef(middle) - np.eye(4)).max() < 0.3
    assert not np.array_equal(noisy, apply(replace(OFF, noise=0.5, noise_seed=2), image, label, unit_range=False)[0])


def test_a_channel_that_is_missing_stays_zero():
    image, label = scan(np.float32)
    image[..., 1] = 0
    changed, _ = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=True)
    assert not changed[..., 1].any()
    assert changed[..., 0].any()


def test_an_empty_scan_is_legal():
    image, label = np.zeros((*SHAPE, 4), np.float16), np.zeros(SHAPE, np.uint8)
    new_image, new_label = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=False)
    assert not new_image.any()
    assert not new_label.any()


def test_filled_channels_show_another_one():
    image, label = scan(np.float32)
    drawn = draw(AugmentConfig(fill=1.0, fill_from=2, probability=0.0), np.random.default_rng(0), channels=4)
    new_image, _ = apply(drawn, image, label, unit_range=True)
    for channel in range(4):
        np.testing.assert_array_equal(new_image[..., channel], image[..., 2])


def test_statistics_are_those_of_the_brain():
    image, _ = scan(np.float32)
    image[10, 20, 18, 0] = 0  # brain, because other channels are not zero there
    brain = image.any(-1)
    mean, deviation, smallest = brain_statistics(image)
    np.testing.assert_array_equal(smallest, image.min((0, 1, 2)))
    np.testing.assert_allclose(mean, image[brain].mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(deviation, image[brain].std(0, dtype=np.float64), rtol=1e-6)
    of_bytes = brain_statistics(np.rint(image * 255).astype(np.uint8))
    np.testing.assert_allclose(of_bytes.mean, mean, atol=1e-3)
    assert not np.any(brain_statistics(np.zeros((2, 3, 3, 2), np.float16)))


def test_where_nothing_changes_nothing_is_measured():
    def measured():
        raise AssertionError("measured")

    assert IntensityChanges.from_augmentation(OFF, measured, SHAPE, unit_range=True) is None
    for change in ({"gamma": (0.5, 1.0, 1.0, 1.0)}, {"bias": (0.0, 0.0, 0.0, 0.1)}, {"blur": (0.0, 1.0, 0.0, 0.0)}):
        with pytest.raises(AssertionError, match="measured"):
            IntensityChanges.from_augmentation(replace(OFF, **change), measured, SHAPE, unit_range=True)
