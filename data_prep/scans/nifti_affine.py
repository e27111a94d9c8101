"""Affine of a NIfTI header: its sform and qform, in millimetres whatever unit the header names."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from data_prep.grid.voxel_grid import Grid

SCANNER = 1  # code of qform and sform: millimetres of the scanner
UNIT_BITS = 7  # of xyzt_units: the unit of lengths
UNITS_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # code -> millimetres: metre, millimetre, micrometre; others are taken as millimetres
UNIT_NAMES = {1: "metres", 3: "micrometres"}
LEAST_DETERMINANT = 1e-12  # of an affine that can be inverted
QUATERNION_TOLERANCE = 1e-3  # by which the squares of a stored quaternion may exceed 1, as of programs that round it


@dataclass(frozen=True)
class HeaderAffine:
    """Affine of a header.

    Attributes:
        affine: (4, 4) float64, voxel indices -> millimetres: the sform, else the qform, else a guess from the voxel sizes.
        is_known: False for the guess.
        forms_apart_mm: largest distance of a voxel's positions by sform and by qform; 0 where one of both is not set.
        unit: name of the header's unit where it is not the millimetre; else empty.
    """

    affine: np.ndarray
    is_known: bool
    forms_apart_mm: float
    unit: str


@cache
def header_kinds() -> tuple[type[Any], type[Any]]:
    """Header classes of nibabel for NIfTI-1 and NIfTI-2, which take quaternions that rounding made a little too long."""
    import nibabel

    class Nifti1(nibabel.Nifti1Header):
        """Header of NIfTI-1."""

    class Nifti2(nibabel.Nifti2Header):
        """Header of NIfTI-2."""

    for kind in (Nifti1, Nifti2):
        kind.quaternion_threshold = np.float64(-QUATERNION_TOLERANCE)
    return Nifti1, Nifti2


def read_affine(raw: Any) -> HeaderAffine:
    """Affine of a header of nibabel.

    A form that cannot be inverted, such as an sform of zeros, is passed over where the other one can.

    Raises:
        ValueError: the only form is a qform whose quaternion is no rotation.
    """
    code = int(raw["xyzt_units"]) & UNIT_BITS
    forms = stored_forms(raw)
    usable = [form for form in forms.values() if is_invertible(form)]
    affine = usable[0] if usable else np.asarray(raw.get_best_affine(), np.float64)
    millimetres = np.diag([*[UNITS_MM.get(code, 1.0)] * 3, 1.0])
    apart = 0.0
    if len(usable) == 2:
        i, j, k = (*(int(length) for length in raw.get_data_shape()[:3]), 1, 1)[:3]
        one, other = (Grid((i, j, k), millimetres @ form) for form in usable)
        apart = one.distance_mm(other)
    is_known = bool(raw["sform_code"] or raw["qform_code"])
    return HeaderAffine(millimetres @ affine, is_known, apart, UNIT_NAMES.get(code, ""))


def stored_forms(raw: Any) -> dict[str, np.ndarray]:
    """Forms that a header has, sform first: name -> (4, 4) in its own unit; a qform that is no rotation is left out."""
    forms = {}
    if int(raw["sform_code"]) > 0:
        forms["sform"] = np.asarray(raw.get_sform(), np.float64)
    if int(raw["qform_code"]) > 0:
        try:
            forms["qform"] = np.asarray(raw.get_qform(), np.float64)
        except ValueError:
            if not forms:
                raise
    return forms


def copy_forms(raw: Any, image: Any, affine: np.ndarray) -> None:
    """Give an image of nibabel sform, qform and unit of another header of the same grid.

    Both forms stay as they are, also where they differ, so that every program shows the image where it shows the other.
    Where a form cannot be used, or the header has another affine, both are set to `affine`, in millimetres.

    Args:
        raw: header of nibabel.
        image: to be written.
        affine: (4, 4) of the image, millimetres.
    """
    codes = {name: int(raw[f"{name}_code"]) for name in ("sform", "qform")}
    try:
        forms, own = stored_forms(raw), read_affine(raw).affine
    except ValueError:
        forms, own = {}, np.full((4, 4), np.nan)
    same = bool(np.allclose(own, affine, atol=1e-4))
    if same and forms and all(map(is_invertible, forms.values())) and len(forms) == sum(code > 0 for code in codes.values()):
        unit = int(raw["xyzt_units"]) & UNIT_BITS
        image.header["xyzt_units"] = unit if unit in UNITS_MM else 2
        default = next(iter(forms.values()))
    else:
        forms, default = {}, affine
    image.set_sform(forms.get("sform", default), codes["sform"])
    image.set_qform(forms.get("qform", default), codes["qform"])


def is_invertible(affine: np.ndarray) -> bool:
    """True for a finite affine whose voxels have a volume."""
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > LEAST_DETERMINANT)
