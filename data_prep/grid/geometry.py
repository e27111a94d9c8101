"""Geometry: exact, invertible transform between a scan's native grid and the prepared grid.

The prepared grid is RAS+ reached by axis swaps and flips alone, indexed [z, y, x] (slices run from inferior to superior),
cropped or zero-padded. Nothing is interpolated, so the inverse is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Triple = tuple[int, int, int]
AXES = ("z", "y", "x")  # of the prepared grid, in order


@dataclass(frozen=True)
class Geometry:
    """Transform between the native and the prepared grid of one case.

    Attributes:
        shape: native (i, j, k).
        affine: native voxel indices -> millimetres (RAS+), row by row, or None where the source has no geometry.
        axes: prepared axis z, y, x -> native axis.
        flips: prepared axis z, y, x -> whether it runs against the native one.
        start: first voxel of the crop on the uncropped prepared grid (z, y, x); negative where zeros were padded.
        size: shape of the crop (z, y, x).
    """

    shape: Triple
    affine: tuple[tuple[float, ...], ...] | None
    axes: Triple
    flips: tuple[bool, bool, bool]
    start: Triple
    size: Triple

    @classmethod
    def uncropped(cls, shape: Triple, affine: np.ndarray | None) -> Self:
        """Geometry without crop: re-oriented only.

        Args:
            shape: native (i, j, k).
            affine: (4, 4), or None: then rows, columns and slices (j, i, k) keep the order of the file.
        """
        if affine is None:
            axes, flips = (2, 0, 1), (False, False, False)
        else:
            from nibabel.orientations import io_orientation

            orientation = io_orientation(affine)  # native axis -> (axis of RAS+, direction)
            native = {int(world): (axis, bool(direction < 0)) for axis, (world, direction) in enumerate(orientation)}
            (z, flip_z), (y, flip_y), (x, flip_x) = native[2], native[1], native[0]
            axes, flips = (z, y, x), (flip_z, flip_y, flip_x)
        size = (shape[axes[0]], shape[axes[1]], shape[axes[2]])
        rows = None if affine is None else tuple(tuple(float(value) for value in row) for row in affine)
        return cls(shape, rows, axes, flips, (0, 0, 0), size)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `dataclasses.asdict`, from JSON."""
        affine = values["affine"]
        return cls(
            shape=_triple(values["shape"]),
            affine=None if affine is None else tuple(tuple(row) for row in affine),
            axes=_triple(values["axes"]),
            flips=(bool(values["flips"][0]), bool(values["flips"][1]), bool(values["flips"][2])),
            start=_triple(values["start"]),
            size=_triple(values["size"]),
        )

    def cropped(self, start: Triple, size: Triple) -> "Geometry":
        """Same scan with another crop of the uncropped prepared grid."""
        return Geometry(self.shape, self.affine, self.axes, self.flips, start, size)

    @property
    def uncropped_size(self) -> Triple:
        """Shape (z, y, x) of the prepared grid before the crop."""
        return (self.shape[self.axes[0]], self.shape[self.axes[1]], self.shape[self.axes[2]])

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel spacing in millimetres (z, y, x), or None where the source has no geometry."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(np.asarray(self.affine)[:3, :3], axis=0)
        return (float(lengths[self.axes[0]]), float(lengths[self.axes[1]]), float(lengths[self.axes[2]]))

    def reorient(self, native: np.ndarray) -> np.ndarray:
        """Re-orient a native array (i, j, k) to the uncropped prepared grid (z, y, x): a view, nothing is copied."""
        return native.transpose(self.axes)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def cut(self, uncropped: np.ndarray, fill: int = 0) -> np.ndarray:
        """Crop an uncropped prepared array (z, y, x, ...): a view where the crop lies inside, else a padded copy."""
        return cut_patch(uncropped, self.start, self.size, fill)

    def to_native(self, cropped: np.ndarray, fill: float = 0) -> np.ndarray:
        """Inverse transform of a prepared array (z, y, x) to the native grid (i, j, k); voxels outside the crop get `fill`.

        Raises:
            ValueError: the array has another shape than the crop.
        """
        if cropped.shape != self.size:
            raise ValueError(f"expected an array of the crop's shape {self.size}; received {cropped.shape}")
        native = np.full(self.shape, fill, cropped.dtype, order="F")
        inside, target = _overlap(self.start, self.size, self.uncropped_size)
        self.reorient(native)[inside] = cropped[target]
        return native


def cut_patch(volume: np.ndarray, start: Sequence[int], size: Sequence[int], fill: int = 0) -> np.ndarray:
    """Patch of a volume (z, y, x, ...) or picture (y, x, ...): a view where it lies inside, else a copy padded with `fill`.

    Args:
        volume: array whose first axes are cut.
        start: first voxel of the patch along each of these axes, may be negative.
        size: length of the patch along each of them.
        fill: value outside the volume.
    """
    inside, target = _overlap(start, size, volume.shape)
    if target == tuple(slice(0, length) for length in size):
        return volume[inside]
    patch = np.full((*size, *volume.shape[len(size) :]), fill, volume.dtype)
    patch[target] = volume[inside]
    return patch


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


def middle_start(shape: Triple, size: Triple) -> Triple:
    """First voxel of a crop of `size` around the middle of a grid of `shape`; negative where it must be padded."""
    z, y, x = (centred_start(length, wanted) for length, wanted in zip(shape, size, strict=True))
    return (z, y, x)


def crop_or_pad(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Crop or zero-pad the first axes of an array to `size`, around the middle; of an odd number of zeros one more follows."""
    start = [int((length - wanted) / 2) for length, wanted in zip(array.shape, size, strict=False)]  # rounded towards 0
    return cut_patch(array, start, size)


def _overlap(start: Sequence[int], size: Sequence[int], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Overlap of a patch and a volume, as slices of the volume and of the patch."""
    inside, target = [], []
    for first, wanted, length in zip(start, size, shape, strict=False):
        low, high = max(first, 0), max(min(first + wanted, length), 0)
        low = min(low, high)
        inside.append(slice(low, high))
        target.append(slice(low - first, high - first))
    return tuple(inside), tuple(target)


def _triple(values: list[int]) -> Triple:
    """Three integers of a list from JSON."""
    first, second, third = values
    return (int(first), int(second), int(third))
