"""Thumbnail of a head and the correlation of thumbnails, in any orientation.

A thumbnail holds what lies inside a head, not its outline, which all heads share: the head is found by Otsu's threshold,
brought to 16 x 16 x 16 cells by the mean and the standard deviation of its extent along each axis, and its local mean is
subtracted. So the scale of the intensities, the voxel size, shifts and moderate crops change little. Axes may be swapped and
mirrored: all 48 orientations are tried, with shifts of up to two cells (by the Fourier transform).
"""

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

CELLS = 16  # along each axis of a thumbnail
EXTENT = 2.1  # standard deviations of the head's extent that a thumbnail shows on each side of its middle
FINEST = 64  # voxels along each axis in which the head is found
BINS = 128
SMOOTH_CELLS = 1.5  # standard deviation of the local mean
CORE_CELLS = 1.0  # standard deviation of the smoothing by which cells at the outline lose their weight
CORE = 0.6  # smoothed share of the head in a cell from which on the cell counts
LARGEST = 2.5  # standard deviations to which contents are clipped, for a few bright vessels or lesions not to decide
SHIFT = 2  # cells along each axis
PROMISING = 0.3  # correlation without a shift from which on shifts are tried
BATCH = 1024  # pairs of thumbnails whose shifts are tried at once
SHORTEST = 12  # voxels along each axis; the contents of thinner images are too few for patients to differ by


def thumbnail(array: np.ndarray) -> np.ndarray | None:
    """Thumbnail of an image.

    Args:
        array: (i, j, k) of any real dtype.

    Returns:
        (16, 16, 16) float32 of mean 0 and sum of squares 1; None of an image without contents, or
        of fewer than 12 voxels along an axis.
    """
    if min(array.shape) < SHORTEST:
        return None
    values = _shrunk(array)
    head = values > _otsu(values)
    if not head.any():
        return None
    share, total = head.astype(np.float32), np.where(head, values, 0).astype(np.float32)
    for axis in range(3):
        weights = _cell_weights(head.sum(axis=tuple(other for other in range(3) if other != axis)))
        share, total = (np.moveaxis(np.tensordot(weights, each, (1, axis)), 0, axis) for each in (share, total))
    return _contents(total / np.maximum(share, 1e-6), share)


def correlations(thumbnails: np.ndarray) -> np.ndarray:
    """Largest correlation of each pair of heads over orientations and small shifts: the mean over the channels that both have.

    Args:
        thumbnails: (n, channels, 16, 16, 16) float32, as of `thumbnail`; zeros where a head has no thumbnail of a channel.

    Returns:
        (n, n) float32, symmetric, 1 on the diagonal; 0 for two heads without a channel in common.
    """
    from scipy import fft

    count, space = len(thumbnails), (2, 3, 4)
    flat = thumbnails.reshape(count, -1)
    present = np.asarray(thumbnails.any(axis=space), np.float32)
    shared: np.ndarray = np.matmul(present, present.T)
    weight = np.where(shared > 0, 1 / np.maximum(shared, 1), 0).astype(np.float32)
    spectra = np.conj(fft.rfftn(thumbnails, axes=space))
    near = np.r_[0 : SHIFT + 1, -SHIFT:0]
    best = np.where(shared > 0, np.float32(-1), np.float32(0))
    upper = np.triu(shared > 0, 1)
    for turned in _orientations(thumbnails):
        scores = turned.reshape(count, -1) @ flat.T * weight
        np.maximum(best, scores, out=best, where=upper)
        rows, columns = np.nonzero(upper & (scores > PROMISING))
        if not len(rows):
            continue
        moved = fft.rfftn(turned, axes=space)
        for first in range(0, len(rows), BATCH):
            i, j = rows[first : first + BATCH], columns[first : first + BATCH]
            joint = np.einsum("ncxyz,ncxyz->nxyz", moved[i], spectra[j])
            shifted = fft.irfftn(joint, (CELLS,) * 3, axes=(1, 2, 3))
            found = shifted[:, near][:, :, near][:, :, :, near].max(axis=(1, 2, 3)) * weight[i, j]
            best[i, j] = np.maximum(best[i, j], found)
    best = np.where(upper, best, best.T)
    np.fill_diagonal(best, 1)
    return best


def _orientations(thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    """Thumbnails (n, channels, 16, 16, 16) with axes swapped and mirrored, in each of the 48 ways."""
    for axes in permutations((2, 3, 4)):
        for steps in product((1, -1), repeat=3):
            i, j, k = (slice(None, None, step) for step in steps)
            yield np.ascontiguousarray(np.transpose(thumbnails, (0, 1, *axes))[:, :, i, j, k])


def _shrunk(array: np.ndarray) -> np.ndarray:
    """Means of whole blocks of voxels, at most 64 along each axis, float32; what does not fill a block is left out."""
    for axis in sorted(
        range(3), key=lambda axis: -abs(array.strides[axis])
    ):  # the first sums, the longest, are of whole slices
        size = -(-array.shape[axis] // FINEST)
        if size > 1:
            voxels = np.moveaxis(array, axis, 0)[: array.shape[axis] // size * size]
            total = voxels[::size].astype(np.float32)
            for place in range(1, size):
                total += voxels[place::size]
            total /= size
            array = np.moveaxis(total, 0, axis)
    return array.astype(np.float32)


def _otsu(values: np.ndarray) -> float:
    """Otsu's threshold on the roots of the values, so that bright tissue is not parted from the rest of the head."""
    low, high = np.percentile(values, [0.5, 99.5])
    counts, edges = np.histogram(np.sqrt(np.clip(values, low, high) - low), BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    below, first = np.cumsum(counts)[:-1], np.cumsum(counts * middles)
    above = counts.sum() - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (first[-1] * below / counts.sum() - first[:-1]) ** 2 / (below * above)
    return float(low + middles[np.nanargmax(between)] ** 2) if np.isfinite(between).any() else float(high)


def _cell_weights(profile: np.ndarray) -> np.ndarray:
    """Share of each cell that each voxel of an axis fills, (16, voxels) float32, by the head's voxels along it (voxels,)."""
    places = np.arange(len(profile)) + 0.5
    middle = np.average(places, weights=profile)
    reach = EXTENT * max(float(np.sqrt(np.average((places - middle) ** 2, weights=profile))), 0.5)
    edges = np.linspace(middle - reach, middle + reach, CELLS + 1)[:, None]
    overlap = np.minimum(edges[1:], places + 0.5) - np.maximum(edges[:-1], places - 0.5)
    weights: np.ndarray = (np.clip(overlap, 0, None) * (CELLS / (2 * reach))).astype(np.float32)
    return weights


def _contents(values: np.ndarray, share: np.ndarray) -> np.ndarray | None:
    """Contents of a head without its outline and local mean, normalised; None where there are none.

    Args:
        values: (16, 16, 16) mean of the head's voxels in each cell.
        share: of each cell that is head.
    """
    from scipy.ndimage import gaussian_filter

    core = np.clip((gaussian_filter(share, CORE_CELLS, mode="constant") - CORE) / (1 - CORE), 0, 1) * share
    mass = gaussian_filter(core, SMOOTH_CELLS, mode="constant")
    rest = values - gaussian_filter(core * values, SMOOTH_CELLS, mode="constant") / np.maximum(mass, 1e-3)
    deviation = np.sqrt((core * rest**2).sum() / max(float(core.sum()), 1e-6))
    if not deviation > 1e-6 * max(float(np.abs(values).max()), 1e-6):
        return None
    rest = np.clip(rest / deviation, -LARGEST, LARGEST) * core
    rest -= core * (rest.sum() / core.sum())
    found: np.ndarray = (rest / np.linalg.norm(rest)).astype(np.float32)
    return found
