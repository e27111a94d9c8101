"""Spatial transforms: source coordinates of every voxel under rotation, tilt, scale, crop and elastic deformation.

One map for both ranks, for stored copies and while training, and one interpolation (`data_prep.grid.sampling`). The elastic
field is a cubic B-spline over random knots that reach beyond the array on all sides, so its standard deviation is the same
everywhere, edges included.
"""

import math
from collections.abc import Iterator

import numpy as np

from data_prep.augmentation.draw import Augmentation
from data_prep.grid.geometry import AXES, Triple, cut_patch
from data_prep.grid.sampling import sample, sample_slices, to_float

# A cubic B-spline over knots h apart is as smooth as a Gaussian of sigma h / sqrt(3), and keeps 151/315 of the variance of
# independent numbers at its knots along each axis.
KNOTS_PER_SIGMA = math.sqrt(3)
SPLINE_VARIANCE = 151 / 315


def is_warped(augmentation: Augmentation) -> bool:
    """True where voxels move other than by flips, so that interpolation is needed."""
    a = augmentation
    return a.rotate_degrees != 0 or any(a.tilt_degrees) or a.scale != 1 or a.crop != (1, 1) or a.elastic != 0


def coordinates(
    augmentation: Augmentation,
    size: Triple,
    middle: tuple[float, float, float],
    spacing_mm: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Source coordinates of the voxels of a patch.

    Args:
        augmentation: its flips, rotation, tilt, scale, crop and elastic field are used, about the patch's middle.
        size: shape of the patch (z, y, x).
        middle: the patch's middle in the source volume (z, y, x), in voxels.
        spacing_mm: distance of voxels (z, y, x), so that a tilt keeps lengths in millimetres; None: all equal.

    Returns:
        (3, z, y, x) float32, in voxels of the source volume.
    """
    # Steps in source voxels along z, y and x; rank 2 changes nothing along z.
    steps = np.array([1.0, *augmentation.crop]) / augmentation.scale
    if augmentation.rank == 2:
        steps[0] = 1.0
    matrix = _matrix(augmentation, np.ones(3) if spacing_mm is None else np.asarray(spacing_mm)) * steps
    shift = np.array([0.0, *(share * length for share, length in zip(augmentation.crop_at, size[1:], strict=True))])
    origin = np.asarray(middle) + matrix @ (shift / steps)
    z, y, x = (np.arange(length, dtype=np.float32) - (length - 1) / 2 for length in size)
    places = np.empty((3, *size), np.float32)
    for axis, (down, across, along) in enumerate(matrix.astype(np.float32)):
        plane = (across * y)[:, None] + along * x
        np.add((down * z + np.float32(origin[axis]))[:, None, None], plane, out=places[axis])
    if augmentation.elastic:
        places[3 - augmentation.rank :] += elastic_field(augmentation, size)
    return places


def elastic_field(augmentation: Augmentation, size: Triple) -> np.ndarray:
    """Elastic displacement field: smooth, random, of zero mean and constant standard deviation, edges included.

    Args:
        augmentation: its rank, elastic, elastic_sigma and elastic_seed are used.
        size: shape of the patch (z, y, x).

    Returns:
        float32, in voxels: rank 3 (3, z, y, x), displacements along z, y, x; rank 2 (2, 1, y, x), along y, x.
    """
    axes = range(3 - augmentation.rank, 3)
    weights = [_spline_weights(size[axis], augmentation.elastic_sigma * KNOTS_PER_SIGMA) for axis in axes]
    knots = [weight.shape[1] for weight in weights]
    field = np.random.default_rng(augmentation.elastic_seed).standard_normal((augmentation.rank, *knots), np.float32)
    # From the last axis to the first, so that the largest product is the last one; by einsum, because the threads of a matrix
    # product of so few knots take longer to wake than it lasts, and the cores belong to the training.
    names = "oabc"[: field.ndim]
    for name, weight in reversed(list(zip(names[1:], weights, strict=True))):
        field = np.einsum(f"{names},v{name}->{names.replace(name, 'v')}", field, weight)
    field *= np.float32(augmentation.elastic / math.sqrt(SPLINE_VARIANCE) ** augmentation.rank)
    return field if augmentation.rank == 3 else field[:, None]


def transformed_blocks(
    augmentation: Augmentation,
    image: np.ndarray,
    label: np.ndarray,
    start: Triple,
    size: Triple,
    *,
    slices_at_once: int,
    spacing_mm: tuple[float, float, float] | None = None,
    repeat_edge: bool = False,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Spatially transformed patch of a volume, in blocks of slices.

    Flips alone are exact; all else is one interpolation of the source volume, so that a rotated patch holds the tissue around
    it.

    Args:
        augmentation: its geometry is used, about the patch's middle.
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1).
        label: (Z, H, W) uint8.
        start: first voxel of the patch (z, y, x), may be negative.
        size: shape of the patch (z, y, x).
        slices_at_once: of a block, which bounds the float32 memory in use.
        spacing_mm: as of `coordinates`.
        repeat_edge: slices outside the volume repeat its first or last one, else they are 0.

    Yields:
        Slices of the patch as a `slice`, their image (z, y, x, C) float32, new memory, and label (z, y, x) uint8.
    """
    middle = (start[0] + (size[0] - 1) / 2, start[1] + (size[1] - 1) / 2, start[2] + (size[2] - 1) / 2)
    blocks = [slice(first, min(first + slices_at_once, size[0])) for first in range(0, size[0], slices_at_once)]
    if augmentation.rank == 3 and is_warped(augmentation):
        places = coordinates(augmentation, size, middle, spacing_mm)
        if repeat_edge:
            np.clip(places[0], 0, len(label) - 1, out=places[0])
        for block in blocks:
            yield block, *sample(image, label, places[:, block])
        return
    numbers = np.arange(start[0], start[0] + size[0])[:: -1 if "z" in augmentation.flips else 1]
    if repeat_edge:
        numbers = np.clip(numbers, 0, len(label) - 1)
    if is_warped(augmentation):
        plane = coordinates(augmentation, (1, *size[1:]), middle, spacing_mm)[1:, 0]
        for block in blocks:
            yield block, *sample_slices(image, label, numbers[block], plane)
        return
    z, y, x = (slice(None, None, -1 if axis in augmentation.flips else 1) for axis in AXES)
    for block in blocks:
        first, last = int(numbers[block].min()), int(numbers[block].max())
        corner, shape = (first, start[1], start[2]), (last + 1 - first, size[1], size[2])
        chosen = (numbers[block] - first if repeat_edge else z, y, x)
        pixels = to_float(np.array(cut_patch(image, corner, shape)[chosen], order="C"))
        yield block, pixels, np.array(cut_patch(label, corner, shape)[chosen], order="C")


def _matrix(augmentation: Augmentation, spacing: np.ndarray) -> np.ndarray:
    """(3, 3) rotation and flips: offsets from the patch's middle -> offsets in the source, both in voxels (z, y, x)."""
    about_z = math.radians(augmentation.rotate_degrees)
    about_y, about_x = (math.radians(degrees) for degrees in augmentation.tilt_degrees)
    rotation = _rotation(1, 2, about_z) @ _rotation(0, 2, about_y) @ _rotation(0, 1, about_x)
    signs = np.array([-1.0 if axis in augmentation.flips else 1.0 for axis in AXES])
    matrix: np.ndarray = signs[:, None] * (rotation * spacing) / spacing[:, None]
    return matrix


def _rotation(first: int, second: int, angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) in the plane of two axes."""
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = math.sin(angle), -math.sin(angle)
    return matrix


def _spline_weights(length: int, spacing: float) -> np.ndarray:
    """Cubic B-spline weights (length, knots) float32 of each knot at each voxel of an axis."""
    places = np.arange(length) / spacing
    first = np.floor(places).astype(int)
    t = places - first
    shares = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    weights = np.zeros((length, first[-1] + 4), np.float32)
    np.put_along_axis(weights, first[:, None] + np.arange(4), shares, axis=1)
    return weights
