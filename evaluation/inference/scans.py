"""Scans with annotation and predictions on the uncropped prepared grid, for figures and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.geometry import Geometry
from data_prep.grid.prepared_grid import PreparedGrid
from data_prep.grid.slice_pictures import display_channel
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import PrepareConfig, prepare
from data_prep.scans.case import Case, CaseFiles, ImageRef
from data_prep.sources import Source
from evaluation.inference.predictions import open_predictions, prediction_path, read_classes


@dataclass(frozen=True)
class Scan:
    """One channel of a case on the uncropped prepared grid.

    Attributes:
        case: as read.
        channel: its name.
        image: (Z, H, W).
        classes: (Z, H, W) annotated class indices, or None.
        predictions: (Z, H, W) class indices of each predictions folder.
        schema: of the classes.
        grid: of these arrays.
    """

    case: Case
    channel: str
    image: np.ndarray
    classes: np.ndarray | None
    predictions: list[np.ndarray]
    schema: LabelSchema
    grid: PreparedGrid

    @property
    def id(self) -> str:
        """Id of the case."""
        return self.case.files.id

    @property
    def geometry(self) -> Geometry:
        """Geometry of these arrays."""
        return self.grid.geometry

    @property
    def title(self) -> str:
        """Case and channel."""
        return f"{self.id}, {self.channel}"


def read_scan(
    source: Source,
    files: CaseFiles,
    channel: str | None,
    folders: Sequence[Path],
    schema: LabelSchema,
    preparation: PrepareConfig,
) -> Scan:
    """Read a channel of a case, its annotation, and its predictions.

    Args:
        source: of the case.
        files: the case.
        channel: its name; None: that on which the annotation was drawn, else FLAIR, else the first.
        folders: predictions that have the case.
        schema: of the classes.
        preparation: of the image, but for its crop.

    Raises:
        UserError: no such channel, or a prediction that does not fit the case.
    """
    if channel is not None and channel not in source.channels:
        raise UserError(f"{source.root}: expected --channel to be one of {', '.join(source.channels)}; received {channel}")
    case = source.read(files)
    drawn = display_channel(source.channels, missing=case.missing, drawn=source.label_channel(files))[0]
    shown = channel or drawn
    uncropped = prepare(case, schema, replace(preparation, crop=None))
    return Scan(
        case,
        shown,
        uncropped.image[..., source.channels.index(shown)],
        None if uncropped.label is None else bits_to_classes(uncropped.label),
        [read_prediction(folder, files.id, schema, uncropped.grid) for folder in folders],
        schema,
        uncropped.grid,
    )


def read_prediction(folder: Path, case: str, schema: LabelSchema, grid: PreparedGrid) -> np.ndarray:
    """A case's prediction as class indices (Z, H, W) of the uncropped prepared grid.

    Raises:
        UserError: no such file, or one of another shape.
    """
    path, affine = prediction_path(folder, case), grid.native_affine
    native = None if affine is None else Grid(grid.native_shape, np.asarray(affine))
    predicted = read_classes(ImageRef(path), open_predictions(folder, [case]).schema or schema, grid=native)
    if predicted.shape != grid.native_shape:
        raise UserError(f"{path}: expected the shape {grid.native_shape} of case {case}; received {predicted.shape}")
    return grid.reorient_label(predicted)
