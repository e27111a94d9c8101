"""Smallest boxes around masks."""

import numpy as np


def foreground_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds all True voxels of a mask; an empty one where there are none."""
    box = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(line[0]), int(line[-1]) + 1) if line.size else slice(0, 0))
    return tuple(box)
