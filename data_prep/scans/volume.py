"""Volume: an image with its voxel grid, and resampling onto another grid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.errors import MissingPackage

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """Voxel grid: shape and position in space.

    Attributes:
        shape: (i, j, k).
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+.
    """

    shape: Shape
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
        return np.linalg.norm(self.affine[:3, :3], axis=0)


@dataclass(frozen=True)
class Volume:
    """Image on its own voxel grid.

    Attributes:
        array: (i, j, k).
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


def resample(
    volume: Volume,
    grid: Grid,
    interpolation: Literal["linear", "nearest"] = "linear",
    fill: float = 0,
    transform: np.ndarray | None = None,
) -> np.ndarray:
    """Resampling of a volume onto a grid, by SimpleITK: one interpolation.

    Args:
        volume: real numbers or, with `nearest`, label ids.
        grid: of the result.
        interpolation: linear gives float32; nearest keeps the dtype.
        fill: value outside the volume.
        transform: (4, 4), millimetres of the grid -> millimetres of the volume (RAS+); None: both share one space.
    """
    try:
        import SimpleITK
    except ImportError:
        raise MissingPackage("SimpleITK", "resampling") from None
    matrix = np.linalg.solve(volume.affine, (np.eye(4) if transform is None else transform) @ grid.affine)
    to_volume = SimpleITK.AffineTransform(3)
    to_volume.SetMatrix(matrix[:3, :3].ravel())
    to_volume.SetTranslation(matrix[:3, 3])
    array = volume.array.astype(np.float32) if interpolation == "linear" else volume.array
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose()))  # its x is our i
    method = SimpleITK.sitkLinear if interpolation == "linear" else SimpleITK.sitkNearestNeighbor
    # All in voxel indices: spacing 1, origin 0, so that any affine is allowed, a sheared or left-handed one too.
    found = SimpleITK.Resample(
        image, grid.shape, to_volume, method, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel(), fill, image.GetPixelID()
    )
    result: np.ndarray = SimpleITK.GetArrayFromImage(found).transpose()
    return result
