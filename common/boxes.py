"""Bounding boxes of masks."""

import numpy as np


def foreground_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds all True voxels of a mask; an empty one where there are none."""
    box = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(line[0]), int(line[-1]) + 1) if line.size else slice(0, 0))
    return tuple(box)


def crop_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Box to crop an array to: `foreground_box` and a margin; the whole array where the mask holds no True voxel."""
    box = foreground_box(mask)
    if any(part.start == part.stop for part in box):
        return tuple(slice(0, length) for length in mask.shape)
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, length in zip(box, mask.shape, strict=True)
    )
