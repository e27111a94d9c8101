"""Masks of structures, and the checks of masks and spacings."""

import numpy as np
import pytest

from common.metrics.masks import check_masks, checked_spacing, class_mask


@pytest.mark.parametrize("members", [(), (0,), (2,), (1, 3)])
def test_a_mask_is_the_union_of_classes(members):
    classes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 5
    np.testing.assert_array_equal(class_mask(classes, members), np.isin(classes, members))


def test_masks_of_unlike_shapes_and_spacings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="one shape, 3D"):
        check_masks(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)))
    for spacing in ((1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.inf, 1.0)):
        with pytest.raises(ValueError, match="positive spacing"):
            checked_spacing(spacing)
    np.testing.assert_array_equal(checked_spacing((1, 2, 3)), [1.0, 2.0, 3.0])
