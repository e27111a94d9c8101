"""Bounding boxes of masks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.boxes import crop_box, foreground_box


def test_the_box_holds_the_mask_and_its_margin():
    mask = np.zeros((20, 30), bool)
    mask[5:8, 1:25] = True
    assert crop_box(mask, margin=3) == (slice(2, 11), slice(0, 28))
    assert crop_box(mask) == foreground_box(mask) == (slice(5, 8), slice(1, 25))


def test_without_a_voxel_the_box_is_the_whole_array_or_empty():
    mask = np.zeros((4, 5, 6), bool)
    assert crop_box(mask, margin=1) == (slice(0, 4), slice(0, 5), slice(0, 6))
    assert mask[foreground_box(mask)].size == 0


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_the_box_is_the_smallest_that_holds_every_voxel(seed, shape):
    mask = np.random.default_rng(seed).random(shape) < 0.05
    box = foreground_box(mask)
    assert mask[box].sum() == mask.sum()
    for axis in range(3):
        inside = mask[box].any(axis=tuple({0, 1, 2} - {axis}))
        assert not inside.size or (inside[0] and inside[-1])


@given(arrays(bool, (3, 4, 5)))
def test_a_foreground_box_is_the_smallest_that_holds_all(mask):
    box = foreground_box(mask)
    assert np.count_nonzero(mask[box]) == np.count_nonzero(mask)
    places = np.argwhere(mask)
    assert mask[box].shape == (tuple(np.ptp(places, axis=0) + 1) if len(places) else (0, 0, 0))
