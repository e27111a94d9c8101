"""Masks of a structure: distances are those of the functions, computed once for each spacing, and shapes must agree."""

import numpy as np
import pytest

from common.metrics.borders import border_distances
from common.metrics.mask_pair import MaskPair
from common.metrics.surface import surface_distances

MM, OTHER = (1.0, 1.0, 1.0), (3.0, 1.0, 0.5)


@pytest.fixture
def pair():
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    truth[2:6, 2:6, 2:6] = prediction[3:7, 2:6, 2:7] = True
    return MaskPair(truth, prediction)


@pytest.mark.parametrize("spacing_mm", [MM, OTHER])
def test_distances_are_computed_once_for_each_spacing(pair, spacing_mm):
    expected = surface_distances(pair.truth, pair.prediction, spacing_mm)
    np.testing.assert_array_equal(pair.surfaces(spacing_mm).distances.truth_to_prediction, expected.truth_to_prediction)
    borders = border_distances(pair.truth, pair.prediction, spacing_mm)
    for found, distances in zip(pair.borders(spacing_mm).distances, borders.directions, strict=True):
        np.testing.assert_array_equal(found, distances)
    assert pair.surfaces(spacing_mm) is pair.surfaces(spacing_mm)
    assert pair.borders(spacing_mm) is pair.borders(spacing_mm)


def test_masks_of_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match="expected two masks of one shape"):
        MaskPair(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool))
