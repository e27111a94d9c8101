"""Resampling: invertible linear transform between a scan's native grid and another grid, with interpolation.

It holds what `Geometry` cannot: other voxel sizes, rotations and registrations. All of it is one matrix between voxel indices,
so an image is interpolated once, in each direction. Coordinates in millimetres are RAS+.

Where the target's voxels are larger, images are low-pass filtered first, so that they are not aliased: by the Gaussian that
matches the point spread of both grids (Cardoso et al., 2015, Scale factor point spread function matching, MICCAI).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Self

import numpy as np

from common.errors import UserError, expect_number
from data_prep.grid.geometry import Geometry, Triple

Rows = tuple[tuple[float, ...], ...]
ImageInterpolation = Literal["linear", "bspline"]
LabelInterpolation = Literal["nearest", "gaussian"]
ORDERS = {"linear": 1, "bspline": 3}
IDENTITY: Rows = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
LABEL_SIGMA = 0.25  # voxels: least deviation of the Gaussian around labels; wider ones lose small lesions
ORTHOGONAL = 1e-5  # deviation of an affine's directions that headers of single precision have
SMALLEST_MM, LARGEST_MM = 0.05, 25.0  # voxel sizes of scans of the head
MOST_VOXELS = 1 << 30  # of a grid; an image of float32 then takes 4 GB
EDGE = 0.5 + 1e-6  # voxels from the centre of a voxel to its border


@dataclass(frozen=True)
class Resampling:
    """Transform between a native grid and a target grid.

    Attributes:
        shape: native (i, j, k).
        affine: native voxel indices -> millimetres (RAS+), row by row.
        target_shape: of the target grid, (i, j, k).
        target_affine: its voxel indices -> millimetres.
        transform: (4, 4) millimetres of the target -> millimetres of the native scan, as a registration finds it.
    """

    shape: Triple
    affine: Rows
    target_shape: Triple
    target_affine: Rows
    transform: Rows = IDENTITY

    @classmethod
    def to_spacing(cls, shape: Triple, affine: np.ndarray, spacing_mm: Sequence[float]) -> Self:
        """Resampling to another voxel size on the scan's own axes; both fields of view have the same middle.

        Args:
            shape: native (i, j, k).
            affine: (4, 4), native voxel indices -> millimetres. Sheared axes, as of a tilted gantry, become orthogonal.
            spacing_mm: of the target along i, j, k.
        """
        target_shape, target_affine = grid_of_spacing(shape, affine, spacing_mm)
        return cls(shape, to_rows(affine), target_shape, to_rows(target_affine))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `dataclasses.asdict`, from JSON."""
        (a, b, c), (d, e, f) = values["shape"], values["target_shape"]
        affine, target_affine, transform = (to_rows(values[name]) for name in ("affine", "target_affine", "transform"))
        return cls((a, b, c), affine, (d, e, f), target_affine, transform)

    @property
    def matrix(self) -> np.ndarray:
        """Voxel indices of the target -> native voxel indices, (4, 4) float64."""
        target, native = np.asarray(self.target_affine), np.asarray(self.affine)
        matrix: np.ndarray = np.linalg.solve(native, np.asarray(self.transform) @ target)
        return matrix

    def forward(self, image: np.ndarray, interpolation: ImageInterpolation = "linear") -> np.ndarray:
        """Resample a native image (i, j, k) to the target grid: float32; its smallest value outside the field of view."""
        return interpolate(image, self.matrix, self.target_shape, interpolation, float(image.min()))

    def forward_label(self, label: np.ndarray, interpolation: LabelInterpolation = "nearest", fill: int = 0) -> np.ndarray:
        """Resample a native label (i, j, k) of integers to the target grid: its dtype, no new values."""
        return interpolate_label(label, self.matrix, self.target_shape, interpolation, fill)

    def backward(self, image: np.ndarray, interpolation: ImageInterpolation = "linear", fill: float = 0) -> np.ndarray:
        """Resample an image of the target grid back to the native grid: float32; `fill` outside the target's field of view."""
        return interpolate(image, np.linalg.inv(self.matrix), self.shape, interpolation, fill)

    def backward_label(self, label: np.ndarray, interpolation: LabelInterpolation = "nearest", fill: int = 0) -> np.ndarray:
        """Resample a label of the target grid back to the native grid: its dtype, no new values."""
        return interpolate_label(label, np.linalg.inv(self.matrix), self.shape, interpolation, fill)


def expect_spacing(option: str, spacing_mm: float | Sequence[float] | None) -> None:
    """Refuse voxel sizes that no scan of a head has; None, an option that was left out, is fine.

    Args:
        option: its name on the command line, without dashes.
        spacing_mm: one length, or those of slices, rows and columns.

    Raises:
        UserError: names the option.
    """
    for length in spacing_mm if isinstance(spacing_mm, Sequence) else (spacing_mm,):
        expect_number(option, length, SMALLEST_MM, LARGEST_MM)


def native_spacing(shape: Triple, affine: np.ndarray, spacing_mm: float | tuple[float, float, float]) -> list[float]:
    """Voxel size along a grid's own axes i, j, k, from one length or from those of slices, rows and columns.

    Args:
        shape: of the grid, (i, j, k).
        affine: (4, 4), its voxel indices -> millimetres.
        spacing_mm: one length, or three, from inferior to superior, posterior to anterior and left to right.
    """
    wanted = spacing_mm if isinstance(spacing_mm, tuple) else (spacing_mm,) * 3
    spacing = [0.0] * 3
    for axis, length in zip(Geometry.uncropped(shape, affine).axes, wanted, strict=True):
        spacing[axis] = length
    return spacing


def grid_of_spacing(shape: Triple, affine: np.ndarray, spacing_mm: Sequence[float]) -> tuple[Triple, np.ndarray]:
    """Grid of another voxel size over the same field of view: shape (i, j, k) and affine (4, 4), with orthogonal axes.

    Args:
        shape: of the given grid, (i, j, k).
        affine: (4, 4), its voxel indices -> millimetres.
        spacing_mm: wanted along i, j, k.

    Raises:
        UserError: it has more than `MOST_VOXELS`.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / lengths
    extent = lengths * shape
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHOGONAL:
        u, _, v = np.linalg.svd(axes)
        axes = u @ v  # the nearest orthogonal matrix
        corners = np.array(list(product((-0.5, 0.5), repeat=3))) * shape  # of the field of view, about its middle
        along = corners @ affine[:3, :3].T @ axes
        extent = along.max(axis=0) - along.min(axis=0)
    spacing = np.asarray(spacing_mm, np.float64)
    i, j, k = (max(round(length), 1) for length in extent / spacing)
    if i * j * k > MOST_VOXELS:
        size = " x ".join(f"{length:g}" for length in spacing)
        raise UserError(f"a voxel size of {size} mm makes {i} x {j} x {k} voxels; expected at most {MOST_VOXELS:,} voxels")
    target = np.eye(4)
    target[:3, :3] = axes * spacing
    middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    target[:3, 3] = middle - target[:3, :3] @ ((np.array([i, j, k]) - 1) / 2)
    return (i, j, k), target


def interpolate(
    image: np.ndarray, matrix: np.ndarray, shape: Triple, interpolation: ImageInterpolation, fill: float
) -> np.ndarray:
    """Interpolation of an image on another grid.

    Args:
        image: (i, j, k), any real dtype.
        matrix: (4, 4), voxel indices of the new grid -> those of the image.
        shape: of the new grid.
        interpolation: linear, or bspline of order 3, whose overshoot is cut to the range of the image; voxels between zeros
            stay zero.
        fill: value outside the image's field of view, which ends half a voxel beyond the outermost centres.

    Returns:
        float32 of the new grid's shape.
    """
    from scipy.ndimage import affine_transform

    smooth = _low_pass(image.astype(np.float32, copy=False), _antialias_sigma(matrix))
    found: np.ndarray = affine_transform(
        smooth, *_linear(matrix), shape, np.float32, ORDERS[interpolation], mode="nearest", prefilter=True
    )
    if interpolation == "bspline":
        np.clip(found, np.float32(image.min()), np.float32(image.max()), out=found)
        if not image.all():  # splines ring: without this, zeros around a brain would become small numbers
            share = affine_transform((smooth != 0).astype(np.float32), *_linear(matrix), shape, np.float32, 1, mode="nearest")
            found[share == 0] = 0
    outside = _outside(image.shape, matrix, shape)
    if outside is not None:
        found[outside] = fill
    return found


def interpolate_label(
    label: np.ndarray, matrix: np.ndarray, shape: Triple, interpolation: LabelInterpolation, fill: int
) -> np.ndarray:
    """Interpolation of a label on another grid: the value of the nearest voxel, or the likeliest of its Gaussian neighbourhood.

    Args:
        label: (i, j, k) integers.
        matrix: (4, 4), voxel indices of the new grid -> those of the label.
        shape: of the new grid.
        interpolation: nearest; or gaussian: a mask of each value is smoothed by a Gaussian, at least a quarter of a voxel wide,
            and interpolated, and the largest wins (as LabelImageGaussianInterpolateImageFunction of ITK).
        fill: value outside the label's field of view.
    """
    from scipy.ndimage import affine_transform

    linear = _linear(matrix)
    if interpolation == "nearest":
        nearest: np.ndarray = affine_transform(label, *linear, shape, label.dtype, 0, mode="grid-constant", cval=fill)
        return nearest
    values, counts = np.unique(label, return_counts=True)
    common = int(counts.argmax())
    best = np.full(shape, values[common], label.dtype)
    rest = np.ones(shape, np.float32)  # share of the commonest value: what the others leave
    highest = np.zeros(shape, np.float32)
    sigma = np.maximum(_antialias_sigma(matrix), LABEL_SIGMA)
    for place, value in enumerate(values):
        if place != common:
            mask = _low_pass((label == value).astype(np.float32), sigma)
            share = affine_transform(mask, *linear, shape, np.float32, 1, mode="nearest")
            rest -= share
            larger = share > highest
            best[larger], highest[larger] = value, share[larger]
    best[rest >= highest] = values[common]
    outside = _outside(label.shape, matrix, shape)
    if outside is not None:
        best[outside] = fill
    return best


def to_rows(matrix: Any) -> Rows:
    """A matrix as tuples of floats, which compare and can be stored as JSON."""
    return tuple(tuple(float(value) for value in row) for row in matrix)


def _linear(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arguments of `affine_transform`: a matrix without rotation as its diagonal, which is quicker; and the offset."""
    part, offset = matrix[:3, :3], matrix[:3, 3]
    diagonal = np.diag(part)
    return (diagonal if np.abs(part - np.diag(diagonal)).max() < 1e-9 else part), offset


def _antialias_sigma(matrix: np.ndarray) -> np.ndarray:
    """Deviation, in voxels of each axis of the image, of the low-pass filter before it is sampled in larger steps."""
    steps = np.linalg.norm(matrix[:3, :3], axis=1)
    sigma = np.sqrt(np.maximum(steps**2 - 1, 0) / (8 * np.log(2)))
    return np.where(steps > 1.01, sigma, 0.0)


def _low_pass(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Gaussian filter, where one is needed."""
    from scipy.ndimage import gaussian_filter

    if not sigma.any():
        return image
    smooth: np.ndarray = gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
    return smooth


def _outside(native: tuple[int, ...], matrix: np.ndarray, shape: Triple) -> np.ndarray | None:
    """Voxels of the new grid outside the field of view of the native one, bool; None where there are none."""
    from scipy.ndimage import affine_transform

    corners = np.array(list(product(*((0, length - 1) for length in shape)))) @ matrix[:3, :3].T + matrix[:3, 3]
    if (corners >= -EDGE).all() and (corners <= np.array(native) - 1 + EDGE).all():
        return None
    inside = affine_transform(np.ones(native, np.uint8), *_linear(matrix), shape, np.uint8, 0, mode="grid-constant", cval=0)
    outside: np.ndarray = inside == 0
    return outside
