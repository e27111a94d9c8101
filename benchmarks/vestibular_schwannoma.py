"""Command: rasterisation of the contours of Vestibular-Schwannoma-SEG, and contours of T2 brought to T1 against those of T1.

    python -m benchmarks.vestibular_schwannoma --source VS

The contours are filled on the grid of T1; those of T2 are moved by the collection's affine first.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import cli
from common.errors import UserError
from common.metrics.surface import hd95
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.contours import rasterise, read_json_contours
from data_prep.scans.itk import read_transform
from data_prep.sources import open_source
from data_prep.sources.vestibular_schwannoma import CONTOURS, NUMBER, TRANSFORM, VestibularSchwannomaSource
from data_prep.sources.walk import visible_files


@dataclass(kw_only=True)
class VestibularSchwannomaConfig:
    """Volumes of the tumour by its contours of T1 and T2, and how far both agree, on the grid of T1."""

    source: Path
    """Folder in the layout of the collection, with contours of both spaces for each patient."""


def main(config: VestibularSchwannomaConfig) -> None:
    """Print a row per patient.

    Raises:
        UserError: another layout, or a patient without contours of both spaces and a transform.
    """
    source = open_source(config.source)
    if not isinstance(source, VestibularSchwannomaSource):
        raise UserError(f"{config.source}: expected the layout vestibular_schwannoma; received {source.layout}")
    print(f"{'patient':12} {'T1 ml':>7} {'finer ml':>9} {'T2 ml':>7} {'Dice':>7} {'HD95 mm':>8}")
    for files in source.cases():
        grid = source.grid(files)
        one, fine, other = masks(config.source, files.id, grid)
        millilitres = [mask.sum() * float(np.prod(grid.spacing_mm)) / 1000 for mask in (one, fine, other)]
        dice = 2 * np.sum(one & other) / (one.sum() + other.sum())
        x, y, z = (float(length) for length in grid.spacing_mm)
        volumes = f"{millilitres[0]:7.3f} {millilitres[1]:9.3f} {millilitres[2]:7.3f}"
        print(f"{files.id:12} {volumes} {dice:7.4f} {hd95(one, other, (x, y, z)):8.2f}")


def masks(root: Path, case: str, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks of the tumour on the grid of T1: by the contours of T1, by these on finer pixels, and by those of T2.

    Args:
        root: of the source.
        case: id of the patient.
        grid: of T1.

    Raises:
        UserError: a file is missing.
    """
    contours: dict[str, Path] = {}
    transforms: dict[str, Path] = {}
    for path in visible_files(root):
        number, space = number_and_space(root, path)
        if case != f"VS-SEG-{number:03d}":
            continue
        if found := CONTOURS.fullmatch(path.name):
            contours[(found["space"] or space).lower()] = path
        elif found := TRANSFORM.fullmatch(path.name):
            transforms[found["start"].lower()] = path
    if set(contours) != {"t1", "t2"} or "t1" not in transforms:
        raise UserError(f"{root}: case {case}: expected contours of T1 and of T2, and inv_T1_LPS_to_T2_LPS.tfm")
    t1, t2 = (read_json_contours(contours[space])[0] for space in ("t1", "t2"))
    to_t1 = np.asarray(read_transform(transforms["t1"]))  # named for resampling: maps points of T2 to points of T1
    return rasterise(t1, grid), rasterise(t1, grid, 4), rasterise(t2.moved(to_t1), grid)


def number_and_space(root: Path, path: Path) -> tuple[int, str]:
    """Patient's number and space by the innermost folder that names a patient: VS-SEG-007, or vs_gk_7_t2; 0 for no patient.

    A name without a space counts as T1, as the source takes it.
    """
    folders = [root.resolve().name, *path.relative_to(root).parts[:-1]]
    match = next((found for name in reversed(folders) if (found := NUMBER.match(name))), None)
    return (0, "t1") if match is None else (int(match["number"]), match["space"] or "t1")


if __name__ == "__main__":
    cli.run(main, VestibularSchwannomaConfig)
