"""Rotation, scale, tilt, crop and elastic bending of volumes: where each voxel of a window comes from, and what stands there.

`coordinates` turns a drawn augmentation into places of the source volume; `sample` reads them, linear for images and nearest
for labels. A window is sampled from the whole volume, so that a turned patch shows what lies around it and not an empty corner.
`apply` calls both for stored copies, `training.data.patches` for windows that are drawn while training.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from data_prep.grid.geometry import Triple

if TYPE_CHECKING:
    from data_prep.augmentation.apply import Augmentation

AXES = {"z": 0, "y": 1, "x": 2}
AT_ONCE = 4  # channels that OpenCV samples at once
MOST_ROWS = 16384  # of a picture that OpenCV samples: its places are 16-bit numbers
# A cubic B-spline over knots h apart is as smooth as a Gaussian of sigma h / sqrt(3), and keeps 151/315 of the variance of
# independent numbers at its knots along each axis.
KNOTS_PER_SIGMA = math.sqrt(3)
SPLINE_VARIANCE = 151 / 315


def is_warped(augmentation: "Augmentation") -> bool:
    """Whether an augmentation does more to places than mirror them."""
    a = augmentation
    return a.rotate_degrees != 0 or any(a.tilt_degrees) or a.scale != 1 or a.crop != (1, 1) or a.elastic != 0


def coordinates(
    augmentation: "Augmentation",
    size: Triple,
    middle: tuple[float, float, float],
    spacing_mm: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Where the voxels of a window come from.

    Args:
        augmentation: its flips, rotation, tilt, scale, crop and elastic field are used, about the window's middle.
        size: shape of the window (z, y, x).
        middle: the place of the source volume (z, y, x), in voxels, that the window's middle shows.
        spacing_mm: distance of voxels (z, y, x), so that a tilt turns millimetres and not voxels; None: all equal.

    Returns:
        (3, z, y, x) float32, places in voxels of the source volume.
    """
    matrix = _matrix(augmentation, np.ones(3) if spacing_mm is None else np.asarray(spacing_mm))
    shift = np.array([0.0, *(share * length for share, length in zip(augmentation.crop_at, size[1:], strict=True))])
    origin = np.asarray(middle) + matrix @ (shift / _resized(augmentation))
    z, y, x = (np.arange(length, dtype=np.float32) - (length - 1) / 2 for length in size)
    places = np.empty((3, *size), np.float32)
    for axis, (down, across, along) in enumerate(matrix.astype(np.float32)):
        plane = (across * y)[:, None] + along * x
        np.add((down * z + np.float32(origin[axis]))[:, None, None], plane, out=places[axis])
    if augmentation.elastic:
        places += _elastic(augmentation, size)
    return places


def sample(image: np.ndarray, label: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stands at places of a volume: intensities linear between voxels, labels of the nearest one.

    Only the box around the places is read. OpenCV does it where it is installed, else SciPy; OpenCV rounds places to 1/32 of a
    voxel, so the two differ by at most 1/32 of the step between neighbouring voxels along each axis.

    Args:
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 stand for 0..1), of any memory layout.
        label: (Z, H, W) uint8.
        places: (3, z, y, x) float32, from `coordinates`.

    Returns:
        (z, y, x, C) float32 and (z, y, x) uint8; both 0 beyond the volume.
    """
    box, local = _box(label.shape, places)
    found = np.zeros((*places.shape[1:], image.shape[-1]), np.float32)
    classes = np.zeros(places.shape[1:], np.uint8)
    if any(part.start >= part.stop for part in box):
        return found, classes
    pixels, bits = _as_float(image[box]), np.ascontiguousarray(label[box])
    slices = max(MOST_ROWS // places.shape[2], 1)
    take = _take_opencv if _has_opencv() else _take_scipy
    for first in range(0, places.shape[1], slices):
        part = slice(first, first + slices)
        take(pixels, bits, local[:, part], found[part], classes[part])
    return found, classes


def _matrix(augmentation: "Augmentation", spacing: np.ndarray) -> np.ndarray:
    """(3, 3): offsets from the window's middle -> offsets in the source, both in voxels (z, y, x)."""
    about_z = math.radians(augmentation.rotate_degrees)
    about_y, about_x = (math.radians(degrees) for degrees in augmentation.tilt_degrees)
    turned = _rotation(1, 2, about_z) @ _rotation(0, 2, about_y) @ _rotation(0, 1, about_x)
    mirrored = np.array([-1.0 if axis in augmentation.flips else 1.0 for axis in AXES])
    # Mirrored first and then turned, as slices are: the window's offset, resized, turned and mirrored, is that in the source.
    matrix: np.ndarray = mirrored[:, None] * (turned * spacing) / spacing[:, None] * _resized(augmentation)
    return matrix


def _resized(augmentation: "Augmentation") -> np.ndarray:
    """Voxels of the source that a step of one voxel takes along z, y and x."""
    steps = np.array([1.0, *augmentation.crop]) / augmentation.scale
    return steps if augmentation.rank == 3 else np.array([1.0, *steps[1:]])


def _rotation(first: int, second: int, angle: float) -> np.ndarray:
    """Rotation in the plane of two axes."""
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = math.sin(angle), -math.sin(angle)
    return matrix


def _elastic(augmentation: "Augmentation", size: Triple) -> np.ndarray:
    """A smooth random displacement (3, z, y, x) float32 in voxels; of rank 2 in the plane, the same for all slices."""
    axes = range(3) if augmentation.rank == 3 else (1, 2)
    weights = {axis: _spline(size[axis], augmentation.elastic_sigma * KNOTS_PER_SIGMA) for axis in axes}
    knots = [weights[axis].shape[1] for axis in axes]
    field = np.random.default_rng(augmentation.elastic_seed).standard_normal((len(axes), *knots), np.float32)
    # From the last axis to the first, so that the largest product is the last one; by einsum, because the threads of a matrix
    # product of so few knots take longer to wake than it lasts, and the cores belong to the training.
    names = "oabc"[: field.ndim]
    for name, axis in reversed(list(zip(names[1:], axes, strict=True))):
        field = np.einsum(f"{names},v{name}->{names.replace(name, 'v')}", field, weights[axis])
    field *= np.float32(augmentation.elastic / math.sqrt(SPLINE_VARIANCE) ** len(axes))
    if augmentation.rank == 3:
        return field
    return np.stack([np.zeros_like(field[0]), *field])[:, None]


def _spline(length: int, spacing: float) -> np.ndarray:
    """(length, knots) float32: the share of each knot of a cubic B-spline at each voxel of an axis."""
    places = np.arange(length) / spacing
    first = np.floor(places).astype(int)
    t = places - first
    shares = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    weights = np.zeros((length, first[-1] + 4), np.float32)
    np.put_along_axis(weights, first[:, None] + np.arange(4), shares, axis=1)
    return weights


def _box(shape: tuple[int, ...], places: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of a volume that some places need, and the places within that box."""
    box = []
    for axis, length in enumerate(shape):
        low, high = int(np.floor(places[axis].min())), int(np.floor(places[axis].max())) + 2
        box.append(slice(max(low, 0), min(high, length)))
    starts = np.array([part.start for part in box], np.float32)
    return tuple(box), places - starts[:, None, None, None]


def _as_float(image: np.ndarray) -> np.ndarray:
    return image / np.float32(255) if image.dtype == np.uint8 else np.ascontiguousarray(image, np.float32)


def _has_opencv() -> bool:
    try:
        import cv2
    except ImportError:
        return False
    cv2.setNumThreads(0)  # windows are worked on in parallel already
    return True


def _take_opencv(image: np.ndarray, label: np.ndarray, places: np.ndarray, found: np.ndarray, classes: np.ndarray) -> None:
    """Sample with OpenCV: slices lie side by side on one picture, an empty line between them and an empty tile at its end.

    Linear between slices is twice linear within a slice.
    """
    import cv2

    depth, height, width = label.shape
    across = max(math.isqrt(depth * height // width), 1)
    tiles = np.arange(depth + 1)
    rows = (tiles // across * (height + 1) + 1).astype(np.float32)
    columns = (tiles % across * (width + 1) + 1).astype(np.float32)
    picture = ((depth // across + 1) * (height + 1) + 1, across * (width + 1) + 1)
    flat = (places.shape[1] * places.shape[2], places.shape[3])
    y = np.clip(places[1], -1, height).reshape(flat)
    x = np.clip(places[2], -1, width).reshape(flat)

    def spread(volume: np.ndarray) -> np.ndarray:
        whole = np.zeros((*picture, *volume.shape[3:]), volume.dtype)
        for tile, (row, column) in enumerate(zip(rows[:-1].astype(int), columns[:-1].astype(int), strict=True)):
            whole[row : row + height, column : column + width] = volume[tile]
        return whole

    def read(whole: np.ndarray, z: np.ndarray, how: int) -> np.ndarray:
        tile = z.astype(np.int32).reshape(flat)
        tile[(tile < 0) | (tile > depth)] = depth
        taken = cv2.remap(whole, x + columns.take(tile), y + rows.take(tile), how)
        return np.asarray(taken).reshape(*places.shape[1:], *whole.shape[2:])

    below = np.floor(places[0])
    above = (places[0] - below)[..., None]
    for first in range(0, image.shape[-1], AT_ONCE):
        channels = slice(first, first + AT_ONCE)
        whole = spread(image[..., channels])
        taken = read(whole, below, cv2.INTER_LINEAR).reshape(found[..., channels].shape)
        if above.any():
            step = read(whole, below + 1, cv2.INTER_LINEAR).reshape(taken.shape)
            step -= taken
            step *= above
            taken += step
        found[..., channels] = taken
    classes[...] = read(spread(label), np.rint(places[0]), cv2.INTER_NEAREST)


def _take_scipy(image: np.ndarray, label: np.ndarray, places: np.ndarray, found: np.ndarray, classes: np.ndarray) -> None:
    """Sample with SciPy."""
    from scipy.ndimage import map_coordinates

    for channel in range(image.shape[-1]):
        map_coordinates(image[..., channel], places, found[..., channel], order=1, mode="grid-constant")
    map_coordinates(label, places, classes, order=0, mode="grid-constant")
