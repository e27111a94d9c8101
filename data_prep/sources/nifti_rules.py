"""The rules that the NIfTI files of a case must keep; each function tells in a line how one is broken."""

import numpy as np

from data_prep.labels import SCHEMAS, LabelSchema
from data_prep.scans.nifti import Header


def dimension_problem(header: Header, stacked: int | None) -> str | None:
    """An image must have three axes, or four where `stacked` images of one grid share a file."""
    shape = grid_shape(header)
    if stacked is None and len(header.shape) != 3 and shape != header.shape[:3]:
        return f"{header.path}: expected a 3D image; received shape {header.shape}; give one file per channel"
    if stacked is None and len(shape) < 3:
        return f"{header.path}: expected a 3D image; received shape {header.shape}"
    if stacked is not None and (len(header.shape) != 4 or header.shape[3] != stacked):
        return f"{header.path}: expected a 4D image of {stacked} channels; received shape {header.shape}"
    return None


def grid_shape(header: Header) -> tuple[int, ...]:
    """The first three axes of a file, where trailing axes of length one do not count; all axes where others follow."""
    rest = header.shape[3:]
    return header.shape[:3] if all(length == 1 for length in rest) else header.shape


def affine_problem(header: Header) -> str | None:
    """An affine must be finite and place different voxels at different places."""
    affine = header.affine
    if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12:
        return None
    return (
        f"{header.path}: affine: expected an invertible one; received {affine_text(affine)}; mend the header's sform and qform"
    )


def grid_problem(header: Header, reference: Header, tolerance_mm: float) -> str | None:
    """Two images of a case must have the same shape and, if both say where they lie, the same affine."""
    ours, theirs = header.shape[:3], reference.shape[:3]
    if ours != theirs:
        return f"{header.path}: shape {ours} differs from {theirs} of {reference.path}; resample it onto that grid"
    if not (header.has_affine and reference.has_affine):
        return None
    distance = largest_distance_mm(header.affine, reference.affine, theirs)
    if distance <= tolerance_mm:
        return None
    return (
        f"{header.path}: affine {affine_text(header.affine)} differs from {affine_text(reference.affine)} of {reference.path}, "
        f"by up to {distance:.4g} mm (tolerance {tolerance_mm:g}); resample it onto that grid, or raise --tolerance_mm"
    )


def largest_distance_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far apart two affines (4, 4) place a voxel of a volume (i, j, k): the largest distance, which a corner has."""
    corners = np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(shape) - 1), 1]
    return float(np.linalg.norm(corners @ (one - other)[:3].T, axis=1).max())


def affine_text(affine: np.ndarray) -> str:
    """The first three rows of an affine on one line."""
    return "[" + "; ".join(" ".join(f"{value + 0.0:.6g}" for value in row) for row in affine[:3]) + "]"


def finite_problem(name: str, array: np.ndarray) -> str | None:
    """Voxels must be finite; `name` is the file's, with the place in it."""
    if array.dtype.kind != "f" or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return None
    bad = ~np.isfinite(array)
    first = tuple(int(place[0]) for place in np.nonzero(bad))
    return (
        f"{name}: expected finite voxels; received {np.count_nonzero(bad)} that are NaN or infinite, "
        f"the first at {first}; replace them, by 0 outside the head"
    )


def label_problem(name: str, array: np.ndarray, schema: LabelSchema | None, likely: tuple[str, ...]) -> str | None:
    """A label's voxels must be finite whole numbers that the schema knows; `likely` schemas are hinted at where not."""
    broken = finite_problem(name, array) or _fraction_problem(name, array)
    if broken or schema is None:
        return broken
    ids = as_integers(array)
    unknown = schema.unknown_ids(ids)
    if not unknown:
        return None
    return (
        f"{name}: unknown label id {', '.join(map(str, unknown[:10]))} in {_voxels(ids, unknown)} voxels; "
        f"schema {schema.name} knows {', '.join(map(str, sorted(schema.known)))}; {_hint(ids, likely)}"
    )


def as_integers(label: np.ndarray) -> np.ndarray:
    """A label array of whole numbers in an integer type: its own, or for floats and uint64 the smallest that suffices."""
    if label.dtype.kind in "iu" and label.dtype != np.uint64:
        return label
    largest = max(abs(float(label.min())), abs(float(label.max())))
    return label.astype(np.int16 if largest < 2**15 else np.int64)


def _fraction_problem(name: str, array: np.ndarray) -> str | None:
    if array.dtype.kind != "f":
        return None
    fractions = array != np.rint(array)
    if not fractions.any():
        return None
    return (
        f"{name}: expected whole label ids; received {array[fractions][0]:g}, and {np.count_nonzero(fractions)} such voxels; "
        "resample labels with nearest neighbours"
    )


def _voxels(ids: np.ndarray, unknown: list[int]) -> int:
    return int(np.isin(ids, unknown).sum())


def _hint(ids: np.ndarray, likely: tuple[str, ...]) -> str:
    """What may help against unknown ids: the schemas that know all that occur."""
    present = {int(value) for value in np.unique(ids)}
    fitting = [name for name in likely if present <= LabelSchema.load(name).known.keys()]
    return (
        f"try --labels {' or '.join(fitting)}" if fitting else f"write a schema like those in {SCHEMAS} and give it to --labels"
    )
