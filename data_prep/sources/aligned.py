"""Source of aligned scans, as `data_prep.align` writes them: a table, an image per channel, and the way back to the scanner."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.errors import UserError
from common.files import read_json
from common.tables import counted
from data_prep.alignment.case import read_label_channel, scanner_resampling
from data_prep.grid.resampling import Resampling
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans.case import CaseFiles
from data_prep.sources import layout_class, open_source
from data_prep.sources.base import SourceConfig
from data_prep.sources.table import TableSource
from data_prep.sources.volume_source import VolumeSource

MANIFEST = "align.json"


class AlignedSource(TableSource):
    """Folder of aligned cases; its manifest holds the channels, the label schema and the place of the scans that were aligned.

    Predictions on a scanner's grid are also written in the format of these scans, if they have one of their own (DICOM SEG) and
    are still there.
    """

    layout = "aligned"
    looks_for = f"a folder with {MANIFEST}, made by data_prep.align"
    implies_schema = True

    def __init__(self, root: Path, config: SourceConfig) -> None:
        self._manifest: dict[str, Any] = read_json(root / MANIFEST, "manifest of aligned scans")
        super().__init__(root, replace(config, channels=config.channels or self._manifest["channels"]))
        self.config = config
        if config.labels == "auto" and self._manifest["schema"] is not None:
            self.schema = LabelSchema.from_dict(self._manifest["schema"], root / MANIFEST)
        self._not_written: dict[str, str] = {}

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder by its manifest."""
        return (root / MANIFEST).is_file()

    def scanner_grid(self, files: CaseFiles) -> Resampling | None:
        """Resampling from the scanner's grid of the channel on which the annotation was drawn."""
        return scanner_resampling(self.root / files.id)

    @cached_property
    def scans(self) -> VolumeSource | None:
        """Source of the scans that were aligned, where predictions have a format of its own; else None.

        Raises:
            UserError: it is not there any more, or cannot be read.
        """
        stored = self._manifest.get("source")
        if stored is None or not layout_class(stored["options"]["layout"]).writes_predictions:
            return None
        options: SourceConfig = cli.from_dict(SourceConfig, stored["options"], self.root / MANIFEST)
        source = open_source(Path(stored["path"]), options)
        assert isinstance(source, VolumeSource)
        return source

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
            ids: (i, j, k) on the grid of `scanner_grid`.
            folder: of predictions, not of this source.
            schema: of the ids; None: that of this source.
            channel: the one that was annotated, whatever is given.

        Returns:
            Files written; none where the scans are not there any more, of which `prediction_warnings` has a line.
        """
        drawn, grid = read_label_channel(self.root / files.id), scanner_resampling(self.root / files.id)
        try:
            if self.scans is None:
                return []
            scan = next((each for each in self.scans.cases() if each.id == files.id), None)
            if scan is None:
                raise UserError(f"{self.scans.root}: case {files.id} is not there any more")
            own = self.scans.image_grid(scan, drawn)
            if own.distance_mm(Grid(grid.shape, np.asarray(grid.affine))) > self.config.tolerance_mm:
                raise UserError(f"{self.scans.root}: case {files.id}: {drawn} has another grid than the scan that was aligned")
            return self.scans.write_prediction(scan, ids, folder, schema or self.schema, drawn)
        except UserError as error:
            self._not_written[files.id] = str(error).splitlines()[0]
            return []

    def prediction_warnings(self) -> list[str]:
        """One warning where predictions are NIfTI alone although the scans that were aligned have a format of their own."""
        if not self._not_written:
            return []
        count, reason = counted(len(self._not_written), "case"), next(iter(self._not_written.values()))
        return [f"no DICOM SEG for {count}, NIfTI alone ({reason})"]
