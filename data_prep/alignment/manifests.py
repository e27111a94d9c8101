"""Schema of the JSON files of aligned and stripped scans: of a case, and of the folder."""

from pathlib import Path
from typing import Any

from common.manifests import CONTENT, Fields, ListOf, MapOf, Maybe, Number, Text, checked, read_manifest
from data_prep.grid.manifests import RESAMPLING

FORMAT = 1
ADVICE = "remove it and call the command that wrote it again"
_IMAGE = Fields(
    {"resampling": RESAMPLING},
    {"origin": Text(("reference", "headers", "source", "registration")), "before": Maybe(Number()), "after": Maybe(Number())},
)
CASE = Fields(
    {},
    {
        "sources": Text(least=1),
        "files": MapOf(Text(least=1)),
        "warnings": ListOf(Text()),
        "images": MapOf(_IMAGE),
        "label_channel": Maybe(Text(least=1)),
        "scanner_grid": Maybe(RESAMPLING),
        "millilitres": Number(0),
        "annotation_inside": Maybe(Number(0, 1)),
    },
)
FOLDER = Fields(
    {
        "channels": ListOf(Text(least=1), least=1),
        "schema": Maybe(Fields({"name": Text()})),
        "source": Fields({"path": Text(least=1), "options": Fields({"layout": Text(least=1)})}),
    }
)


def read_case_facts(path: Path) -> dict[str, Any]:
    """Content of a case's JSON file.

    Raises:
        UserError: it cannot be read, or a value of another type.
    """
    values: dict[str, Any] = read_manifest(path, "case of aligned scans", CASE, advice=ADVICE)
    return values


def read_folder_facts(path: Path) -> dict[str, Any]:
    """Content of the manifest of a folder of such cases; errors as of `read_case_facts`."""
    values: dict[str, Any] = read_manifest(path, "manifest of aligned scans", FOLDER, FORMAT, ADVICE)
    return values


def scanner_resampling_of(facts: dict[str, Any], path: Path) -> Any:
    """Resampling from the scanner's grid of the channel on which the annotation was drawn, as it is stored; None without one.

    Raises:
        UserError: the file names no such channel.
    """
    if "scanner_grid" in facts:
        return facts["scanner_grid"]
    channel = facts.get("label_channel")
    images = checked(facts.get("images"), Fields({str(channel): CONTENT}), f"{path}: images", ADVICE)
    return images[channel].get("resampling")
