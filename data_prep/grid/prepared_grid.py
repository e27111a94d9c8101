"""Prepared grid: the way from a scan's native grid to the prepared grid and back, resampling (if there is one) and geometry."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from data_prep.grid.geometry import Geometry, Triple
from data_prep.grid.resampling import ImageInterpolation, LabelInterpolation, Resampling, Rows


@dataclass(frozen=True)
class PreparedGrid:
    """Transform between the native and the prepared grid of one case: resampling, then axis swaps, flips and crop.

    Attributes:
        geometry: exact transform between the native grid, or the resampled one, and the prepared grid.
        resampling: from the native grid to the one that `geometry` begins with; None where nothing is interpolated.
    """

    geometry: Geometry
    resampling: Resampling | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        resampling = values.get("resampling")
        return cls(Geometry.from_dict(values["geometry"]), None if resampling is None else Resampling.from_dict(resampling))

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON; `resampling` is there only where there is one."""
        resampling = {} if self.resampling is None else {"resampling": asdict(self.resampling)}
        return {"geometry": asdict(self.geometry)} | resampling

    @property
    def native_shape(self) -> Triple:
        """Shape (i, j, k) of the scan."""
        return self.geometry.shape if self.resampling is None else self.resampling.shape

    @property
    def native_affine(self) -> Rows | None:
        """Affine of the scan, row by row; None where the source has no geometry."""
        return self.geometry.affine if self.resampling is None else self.resampling.affine

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel spacing of the prepared grid in millimetres (z, y, x); None where the source has no geometry."""
        return self.geometry.spacing_mm

    def cropped(self, start: Triple, size: Triple) -> "PreparedGrid":
        """Same scan with another crop of the uncropped prepared grid."""
        return PreparedGrid(self.geometry.cropped(start, size), self.resampling)

    def reorient(self, native: np.ndarray, interpolation: ImageInterpolation = "linear") -> np.ndarray:
        """Native image (i, j, k) on the uncropped prepared grid (z, y, x): a view where nothing is interpolated."""
        return self.geometry.reorient(native if self.resampling is None else self.resampling.forward(native, interpolation))

    def reorient_label(self, native: np.ndarray, interpolation: LabelInterpolation = "nearest") -> np.ndarray:
        """Native label (i, j, k) of integers on the uncropped prepared grid (z, y, x): a view where nothing is interpolated."""
        return self.geometry.reorient(
            native if self.resampling is None else self.resampling.forward_label(native, interpolation)
        )

    def to_native(self, prepared: np.ndarray, fill: float = 0) -> np.ndarray:
        """Inverse transform of a prepared image (z, y, x) to the native grid (i, j, k); voxels outside the crop get `fill`.

        Exact where nothing is interpolated; else linear, float32.
        """
        array = self.geometry.to_native(prepared, fill)
        return array if self.resampling is None else self.resampling.backward(array, fill=fill)

    def label_to_native(self, prepared: np.ndarray, interpolation: LabelInterpolation = "nearest", fill: int = 0) -> np.ndarray:
        """Inverse transform of a prepared label (z, y, x) of integers to the native grid: its dtype, no new values."""
        array = self.geometry.to_native(prepared, fill)
        return array if self.resampling is None else self.resampling.backward_label(array, interpolation, fill)

    def classes_to_native(self, classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Inverse transform of predicted classes to the native grid, by interpolating class probabilities.

        Classes that post-processing changed have probability 1. Without resampling the classes are moved exactly.

        Args:
            classes: (z, y, x) class indices.
            probabilities: (z, y, x, classes) float.

        Returns:
            Class indices (i, j, k) of the dtype of `classes`; background outside the prepared volume.
        """
        if self.resampling is None:
            return self.geometry.to_native(classes)
        return likeliest_native(self, consistent_probabilities(classes, probabilities)).astype(classes.dtype)


def consistent_probabilities(classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Class probabilities whose largest agrees with the classes everywhere: 1 for a class that another one exceeded.

    Args:
        classes: (..., ) class indices.
        probabilities: (..., classes) float.
    """
    changed = probabilities.argmax(axis=-1) != classes
    consistent = probabilities.copy()
    consistent[changed] = np.eye(probabilities.shape[-1], dtype=probabilities.dtype)[classes[changed]]
    return consistent


def likeliest_native(grid: PreparedGrid | Resampling, probabilities: np.ndarray) -> np.ndarray:
    """Most probable class on the native grid, uint8; each class's probabilities (..., classes) are interpolated linearly.

    Args:
        grid: transform back to the native grid.
        probabilities: on the prepared grid (z, y, x, classes), or on the target grid (i, j, k, classes) of a resampling.
    """
    back = grid.to_native if isinstance(grid, PreparedGrid) else grid.backward
    highest = back(probabilities[..., 0], fill=1)
    best = np.zeros(highest.shape, np.uint8)
    for index in range(1, probabilities.shape[-1]):
        plane = back(probabilities[..., index], fill=0)
        larger = plane > highest
        best[larger], highest[larger] = index, plane[larger]
    return best
