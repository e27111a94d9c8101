"""Connected components of masks, and lesions: components that a dilation merges."""

from dataclasses import dataclass

import numpy as np

NEIGHBOURHOOD = np.ones((3, 3, 3), bool)  # 26 neighbours


@dataclass(frozen=True)
class LabelledLesions:
    """Lesions of a mask by number.

    Attributes:
        labels: (x, y, z) int32, numbers from 1, 0 for none; where the mask was dilated, voxels outside it have numbers too.
        voxels: (lesions + 1,) int64, voxels of the mask by number; 0 for a lesion that was removed.
    """

    labels: np.ndarray
    voxels: np.ndarray

    @property
    def numbers(self) -> list[int]:
        """Numbers of the lesions that have voxels."""
        numbers: list[int] = (np.flatnonzero(self.voxels[1:]) + 1).tolist()
        return numbers


def label_lesions(mask: np.ndarray, dilation: int, removed: float = 0.0) -> LabelledLesions:
    """Number the lesions of a boolean mask (x, y, z): its voxels in one component of the dilated mask are one lesion.

    Args:
        mask: of a structure.
        dilation: in steps of the 18-neighbourhood.
        removed: voxels up to which a lesion is removed.
    """
    labels, count = label_components(dilate(mask, dilation))
    voxels = np.bincount(labels[mask], minlength=count + 1)
    return LabelledLesions(labels, np.where(voxels > removed, voxels, 0))


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected components (26 neighbours) of a mask (x, y, z): (x, y, z) int32 with 0 outside, and how many."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, NEIGHBOURHOOD)
    return labels, int(count)


def dilate(mask: np.ndarray, steps: int) -> np.ndarray:
    """Binary dilation by the 18-neighbourhood, `steps` times; what lies outside the array is cut off."""
    for _ in range(steps):
        x, y = _along(mask, 0), _along(mask, 1)
        mask = _along(x, 1) | _along(x, 2) | _along(y, 2)
    return mask


def _along(mask: np.ndarray, axis: int) -> np.ndarray:
    """Mask with its neighbours on both sides along an axis."""
    grown = mask.copy()
    first = (slice(None),) * axis + (slice(None, -1),)
    last = (slice(None),) * axis + (slice(1, None),)
    grown[first] |= mask[last]
    grown[last] |= mask[first]
    return grown
