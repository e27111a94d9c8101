"""Bounding boxes of masks, and crops placed inside a volume."""

import numpy as np

from common.boxes import foreground_box


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Smallest box around the True voxels of a mask and a margin; the whole array where there are none."""
    box = foreground_box(mask)
    if any(part.start == part.stop for part in box):
        return tuple(slice(0, length) for length in mask.shape)
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, length in zip(box, mask.shape, strict=True)
    )


def centred_start(length: int, size: int, middle: int | None = None) -> int:
    """First voxel along one axis of a crop of `size` voxels around a middle.

    A crop that leaves the volume is moved back inside; one that is larger than the volume is padded evenly on both sides.

    Args:
        length: voxels of the volume.
        size: voxels of the crop.
        middle: twice the middle's position, such as first + last + 1 of a box; None: the volume's own.

    Returns:
        Negative where the crop is padded.
    """
    if middle is None or size >= length:
        return (length - size) // 2
    return min(max((middle - size) // 2, 0), length - size)
