"""ITK: images for SimpleITK, and files of linear transforms. SimpleITK has coordinates in LPS; here all are RAS+."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from common.errors import MissingPackage, UserError
from common.files import write_text
from common.input_files import TEXT_BYTES, expect_file
from data_prep.grid.resampling import Rows, to_rows
from data_prep.grid.voxel_grid import LPS_TO_RAS
from data_prep.scans.volume import Volume

if TYPE_CHECKING:
    from SimpleITK import Image, Transform


def load_sitk(needed_for: str) -> "ModuleType":
    """SimpleITK, an optional package.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return import_module("SimpleITK")
    except ImportError:
        raise MissingPackage("SimpleITK", needed_for) from None


def to_image(sitk: "ModuleType", volume: Volume) -> "Image":
    """SimpleITK image of a volume; positions in LPS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    spacing = volume.grid.spacing_mm
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((LPS_TO_RAS @ volume.affine)[:3, 3].tolist())
    image.SetDirection((LPS_TO_RAS[:3, :3] @ volume.affine[:3, :3] / spacing).ravel().tolist())
    return image


def matrix_of(transform: "Transform") -> np.ndarray:
    """Matrix (4, 4) in RAS+ millimetres of a linear SimpleITK transform."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, unit in enumerate(np.eye(3)):
        matrix[:3, axis] = np.array(transform.TransformPoint(unit.tolist())) - matrix[:3, 3]
    return np.asarray(LPS_TO_RAS @ matrix @ LPS_TO_RAS)


def write_transform(path: Path, transform: Rows) -> None:
    """Write a linear transform (4, 4) in RAS+ millimetres as an ITK file (.tfm, points in LPS), atomically."""
    lines = ["#Insight Transform File V1.0", "#Transform 0", "Transform: AffineTransform_double_3_3"]
    matrix = LPS_TO_RAS @ np.asarray(transform) @ LPS_TO_RAS
    numbers = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    lines += ["Parameters: " + " ".join(repr(float(number) + 0.0) for number in numbers), "FixedParameters: 0 0 0", ""]
    write_text(path, "\n".join(lines))


def read_transform(path: Path) -> Rows:
    """Read a linear transform of an ITK file (.tfm) as (4, 4) in RAS+ millimetres.

    Raises:
        MissingPackage: SimpleITK is not installed.
        UserError: no such file, or no linear transform in it.
    """
    sitk = load_sitk("transforms of ITK")
    try:
        expect_file(path, TEXT_BYTES, "transform")
        transform = sitk.ReadTransform(str(path))
    except (OSError, RuntimeError, UnicodeDecodeError):  # the last of its message, which holds a line of the file
        raise UserError(f"{path}: expected a transform of ITK (.tfm); it cannot be read") from None
    if not transform.IsLinear():
        raise UserError(f"{path}: expected a linear transform; received {transform.GetName()}")
    matrix = matrix_of(transform)
    if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < len(matrix):
        raise UserError(f"{path}: expected a transform that can be inverted; received other numbers")
    return to_rows(matrix)
