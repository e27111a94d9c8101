"""Brain masks: voxels that are non-zero in any channel."""

from collections.abc import Iterable

import numpy as np


def brain_mask(channels: Iterable[np.ndarray]) -> np.ndarray:
    """Brain mask, bool, of the channels of a case, arrays of one shape: voxels that are non-zero in any of them."""
    first, *others = channels
    mask: np.ndarray = first != 0
    for channel in others:
        mask |= channel != 0
    return mask


def inside_mask(image: np.ndarray) -> np.ndarray:
    """Brain mask, bool (Z, H, W), of a prepared image (Z, H, W, C), float16 or uint8.

    Bits are compared, which is several times faster than comparing float16. So a z-score that rounds to -0.0, an intensity
    close below the mean, is inside, as in the scan.
    """
    return brain_mask(np.moveaxis(image.view(f"u{image.dtype.itemsize}"), -1, 0))
