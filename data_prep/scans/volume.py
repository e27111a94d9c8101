"""Volume: an image with its voxel grid, and resampling onto another grid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_prep.grid.resampling import IDENTITY, Resampling, interpolate, to_rows
from data_prep.grid.voxel_grid import Grid


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

    @property
    def marked_points(self) -> np.ndarray:
        """Positions (n, 3) in millimetres of the voxels that are not zero."""
        points: np.ndarray = np.argwhere(self.array) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

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
    rows = IDENTITY if transform is None else to_rows(transform)
    resampling = Resampling(volume.grid.shape, to_rows(volume.affine), grid.shape, to_rows(grid.affine), rows)
    if interpolation == "nearest":
        return resampling.forward_label(volume.array, "nearest", int(fill))
    return interpolate(volume.array, resampling.matrix, grid.shape, "linear", fill)
