"""Brain masks of channels and of prepared images."""

import numpy as np
import pytest

from data_prep.grid.masks import brain_mask, inside_mask


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
