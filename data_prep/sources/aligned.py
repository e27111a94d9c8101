"""Source of aligned or stripped scans, as `data_prep.align` and `data_prep.skull_strip` write them.

A table, a folder per case with an image per channel, and the way back to the scanner.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.files import read_json, write_json, write_text
from data_prep.alignment.case import aligned_images, scanner_resampling
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.scans.case import BRAIN, LABEL, CaseFiles
from data_prep.sources.base import Source, SourceConfig
from data_prep.sources.table import CASE, PATIENT, TABLE, TableSource

MANIFEST = "align.json"
FORMAT = 1


class AlignedSource(TableSource):
    """Folder of aligned or stripped cases; its manifest holds channels and label schema of the source that it was made from."""

    layout = "aligned"
    looks_for = f"a folder with {MANIFEST}, made by data_prep.align or data_prep.skull_strip"
    implies_schema = True

    def __init__(self, root: Path, config: SourceConfig) -> None:
        manifest = read_json(root / MANIFEST, "manifest of aligned scans")
        super().__init__(root, replace(config, channels=config.channels or manifest["channels"]))
        self.config = config
        if config.labels == "auto" and manifest["schema"] is not None:
            self.schema = LabelSchema.from_dict(manifest["schema"], root / MANIFEST)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder by its manifest."""
        return (root / MANIFEST).is_file()

    def scanner_grid(self, files: CaseFiles) -> Resampling | None:
        """Resampling from the scanner's grid of the channel on which the annotation was drawn; None where it is that grid."""
        return scanner_resampling(self.root / files.id)


def write_aligned(out: Path, source: Source, cases: Sequence[CaseFiles]) -> None:
    """Write table and manifest of a folder of aligned or stripped cases, which make it a source.

    Args:
        out: the folder; holds a folder for each case, with its images.
        source: that the cases were made from.
        cases: of this source, that are finished.
    """
    images = {files.id: aligned_images(out / files.id, source.channels) for files in cases}
    attributes = list(dict.fromkeys(name for files in cases for name in files.attributes))
    further = [name for name in (LABEL, BRAIN) if any(name in each for each in images.values())]
    text = io.StringIO()
    columns = [PATIENT, CASE, *source.channels, *further, *attributes]
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for files in cases:
        writer.writerow({PATIENT: files.patient, CASE: files.id} | files.attributes | images[files.id])
    write_text(out / TABLE, text.getvalue())
    schema = None if source.schema is None else source.schema.to_dict()
    write_json(out / MANIFEST, {"format": FORMAT, "channels": source.channels, "schema": schema})
