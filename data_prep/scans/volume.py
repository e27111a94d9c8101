"""Volume: an image with its voxel grid, and resampling onto another grid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_prep.grid.geometry import Triple
from data_prep.grid.resampling import Resampling, interpolate, interpolate_label


@dataclass(frozen=True)
class Grid:
    """Voxel grid: shape and position in space.

    Attributes:
        shape: (i, j, k).
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+.
    """

    shape: Triple
    affine: np.ndarray

    def distance_mm(self, other: "Grid") -> float:
        """Largest distance between the positions of a voxel on two grids, or infinity where their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(self.shape) - 1), 1]
        return float(np.linalg.norm(corners @ (self.affine - other.affine)[:3].T, axis=1).max())

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel sizes along i, j and k, (3,)."""
        lengths: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    @property
    def middle(self) -> np.ndarray:
        """Position in millimetres of the middle of the grid, (3,)."""
        return self.position((np.array(self.shape) - 1) / 2)

    def position(self, index: np.ndarray) -> np.ndarray:
        """Position in millimetres of a voxel index (3,)."""
        position: np.ndarray = self.affine[:3, :3] @ index + self.affine[:3, 3]
        return position


@dataclass(frozen=True)
class Volume:
    """Image on its own voxel grid.

    Attributes:
        array: (i, j, k), any real dtype.
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+.
        frame_of_reference: UID of the space that the millimetres belong to; empty where unknown.
    """

    array: np.ndarray
    affine: np.ndarray
    frame_of_reference: str = ""

    @property
    def grid(self) -> Grid:
        """Grid of the voxels."""
        i, j, k = self.array.shape
        return Grid((i, j, k), self.affine)

    def at_spacing(self, spacing_mm: float) -> "Volume":
        """The image with cubic voxels, of the same field of view; float32."""
        resampling = Resampling.to_spacing(self.grid.shape, self.affine, (spacing_mm,) * 3)
        return Volume(resampling.forward(self.array), np.asarray(resampling.target_affine), self.frame_of_reference)


def resample(
    volume: Volume,
    grid: Grid,
    interpolation: Literal["linear", "nearest"] = "linear",
    fill: float = 0,
    transform: np.ndarray | None = None,
) -> np.ndarray:
    """Resampling of a volume onto a grid: one interpolation.

    Args:
        volume: real numbers or, with `nearest`, label ids.
        grid: of the result.
        interpolation: linear gives float32; nearest keeps the dtype.
        fill: value outside the volume.
        transform: (4, 4), millimetres of the grid -> millimetres of the volume (RAS+); None: both share one space.
    """
    matrix = np.linalg.solve(volume.affine, (np.eye(4) if transform is None else transform) @ grid.affine)
    if interpolation == "nearest":
        return interpolate_label(volume.array, matrix, grid.shape, "nearest", int(fill))
    return interpolate(volume.array, matrix, grid.shape, "linear", fill)
