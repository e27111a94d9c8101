"""Stack of parallel slices: its grid, spacing, gaps and gantry tilt, and resampling to a rectangular grid.

Positions are in millimetres, LPS as in DICOM. A stack is rectangular where its slices lie behind one another at equal
distances; only then it is a volume as it is. A tilted gantry moves each slice within its own plane; such stacks, and those of
uneven distances, are resampled by the slices' real positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_prep.grid.voxel_grid import LPS_TO_RAS, Grid

MOST_SHIFT = 0.1  # pixels by which a slice may lie beside the others before it is resampled
MOST_STEP = 0.1  # share of the spacing, and millimetres, by which a slice may miss its even position
SAME_THICKNESS = 0.01  # share by which the thickness of slices may differ and count as equal
WORTH_A_NAME = 0.05  # degrees from which an angle is printed
MOST_TILT = 45.0  # degrees
PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class SliceStack:
    """Stack of parallel slices, sorted by their position along the normal.

    Attributes:
        origins: (n, 3), centre of the first pixel of each slice.
        x, y: unit vectors along a slice's columns' indices (a row) and its rows' indices (a column).
        pixel_mm: distance of neighbouring columns, and of neighbouring rows.
        size: (columns, rows).
        thickness_mm: (n,) thickness of each slice; 0 where unknown.
    """

    origins: np.ndarray
    x: np.ndarray
    y: np.ndarray
    pixel_mm: tuple[float, float]
    size: tuple[int, int]
    thickness_mm: np.ndarray

    @cached_property
    def normal(self) -> np.ndarray:
        """Unit vector across the slices, (3,); slices are sorted along it."""
        return np.cross(self.x, self.y)

    @cached_property
    def along(self) -> np.ndarray:
        """Distances of the slices from the first one along the normal, rising, (n,)."""
        return (self.origins - self.origins[0]) @ self.normal

    @cached_property
    def shifts(self) -> np.ndarray:
        """Displacement of each slice within its plane relative to the first, along x and y, (n, 2)."""
        return (self.origins - self.origins[0]) @ np.stack([self.x, self.y], axis=1)

    @property
    def steps(self) -> np.ndarray:
        """Distances of neighbouring slices along the normal, (n - 1,)."""
        return np.diff(self.along)

    @property
    def spacing_mm(self) -> float:
        """Usual distance of neighbouring slices; the thickness of a single one."""
        return float(np.median(self.steps)) if len(self.origins) > 1 else float(self.thickness_mm[0])

    @property
    def is_even(self) -> bool:
        """True where each slice lies at its even position."""
        even = np.linspace(0, self.along[-1], len(self.along))
        return bool(np.abs(self.along - even).max() <= MOST_STEP * min(self.spacing_mm, 1.0))

    @property
    def is_straight(self) -> bool:
        """True where the slices lie behind one another, as without a tilt."""
        return bool(np.abs(self.shifts).max() <= MOST_SHIFT * min(self.pixel_mm))

    @property
    def is_rectangular(self) -> bool:
        """True where the slices are a volume as they are."""
        return self.is_even and self.is_straight

    @property
    def tilt_deg(self) -> float:
        """Angle between the normal and the direction in which the slices follow one another."""
        if len(self.origins) < 2 or self.is_straight:
            return 0.0
        return float(np.degrees(np.arctan2(np.linalg.norm(self.shifts[-1] - self.shifts[0]), self.along[-1])))

    @property
    def plane(self) -> str:
        """Plane nearest to the slices: axial, coronal or sagittal."""
        return PLANES[int(np.abs(self.normal).argmax())]

    @property
    def oblique_deg(self) -> float:
        """Angle between the normal and the nearest axis of the body."""
        return float(np.degrees(np.arccos(min(np.abs(self.normal).max(), 1.0))))

    def gap_problem(self, max_gap: float) -> str | None:
        """Description of distances that are too large to be bridged by interpolation, else None.

        Args:
            max_gap: largest distance as a multiple of the usual one or, where the thickness of the slices changes, of the
                thickness of the slices beside it.
        """
        if len(self.origins) < 2:
            return "a single slice; expected a volume"
        usual = np.full(len(self.steps), self.spacing_mm)
        known = self.thickness_mm[self.thickness_mm > 0]
        if known.size and np.ptp(known) > SAME_THICKNESS * known.max():
            usual = np.maximum(usual, np.maximum(self.thickness_mm[1:], self.thickness_mm[:-1]))
        large = np.flatnonzero(self.steps > max_gap * usual)
        if not large.size:
            return None
        missing = int(np.rint(self.steps[large] / usual[large]).sum() - large.size)
        first = large[0]
        lost = f"about {missing} slice{'s' if missing > 1 else ''} missing" if missing else "a gap"
        return (
            f"{lost}: slices {first + 1} and {first + 2} of {len(self.origins)} are {self.steps[first]:.4g} mm apart; "
            f"expected {usual[first]:.4g} mm"
        )

    @property
    def shape_problem(self) -> str | None:
        """Description of slices that do not make a volume, else None."""
        if self.tilt_deg > MOST_TILT:
            return f"its slices lie beside one another (tilt {self.tilt_deg:.0f} degrees); expected a stack"
        return None

    @cached_property
    def grid(self) -> Grid:
        """Rectangular grid of the volume: that of the slices, or the one that they are resampled to."""
        columns, rows = self.size
        lps = np.eye(4)
        lps[:3, 0], lps[:3, 1] = self.x * self.pixel_mm[0], self.y * self.pixel_mm[1]
        lps[:3, 3] = self.origins[0]
        count = len(self.origins)
        if self.is_rectangular:
            last = self.origins[-1] - self.origins[0]
            lps[:3, 2] = last / (count - 1) if count > 1 else self.normal * (self.thickness_mm[0] or 1.0)
            return Grid((columns, rows, count), LPS_TO_RAS @ lps)
        low, high = self.shifts.min(axis=0), self.shifts.max(axis=0)
        if not self.is_straight:
            lps[:3, 3] += self.x * low[0] + self.y * low[1]
            more = np.ceil(np.round((high - low) / self.pixel_mm, 3)).astype(int)
            columns, rows = columns + int(more[0]), rows + int(more[1])
        if not self.is_even:
            finest = max(float(self.steps.min()), self.spacing_mm / 2)
            count = round(self.along[-1] / finest) + 1
        lps[:3, 2] = self.normal * self.along[-1] / (count - 1)
        return Grid((columns, rows, count), LPS_TO_RAS @ lps)

    def volume(self, planes: Sequence[np.ndarray], fill: float = 0) -> np.ndarray:
        """Volume (i, j, k) of slices (rows, columns), sorted as the stack.

        Args:
            planes: of the slices; a rectangular stack keeps their dtype and values, any other is interpolated (linear,
            float32). fill: value beside the slices.
        """
        if self.is_rectangular:
            return np.stack(planes).transpose(2, 1, 0)
        columns, rows, count = self.grid.shape
        found = np.empty((count, rows, columns), np.float32)
        if self.is_straight:
            moved = [plane.astype(np.float32) for plane in planes]
        else:
            moved = [self._moved(plane, place, fill) for place, plane in enumerate(planes)]
        for place, wanted in enumerate(np.linspace(0, self.along[-1], count)):
            above = int(np.clip(np.searchsorted(self.along, wanted), 1, len(self.along) - 1))
            share = (wanted - self.along[above - 1]) / (self.along[above] - self.along[above - 1])
            found[place] = moved[above - 1] * (1 - share) + moved[above] * share
        return found.transpose(2, 1, 0)

    def _moved(self, plane: np.ndarray, place: int, fill: float) -> np.ndarray:
        """One slice (rows, columns) at its place on the rectangular grid, float32."""
        from scipy.ndimage import affine_transform

        columns, rows, _ = self.grid.shape
        offset = ((self.shifts.min(axis=0) - self.shifts[place]) / self.pixel_mm)[::-1]  # rows, then columns
        moved: np.ndarray = affine_transform(
            plane.astype(np.float32), np.ones(2), offset, (rows, columns), order=1, mode="constant", cval=fill
        )
        return moved
