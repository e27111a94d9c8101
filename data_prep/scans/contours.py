"""Contours: closed planar polygons in millimetres, and their rasterisation onto a voxel grid.

They are read from DICOM RTSTRUCT and from the JSON of the collection Vestibular-Schwannoma-SEG. Polygons of one structure in
one plane are filled by the even-odd rule, so a polygon inside another one is a hole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import read_json
from data_prep.grid.voxel_grid import LPS_TO_RAS, Grid
from data_prep.scans.dicom_header import quiet, read_dataset
from data_prep.scans.faults import damaged
from data_prep.scans.volume import Volume, resample

JSON_KEYS = ("structure_name", "LPS_contour_points")
PARALLEL = 0.25  # voxels by which the points of a polygon may leave the middle of their slice
FINER = 2  # planes of other directions are filled at so many times the grid's resolution
CONTOUR_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")


@dataclass(frozen=True)
class Structure:
    """Structure outlined by polygons.

    Attributes:
        name: as in the file, such as TV or GTV.
        polygons: each (n, 3), points in millimetres, RAS+.
        series_uid: SeriesInstanceUID of the images that they were drawn on; empty where unknown.
    """

    name: str
    polygons: tuple[np.ndarray, ...]
    series_uid: str = ""

    def moved(self, transform: np.ndarray) -> "Structure":
        """Structure in another space; `transform` (4, 4) maps its millimetres to the new ones, RAS+."""
        polygons = tuple(points @ transform[:3, :3].T + transform[:3, 3] for points in self.polygons)
        return Structure(self.name, polygons, self.series_uid)


def read_json_contours(path: Path) -> list[Structure]:
    """Read `contours.json` of Vestibular-Schwannoma-SEG: a list of structures with points in LPS.

    Raises:
        UserError: no such file, or another content.
    """
    listed = read_json(path, "contours")
    try:
        return [
            Structure(str(item[JSON_KEYS[0]]), _polygons(item[JSON_KEYS[1]]), str(item.get("MR_SeriesInstanceUID", "")))
            for item in listed
        ]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        wanted = f"a list of structures with {' and '.join(JSON_KEYS)} (polygons of [x, y, z])"
        raise UserError(f"{path}: contours: expected {wanted}; received {error!r}") from None


def read_rtstruct(path: Path) -> list[Structure]:
    """Read the closed planar contours of a DICOM RTSTRUCT; structures without any are left out.

    Raises:
        UserError: the file is damaged or no RTSTRUCT.
    """
    try:
        with quiet():
            dataset = read_dataset(path)
            names = {int(item.ROINumber): str(item.ROIName) for item in dataset.StructureSetROISequence}
            series, _ = _reference(dataset)
            found = []
            for item in dataset.get("ROIContourSequence") or []:
                contours = [each for each in item.get("ContourSequence") or [] if each.ContourGeometricType in CONTOUR_TYPES]
                points = [np.reshape([float(value) for value in each.ContourData], (-1, 3)) for each in contours]
                if points:
                    number = int(item.ReferencedROINumber)
                    found.append(Structure(names.get(number, str(number)), _polygons(points), series))
    except UserError:
        raise
    except Exception as error:  # pydicom raises many types
        raise damaged(path, str(error) or type(error).__name__) from None
    return found


def read_reference(path: Path) -> tuple[str, str]:
    """SeriesInstanceUID and FrameOfReferenceUID of the images on which a DICOM RTSTRUCT was drawn; empty where it names none.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with quiet():
            return _reference(read_dataset(path))
    except UserError:
        raise
    except Exception as error:  # pydicom raises many types
        raise damaged(path, str(error) or type(error).__name__) from None


def rasterise(structure: Structure, grid: Grid, finer: int = 1) -> np.ndarray:
    """Rasterisation of a structure: voxels whose centre lies inside or, with `finer`, of which at least half does.

    Polygons that lie in slices of the grid are filled there. Others (other directions, planes that are denser or sparser than
    the slices) are filled in their own planes, and the shape between neighbouring planes is interpolated from their signed
    distances (Raya and Udupa, 1990); the outermost planes reach half a distance further.

    Args:
        structure: its polygons in the space of the grid.
        grid: of the mask.
        finer: each voxel is divided into so many parts along i and j.

    Returns:
        Bool (i, j, k).
    """
    points = [_to_indices(polygon, grid.affine) for polygon in structure.polygons]
    if not points:
        return np.zeros(grid.shape, bool)
    if not _lie_in_slices(points):
        return _fill_other_planes(structure, grid)
    mask = np.zeros(grid.shape, bool)
    slices = [round(float(each[:, 2].mean())) for each in points]
    for place in sorted(set(slices)):
        if 0 <= place < grid.shape[2]:
            inside = [each[:, :2] for each, k in zip(points, slices, strict=True) if k == place]
            mask[..., place] = _covered(inside, grid.shape[:2], finer)
    return mask


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Even-odd filling of polygons (n, 2) given in pixel indices: bool of `shape`, by the centres of the pixels."""
    crossings = np.zeros((shape[0] + 1, shape[1]), np.int64)
    rows = np.arange(shape[1])
    for polygon in polygons:
        starts, ends = polygon, np.roll(polygon, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(starts, ends, strict=True):
            low, high = sorted((y0, y1))
            crossed = rows[(rows >= low) & (rows < high)]  # half open: a corner is counted once
            if crossed.size:
                x = x0 + (crossed - y0) * (x1 - x0) / (y1 - y0)
                first = np.clip(np.ceil(x), 0, shape[0]).astype(int)  # pixels from here on lie behind the edge
                np.add.at(crossings, (first, crossed), 1)
    return np.cumsum(crossings, axis=0)[:-1] % 2 == 1


def _reference(dataset: Any) -> tuple[str, str]:
    """SeriesInstanceUID and FrameOfReferenceUID of the first series to which an RTSTRUCT refers; empty where it names none."""
    frames = dataset.get("ReferencedFrameOfReferenceSequence") or []
    for frame in frames:
        for study in frame.get("RTReferencedStudySequence") or []:
            for item in study.get("RTReferencedSeriesSequence") or []:
                return str(item.SeriesInstanceUID), str(frame.get("FrameOfReferenceUID", ""))
    return "", str(frames[0].get("FrameOfReferenceUID", "")) if frames else ""


def _covered(polygons: Sequence[np.ndarray], shape: tuple[int, int], finer: int) -> np.ndarray:
    """Pixels that polygons fill: by their centre, or half of them at least where each is divided into finer ones."""
    if finer == 1:
        return fill_polygons(polygons, shape)
    low = np.maximum(np.floor(np.min([each.min(axis=0) for each in polygons], axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(np.max([each.max(axis=0) for each in polygons], axis=0)).astype(int) + 2, shape)
    size = np.maximum(high - low, 0)
    fine = fill_polygons([(each - low + 0.5) * finer - 0.5 for each in polygons], (int(size[0]) * finer, int(size[1]) * finer))
    mask = np.zeros(shape, bool)
    share = fine.reshape(size[0], finer, size[1], finer).mean(axis=(1, 3))
    mask[low[0] : low[0] + size[0], low[1] : low[1] + size[1]] = share >= 0.5
    return mask


def _polygons(listed: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """Polygons in RAS+ of points in LPS; points alone and lines, and polygons that stand twice, are left out.

    Raises:
        ValueError: points that are not three finite numbers each.
    """
    kept: dict[bytes, np.ndarray] = {}
    for points in listed:
        array = np.asarray(points, np.float64)
        if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
            raise ValueError(f"polygon of shape {array.shape}")
        if len(array) > 2:
            kept[array.tobytes()] = array @ LPS_TO_RAS[:3, :3]
    return tuple(kept.values())


def _to_indices(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Points (n, 3) in millimetres as voxel indices."""
    inverse = np.linalg.inv(affine)
    return points @ inverse[:3, :3].T + inverse[:3, 3]


def _lie_in_slices(points: Sequence[np.ndarray]) -> bool:
    """True where each polygon lies in one slice, and none of the slices between is left out regularly."""
    heights = [each[:, 2] for each in points]
    if any(np.abs(each - np.rint(each.mean())).max() > PARALLEL for each in heights):
        return False
    steps = np.diff(np.unique([round(float(each.mean())) for each in heights]))
    return bool(steps.size == 0 or np.median(steps) == 1)


def _fill_other_planes(structure: Structure, grid: Grid) -> np.ndarray:
    """Mask of polygons that do not lie in the slices of a grid, by way of a grid of their own planes."""
    from scipy.ndimage import distance_transform_edt

    normal = _normal(structure.polygons)
    x = grid.affine[:3, 0] - (grid.affine[:3, 0] @ normal) * normal
    if np.linalg.norm(x) < 0.5 * np.linalg.norm(grid.affine[:3, 0]):  # the planes stand upright on i
        x = grid.affine[:3, 1] - (grid.affine[:3, 1] @ normal) * normal
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(normal, x), normal], axis=1)
    pixel = float(grid.spacing_mm.min()) / FINER
    local = [polygon @ axes for polygon in structure.polygons]
    low = np.min([each.min(axis=0) for each in local], axis=0)[:2] - 2 * pixel
    high = np.max([each.max(axis=0) for each in local], axis=0)[:2] + 2 * pixel
    shape = tuple(int(length) for length in np.ceil((high - low) / pixel) + 1)
    heights = np.array([each[:, 2].mean() for each in local])
    planes = _merged(heights, float(grid.spacing_mm.min()) / 10)
    distances = []
    for plane in planes:
        inside = [
            each[:, :2]
            for each, height in zip(local, heights, strict=True)
            if np.abs(planes - height).argmin() == list(planes).index(plane)
        ]
        filled = fill_polygons([(each - low) / pixel for each in inside], (shape[0], shape[1]))
        distances.append(distance_transform_edt(filled) - distance_transform_edt(~filled))
    step = float(np.median(np.diff(planes))) if len(planes) > 1 else float(grid.spacing_mm.max())
    count = max(round(step / pixel), 1)
    wanted = np.arange(planes[0] - step / 2 + step / count / 2, planes[-1] + step / 2, step / count)
    outside = np.full(shape, -1.0)
    slices = [_between(height, planes, distances, step, outside) > 0 for height in wanted]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = axes[:, 0] * pixel, axes[:, 1] * pixel, normal * step / count
    affine[:3, 3] = axes @ [low[0], low[1], wanted[0]]
    found = resample(Volume(np.stack(slices, axis=-1).astype(np.float32), affine), grid)
    return found >= 0.5


def _between(height: float, planes: np.ndarray, distances: list[np.ndarray], step: float, outside: np.ndarray) -> np.ndarray:
    """Signed distances at a height between planes; negative everywhere in a gap of several steps."""
    above = int(np.searchsorted(planes, height))
    near = int(np.abs(planes - height).argmin())
    if above in (0, len(planes)) or planes[above] - planes[above - 1] > 1.5 * step:
        return distances[near] if abs(planes[near] - height) <= step / 2 else outside
    share = (height - planes[above - 1]) / (planes[above] - planes[above - 1])
    return distances[above - 1] * (1 - share) + distances[above] * share


def _normal(polygons: Sequence[np.ndarray]) -> np.ndarray:
    """Common normal of polygons: the direction in which they extend least, (3,)."""
    centred = np.concatenate([polygon - polygon.mean(axis=0) for polygon in polygons])
    normal: np.ndarray = np.linalg.svd(centred, full_matrices=False)[2][2]
    return normal if normal[np.abs(normal).argmax()] > 0 else -normal


def _merged(heights: np.ndarray, tolerance: float) -> np.ndarray:
    """Different heights, sorted; those within a tolerance of one another are one."""
    groups: list[list[float]] = []
    for height in np.sort(heights):
        if groups and height - groups[-1][-1] <= tolerance:
            groups[-1].append(float(height))
        else:
            groups.append([float(height)])
    return np.array([np.mean(group) for group in groups])
