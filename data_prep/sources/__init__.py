"""Somebody's scans: one reader per layout, and `open_source`, which finds the right one."""

from importlib import import_module
from pathlib import Path

from common.errors import UserError
from data_prep.sources.base import Source, SourceConfig

__all__ = ["LAYOUTS", "Source", "SourceConfig", "open_source"]

# Layouts with a manifest of their own come before those that are recognised by the names of files, the plainest names last.
LAYOUTS = {
    "table": "data_prep.sources.table:TableSource",
    "msd": "data_prep.sources.msd:MsdSource",
    "brats": "data_prep.sources.brats:BratsSource",
    "kaggle_3m": "data_prep.sources.kaggle_3m:Kaggle3mSource",
}


def open_source(root: Path, config: SourceConfig | None = None) -> Source:
    """Open somebody's scans, in the layout that is named or recognised.

    Args:
        root: the folder (a CSV file for the layout `table`).
        config: how to read them.

    Raises:
        UserError: nothing there, no layout recognised, or the description of the data makes no sense.
        Problems: cases that cannot be told apart, all of them listed.
    """
    config = config or SourceConfig()
    root = Path(root)
    if not root.exists():
        raise UserError(f"{root}: source not found; expected a folder of scans or a CSV table")
    if root.is_dir() and _is_empty(root):
        raise UserError(f"{root}: empty folder; expected scans in one of the layouts {', '.join(sorted(LAYOUTS))}")
    if config.layout == "auto":
        return _recognised(root)(root, config)
    chosen = _load(config.layout)
    if not chosen.recognises(root):
        raise UserError(f"{root}: layout {config.layout} looks for {chosen.looks_for}; found none")
    return chosen(root, config)


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: source cannot be read ({error.strerror})") from None


def _recognised(root: Path) -> type[Source]:
    layouts = [_load(name) for name in LAYOUTS]
    found = next((layout for layout in layouts if layout.recognises(root)), None)
    if found is None:
        kind = "folder" if root.is_dir() else "file"
        looked_for = "; ".join(f"{layout.layout}: {layout.looks_for}" for layout in layouts)
        raise UserError(f"{root}: no layout recognised in this {kind}; looked for {looked_for} (--layout names one)")
    return found


def _load(name: str) -> type[Source]:
    module, attribute = LAYOUTS[name].split(":")
    loaded: type[Source] = getattr(import_module(module), attribute)
    return loaded
