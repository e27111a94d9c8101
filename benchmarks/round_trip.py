"""Command: loss of interpolation of an annotation that goes from the scanner's grid to aligned records and back.

    python -m benchmarks.round_trip --source BRATS
    python -m benchmarks.round_trip --source VS --own_grid true

A case's annotation is first brought onto an oblique, anisotropic, left-handed grid (0.9 x 0.9 x 3 mm), which stands for the
scanner; with `--own_grid` its own grid is that of the scanner. From there it goes through the resampling of data_prep.align,
the prepared grid of records, and back, and is compared with itself.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common import cli
from common.errors import UserError, expect_number
from common.metrics.surface import SurfaceDistances, robust_hausdorff, surface_distances
from data_prep.grid.geometry import Geometry
from data_prep.grid.prepared_grid import PreparedGrid, likeliest_native
from data_prep.grid.resampling import LabelInterpolation, Resampling, to_rows
from data_prep.grid.voxel_grid import Grid
from data_prep.sources import open_source

THICK_MM = (0.9, 0.9, 3.0)
DEGREES = (12.0, -8.0, 15.0)
SHAPE = (260, 260, 64)


@dataclass(kw_only=True)
class RoundTripConfig:
    """Dice and surface distances of annotations after the way to aligned records and back, for several voxel sizes and ways."""

    source: Path
    """Folder of annotated scans, such as BraTS."""
    cases: int = 6
    """Number of its cases."""
    own_grid: bool = False
    """Annotations stay on their own grids, instead of the oblique one."""
    spacings_mm: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0])
    """Voxel sizes of the aligned scans."""


def main(config: RoundTripConfig) -> None:
    """Print mean and worst Dice, HD95 and mean surface distance of the foreground, a row per voxel size and way.

    Raises:
        UserError: no annotated scans with geometry, or a number out of range.
    """
    expect_number("cases", config.cases, 1)
    for spacing_mm in config.spacings_mm:
        expect_number("spacings_mm", spacing_mm, 0, above=True)
    source = open_source(config.source)
    truths = []
    for files in [each for each in source.cases() if each.label is not None][: config.cases]:
        label, native = source.read_label(files)
        if native is None:
            raise UserError(f"{files.id}: expected a label with voxel sizes; received none")
        i, j, k = label.shape
        own, tumour = Grid((i, j, k), native), (label > 0).astype(np.uint8)
        if not config.own_grid:
            scanner = Grid(SHAPE, scanner_affine() + np.pad(own.middle[:, None], ((0, 1), (3, 0))))
            whole = Resampling(own.shape, to_rows(own.affine), scanner.shape, to_rows(scanner.affine))
            own, tumour = scanner, whole.forward_label(tumour)
        truths.append((tumour, own))
    if not truths:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    spacing = " x ".join(f"{length:.3g}" for length in truths[0][1].spacing_mm)
    print(f"{len(truths)} tumours, scanner {spacing} mm; there and back: mean (worst)")
    for spacing_mm in config.spacings_mm:
        for way in ("nearest", "gaussian", "probabilities"):
            dice, hausdorff, surface = [], [], []
            for truth, grid in truths:
                back = round_trip(truth, grid.affine, spacing_mm, way)
                x, y, z = (float(length) for length in grid.spacing_mm)
                surfaces = surface_distances(truth > 0, back > 0, (x, y, z))
                dice.append(2 * np.sum(truth & back) / (truth.sum() + back.sum()))
                hausdorff.append(robust_hausdorff(surfaces, 95))
                surface.append(mean_distance(surfaces))
            row = f"Dice {np.mean(dice):.4f} ({min(dice):.4f})   HD95 {np.mean(hausdorff):.2f} mm ({max(hausdorff):.2f})"
            row += f"   surface {np.mean(surface):.3f} mm ({max(surface):.3f})"
            print(f"{spacing_mm:g} mm  {way:14} {row}", flush=True)


def round_trip(label: np.ndarray, affine: np.ndarray, spacing_mm: float, way: str) -> np.ndarray:
    """A mask after the way from the scanner's grid to the prepared grid of aligned scans, and back.

    Args:
        label: (i, j, k) 0 and 1.
        affine: of the scanner's grid.
        spacing_mm: of the aligned scans.
        way: nearest or gaussian, there and back; probabilities: the mask is interpolated as an image.
    """
    i, j, k = label.shape
    align = Resampling.to_spacing((i, j, k), affine, (spacing_mm,) * 3)
    grid = PreparedGrid(Geometry.uncropped(align.target_shape, np.asarray(align.target_affine)))
    if way == "probabilities":
        soft = grid.to_native(grid.reorient(align.forward(label)))
        return likeliest_native(align, np.stack([1 - soft, soft], axis=-1))
    kind: LabelInterpolation = "nearest" if way == "nearest" else "gaussian"
    prepared = grid.reorient_label(align.forward_label(label, kind))
    return align.backward_label(grid.label_to_native(prepared), kind)


def mean_distance(surfaces: SurfaceDistances) -> float:
    """Mean surface distance in mm, weighted by area, over both directions."""
    distances = np.concatenate([surfaces.truth_to_prediction, surfaces.prediction_to_truth])
    return float(np.average(distances, weights=np.concatenate([surfaces.truth_areas, surfaces.prediction_areas])))


def scanner_affine() -> np.ndarray:
    """Affine of an oblique, anisotropic, left-handed grid about the origin."""
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", DEGREES, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([-1.0, 1.0, 1.0]) @ np.diag(THICK_MM)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


if __name__ == "__main__":
    cli.run(main, RoundTripConfig)
