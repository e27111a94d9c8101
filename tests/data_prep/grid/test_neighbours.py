"""Neighbouring slices as further channels."""

import numpy as np
import pytest

from data_prep.grid.neighbours import with_neighbours


def numbered(slices=5):
    """A volume whose voxels hold their slice and channel: 10 * slice + channel."""
    numbers = 10 * np.arange(slices)[:, None] + np.arange(2)
    return np.broadcast_to(numbers[:, None, None], (slices, 3, 4, 2))


@pytest.mark.parametrize(
    ("number", "neighbours", "expected"),
    [
        (2, 0, [20, 21]),
        (2, 1, [10, 11, 20, 21, 30, 31]),
        (0, 1, [0, 1, 0, 1, 10, 11]),
        (4, 2, [20, 21, 30, 31, 40, 41, 40, 41, 40, 41]),
    ],
)
def test_neighbours_are_channels_from_the_lowest_up(number, neighbours, expected):
    stacked = with_neighbours(numbered(), np.array([number]), neighbours)
    assert stacked.shape == (1, 3, 4, len(expected))
    assert stacked[0, 1, 2].tolist() == expected


def test_neighbours_of_many_slices_are_those_of_each(rng):
    image = rng.standard_normal((6, 3, 4, 2))
    chosen = np.array([5, 0, 3, 3])
    for neighbours in (0, 1, 7):
        expected = np.concatenate([with_neighbours(image, np.array([number]), neighbours) for number in chosen])
        np.testing.assert_array_equal(with_neighbours(image, chosen, neighbours), expected)
