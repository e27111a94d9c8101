import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from common.boxes import foreground_box


@given(arrays(bool, (3, 4, 5)))
def test_a_foreground_box_is_the_smallest_that_holds_all(mask):
    box = foreground_box(mask)
    assert np.count_nonzero(mask[box]) == np.count_nonzero(mask)
    places = np.argwhere(mask)
    assert mask[box].shape == (tuple(np.ptp(places, axis=0) + 1) if len(places) else (0, 0, 0))
