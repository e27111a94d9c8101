"""DICOM reader: the voxels of a series as a volume, in every transfer syntax that pydicom decodes."""

from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from data_prep.grid.masks import LOWEST_HU
from data_prep.scans.dicom import Series
from data_prep.scans.dicom_header import quiet, read_dataset
from data_prep.scans.faults import damaged
from data_prep.scans.volume import Volume

NO_DECODER = ("plugin", "missing dependencies", "is not supported")  # in the messages of pydicom
PLUGINS = "pip install python-gdcm pylibjpeg pylibjpeg-openjpeg"


def read_series(series: Series) -> Volume:
    """Read the voxels of a series, CT in Hounsfield units.

    Integers stay integers where their rescaling is by whole numbers, else float32. Slices that are not rectangular (gantry
    tilt, uneven distances) are resampled to a rectangular grid, float32.

    Raises:
        UserError: a file is damaged, or in a transfer syntax for which no decoder is installed.
    """
    files: dict[Path, np.ndarray] = {}
    planes = []
    for frame in series.frames:
        if frame.path not in files:
            files.clear()  # frames of a file follow one another
            files[frame.path] = _read_file(frame.path, series.modality)
        pixels = files[frame.path]
        if pixels.shape[-2:] != frame.size[::-1]:
            raise damaged(frame.path, f"expected {frame.size[1]} x {frame.size[0]} pixels; received {pixels.shape}")
        planes.append(pixels if pixels.ndim == 2 else pixels[frame.index or 0])
    dtype = np.result_type(*{plane.dtype for plane in planes})
    planes = [plane.astype(dtype, copy=False) for plane in planes]
    if dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in planes):
        raise UserError(f"{series.frames[0].path}: {series.name}: expected finite voxels; received NaN or infinite ones")
    fill = min(float(plane.min()) for plane in planes)
    return Volume(series.stack.volume(planes, fill), series.stack.grid.affine, series.frame_of_reference)


def _read_file(path: Path, modality: str) -> np.ndarray:
    """Rescaled pixels of a file, (rows, columns) or (frames, rows, columns)."""
    try:
        with quiet():
            dataset = read_dataset(path)
            stored = dataset.pixel_array
            values = _rescaled(dataset, stored)
    except UserError:
        raise
    except Exception as error:  # pydicom and its decoders raise many types
        reason = " ".join(str(error).split())
        if any(words in reason for words in NO_DECODER):
            syntax = getattr(dataset.file_meta, "TransferSyntaxUID", "")
            raise UserError(f"{path}: no decoder for {getattr(syntax, 'name', syntax)}; {PLUGINS}") from None
        raise damaged(path, reason or type(error).__name__) from None
    padding = dataset.get("PixelPaddingValue")
    if modality == "CT" and padding is not None:
        values = values.astype(np.result_type(values.dtype, np.int16), copy=False)
        values = np.where(stored == padding, values.dtype.type(LOWEST_HU), values)
    return values


def _rescaled(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Pixels by the file's rescaling: of the file, of each frame, or by a table."""
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, dataset))
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    scales = [_scale([frame, *shared, dataset]) for frame in frames] or [_scale([dataset])]
    if stored.ndim == 2 or len(set(scales)) == 1:
        return _scaled(stored, *scales[0])
    return np.stack([_scaled(plane, *scale) for plane, scale in zip(stored, scales, strict=True)])


def _scale(places: list[Any]) -> tuple[float, float]:
    """Slope and intercept from the first of several places that has them."""
    for place in places:
        item = (place.get("PixelValueTransformationSequence") or [place])[0]
        if item.get("RescaleSlope") not in (None, ""):
            return float(item.RescaleSlope), float(item.get("RescaleIntercept") or 0)
    return 1.0, 0.0


def _scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Stored * slope + intercept: in the smallest integer type that holds it where both are whole numbers, else float32."""
    if (slope, intercept) == (1.0, 0.0):
        return stored
    if slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu":
        wide = stored.astype(np.int64) * int(slope) + int(intercept)
        low, high = int(wide.min()), int(wide.max())
        return wide.astype(
            next(kind for kind in (np.int16, np.int32, np.int64) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        )
    scaled: np.ndarray = stored.astype(np.float64) * slope + intercept
    return scaled.astype(np.float32)
