"""Masks of a structure: union of its classes, and the checks that distances and lesions share."""

from collections.abc import Sequence

import numpy as np

Spacing = tuple[float, float, float]
"""Distance of voxel centres along each axis of a volume, in mm."""


def class_mask(classes: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Mask of the voxels of any class of a structure, bool.

    Args:
        classes: uint8 class indices of any shape.
        members: indices of the structure's classes.
    """
    mask = np.zeros(classes.shape, bool)
    for member in members:  # comparisons are ten times as fast as a look-up in a table
        mask |= classes == member
    return mask


def check_masks(truth: np.ndarray, prediction: np.ndarray) -> None:
    """Check of two masks: of one shape, with three axes.

    Raises:
        ValueError: they are not.
    """
    if truth.ndim != 3 or truth.shape != prediction.shape:
        raise ValueError(f"expected two masks of one shape, 3D; received {truth.shape} and {prediction.shape}")


def checked_spacing(spacing_mm: Spacing) -> np.ndarray:
    """Spacing as an array (3,) float64, in mm.

    Raises:
        ValueError: not three positive numbers.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise ValueError(f"expected a positive spacing of each of three axes in mm; received {spacing_mm}")
    return spacing
