"""Source of aligned or stripped scans, as `data_prep.align` and `data_prep.skull_strip` write them.

A table, a folder per case with an image per channel, and the way back to the scanner.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.configs import find_config
from common.errors import UserError
from common.files import write_json, write_text
from common.manifests import Text, checked
from common.tables import csv_text
from data_prep.alignment.case import aligned_images, read_label_channel, scanner_resampling
from data_prep.alignment.manifests import FORMAT, read_folder_facts
from data_prep.grid.resampling import Resampling
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import BRAIN, LABEL, CaseFiles
from data_prep.sources import LAYOUTS, layout_class, open_source
from data_prep.sources.base import Source, SourceConfig
from data_prep.sources.table import CASE, PATIENT, TABLE, TableSource
from data_prep.sources.volume_source import VolumeSource

MANIFEST = "align.json"


class AlignedSource(TableSource):
    """Folder of aligned or stripped cases; its manifest holds the channels, the label schema and the place of the scans.

    Predictions on a scanner's grid are also written in the format of these scans, if they have one of their own (DICOM SEG) and
    are still there.

    Attributes:
        origin_scans: place and options of the scans that were aligned or stripped, as in the manifest.
    """

    layout = "aligned"
    looks_for = f"a folder with {MANIFEST}, made by glioskull align or glioskull skull_strip"
    implies_schema = True

    def __init__(self, root: Path, config: SourceConfig) -> None:
        self._manifest: dict[str, Any] = read_folder_facts(root / MANIFEST)
        if not (root / TABLE).is_file():
            raise UserError(f"{root}: unfinished; call glioskull align or glioskull skull_strip again, as before")
        super().__init__(root, replace(config, channels=config.channels or self._manifest["channels"]))
        self.config = config
        if config.labels == "auto" and self._manifest["schema"] is not None:
            self.schema = LabelSchema.from_dict(self._manifest["schema"], root / MANIFEST)
        self.origin_scans: dict[str, Any] = self._manifest["source"]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder by its manifest."""
        return (root / MANIFEST).is_file()

    def scanner_grid(self, files: CaseFiles) -> Resampling | None:
        """Resampling from the scanner's grid of the channel on which the annotation was drawn; None where it is that grid."""
        return scanner_resampling(self.root / files.id)

    @cached_property
    def scans(self) -> Source | None:
        """Source of the scans that were aligned, where predictions have a format of its own; else None.

        Raises:
            UserError: it is not there any more, or cannot be read.
        """
        stored = self.origin_scans
        checked(stored["options"]["layout"], Text(tuple(LAYOUTS)), f"{self.root / MANIFEST}: source.options.layout")
        if not layout_class(stored["options"]["layout"]).writes_predictions:
            return None
        options: SourceConfig = cli.from_dict(SourceConfig, stored["options"], self.root / MANIFEST)
        return open_source(Path(stored["path"]), options)

    def label_channel(self, files: CaseFiles) -> str | None:
        """Channel on which the annotation was drawn, from whose grid `scanner_grid` leads here."""
        return read_label_channel(self.root / files.id)

    def write_prediction(
        self,
        files: CaseFiles,
        ids: np.ndarray,
        folder: Path,
        schema: LabelSchema | None = None,
        channel: str | None = None,
    ) -> list[Path]:
        """Write a prediction in the format of the scans that were aligned, for the channel that was annotated.

        Args:
            files: the aligned case.
            ids: (i, j, k) on the scanner's grid: that of `scanner_grid`, or of the case.
            folder: of predictions, not of this source.
            schema: of the ids; None: that of this source.
            channel: the one that was annotated, whatever is given.

        Returns:
            Files written; none where the scans have no format of their own.

        Raises:
            UserError: the scans are not there any more, or have changed.
        """
        if self.scans is None:
            return []
        drawn, resampling = self.label_channel(files), self.scanner_grid(files)
        scan = next((each for each in self.scans.cases() if each.id == files.id), None)
        if scan is None:
            raise UserError(f"{self.scans.root}: case {files.id} is not there any more")
        if isinstance(self.scans, VolumeSource):
            own = self.scans.grid(scan) if drawn is None else self.scans.image_grid(scan, drawn)
            if resampling is None:
                grid = Grid(self.shape(files), nifti.read_header(files.paths[0]).affine)
            else:
                grid = Grid(resampling.shape, np.asarray(resampling.affine))
            if own.distance_mm(grid) > self.config.tolerance_mm:
                name = drawn or self.scans.reference_channel
                raise UserError(f"{self.scans.root}: case {files.id}: {name} has another grid than the scan that was aligned")
        return self.scans.write_prediction(scan, ids, folder, schema or self.schema, drawn)

    def prediction_names(self, files: CaseFiles) -> list[str]:
        """Names of the files that `write_prediction` would write; none where the scans are not there any more."""
        try:
            scan = None if self.scans is None else next((each for each in self.scans.cases() if each.id == files.id), None)
            return [] if scan is None or self.scans is None else self.scans.prediction_names(scan)
        except UserError:
            return []


def write_aligned(out: Path, source: Source, cases: Sequence[CaseFiles], scans: dict[str, Any]) -> None:
    """Write table and manifest of a folder of aligned or stripped cases, which make it a source.

    Args:
        out: the folder; holds a folder for each case, with its images.
        source: that the cases were made from.
        cases: of this source, that are finished.
        scans: for which predictions are written in their own format, as of `scans_of`.
    """
    images = {files.id: aligned_images(out / files.id, source.channels) for files in cases}
    channels = [name for name in source.channels if any(name in each for each in images.values())]
    attributes = list(dict.fromkeys(name for files in cases for name in files.attributes))
    further = [name for name in (LABEL, BRAIN) if any(name in each for each in images.values())]
    columns = [PATIENT, CASE, *channels, *further, *attributes]
    rows = [{PATIENT: files.patient, CASE: files.id} | files.attributes | images[files.id] for files in cases]
    write_text(out / TABLE, csv_text([columns, *([row.get(name) for name in columns] for row in rows)]))
    write_manifest(out, source, channels, scans)


def write_manifest(out: Path, source: Source, channels: Sequence[str], scans: dict[str, Any]) -> None:
    """Write the manifest of a folder of aligned or stripped cases, which names the folder as such before it is finished.

    Args:
        out, source, scans: as of `write_aligned`.
        channels: that a case has.
    """
    schema = None if source.schema is None else source.schema.to_dict()
    write_json(out / MANIFEST, {"format": FORMAT, "channels": list(channels), "schema": schema, "source": scans})


def scans_of(source: Source) -> dict[str, Any]:
    """Place and options of a source, by which it is opened again, for a manifest."""
    options = {item.name: cli.as_dict(getattr(source.config, item.name)) for item in fields(SourceConfig)}
    options |= {"layout": source.layout, "channels": source.channels}
    if source.config.series is not None:
        options["series"] = str(find_config(source.config.series).resolve())
    return {"path": str(source.root.resolve()), "options": options}
