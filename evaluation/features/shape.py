"""Shape features of a segmented tumour: volume, number of components, extent along the axes."""

import numpy as np

from common.boxes import foreground_box
from common.metrics.components import label_components

SHAPE = ("volume", "components", "extent_z", "extent_y", "extent_x")


def shape_features(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Shape features of a mask, in the order of `SHAPE`; all 0 for an empty one.

    Args:
        mask: (Z, H, W) bool.
        spacing_mm: distance of voxels along z, y and x.

    Returns:
        (5,) float32: log(1 + volume in ml), because volumes differ by orders of magnitude; number of connected components (26
        neighbours); sides of the bounding box in mm.
    """
    if not mask.any():
        return np.zeros(len(SHAPE), np.float32)
    box = foreground_box(mask)
    extent = [(side.stop - side.start) * length for side, length in zip(box, spacing_mm, strict=True)]
    volume_ml = np.count_nonzero(mask) * np.prod(spacing_mm) / 1000
    return np.array([np.log1p(volume_ml), label_components(mask[box])[1], *extent], np.float32)
