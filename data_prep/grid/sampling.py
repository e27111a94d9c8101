"""Resampling: reads a volume or its slices at given coordinates, linear for images, nearest neighbour for labels.

Only the box around the coordinates is read from the volume. OpenCV interpolates; some of its versions round coordinates to 1/32
of a pixel. Slices go through `remap` of albumentations. Volumes are laid out as one picture of tiles, because OpenCV samples
pictures.
"""

import math
import os

import numpy as np

CHANNELS_AT_ONCE = 4  # OpenCV is slower and rounds coordinates where there are more
MOST_ROWS = 16384  # OpenCV addresses the rows of a picture by 16-bit integers


def sample(image: np.ndarray, label: np.ndarray, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trilinear sampling of an image and nearest-neighbour sampling of its label.

    Args:
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1), of any memory layout.
        label: (Z, H, W) uint8.
        coordinates: (3, z, y, x) float32, in voxels of the volume.

    Returns:
        (z, y, x, C) float32 and (z, y, x) uint8; both 0 outside the volume.
    """
    box, local = _bounding_box(label.shape, coordinates)
    sampled = np.zeros((*coordinates.shape[1:], image.shape[-1]), np.float32)
    classes = np.zeros(coordinates.shape[1:], np.uint8)
    if all(part.start < part.stop for part in box):
        pixels, bits = to_float(image[box]), np.ascontiguousarray(label[box])
        slices = max(MOST_ROWS // coordinates.shape[2], 1)
        for first in range(0, coordinates.shape[1], slices):
            part = slice(first, first + slices)
            _sample_tiles(pixels, bits, local[:, part], sampled[part], classes[part])
    return sampled, classes


def sample_slices(
    image: np.ndarray, label: np.ndarray, numbers: np.ndarray, coordinates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear sampling of slices at the same coordinates in each, and nearest-neighbour sampling of their labels.

    Args:
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1), of any memory layout.
        label: (Z, H, W) uint8.
        numbers: (z,) int, the slices; one outside the volume is empty.
        coordinates: (2, y, x) float32, rows and columns in pixels of the slices.

    Returns:
        (z, y, x, C) float32 and (z, y, x) uint8; both 0 outside the volume.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import cv2
    from albumentations.augmentations.geometric.functional import remap

    cv2.setNumThreads(0)  # cases and batches are already worked on in parallel
    shape = (len(numbers), *coordinates.shape[1:])
    box, (rows, columns) = _bounding_box(label.shape[1:], coordinates)
    inside = (numbers >= 0) & (numbers < len(label)) & all(part.start < part.stop for part in box)
    empty = np.zeros if not inside.all() else np.empty
    sampled, classes = empty((*shape, image.shape[-1]), np.float32), empty(shape, np.uint8)
    for place in np.flatnonzero(inside):
        picture, bits = image[numbers[place]][box], np.ascontiguousarray(label[numbers[place]][box])
        for first in range(0, picture.shape[-1], CHANNELS_AT_ONCE):
            channels = slice(first, first + CHANNELS_AT_ONCE)
            pixels = to_float(picture[..., channels])
            sampled[place, ..., channels] = remap(pixels, columns, rows, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, 0)
        classes[place] = remap(bits, columns, rows, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, 0)
    return sampled, classes


def to_float(image: np.ndarray) -> np.ndarray:
    """Contiguous float32 image; uint8 is divided by 255."""
    return image / np.float32(255) if image.dtype == np.uint8 else np.ascontiguousarray(image, np.float32)


def _bounding_box(shape: tuple[int, ...], coordinates: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """Smallest box of an array that interpolation at the coordinates reads, and the coordinates within that box."""
    box = []
    for axis, length in enumerate(shape):
        low, high = int(np.floor(coordinates[axis].min())), int(np.floor(coordinates[axis].max())) + 2
        box.append(slice(max(low, 0), min(high, length)))
    starts = np.array([part.start for part in box], np.float32)
    return tuple(box), coordinates - starts.reshape(-1, *[1] * len(shape))


def _sample_tiles(
    image: np.ndarray, label: np.ndarray, coordinates: np.ndarray, sampled: np.ndarray, classes: np.ndarray
) -> None:
    """Sample a volume laid out as one picture: slices as tiles, an empty line between them and an empty tile at the end.

    Trilinear interpolation is bilinear interpolation in two neighbouring slices, and linear interpolation between them.

    Args:
        image: (Z, H, W, C) float32.
        label: (Z, H, W) uint8.
        coordinates: (3, z, y, x) float32.
        sampled: (z, y, x, C) float32, is filled.
        classes: (z, y, x) uint8, is filled.
    """
    import cv2

    cv2.setNumThreads(0)  # cases and batches are already worked on in parallel
    depth, height, width = label.shape
    across = max(math.isqrt(depth * height // width), 1)
    tiles = np.arange(depth + 1)
    rows = (tiles // across * (height + 1) + 1).astype(np.float32)
    columns = (tiles % across * (width + 1) + 1).astype(np.float32)
    picture = ((depth // across + 1) * (height + 1) + 1, across * (width + 1) + 1)
    flat = (coordinates.shape[1] * coordinates.shape[2], coordinates.shape[3])
    y = np.clip(coordinates[1], -1, height).reshape(flat)
    x = np.clip(coordinates[2], -1, width).reshape(flat)

    def lay_out(volume: np.ndarray) -> np.ndarray:
        tiled = np.zeros((*picture, *volume.shape[3:]), volume.dtype)
        for tile, (row, column) in enumerate(zip(rows[:-1].astype(int), columns[:-1].astype(int), strict=True)):
            tiled[row : row + height, column : column + width] = volume[tile]
        return tiled

    def read(tiled: np.ndarray, z: np.ndarray, interpolation: int) -> np.ndarray:
        tile = z.astype(np.int32).reshape(flat)
        tile[(tile < 0) | (tile > depth)] = depth
        taken = cv2.remap(tiled, x + columns.take(tile), y + rows.take(tile), interpolation)
        return np.asarray(taken).reshape(*coordinates.shape[1:], *tiled.shape[2:])

    below = np.floor(coordinates[0])
    above = (coordinates[0] - below)[..., None]
    for first in range(0, image.shape[-1], CHANNELS_AT_ONCE):
        channels = slice(first, first + CHANNELS_AT_ONCE)
        tiled = lay_out(image[..., channels])
        taken = read(tiled, below, cv2.INTER_LINEAR).reshape(sampled[..., channels].shape)
        if above.any():
            step = read(tiled, below + 1, cv2.INTER_LINEAR).reshape(taken.shape)
            step -= taken
            step *= above
            taken += step
        sampled[..., channels] = taken
    classes[...] = read(lay_out(label), np.rint(coordinates[0]), cv2.INTER_NEAREST)
