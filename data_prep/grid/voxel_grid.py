"""Voxel grid: shape and position in space of an image, in millimetres, RAS+ as in NIfTI."""

from dataclasses import dataclass

import numpy as np

from data_prep.grid.geometry import Triple

EDGE = 0.01  # voxels by which a point may lie beyond the outermost ones
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Change of coordinates between DICOM or ITK (LPS) and NIfTI (RAS+); its own inverse."""


@dataclass(frozen=True)
class Grid:
    """Voxel grid: shape and position in space.

    Attributes:
        shape: (i, j, k).
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+.
    """

    shape: Triple
    affine: np.ndarray

    @property
    def canonical(self) -> "Grid":
        """Grid of the same voxels whose axes run to the right, the front and the top, as far as they can."""
        from nibabel.orientations import inv_ornt_aff, io_orientation

        orientation = io_orientation(self.affine)
        i, j, k = (self.shape[axis] for axis in orientation[:, 0].argsort())
        return Grid((i, j, k), self.affine @ inv_ornt_aff(orientation, self.shape))

    def distance_mm(self, other: "Grid") -> float:
        """Largest distance between the positions of a voxel on two grids, or infinity where their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(self.shape) - 1), 1]
        return float(np.linalg.norm(corners @ (self.affine - other.affine)[:3].T, axis=1).max())

    def is_turned(self, other: "Grid", tolerance_mm: float) -> bool:
        """True for a grid of the same voxels whose axes have another order or direction."""
        return self.distance_mm(other) > tolerance_mm >= self.canonical.distance_mm(other.canonical)

    def share_outside(self, points: np.ndarray) -> float:
        """Share of points (n, 3) in millimetres that lie outside the voxels; 0 where there are none."""
        index = (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        outside = (np.abs(index - (np.array(self.shape) - 1) / 2) > np.array(self.shape) / 2 + EDGE).any(axis=1)
        return float(outside.mean()) if len(points) else 0.0

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel sizes along i, j and k, (3,)."""
        lengths: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    def millilitres(self, mask: np.ndarray) -> float:
        """Volume of a mask (i, j, k): of its voxels that are not zero."""
        return float(np.count_nonzero(mask) * np.prod(self.spacing_mm) / 1000)

    @property
    def middle(self) -> np.ndarray:
        """Position in millimetres of the middle of the grid, (3,)."""
        return self.position((np.array(self.shape) - 1) / 2)

    def position(self, index: np.ndarray) -> np.ndarray:
        """Position in millimetres of a voxel index (3,)."""
        position: np.ndarray = self.affine[:3, :3] @ index + self.affine[:3, 3]
        return position


def turned(array: np.ndarray, affine: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Array (i, j, k, ...) whose axes get the order and direction of those of another affine: a view, nothing is copied.

    Args:
        array: on the grid of `affine`.
        affine: (4, 4) of the array.
        target: (4, 4), whose axes the result has as far as swaps and flips allow.
    """
    from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

    result: np.ndarray = apply_orientation(array, ornt_transform(io_orientation(affine), io_orientation(target)))
    return result
