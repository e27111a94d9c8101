"""Rules for the NIfTI files of a case; each function returns a line where its rule is broken, else None."""

import numpy as np

from common.tables import counted
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import SCHEMAS, LabelSchema
from data_prep.scans.case import BRAIN
from data_prep.scans.nifti import Header

MOST_VALUES = 5  # of a mask that an error lists


def dimension_problem(header: Header, stacked: int | None) -> str | None:
    """Dimensions: three axes, or four where `stacked` images of one grid share a file."""
    shape = grid_shape(header)
    if stacked is None and len(header.shape) != 3 and shape != header.shape[:3]:
        return f"{header.path}: expected a 3D image; received shape {header.shape}; give one file per channel"
    if stacked is None and len(shape) < 3:
        return f"{header.path}: expected a 3D image; received shape {header.shape}"
    if stacked is not None and (len(header.shape) != 4 or header.shape[3] != stacked):
        return f"{header.path}: expected a 4D image of {stacked} channels; received shape {header.shape}"
    return None


def grid_shape(header: Header) -> tuple[int, ...]:
    """Shape of the grid: the first three axes where all others have length one, else all axes."""
    rest = header.shape[3:]
    return header.shape[:3] if all(length == 1 for length in rest) else header.shape


def affine_problem(header: Header) -> str | None:
    """Affine: finite and invertible."""
    affine = header.affine
    if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12:
        return None
    return (
        f"{header.path}: affine: expected an invertible one; received {affine_text(affine)}; mend the header's sform and qform"
    )


def grid_problem(header: Header, reference: Header, tolerance_mm: float) -> str | None:
    """Common grid of two images: the same shape and, if both have an sform or qform, the same affine."""
    ours, theirs = _grid(header), _grid(reference)
    if ours.shape != theirs.shape:
        return f"{header.path}: shape {ours.shape} differs from {theirs.shape} of {reference.path}; resample it onto that grid"
    if not (header.has_affine and reference.has_affine):
        return None
    distance = ours.distance_mm(theirs)
    if distance <= tolerance_mm:
        return None
    return (
        f"{header.path}: affine {affine_text(header.affine)} differs from {affine_text(reference.affine)} of {reference.path}, "
        f"by up to {distance:.4g} mm (tolerance {tolerance_mm:g}); resample it onto that grid, or raise --tolerance_mm"
    )


def _grid(header: Header) -> Grid:
    """Voxel grid of the first three axes."""
    i, j, k = header.shape[:3]
    return Grid((i, j, k), header.affine)


def affine_text(affine: np.ndarray) -> str:
    """First three rows of an affine on one line."""
    return "[" + "; ".join(" ".join(f"{value + 0.0:.6g}" for value in row) for row in affine[:3]) + "]"


def finite_problem(name: str, array: np.ndarray) -> str | None:
    """Finite voxels; `name` is the file's, with the index in it."""
    if array.dtype.kind != "f" or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return None
    bad = ~np.isfinite(array)
    first = tuple(int(place[0]) for place in np.nonzero(bad))
    return (
        f"{name}: expected finite voxels; received {np.count_nonzero(bad)} that are NaN or infinite, "
        f"the first at {first}; replace them, by 0 outside the head"
    )


def label_problem(name: str, array: np.ndarray, schema: LabelSchema | None, likely: tuple[str, ...]) -> str | None:
    """Label ids: finite whole numbers of the schema; `likely` schemas are suggested otherwise."""
    broken = finite_problem(name, array)
    if broken is None and array.dtype.kind == "f" and (fractions := array != np.rint(array)).any():
        received = f"received {array[fractions][0]:g} and the like in {counted(int(fractions.sum()), 'voxel')}"
        broken = f"{name}: expected whole label ids; {received}; resample labels with nearest neighbours"
    if broken or schema is None:
        return broken
    ids = as_integers(array)
    unknown = schema.unknown_ids(ids)
    if not unknown:
        return None
    present = {int(value) for value in np.unique(ids)}
    fitting = [name for name in likely if present <= LabelSchema.load(name).known.keys()]
    own = f"write a schema like those in {SCHEMAS} and give it to --labels"
    advice = f"try --labels {' or '.join(fitting)}" if fitting else own
    return (
        f"{name}: unknown label id {', '.join(map(str, unknown[:10]))} in {counted(np.isin(ids, unknown).sum(), 'voxel')}; "
        f"schema {schema.name} has {', '.join(map(str, sorted(schema.known)))}; {advice}"
    )


def mask_problem(name: str, array: np.ndarray) -> str | None:
    """Mask of brain or head: 0 and 1 alone, and at least one voxel."""
    if np.isin(array, (0, 1)).all() and array.any():
        return None
    found = ", ".join(f"{value:g}" for value in np.unique(array)[:MOST_VALUES])
    return f"{name}: expected a mask of 0 and 1; received {found}; a channel needs another name than {BRAIN}"


def as_integers(label: np.ndarray) -> np.ndarray:
    """Integer label array: its own type, or for floats and uint64 int16 or int64."""
    if label.dtype.kind in "iu" and label.dtype != np.uint64:
        return label
    largest = max(abs(float(label.min())), abs(float(label.max())))
    return label.astype(np.int16 if largest < 2**15 else np.int64)
