"""Volumes of a scan for a web page: cropped, 8-bit, as small as a page with many patients needs.

The image is one WebP picture, in which the axial slices lie side by side; WebP is lossy, and browsers decode it. Class indices
are compressed by zlib, without loss. Voxels are in the order of the prepared grid, (z, y, x), RAS+, so NIfTI's own order.
"""

import base64
import io
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.metrics.masks import Spacing
from evaluation.figures.display import grey

MARGIN = 4  # voxels that are kept around the head
SMALLEST = 64  # voxels along an axis that are not halved
WIDEST = 16000  # pixels of a WebP picture, which has at most 16,383 a side
NOT_ANNOTATED = 255


@dataclass(frozen=True)
class Scan:
    """One channel of a case with its annotation and predictions, on the prepared grid.

    Attributes:
        image: (Z, H, W) of any real dtype.
        labels: name, such as truth or prediction -> (Z, H, W) class indices, uint8, 255 where not annotated.
        spacing_mm: (z, y, x); None without geometry, where slices are shown as they are in their file.
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]
    spacing_mm: Spacing | None


def cropped(scan: Scan) -> Scan:
    """The box around all voxels that are not zero in the image or have a class, with a margin."""
    inside = scan.image != 0
    for label in scan.labels.values():
        inside |= (label > 0) & (label != NOT_ANNOTATED)
    if not inside.any():
        return scan
    bounds = []
    for axis in range(3):
        places = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        bounds.append(slice(max(int(places[0]) - MARGIN, 0), int(places[-1]) + 1 + MARGIN))
    box = tuple(bounds)
    return Scan(scan.image[box], {name: label[box] for name, label in scan.labels.items()}, scan.spacing_mm)


def halved(scan: Scan) -> Scan:
    """Every second voxel along each axis that has enough of them; the image is the mean of those in between."""
    steps = tuple(2 if side > SMALLEST else 1 for side in scan.image.shape)
    sides = tuple(side // step * step for side, step in zip(scan.image.shape, steps, strict=True))
    box = tuple(slice(side) for side in sides)
    shape = [number for side, step in zip(sides, steps, strict=True) for number in (side // step, step)]
    image = scan.image[box].reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
    every = tuple(slice(0, side, step) for side, step in zip(sides, steps, strict=True))
    z, y, x = (length * step for length, step in zip(scan.spacing_mm or (0.0, 0.0, 0.0), steps, strict=True))
    return Scan(image, {name: label[every] for name, label in scan.labels.items()}, scan.spacing_mm and (z, y, x))


def packed(scan: Scan, quality: int) -> dict[str, Any]:
    """A scan as JSON for the page: sizes, the picture and the labels as base64 texts.

    Args:
        scan: as it is to be seen.
        quality: of WebP, 1..100.
    """
    oriented, spacing = scan.spacing_mm is not None, scan.spacing_mm or (1.0, 1.0, 1.0)
    turn = (slice(None),) * 3 if oriented else (slice(None), slice(None, None, -1), slice(None, None, -1))
    picture, columns = mosaic((255 * grey(scan.image[turn])).astype(np.uint8))
    return {
        "oriented": oriented,
        "shape": list(scan.image.shape[::-1]),
        "spacing": [round(float(length), 4) for length in spacing[::-1]],
        "columns": columns,
        "image": _base64(_webp(picture, quality)),
        "labels": {name: _base64(zlib.compress(_bytes(label[turn]), 9)) for name, label in scan.labels.items()},
    }


def mosaic(volume: np.ndarray) -> tuple[np.ndarray, int]:
    """Axial slices of a volume (Z, H, W) side by side in rows, in a nearly square picture.

    Returns:
        The picture, and the number of slices in a row.
    """
    slices, height, width = volume.shape
    columns = max(1, min(math.ceil(math.sqrt(slices * height / width)), WIDEST // width))
    rows = -(-slices // columns)
    filled = np.zeros((rows * columns, height, width), volume.dtype)
    filled[:slices] = volume
    picture = filled.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)
    return picture, columns


def size(scan: dict[str, Any]) -> int:
    """Bytes that a packed scan takes in a page."""
    return len(scan["image"]) + sum(map(len, scan["labels"].values()))


def _webp(picture: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _bytes(label: np.ndarray) -> bytes:
    return np.ascontiguousarray(np.where(label == NOT_ANNOTATED, 0, label), np.uint8).tobytes()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
