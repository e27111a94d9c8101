"""Masks of scans: brain (non-zero voxels), head (a threshold), and what they need: outliers, Otsu's threshold, dilation."""

from collections.abc import Iterable

import numpy as np

LOWEST_HU = -1024  # of air in CT; MR images have no values below it


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


def head_mask(volume: np.ndarray) -> np.ndarray:
    """Head mask, bool: the largest bright component, closed and filled slice by slice along each axis.

    Args:
        volume: (i, j, k) MR or CT image, skull-stripped or not. Air is darker than tissue in both.

    Returns:
        False everywhere for a constant volume.
    """
    from scipy.ndimage import binary_closing, binary_fill_holes, label

    usual = winsorised(volume)
    if usual.min() == usual.max():
        return np.zeros(volume.shape, bool)
    bright = usual > otsu_threshold(usual)
    components, count = label(binary_closing(bright, iterations=2) | bright)
    if count == 0:
        return bright
    head: np.ndarray = components == np.bincount(components.ravel())[1:].argmax() + 1
    for axis in range(3):
        planes = np.moveaxis(head, axis, 0)
        for plane in planes:
            plane[...] = binary_fill_holes(plane)
    return head


def winsorised(volume: np.ndarray) -> np.ndarray:
    """Winsorised values: clipped to their 0.5th and 99.5th percentiles, and to -1024 below; the dtype is kept.

    Metal is far brighter than bone, and CT scanners fill what they did not see with values below that of air, such as -3024.
    A volume in which less than 1 % of the voxels differ keeps its values.
    """
    low, high = (float(value) for value in np.percentile(volume, (0.5, 99.5)))
    if low == high:
        low, high = float(volume.min()), float(volume.max())
    if volume.dtype.kind in "iu":
        low, high = np.floor(low), np.ceil(high)
    bounds = np.maximum((low, high), LOWEST_HU).astype(volume.dtype)
    return np.clip(volume, *bounds)


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """Threshold between two groups of values with the largest variance between them (Otsu, 1979).

    Args:
        values: any shape and real dtype.
        bins: of the histogram.
    """
    counts, edges = np.histogram(values, bins)
    below = counts.cumsum()[:-1].astype(np.float64)
    above = values.size - below
    centres = (edges[:-1] + edges[1:]) / 2
    sums = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nan_to_num(variance).argmax()])


def dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    """Mask, bool, grown by a ball of `radius` voxels."""
    from scipy.ndimage import distance_transform_edt

    grown: np.ndarray = distance_transform_edt(~mask) <= radius
    return grown
