"""Checksum of the voxels of an image that is equal for copies saved in other ways."""

from collections.abc import Mapping

import google_crc32c
import numpy as np

from common.boxes import foreground_box


def voxel_checksum(array: np.ndarray) -> str | None:
    """Checksum of the voxels of an image (i, j, k) that is the same for any order and direction of its axes and any dtype.

    What counts is the box of the voxels that are not the smallest value, so that an empty margin may be cut off or added. Along
    each axis the half with the smaller sum of values comes first; axes come in the order of their lengths, then of their
    imbalance. Values are compared as float32. None of an image of one value.

    Returns:
        Size of the box, and the CRC-32C of each half of its voxels.
    """
    low = array.min()
    part = array[foreground_box(array != low)]
    if not part.size:
        return None
    plane = part.sum(axis=0, dtype=np.float64)
    profiles = (part.sum(axis=(1, 2), dtype=np.float64), plane.sum(axis=1), plane.sum(axis=0))
    imbalance = [float(profile @ (np.arange(profile.size) - (profile.size - 1) / 2)) for profile in profiles]
    i, j, k = (slice(None, None, -1 if each < 0 else 1) for each in imbalance)
    order = sorted(range(3), key=lambda axis: (part.shape[axis], abs(imbalance[axis])))
    canonical = np.array(np.transpose(part[i, j, k], order), np.float32, order="C")
    canonical += np.float32(0)  # -0 becomes 0
    voxels = canonical.reshape(-1)
    halves = (voxels[: voxels.size // 2], voxels[voxels.size // 2 :])
    return "-".join([*map(str, canonical.shape), *(f"{google_crc32c.value(half.tobytes()):08x}" for half in halves)])


def voxel_checksums(images: Mapping[str, np.ndarray | None]) -> dict[str, str]:
    """`voxel_checksum` of each image: channel -> array (i, j, k), None where it is missing; those without one are left out."""
    present = {name: array for name, array in images.items() if array is not None and array.size}
    return {name: value for name, array in present.items() if (value := voxel_checksum(array)) is not None}
