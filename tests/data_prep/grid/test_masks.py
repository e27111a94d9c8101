"""Brain masks of channels and of prepared images."""

import numpy as np
import pytest

from data_prep.grid.masks import brain_mask, head_mask, inside_mask, winsorised
from tests.synthetic_heads import centred, head


def test_a_brain_voxel_is_non_zero_in_any_channel():
    channels = [np.array([0, 1, 0, 0], np.int16), np.array([0, 0, -2, 0], np.int16)]
    assert brain_mask(channels).tolist() == [False, True, True, False]
    assert [channel.tolist() for channel in channels] == [[0, 1, 0, 0], [0, 0, -2, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_the_mask_of_a_prepared_image_is_that_of_its_channels(rng, dtype):
    image = (rng.integers(0, 3, (4, 5, 6, 2)) * (rng.random((4, 5, 6, 1)) < 0.5)).astype(dtype)
    np.testing.assert_array_equal(inside_mask(image), (image != 0).any(axis=-1))


def test_a_rounded_z_score_below_the_mean_is_inside():
    image = np.array([-1e-9, 0.0, 1.0]).astype(np.float16).reshape(1, 1, 3, 1)
    assert inside_mask(image).ravel().tolist() == [True, False, True]
    assert brain_mask(np.moveaxis(image, -1, 0)).ravel().tolist() == [False, False, True]


def test_the_head_in_ct_is_found_beside_padding_and_metal():
    ct = head(centred((2.2, 2.2, 3.0), (50, 60, 34)), (50, 60, 34), "CT").array.astype(np.float32)
    expected = head_mask(ct)
    np.testing.assert_array_equal(expected, ct > -1000)
    i, j = np.indices(ct.shape[:2])
    ct[np.hypot(i - 25, (j - 30) * 50 / 60) > 25] = -3024
    ct[20:24, 20:24, 15:18] = 30000
    np.testing.assert_array_equal(head_mask(ct), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_outliers_are_clipped_and_the_type_is_kept(rng, dtype):
    values = rng.integers(50, 150, (20, 20, 20)).astype(dtype)
    outliers = values.copy()
    outliers[0, 0, :10] = np.iinfo(np.uint8).max if dtype == np.uint8 else 30000
    outliers[0, 1, :10] = 0 if dtype == np.uint8 else -3024
    found = winsorised(outliers)
    assert found.dtype == dtype
    assert (found.min(), found.max()) == (50, 149)
    np.testing.assert_array_equal(found[1:], values[1:])
    few = np.zeros((20, 20, 20), dtype)
    few[0, 0, :10] = 9
    np.testing.assert_array_equal(winsorised(few), few)
