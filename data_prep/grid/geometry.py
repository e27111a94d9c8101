"""Geometry: the way from a scan's own grid to the prepared grid, and exactly back.

The prepared grid is RAS+ reached by axis swaps and flips alone, indexed [z, y, x] (slices run from inferior to superior),
cut or zero-padded to a window. Nothing is interpolated, so the way back is exact.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """How one case's native grid and its prepared grid lie to each other.

    Attributes:
        shape: native (i, j, k).
        affine: native voxel indices -> millimetres (RAS+), row by row, or None where the source has no geometry.
        axes: prepared axis z, y, x -> native axis.
        flips: prepared axis z, y, x -> whether it runs against the native one.
        start: first voxel of the window on the whole prepared grid (z, y, x); negative where zeros were padded.
        size: shape of the window (z, y, x).
    """

    shape: Triple
    affine: tuple[tuple[float, ...], ...] | None
    axes: Triple
    flips: tuple[bool, bool, bool]
    start: Triple
    size: Triple

    @classmethod
    def whole(cls, shape: Triple, affine: np.ndarray | None) -> Self:
        """The prepared grid of a whole scan: re-oriented, neither cut nor padded.

        Args:
            shape: native (i, j, k).
            affine: (4, 4), or None: then rows, columns and slices (j, i, k) keep the order of the file.
        """
        axes, flips = _canonical(affine)
        size = (shape[axes[0]], shape[axes[1]], shape[axes[2]])
        rows = None if affine is None else tuple(tuple(float(value) for value in row) for row in affine)
        return cls(shape, rows, axes, flips, (0, 0, 0), size)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, from JSON."""
        affine = values["affine"]
        return cls(
            shape=_triple(values["shape"]),
            affine=None if affine is None else tuple(tuple(row) for row in affine),
            axes=_triple(values["axes"]),
            flips=(bool(values["flips"][0]), bool(values["flips"][1]), bool(values["flips"][2])),
            start=_triple(values["start"]),
            size=_triple(values["size"]),
        )

    def window(self, start: Triple, size: Triple) -> "Geometry":
        """The same scan with another window of the whole prepared grid."""
        return Geometry(self.shape, self.affine, self.axes, self.flips, start, size)

    @property
    def whole_size(self) -> Triple:
        """Shape (z, y, x) of the whole prepared grid, before the window."""
        return (self.shape[self.axes[0]], self.shape[self.axes[1]], self.shape[self.axes[2]])

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance of neighbouring voxels in millimetres (z, y, x), or None where the source has no geometry."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(np.asarray(self.affine)[:3, :3], axis=0)
        return (float(lengths[self.axes[0]]), float(lengths[self.axes[1]]), float(lengths[self.axes[2]]))

    def reorient(self, native: np.ndarray) -> np.ndarray:
        """A native array (i, j, k) as a view of the whole prepared grid (z, y, x); nothing is copied."""
        return native.transpose(self.axes)[self._flip]

    def cut(self, whole: np.ndarray, fill: int = 0) -> np.ndarray:
        """The window of a whole prepared array (z, y, x, ...): a view where it lies inside, else a padded copy."""
        return cut_patch(whole, self.start, self.size, fill)

    def to_native(self, window: np.ndarray, fill: int = 0) -> np.ndarray:
        """A prepared array (z, y, x) on the patient's own grid (i, j, k); voxels outside the window get `fill`.

        Raises:
            ValueError: the array has another shape than the window.
        """
        if window.shape != self.size:
            raise ValueError(f"expected an array of the window's shape {self.size}; received {window.shape}")
        native = np.full(self.shape, fill, window.dtype, order="F")
        inside, places = _overlap(self.start, self.size, self.whole_size)
        self.reorient(native)[inside] = window[places]
        return native

    @property
    def _flip(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return (z, y, x)


def cut_patch(whole: np.ndarray, start: Triple, size: Triple, fill: int = 0) -> np.ndarray:
    """A window of a volume (z, y, x, ...): a view where it lies inside, else a copy that is filled up with `fill`.

    Args:
        whole: the volume.
        start: the window's first voxel, which may be negative.
        size: the window's shape.
        fill: what stands beyond the volume.
    """
    inside, places = _overlap(start, size, whole.shape)
    if places == tuple(slice(0, length) for length in size):
        return whole[inside]
    window = np.full((*size, *whole.shape[3:]), fill, whole.dtype)
    window[places] = whole[inside]
    return window


def _overlap(start: Triple, size: Triple, whole: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a window and a volume overlap: as slices of the volume, and of the window."""
    inside, places = [], []
    for first, wanted, length in zip(start, size, whole, strict=False):
        low, high = max(first, 0), max(min(first + wanted, length), 0)
        low = min(low, high)
        inside.append(slice(low, high))
        places.append(slice(low - first, high - first))
    return tuple(inside), tuple(places)


def middle_start(whole: Triple, size: Triple) -> Triple:
    """First voxel of a window of `size` around the middle of a grid of shape `whole`; negative where it must be padded."""
    z, y, x = ((length - wanted) // 2 for length, wanted in zip(whole, size, strict=True))
    return (z, y, x)


def _canonical(affine: np.ndarray | None) -> tuple[Triple, tuple[bool, bool, bool]]:
    """Native axis and direction for each of the prepared axes z, y, x."""
    if affine is None:
        return (2, 0, 1), (False, False, False)
    from nibabel.orientations import io_orientation

    orientation = io_orientation(affine)  # native axis -> (axis of RAS+, direction)
    native = {int(world): (axis, bool(direction < 0)) for axis, (world, direction) in enumerate(orientation)}
    (z, flip_z), (y, flip_y), (x, flip_x) = native[2], native[1], native[0]
    return (z, y, x), (flip_z, flip_y, flip_x)


def _triple(values: list[int]) -> Triple:
    first, second, third = values
    return (int(first), int(second), int(third))
