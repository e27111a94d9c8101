"""Command: loss of interpolation of an annotation that goes from the scanner's grid to aligned records and back.

    python -m benchmarks.round_trip --source BRATS

A case's annotation is first brought onto an oblique, anisotropic, left-handed grid (0.9 x 0.9 x 3 mm), which stands for the
scanner. From there it goes through the resampling of data_prep.align, the prepared grid of records, and back, and is compared
with itself.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common import cli
from common.errors import UserError
from common.metrics.surface import hd95
from data_prep.grid.geometry import Geometry
from data_prep.grid.prepared_grid import PreparedGrid, likeliest_native
from data_prep.grid.resampling import LabelInterpolation, Resampling, to_rows
from data_prep.sources import open_source

THICK_MM = (0.9, 0.9, 3.0)
DEGREES = (12.0, -8.0, 15.0)
SHAPE = (260, 260, 64)


@dataclass(kw_only=True)
class RoundTripConfig:
    """Dice and HD95 of annotations after the way to aligned records and back, for several voxel sizes and interpolations."""

    source: Path
    """Folder of annotated scans, such as BraTS."""
    cases: int = 6
    """Number of its cases."""
    spacings_mm: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0])
    """Voxel sizes of the aligned scans."""


def main(config: RoundTripConfig) -> None:
    """Print mean and worst Dice and HD95 of the foreground, a row per voxel size and way.

    Raises:
        UserError: no annotated scans with geometry.
    """
    source = open_source(config.source)
    truths, affine = [], scanner_affine()
    for files in [each for each in source.cases() if each.label is not None][: config.cases]:
        label, native = source.read_label(files)
        if native is None:
            raise UserError(f"{files.id}: expected a label with voxel sizes; received none")
        middle = native[:3, :3] @ ((np.array(label.shape) - 1) / 2) + native[:3, 3]
        scanner = affine + np.pad(middle[:, None], ((0, 1), (3, 0)))
        i, j, k = label.shape
        whole = Resampling((i, j, k), to_rows(native), SHAPE, to_rows(scanner))
        truths.append((whole.forward_label((label > 0).astype(np.uint8)), scanner))
    if not truths:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    print(f"{len(truths)} tumours, scanner {' x '.join(map(str, THICK_MM))} mm; there and back: mean (worst)")
    for spacing_mm in config.spacings_mm:
        for way in ("nearest", "gaussian", "probabilities"):
            found = [(truth, round_trip(truth, scanner, spacing_mm, way)) for truth, scanner in truths]
            dice = [2 * np.sum(one & other) / (one.sum() + other.sum()) for one, other in found]
            distances = [hd95(one > 0, other > 0, THICK_MM) for one, other in found]
            row = f"Dice {np.mean(dice):.4f} ({min(dice):.4f})   HD95 {np.mean(distances):.2f} mm ({max(distances):.2f})"
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
