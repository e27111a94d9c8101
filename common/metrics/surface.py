"""Distances between surfaces of two masks, weighted by surface area: HD95 and normalised surface Dice (NSD).

The definition is that of surface-distance (https://github.com/google-deepmind/surface-distance; Nikolov et al., 2021):

* A surface element lies on each corner between 2 x 2 x 2 voxels that are not all inside or all outside. Outside the array is
  outside the mask. The element's position is the corner, its area that of the marching cubes surface (Lorensen and Cline,
  1987) in the cube between the eight voxel centres.
* The distance of an element is that to the closest element of the other mask.
* The percentile of one direction is by area: the smallest distance within which 95 % of the area lies, not interpolated.
* HD95 is the larger one of both directions.
* NSD at a tolerance is the area of both surfaces within the tolerance of the other one, over the area of both.

Other tools define them by border voxels (`common.metrics.borders`); their values differ.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from common.metrics.masks import Spacing, check_masks, checked_spacing
from common.metrics.nearest import PointPair

CORNERS = np.array(list(product((0, 1), repeat=3)))  # of a cube; bit i of a code is set if corner i is inside the mask
FULL = 255  # code of a cube that is inside


@dataclass(frozen=True)
class SurfaceDistances:
    """Surface elements of two masks, each list sorted by (distance, area); float64.

    Attributes:
        truth_to_prediction: (n,) mm, of the truth's elements to the prediction's closest one; infinite where it has none.
        truth_areas: (n,) mm2.
        prediction_to_truth: (m,) mm, the other direction.
        prediction_areas: (m,) mm2.
    """

    truth_to_prediction: np.ndarray
    truth_areas: np.ndarray
    prediction_to_truth: np.ndarray
    prediction_areas: np.ndarray


def hd95(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> float:
    """95th percentile of the Hausdorff distance (robust Hausdorff distance) in mm, the larger one of both directions.

    Args:
        truth, prediction: masks of one shape (3D); what is not zero is inside.
        spacing_mm: distance of voxel centres along each axis.

    Returns:
        0 where both masks are empty, infinity where one is.

    Raises:
        ValueError: shapes differ or are not 3D, or a spacing is not positive.
    """
    return robust_hausdorff(surface_distances(truth, prediction, spacing_mm), 95)


def robust_hausdorff(surfaces: SurfaceDistances, percent: float) -> float:
    """Percentile by area of the surface distances in mm, the larger one of both directions.

    Args:
        surfaces: from `surface_distances`.
        percent: of 0..100; 100 is the Hausdorff distance.

    Returns:
        0 where both masks are empty, infinity where one is.
    """
    directions = [
        (surfaces.truth_to_prediction, surfaces.truth_areas),
        (surfaces.prediction_to_truth, surfaces.prediction_areas),
    ]
    largest = 0.0
    for distances, areas in directions:
        if distances.size:
            shares = np.cumsum(areas) / areas.sum()
            index = min(int(np.searchsorted(shares, percent / 100)), len(shares) - 1)
            largest = max(largest, float(distances[index]))
    return largest


def surface_dice(surfaces: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice (NSD) at a tolerance: area of both surfaces within it, over the area of both.

    Args:
        surfaces: from `surface_distances`.
        tolerance_mm: distance up to which surfaces agree.

    Returns:
        1 where both masks are empty, 0 where one is.
    """
    near = sum(
        float(areas[distances <= tolerance_mm].sum())
        for distances, areas in (
            (surfaces.truth_to_prediction, surfaces.truth_areas),
            (surfaces.prediction_to_truth, surfaces.prediction_areas),
        )
    )
    total = float(surfaces.truth_areas.sum() + surfaces.prediction_areas.sum())
    return near / total if total else 1.0


def surface_distances(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> SurfaceDistances:
    """Surface distances between two masks, in both directions.

    Args:
        truth, prediction: masks of one shape (3D); what is not zero is inside.
        spacing_mm: distance of voxel centres along each axis.

    Returns:
        One entry per surface element. A mask without voxels has no elements; distances to it are infinite.

    Raises:
        ValueError: shapes differ or are not 3D, or a spacing is not positive.
    """
    return surfaces_of(truth, prediction, spacing_mm).distances


@dataclass(frozen=True)
class Surfaces:
    """Surface elements of two masks and their areas.

    Attributes:
        points: corners of both, corner i of an axis lying before voxel i.
        truth_areas, prediction_areas: (n,) and (m,) float64, mm2.
    """

    points: PointPair
    truth_areas: np.ndarray
    prediction_areas: np.ndarray

    @property
    def distances(self) -> SurfaceDistances:
        """Distances between both surfaces, in both directions."""
        there, here = self.points.distances
        return SurfaceDistances(*_sorted(there, self.truth_areas), *_sorted(here, self.prediction_areas))

    def part_distances(self, truth: np.ndarray, prediction: np.ndarray) -> SurfaceDistances:
        """Distances between parts of both surfaces, chosen by (n,) and (m,) bool."""
        there, here = self.points.part_distances(truth, prediction)
        return SurfaceDistances(*_sorted(there, self.truth_areas[truth]), *_sorted(here, self.prediction_areas[prediction]))


def surfaces_of(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> Surfaces:
    """Surface elements of two masks with their areas; arguments and errors as of `surface_distances`."""
    check_masks(truth, prediction)
    spacing = checked_spacing(spacing_mm)
    # The component of an area vector along one axis grows with the spacings of the two other axes.
    scaled = area_vectors() * np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
    areas = np.linalg.norm(scaled, axis=2).sum(axis=1)
    (there, truth_codes), (here, prediction_codes) = surface_elements(truth), surface_elements(prediction)
    return Surfaces(PointPair(there, here, spacing), areas[truth_codes], areas[prediction_codes])


def element_labels(corners: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Label (n,) of the voxels of a mask around each surface element.

    Voxels around one corner touch each other, so they are of one component.

    Args:
        corners: (n, 3), of the mask.
        labels: (x, y, z) int, 0 for none.
        mask: (x, y, z) bool.
    """
    found = np.zeros(len(corners), labels.dtype)
    for corner in CORNERS:
        voxels = corners - corner
        inside = np.flatnonzero(((voxels >= 0) & (voxels < mask.shape)).all(axis=1))
        at = tuple(voxels[inside].T)
        found[inside] = np.maximum(found[inside], np.where(mask[at], labels[at], 0))
    return found


def surface_elements(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surface elements of a mask: corners of voxels between inside and outside.

    Args:
        mask: (x, y, z), what is not zero is inside.

    Returns:
        (n, 3) int64, corner i of an axis lying before voxel i; (n,) uint8, code of the 2 x 2 x 2 voxels around it.
    """
    first, inside = [], mask.astype(bool, copy=False)
    for axis in range(3):  # cut to the bounding box axis by axis, so that later axes have less to look through
        filled = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if filled.size == 0:
            return np.zeros((0, 3), np.int64), np.zeros(0, np.uint8)
        first.append(int(filled[0]))
        inside = inside[(slice(None),) * axis + (slice(filled[0], filled[-1] + 1),)]
    codes: np.ndarray = np.pad(inside, 1).view(np.uint8)
    codes = codes[:, :, :-1] | codes[:, :, 1:] << 1  # after each axis twice as many bits, corner 1 of it in the upper half
    codes = codes[:, :-1] | codes[:, 1:] << 2
    codes = codes[:-1] | codes[1:] << 4
    places = np.flatnonzero((codes != 0) & (codes != FULL))
    corners = np.stack(np.unravel_index(places, codes.shape), axis=1) + first
    return corners, codes.reshape(-1)[places]


@cache
def area_vectors() -> np.ndarray:
    """Marching cubes triangles of all 256 codes: their area vectors at unit spacing.

    Of the inside and the outside corners the fewer ones are cut off (the inside ones of four and four), each group that cube
    edges connect by a surface of its own. So corners at both ends of a face's diagonal are cut off apart, and a code and its
    complement have equal areas, as in the fifteen cases of Lorensen and Cline (1987).

    Returns:
        (256, 4, 3) float64: for each code up to four vectors, normal to a triangle and as long as its area, signs left out;
        the others are 0.
    """
    vectors = np.zeros((FULL + 1, 4, 3))
    for code in range(FULL + 1):
        inside = [corner for corner in range(8) if code >> corner & 1]
        outside = [corner for corner in range(8) if not code >> corner & 1]
        triangles = [triangle for group in _edge_groups(min(inside, outside, key=len)) for triangle in _triangles(group)]
        for index, (a, b, c) in enumerate(triangles):
            vectors[code, index] = np.abs(np.cross(b - a, c - a)) / 2
    return vectors


def _edge_groups(corners: list[int]) -> list[set[int]]:
    """Groups of corners that cube edges connect; the numbers of an edge's two corners differ in one bit."""
    groups: list[set[int]] = []
    for corner in corners:
        touching = [group for group in groups if any(corner ^ bit in group for bit in (1, 2, 4))]
        groups = [group for group in groups if group not in touching] + [{corner}.union(*touching)]
    return groups


def _triangles(group: set[int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Triangles of the surface that cuts one group of corners off a cube.

    Its outline runs through the middles of the cut edges, from one to the next on the same face of the cube. Beginning at a
    corner with a single cut edge, every second point is cut off by a triangle. Where the outline is not flat (three or four
    corners in a row), this choice decides about the area; it is that of surface-distance.
    """
    ends = {corner: [corner ^ bit for bit in (1, 2, 4) if corner ^ bit not in group] for corner in group}
    order = sorted(group, key=lambda corner: len(ends[corner]) != 1)
    middles = [(CORNERS[corner] + CORNERS[end]) / 2 for corner in order for end in ends[corner]]
    outline, left = [middles[0]], middles[1:]
    while left:
        index = next(i for i, middle in enumerate(left) if ((middle == outline[-1]) & (middle != 0.5)).any())
        outline.append(left.pop(index))
    triangles, index = [], 0
    while len(outline) > 3:
        triangles.append((outline[index - 1], outline[index], outline[(index + 1) % len(outline)]))
        outline.pop(index)
        index = (index + 1) % len(outline)
    return [*triangles, (outline[0], outline[1], outline[2])]


def _sorted(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]
