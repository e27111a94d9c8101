"""Source of aligned scans, as `data_prep.align` writes them: a table, an image per channel, and the way back to the scanner."""

from dataclasses import replace
from pathlib import Path

from common.files import read_json
from data_prep.alignment.case import scanner_resampling
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.scans.case import CaseFiles
from data_prep.sources.base import SourceConfig
from data_prep.sources.table import TableSource

MANIFEST = "align.json"


class AlignedSource(TableSource):
    """Folder of aligned cases; its manifest holds the channels and the label schema of the source that was aligned."""

    layout = "aligned"
    looks_for = f"a folder with {MANIFEST}, made by data_prep.align"
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
        """Resampling from the scanner's grid of the channel on which the annotation was drawn."""
        return scanner_resampling(self.root / files.id)
