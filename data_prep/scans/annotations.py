"""Annotations of any format, brought onto the grid of the images: DICOM SEG, contours (RTSTRUCT), NIfTI."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans import nifti
from data_prep.scans.case import ImageRef
from data_prep.scans.contours import Structure, rasterise
from data_prep.scans.dicom import Series
from data_prep.scans.dicom_seg import SegFile, seg_masks
from data_prep.scans.volume import Volume, resample

TOLERANCE_MM = 1e-3


def nifti_label(path: Path, grid: Grid, transform: np.ndarray | None = None) -> np.ndarray:
    """Label ids of a NIfTI file on a grid: as they are where the grid is the same, else of the nearest voxel.

    Args:
        path: the file.
        grid: of the images.
        transform: (4, 4), millimetres of the grid -> millimetres of the file.

    Raises:
        UserError: the file cannot be read, has no three axes, or no position although its shape is another.
    """
    header, array = nifti.read_header(path), nifti.read_image(ImageRef(path))
    if array.ndim != 3:
        raise UserError(f"{path}: expected a 3D image; received shape {array.shape}")
    volume = Volume(array, header.affine)
    if transform is None and (
        volume.grid.distance_mm(grid) <= TOLERANCE_MM or (not header.has_affine and array.shape == grid.shape)
    ):
        return array
    if not header.has_affine:
        raise UserError(f"{path}: has neither sform nor qform, and shape {array.shape} instead of {grid.shape}; resample it")
    return resample(volume, grid, "nearest", 0, transform)


def seg_on_grid(seg: SegFile, drawn_on: Series, grid: Grid) -> list[tuple[str, np.ndarray]]:
    """Segments of a SEG on a grid: name and bool (i, j, k) of each.

    Args:
        seg: as read.
        drawn_on: series that it refers to; its slices decide which frames are copied voxel for voxel.
        grid: of the masks, perhaps that of another series in the same space.
    """
    own = drawn_on.stack.grid
    masks = seg_masks(seg, drawn_on, own)
    if own.distance_mm(grid) > TOLERANCE_MM:
        masks = {number: resample(Volume(mask.astype(np.float32), own.affine), grid) >= 0.5 for number, mask in masks.items()}
    return [(seg.names[number], mask) for number, mask in masks.items()]


def structure_ids(names: list[str], given: Mapping[str, int], classes: Mapping[str, int], where: str) -> dict[int, int]:
    """Label ids of named structures: place in `names` -> id, in the order in which they lie over one another.

    Args:
        names: of segments or contoured structures.
        given: regular expression of a whole name -> id; later ones lie over earlier ones.
        classes: name of a class -> its id, where nothing is given.
        where: the file, for errors.

    Raises:
        UserError: no structure fits, or several where nothing says which is which.
    """
    if given:
        found: dict[int, int] = {}
        for pattern, identifier in given.items():
            for place in (at for at, name in enumerate(names) if re.fullmatch(pattern, name.strip(), re.IGNORECASE)):
                found.pop(place, None)  # the last pattern decides on the id and on the order
                found[place] = identifier
    elif len(names) == 1:
        found = {0: 1}
    else:
        lower = {name.lower(): identifier for name, identifier in classes.items()}
        found = {place: lower[name.strip().lower()] for place, name in enumerate(names) if name.strip().lower() in lower}
    if not found:
        wanted = ", ".join(given) if given else f"one, or names of classes ({', '.join(classes)})"
        raise UserError(
            f"{where}: structures: expected {wanted}; received {', '.join(names) or 'none'}; "
            "name them under label.structures of the rules (--series)"
        )
    return found


def combined(masks: list[tuple[int, np.ndarray]], grid: Grid) -> np.ndarray:
    """Label (i, j, k) of masks: pairs of id and bool array; later ones lie over earlier ones."""
    dtype = np.uint8 if all(0 <= identifier < 256 for identifier, _ in masks) else np.int16
    label = np.zeros(grid.shape, dtype, order="F")
    for identifier, mask in masks:
        label[mask] = identifier
    return label


def rasterised(structures: list[Structure], ids: Mapping[int, int], grid: Grid, finer: int) -> np.ndarray:
    """Label (i, j, k) of contoured structures; `ids` as of `structure_ids`, `finer` as of `rasterise`."""
    return combined([(identifier, rasterise(structures[place], grid, finer)) for place, identifier in ids.items()], grid)
