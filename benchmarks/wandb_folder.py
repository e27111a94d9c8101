"""Command: config, curves, summary and files of an offline run of Weights & Biases, read from its folder without a network.

    python -m benchmarks.wandb_folder --folder RUN/wandb/offline-run-DATE-ID

The file run-ID.wandb is a log of LevelDB's format: after 7 bytes blocks of 32 KiB, in them chunks with a header of 7 bytes
(checksum, length, kind: whole, first, middle, last). A record is a protobuf message of the package.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common import cli
from common.errors import MissingPackage, UserError

BLOCK, HEADER = 32768, 7
WHOLE, LAST = 1, 4


@dataclass(kw_only=True)
class WandbFolderConfig:
    """List what an offline run of Weights & Biases holds."""

    folder: Path
    """Folder of the run, such as RUN/wandb/offline-run-DATE-ID."""


@dataclass
class Offline:
    """Content of an offline run.

    Attributes:
        id: of the run.
        config: name -> value.
        rows: logged rows, key -> value.
        summary: key -> last value.
        files: paths of stored files, relative.
    """

    id: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def main(config: WandbFolderConfig) -> None:
    """Print the keys of a run."""
    run = read_folder(config.folder)
    rows = {key: sum(key in row for row in run.rows) for row in run.rows for key in row}
    print(f"run {run.id}, {len(run.rows)} rows")
    print("config: " + ", ".join(run.config))
    print("curves: " + ", ".join(f"{key} ({count})" for key, count in rows.items()))
    print("summary: " + ", ".join(f"{key} {value}" for key, value in run.summary.items() if not isinstance(value, dict)))
    print("files: " + ", ".join(run.files))


def read_folder(folder: Path) -> Offline:
    """Read an offline run.

    Raises:
        MissingPackage: wandb, which defines the messages, is not installed.
        UserError: no such folder.
    """
    if find_spec("wandb") is None:
        raise MissingPackage("wandb", "reading its folders")
    logs = sorted(folder.glob("run-*.wandb"))
    if not logs:
        raise UserError(f"{folder}: expected a folder with run-ID.wandb, such as RUN/wandb/offline-run-DATE-ID; found none")
    found = Offline()
    for record in records(logs[0]):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.id = record.run.run_id or found.id
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            found.rows.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            found.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "files":
            found.files += [file.path for file in record.files.files]
    return found


def records(path: Path) -> Iterator[Any]:
    """Messages of a log, in order; a log whose end was not written yields what is whole."""
    # The package takes the module of the installed protobuf's version, which type checkers cannot follow.
    message = import_module("wandb.proto.wandb_internal_pb2").Record
    content, at, parts = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield message.FromString(parts)
            parts = b""


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


if __name__ == "__main__":
    cli.run(main, WandbFolderConfig)
