"""Outputs of a folder and what they are of, so that those of another model or of other records are not overwritten."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json, remove_unfinished, write_json
from data_prep.records.folder import Records

FILE = "made_from.json"


@dataclass(frozen=True)
class Origin:
    """Origin of an output.

    Attributes:
        kind: such as run, records, predictions or source.
        key: equal for equal origins, also where the folder has been moved together with them.
        shown: path, for messages.
    """

    kind: str
    key: str
    shown: str


def folder_origin(kind: str, path: Path, out: Path) -> Origin:
    """Origin that is a folder or a file, known by its place as seen from the outputs."""
    return Origin(kind, os.path.relpath(path.resolve(), out.resolve()), str(path))


def records_origin(records: Records) -> Origin:
    """Origin that is a folder of records, known by its content."""
    return Origin("records", records.fingerprint, str(records.path))


def claim(out: Path, outputs: Mapping[str, Sequence[Origin]]) -> None:
    """Note what the outputs of a folder are of, before they are written; what a killed command left half written is removed.

    Args:
        out: the folder; outputs of other names that it holds stay.
        outputs: name of each output, such as scores or learning_curves -> its origins.

    Raises:
        UserError: the folder holds an output of that name that is of something else; nothing was written.
    """
    file = out / FILE
    stored = read_json(file, "origins of outputs") if file.is_file() else {}
    if not isinstance(stored, dict):
        raise UserError(f"{file}: expected the origins of outputs; received another file; remove it or choose another --out")
    for name, origins in outputs.items():
        before = stored.get(name)
        if before is not None and _keys(before) != _keys([vars(origin) for origin in origins]):
            raise UserError(f"{out}: holds {name} of {_shown(before)}; choose another --out, or remove them")
    noted = {name: [vars(origin) for origin in origins] for name, origins in outputs.items()}
    if any(stored.get(name) != origins for name, origins in noted.items()):
        write_json(file, stored | noted)
    remove_unfinished(out, deep=False)


def _keys(origins: Any) -> list[tuple[str, str]]:
    """Kinds and keys of stored origins; empty for another content."""
    listed = origins if isinstance(origins, list) else []
    return [(str(each.get("kind")), str(each.get("key"))) for each in listed if isinstance(each, dict)]


def _shown(origins: Any) -> str:
    listed = origins if isinstance(origins, list) else []
    return (
        " and ".join(f"{each.get('kind')} {each.get('shown')}" for each in listed if isinstance(each, dict)) or "something else"
    )
