"""Rules for the NIfTI files of a case; each function returns a line where its rule is broken, else None."""

from collections.abc import Sequence

import numpy as np

from common.tables import counted
from data_prep.grid.voxel_grid import Grid, turned
from data_prep.labels import SCHEMAS, LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import BRAIN, ImageRef
from data_prep.scans.nifti import Header
from data_prep.scans.nifti_affine import is_invertible

MOST_VALUES = 5  # of a mask that an error lists
NEAR_WHOLE = 1e-3  # largest distance of a label id from a whole number; a slope and float32 round
FORMS_APART = 0.1  # sides of a voxel by which sform and qform may differ without a warning
LARGEST = float(np.finfo(np.float32).max)


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
    if is_invertible(affine):
        return None
    return (
        f"{header.path}: affine: expected an invertible one; received {affine_text(affine)}; mend the header's sform and qform"
    )


def grid_problem(header: Header, reference: Header, tolerance_mm: float) -> str | None:
    """Common grid of two images: the same shape and, if both have an sform or qform, the same affine.

    The order and the direction of the axes may differ: readers undo them (`read_on_grid`).
    """
    ours, theirs = _grid(header), _grid(reference)
    known = header.has_affine and reference.has_affine
    if known and ours.is_turned(theirs, tolerance_mm):
        return None
    if ours.shape != theirs.shape:
        return f"{header.path}: shape {ours.shape} differs from {theirs.shape} of {reference.path}; resample it onto that grid"
    distance = ours.distance_mm(theirs)
    if not known or distance <= tolerance_mm:
        return None
    return (
        f"{header.path}: affine {affine_text(header.affine)} differs from {affine_text(reference.affine)} of {reference.path}, "
        f"by up to {distance:.4g} mm (tolerance {tolerance_mm:g}); {grid_advice(distance, theirs)}"
    )


def grid_advice(distance_mm: float, grid: Grid) -> str:
    """Advice on an image whose voxels lie elsewhere; a larger tolerance is offered below the side of a voxel alone."""
    advice = "resample it onto that grid"
    return f"{advice}, or raise --tolerance_mm" if distance_mm < grid.spacing_mm.min() else advice


def turned_warning(header: Header, reference: Header, tolerance_mm: float) -> str | None:
    """Warning about an image whose axes have another order or direction than those of its case."""
    if not (header.has_affine and reference.has_affine and _grid(header).is_turned(_grid(reference), tolerance_mm)):
        return None
    from nibabel.orientations import aff2axcodes

    ours, theirs = ("".join(aff2axcodes(each.affine)) for each in (header, reference))
    return f"{header.path}: its axes, {ours}, are brought to {theirs}, those of {reference.path.name}"


def geometry_warnings(header: Header) -> list[str]:
    """Warnings about the position of an image, a line each: none, two that differ, or a unit other than the millimetre."""
    lines = []
    if not header.has_affine:
        what = "orientation and position" if header.has_sizes else "orientation, position and voxel size (1 mm)"
        lines.append(f"{header.path}: has neither sform nor qform: {what} are guessed")
    if header.forms_apart_mm > FORMS_APART * _grid(header).spacing_mm.min():
        lines.append(
            f"{header.path}: sform and qform place a voxel up to {header.forms_apart_mm:.4g} mm apart; the sform is used"
        )
    if header.unit:
        lines.append(f"{header.path}: its unit of length is the {header.unit[:-1]}; positions are converted to millimetres")
    return lines


def read_on_grid(image: ImageRef, grid: Grid, tolerance_mm: float) -> np.ndarray:
    """Read an image; one on the same grid in another order or direction of its axes gets those of `grid`."""
    return on_grid(nifti.read_image(image), nifti.read_header(image.path), grid, tolerance_mm)


def on_grid(array: np.ndarray, header: Header, grid: Grid, tolerance_mm: float) -> np.ndarray:
    """Array (i, j, k) of a header's file, its axes in the order and direction of `grid` where the voxels are the same."""
    if header.has_affine and _grid(header).is_turned(grid, tolerance_mm):
        return turned(array, header.affine, grid.affine)
    return array


def _grid(header: Header) -> Grid:
    """Voxel grid of the first three axes."""
    i, j, k = header.shape[:3]
    return Grid((i, j, k), header.affine)


def affine_text(affine: np.ndarray) -> str:
    """First three rows of an affine on one line."""
    return "[" + "; ".join(" ".join(f"{value + 0.0:.6g}" for value in row) for row in affine[:3]) + "]"


def finite_problem(name: str, array: np.ndarray) -> str | None:
    """Finite voxels, also as float32, in which they are computed; `name` is the file's, with the index in it."""
    if array.dtype.kind != "f" or not array.size:
        return None
    low, high = float(array.min()), float(array.max())
    if np.isfinite(low) and np.isfinite(high):
        return _range_problem(name, low, high)
    bad = ~np.isfinite(array)
    first = tuple(int(place[0]) for place in np.nonzero(bad))
    return (
        f"{name}: expected finite voxels; received {np.count_nonzero(bad)} that are NaN or infinite, "
        f"the first at {first}; replace them, by 0 outside the head"
    )


def _range_problem(name: str, low: float, high: float) -> str | None:
    """Values, and their range, that float32 holds."""
    if high - low <= LARGEST and max(-low, high) <= LARGEST:
        return None
    return (
        f"{name}: expected voxels of at most {LARGEST:.3g}, the largest number of float32; received {low:.3g} to {high:.3g}; "
        "replace the broken ones, by 0 outside the head"
    )


def label_problem(name: str, array: np.ndarray, schema: LabelSchema | None, likely: tuple[str, ...]) -> str | None:
    """Label ids: finite whole numbers of the schema; `likely` schemas are suggested otherwise."""
    broken = finite_problem(name, array)
    if broken is None and array.dtype.kind == "f" and (fractions := np.abs(array - np.rint(array)) > NEAR_WHOLE).any():
        received = f"received {array[fractions][0]:.6g} and the like in {counted(int(fractions.sum()), 'voxel')}"
        broken = f"{name}: expected whole label ids; {received}; resample labels with nearest neighbours"
    if broken or schema is None:
        return broken
    ids = as_integers(array)
    unknown = schema.unknown_ids(ids)
    if not unknown:
        return None
    present = {int(value) for value in np.unique(ids)}
    return (
        f"{name}: unknown label id {', '.join(map(str, unknown[:10]))} in {counted(np.isin(ids, unknown).sum(), 'voxel')}; "
        f"schema {schema.name} has {', '.join(map(str, sorted(schema.known)))}; {schema_hint(present, likely)}"
    )


def schema_hint(present: set[int], likely: Sequence[str]) -> str:
    """Advice on label ids that a schema lacks: the likely schema that has them, with the meaning of each id.

    None is named where the ids fit several of different meanings: a guess would read them as other tissue.

    Args:
        present: ids of the annotation.
        likely: names of shipped schemas, of the data sets that it can be from.
    """
    meanings: dict[tuple[tuple[int, str], ...], str] = {}
    for schema in (LabelSchema.load(name) for name in likely):
        names = {identifier: name for name, ids in schema.classes.items() for identifier in ids}
        names |= dict.fromkeys(schema.ignore, "not annotated")
        if present <= names.keys():
            meanings.setdefault(tuple((identifier, names[identifier]) for identifier in sorted(present)), schema.name)
    own = f"write a schema like those in {SCHEMAS} and give it to --labels"
    if len(meanings) == 1:
        ((meaning, name),) = meanings.items()
        tissue = ", ".join(f"{identifier} {word}" for identifier, word in meaning if identifier != 0)
        return f"if they mean {tissue}, give --labels {name}; else {own}"
    if meanings:
        schemas = f"{len(meanings)} schemas of {SCHEMAS}"
        return f"{schemas} have these ids with different meanings: give that of the data set to --labels"
    return own


def mask_problem(name: str, array: np.ndarray) -> str | None:
    """Mask of brain or head: 0 and 1 alone, and at least one voxel."""
    whole = np.rint(array) if array.dtype.kind == "f" else array
    if np.isin(whole, (0, 1)).all() and whole.any() and np.abs(array - whole).max() <= NEAR_WHOLE:
        return None
    found = ", ".join(f"{value:g}" for value in np.unique(array)[:MOST_VALUES])
    return f"{name}: expected a mask of 0 and 1; received {found}; a channel needs another name than {BRAIN}"


def as_integers(label: np.ndarray) -> np.ndarray:
    """Integer label array: its own type, or for floats, which are rounded, and uint64 int16 or int64."""
    if label.dtype.kind in "iu" and label.dtype != np.uint64:
        return label
    largest = max(abs(float(label.min())), abs(float(label.max())))
    return np.rint(label).astype(np.int16 if largest < 2**15 else np.int64)
