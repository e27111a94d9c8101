"""Bounding boxes and the place of crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.grid.boxes import bounding_box, centred_start, foreground_box


def test_the_box_holds_the_mask_and_its_margin():
    mask = np.zeros((20, 30), bool)
    mask[5:8, 1:25] = True
    assert bounding_box(mask, margin=3) == (slice(2, 11), slice(0, 28))
    assert bounding_box(mask) == foreground_box(mask) == (slice(5, 8), slice(1, 25))


def test_without_a_voxel_the_box_is_the_whole_array_or_empty():
    mask = np.zeros((4, 5, 6), bool)
    assert bounding_box(mask, margin=1) == (slice(0, 4), slice(0, 5), slice(0, 6))
    assert mask[foreground_box(mask)].size == 0


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_the_box_is_the_smallest_that_holds_every_voxel(seed, shape):
    mask = np.random.default_rng(seed).random(shape) < 0.05
    box = foreground_box(mask)
    assert mask[box].sum() == mask.sum()
    for axis in range(3):
        inside = mask[box].any(axis=tuple({0, 1, 2} - {axis}))
        assert not inside.size or (inside[0] and inside[-1])


@pytest.mark.parametrize(
    ("length", "size", "middle", "start"),
    [(10, 4, None, 3), (10, 5, None, 2), (4, 10, None, -3), (10, 4, 9, 2), (10, 4, 1, 0), (10, 4, 19, 6), (4, 9, 1, -3)],
)
def test_a_crop_lies_around_its_middle_and_inside(length, size, middle, start):
    assert centred_start(length, size, middle) == start
