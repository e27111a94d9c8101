"""Connected components, and the lesions that a dilation merges."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from common.metrics.components import dilate, label_components, label_lesions
from tests.common.metrics.test_lesions import specks


@settings(max_examples=30, deadline=None)
@given(pair=specks(), steps=st.integers(0, 4))
def test_dilation_equals_that_of_scipy(pair, steps):
    structure = ndimage.generate_binary_structure(3, 2)
    expected = ndimage.binary_dilation(pair[0], structure, iterations=steps) if steps else pair[0]
    assert (dilate(pair[0], steps) == expected).all()


def test_components_touch_at_corners():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert label_components(mask)[1] == 1


def test_lesions_that_a_dilation_merges_are_one_and_small_ones_are_removed():
    mask = np.zeros((20, 6, 6), bool)
    mask[1:4, 1:4, 1:4] = mask[6:8, 1:3, 1:3] = mask[15, 1, 1] = True
    assert label_lesions(mask, 0).voxels.tolist() == [0, 27, 8, 1]
    merged = label_lesions(mask, 1)
    assert (merged.voxels.tolist(), merged.numbers) == ([0, 35, 1], [1, 2])
    assert label_lesions(mask, 0, removed=8).numbers == [1]
