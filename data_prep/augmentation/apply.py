"""Augmentation of a volume or of a patch of it: geometry, channels, lesions' contrast, intensities, always in this order.

Stored copies (`apply`) and patches drawn while training (`apply_to_patch`) go through the same steps: a patch as large as the
volume equals the augmented volume. Slices read while training are volumes of one slice.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from data_prep.augmentation.draw import Augmentation
from data_prep.augmentation.erasing import erase
from data_prep.augmentation.fading import fade
from data_prep.augmentation.intensity import BrainStatistics, IntensityChanges, brain_statistics
from data_prep.augmentation.spatial import transformed_blocks
from data_prep.grid.geometry import Triple

Spacing = tuple[float, float, float]
SLICES_AT_ONCE = 32  # bounds the float32 memory in use


def apply(
    augmentation: Augmentation,
    image: np.ndarray,
    label: np.ndarray,
    *,
    unit_range: bool,
    spacing_mm: Spacing | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Augment a volume; the inputs are left unchanged.

    Args:
        augmentation: from `data_prep.augmentation.draw.draw`.
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1); 0 in all channels outside the brain.
        label: (Z, H, W) uint8, bit-packed one-hot; 0 is not annotated.
        unit_range: intensities run from 0 to 1 (min-max) and must stay there; uint8 images always do. False leaves
            intensities unbounded (z-scores).
        spacing_mm: distance of voxels (z, y, x), for rotations and tilts; None: all equal.

    Returns:
        Image and label, new arrays in the dtypes and shapes given. What comes from outside the volume is 0 in the image and 0
        (not annotated) in the label. Voxels outside the brain stay 0.

    Raises:
        ValueError: wrong shapes or dtypes, or another number of channels than the augmentation was drawn for.
    """
    new_image, new_label = np.empty_like(image, order="C"), np.empty_like(label, order="C")
    measure = cache(lambda: brain_statistics(image))
    reading = {"slices_at_once": SLICES_AT_ONCE, "spacing_mm": spacing_mm}
    blocks = _augmented_blocks(augmentation, image, label, (0, 0, 0), label.shape, unit_range, measure, **reading)
    for block, pixels, bits in blocks:
        new_image[block] = np.rint(pixels * 255) if image.dtype == np.uint8 else pixels
        new_label[block] = bits
    if augmentation.erase:
        erase(augmentation, new_image, new_label, measure().of(augmentation.sources))
    return new_image, new_label


def apply_to_patch(
    augmentation: Augmentation,
    image: np.ndarray,
    label: np.ndarray,
    start: Triple,
    size: Triple,
    *,
    unit_range: bool,
    spacing_mm: Spacing | None = None,
    statistics: Callable[[], BrainStatistics] | None = None,
    repeat_edge: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Augmented patch of a volume; only the voxels that it needs are read, but for the statistics.

    Args:
        augmentation, image, label, unit_range, spacing_mm: as of `apply`.
        start: first voxel of the patch (z, y, x), may be negative.
        size: shape of the patch (z, y, x).
        statistics: called where intensities change, so that they are measured once per volume and kept; None measures the
            volume.
        repeat_edge: slices outside the volume repeat its first or last one, else they are 0.

    Returns:
        (z, y, x, C) float32, 0..1 for uint8 images, and (z, y, x) uint8.

    Raises:
        ValueError: as `apply`.
    """
    # Interpolation in a volume rounds coordinates by its block's position: equal blocks give equal bits.
    measure = statistics or cache(lambda: brain_statistics(image))
    at_once = SLICES_AT_ONCE if augmentation.rank == 3 else size[0]
    blocks = _augmented_blocks(
        augmentation,
        image,
        label,
        start,
        size,
        unit_range,
        measure,
        slices_at_once=at_once,
        spacing_mm=spacing_mm,
        repeat_edge=repeat_edge,
    )
    _, pixels, bits = zip(*blocks, strict=True)
    new_image, new_label = (pixels[0], bits[0]) if len(pixels) == 1 else (np.concatenate(pixels), np.concatenate(bits))
    if augmentation.erase:
        erase(augmentation, new_image, new_label, measure().of(augmentation.sources))
    return new_image, new_label


def _augmented_blocks(
    augmentation: Augmentation,
    image: np.ndarray,
    label: np.ndarray,
    start: Triple,
    size: Triple,
    unit_range: bool,
    statistics: Callable[[], BrainStatistics],
    **reading: Any,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Augmented blocks of slices of a patch, as `transformed_blocks` yields them; `reading` is passed to it."""
    if image.ndim != 4 or image.shape[:3] != label.shape:
        raise ValueError(f"expected an image (Z, H, W, C) and a label (Z, H, W); received {image.shape} and {label.shape}")
    if image.dtype not in (np.float16, np.float32, np.uint8) or label.dtype != np.uint8:
        raise ValueError(
            f"expected a float16, float32 or uint8 image and a uint8 label; received {image.dtype} and {label.dtype}"
        )
    drawn, channels = len(augmentation.sources), image.shape[-1]
    if drawn != channels:
        raise ValueError(f"the augmentation was drawn for {drawn} channels; received an image of {channels}")
    changes = IntensityChanges.from_augmentation(augmentation, statistics, size, unit_range or image.dtype == np.uint8)
    for block, pixels, bits in transformed_blocks(augmentation, image, label, start, size, **reading):
        if augmentation.sources != tuple(range(channels)):
            pixels = np.ascontiguousarray(pixels[..., list(augmentation.sources)])
        fade(augmentation, pixels, bits)
        if changes is not None:
            changes.change(pixels, block.start)
        yield block, pixels, bits
