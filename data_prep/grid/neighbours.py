"""Neighbouring slices as channels (2.5D), in training and prediction alike."""

import numpy as np


def with_neighbours(image: np.ndarray, slices: np.ndarray, neighbours: int) -> np.ndarray:
    """Slices of a volume with their neighbours as further channels (2.5D).

    Args:
        image: (Z, H, W, C).
        slices: (n,) slice numbers.
        neighbours: on each side; beyond the volume the edge slice is repeated.

    Returns:
        (n, H, W, C * (2 * neighbours + 1)): all channels of the lowest neighbour first.
    """
    if neighbours == 0:
        return image[slices]
    steps = np.arange(-neighbours, neighbours + 1)
    numbers = np.clip(slices[:, None] + steps, 0, image.shape[0] - 1)
    stacked = np.moveaxis(image[numbers], 1, -2)
    return stacked.reshape(*stacked.shape[:-2], -1)
