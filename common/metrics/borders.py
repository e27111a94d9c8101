"""Distances between border voxels of two masks: HD95 as MONAI and as medpy define it, and the NSD of nnU-Net and panoptica.

A border voxel is one of the mask with a neighbour over a face (of six) outside of it; outside the array is outside the mask.
Distances are between voxel centres. HD95 then has two more definitions beside that of `common.metrics.surface`:

* `hd95_max_voxel` (MONAI, `compute_hausdorff_distance`): the larger one of both directions' percentiles
* `hd95_pooled` (medpy, `hd95`; panoptica): the percentile of both directions' distances in one list

Both percentiles are interpolated linearly. Values of different definitions cannot be compared: pooled, the border of a small
false component far away can vanish among the other 95 %.
"""

from dataclasses import dataclass

import numpy as np

from common.metrics.masks import Spacing, check_masks, checked_spacing
from common.metrics.nearest import PointPair


@dataclass(frozen=True)
class BorderDistances:
    """Distances of border voxels to the closest border voxel of the other mask, in mm; infinite where it has none.

    Attributes:
        truth_to_prediction: (n,) float64.
        prediction_to_truth: (m,) float64.
    """

    truth_to_prediction: np.ndarray
    prediction_to_truth: np.ndarray

    @property
    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances in both directions."""
        return self.truth_to_prediction, self.prediction_to_truth


def border_distances(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> BorderDistances:
    """Distances between the border voxels of two masks, in both directions.

    Args:
        truth, prediction: masks of one shape (3D); what is not zero is inside.
        spacing_mm: distance of voxel centres along each axis.

    Raises:
        ValueError: shapes differ or are not 3D, or a spacing is not positive.
    """
    return BorderDistances(*border_points(truth, prediction, spacing_mm).distances)


def border_points(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> PointPair:
    """Border voxels of two masks; arguments and errors as of `border_distances`."""
    check_masks(truth, prediction)
    return PointPair(border_voxels(truth), border_voxels(prediction), checked_spacing(spacing_mm))


def border_voxels(mask: np.ndarray) -> np.ndarray:
    """Indices (n, 3) int64 of the voxels of a mask that have a neighbour over a face outside of it."""
    inside = mask.astype(bool, copy=False)
    core = inside.copy()
    for axis in range(3):
        before: tuple[slice, ...] = (slice(None),) * axis + (slice(None, -1),)
        after: tuple[slice, ...] = (slice(None),) * axis + (slice(1, None),)
        core[before] &= inside[after]
        core[after] &= inside[before]
        for end in (0, -1):
            core[(slice(None),) * axis + (end,)] = False
    return np.argwhere(inside & ~core)


def max_percentile(distances: BorderDistances, percent: float = 95) -> float:
    """Percentile of each direction, interpolated, the larger one: 0 where both masks are empty, infinity where one is."""
    return max((_percentile(each, percent) for each in distances.directions if each.size), default=0.0)


def pooled_percentile(distances: BorderDistances, percent: float = 95) -> float:
    """Percentile of both directions together, interpolated: 0 where both masks are empty, infinity where one is."""
    both = np.concatenate(distances.directions)
    return _percentile(both, percent) if both.size else 0.0


def border_dice(distances: BorderDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice by border voxels: mean of both directions' shares within a tolerance.

    1 where both masks are empty, 0 where one is.
    """
    shares = [float((each <= tolerance_mm).mean()) for each in distances.directions if each.size]
    return sum(shares) / 2 if len(shares) == 2 else float(not shares)


def _percentile(distances: np.ndarray, percent: float) -> float:
    """Linear percentile; infinity where the other mask is empty, whose differences would be NaN."""
    return float(np.percentile(distances, percent)) if np.isfinite(distances).all() else float("inf")
