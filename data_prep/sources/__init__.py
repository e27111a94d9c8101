"""Sources of scans: one reader per layout, and `open_source`, which recognises the layout."""

from importlib import import_module
from pathlib import Path

from common.errors import UserError, did_you_mean_path
from data_prep.labels import LabelSchema
from data_prep.sources.base import Source, SourceConfig
from data_prep.sources.walk import content_words

__all__ = ["LAYOUTS", "Source", "SourceConfig", "layout_class", "open_source"]

# Layouts with a manifest of their own come before those that are recognised by the names of files, the plainest names last.
LAYOUTS = {
    "aligned": "data_prep.sources.aligned:AlignedSource",
    "table": "data_prep.sources.table:TableSource",
    "msd": "data_prep.sources.msd:MsdSource",
    "brats": "data_prep.sources.brats:BratsSource",
    "kaggle_3m": "data_prep.sources.kaggle_3m:Kaggle3mSource",
    "vestibular_schwannoma": "data_prep.sources.vestibular_schwannoma:VestibularSchwannomaSource",
    "dicom": "data_prep.sources.dicom:DicomSource",
}


def open_source(root: Path, config: SourceConfig | None = None, expected: LabelSchema | None = None) -> Source:
    """Open a source of scans, in the layout that is named or recognised.

    Args:
        root: the folder (a CSV file for the layout `table`).
        config: options of reading.
        expected: schema of annotations in a layout that implies none (`table`), where `labels` is auto, such as a run's.

    Raises:
        UserError: not found, no layout recognised, or an invalid description of the data.
        Problems: duplicate case ids, all of them listed.
    """
    config = config or SourceConfig()
    source = _open(Path(root), config)
    if config.series is not None and source.layout != "dicom":
        other = ", or read the folder by --layout dicom" if layout_class("dicom").recognises(source.root) else ""
        raise UserError(f"--series: belongs to layout dicom, and {root} has layout {source.layout}; leave it out{other}")
    if expected is not None and config.labels == "auto" and source.schema is not None and not source.implies_schema:
        source.schema = expected
    return source


def _open(root: Path, config: SourceConfig) -> Source:
    """Source in the layout that is named or recognised, with the schema that its layout implies."""
    if not root.exists():
        raise UserError(f"{root}: source not found; expected a folder of scans or a CSV table{did_you_mean_path(root)}")
    try:
        empty = root.is_dir() and not any(root.iterdir())
    except OSError as error:
        raise UserError(f"{root}: source cannot be read ({error.strerror})") from None
    if empty:
        raise UserError(f"{root}: empty folder; expected scans in one of the layouts {', '.join(sorted(LAYOUTS))}")
    if config.layout == "auto":
        layouts = [layout_class(name) for name in LAYOUTS]
        found = next((layout for layout in layouts if layout.recognises(root)), None)
        if found is None:
            kind = "folder" if root.is_dir() else "file"
            looked_for = "; ".join(f"{layout.layout}: {layout.looks_for}" for layout in layouts)
            held = content_words(root) if root.is_dir() else ""
            raise UserError(f"{root}: no layout recognised in this {kind}; looked for {looked_for} (--layout names one){held}")
        return found(root, config)
    chosen = layout_class(config.layout)
    if not chosen.recognises(root):
        raise UserError(f"{root}: layout {config.layout} looks for {chosen.looks_for}; found none")
    return chosen(root, config)


def layout_class(name: str) -> type[Source]:
    """Class of a layout, by its name in `LAYOUTS`."""
    module, attribute = LAYOUTS[name].split(":")
    loaded: type[Source] = getattr(import_module(module), attribute)
    return loaded
