"""Random erasing (Zhong et al., 2020): an ellipsoid of uniform, dark intensities; annotations stay.

Cysts and necrosis look so. Half of the ellipsoids lie about a voxel of the tumour, so that a network learns to label what is
dark inside a tumour as tumour, and what is dark elsewhere as background.
"""

import numpy as np

from data_prep.augmentation.draw import Augmentation
from data_prep.augmentation.intensity import BrainStatistics
from data_prep.grid.masks import brain_mask

BACKGROUND = 1  # the first class of a bit-packed label


def erase(augmentation: Augmentation, image: np.ndarray, label: np.ndarray, statistics: BrainStatistics) -> None:
    """Erase an ellipsoid of a patch in place; nothing outside the brain changes.

    Args:
        augmentation: with its sizes, place and levels; of no sizes nothing is erased.
        image: (z, y, x, C), float, or uint8 (0..255 mean 0..1).
        label: (z, y, x) uint8, bit-packed one-hot.
        statistics: of the volume, in the order of the image's channels.
    """
    tumour = np.flatnonzero(label & ~np.uint8(BACKGROUND)) if augmentation.erase_tumour else ()
    places = tumour if len(tumour) else np.flatnonzero(brain_mask(np.moveaxis(image, -1, 0)))
    if not len(places):
        return
    centre = np.unravel_index(places[int(augmentation.erase_at * len(places))], label.shape)
    halves = [max(share * length, 1.0) for share, length in zip(augmentation.erase, label.shape, strict=True)]
    box = tuple(slice(max(int(middle - half), 0), int(middle + half) + 1) for middle, half in zip(centre, halves, strict=True))
    squares = [
        ((np.arange(length)[part] - middle) / half) ** 2
        for length, part, middle, half in zip(label.shape, box, centre, halves, strict=True)
    ]
    inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= 1
    inside &= brain_mask(np.moveaxis(image[box], -1, 0))
    levels = statistics.black + np.asarray(augmentation.erase_levels) * (statistics.mean - statistics.black)
    image[box][inside] = (np.rint(255 * levels) if image.dtype == np.uint8 else levels).astype(image.dtype)
