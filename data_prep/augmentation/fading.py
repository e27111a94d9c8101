"""Lesion contrast: tumours that differ less from the tissue around them; annotations stay.

Networks that were trained on few patients miss tumours of low contrast.
"""

import numpy as np

from data_prep.augmentation.draw import Augmentation
from data_prep.augmentation.intensity import blurred
from data_prep.grid.masks import brain_mask

AROUND = 8.0  # sigma of the weights of the tissue around a tumour, in pixels
EDGE = 1.5  # sigma of the transition at a tumour's edge, in pixels


def fade(augmentation: Augmentation, image: np.ndarray, label: np.ndarray) -> None:
    """Move the intensities of tumours towards the tissue around them, in place; nothing outside the brain changes.

    Args:
        augmentation: with the share `fade` by which contrast falls; of 0 nothing changes.
        image: (z, H, W, C) float32; neighbouring slices among the channels (2.5D) fade where the middle one has tumour.
        label: (z, H, W) uint8, bit-packed one-hot.
    """
    if not augmentation.fade:
        return
    for pixels, bits in zip(image, label, strict=True):
        tumour = bits > 1  # the background is 1, and 0 is not annotated
        if not tumour.any():
            continue
        brain = brain_mask(np.moveaxis(pixels, -1, 0))
        weights = tumour.astype(np.float32)
        around = blurred(weights, AROUND) * (brain & ~tumour)
        if around.any():
            tissue = np.einsum("yx,yxc->c", around, pixels) / around.sum()
            share = augmentation.fade * blurred(weights, EDGE) * brain
            pixels += share[..., None] * (tissue - pixels)
