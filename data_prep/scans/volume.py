"""Volume: an image with its place in space."""

from dataclasses import dataclass

import numpy as np

from data_prep.grid.resampling import Resampling


@dataclass(frozen=True)
class Volume:
    """Image with its place in space.

    Attributes:
        array: (i, j, k), any real dtype.
        affine: (4, 4), voxel indices -> millimetres (RAS+).
        frame_of_reference: UID of the space that the millimetres belong to; empty where unknown.
    """

    array: np.ndarray
    affine: np.ndarray
    frame_of_reference: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.array.shape
        return (i, j, k)

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel spacing along i, j, k."""
        lengths: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    @property
    def middle(self) -> np.ndarray:
        """Position in millimetres of the middle of the volume."""
        return self.position((np.array(self.shape) - 1) / 2)

    def position(self, index: np.ndarray) -> np.ndarray:
        """Position in millimetres of a voxel index (3,)."""
        position: np.ndarray = self.affine[:3, :3] @ index + self.affine[:3, 3]
        return position

    def at_spacing(self, spacing_mm: float) -> "Volume":
        """The image with cubic voxels, of the same field of view."""
        resampling = Resampling.to_spacing(self.shape, self.affine, (spacing_mm,) * 3)
        return Volume(resampling.forward(self.array), np.asarray(resampling.target_affine), self.frame_of_reference)
