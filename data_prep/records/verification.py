"""Verification of records: which shards, and JSON files of their cases, are missing, damaged or of another build.

Every byte of a shard is compared with its checksums (CRC-32C), which find damage by disks and copying, not forgery.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError
from common.files import checksum
from common.progress import progress
from data_prep.records.folder import MANIFEST, CaseRecord, Item, Records, case_path
from data_prep.records.manifests import read_dataset
from data_prep.records.shard import Shard


class Damage(NamedTuple):
    """Damage of a shard.

    Attributes:
        file: the shard or its JSON file.
        problem: in one line, which names the file.
    """

    file: Path
    problem: str


def damage_of_records(records: Records) -> list[str]:
    """A line per shard or JSON file of finished records that is missing, damaged or of another build."""
    manifest = read_dataset(records.path / MANIFEST)
    items = records.items_of(list(manifest["cases"]), copies=True)
    return [damage.problem for damage in damaged_shards(records.path, items, manifest).values()]


def damaged_shards(records: Path, items: Sequence[Item], manifest: Mapping[str, Any]) -> dict[Item, Damage]:
    """Shards that are not whole, or whose JSON file is not, with what is wrong.

    Args:
        records: the folder, finished or not.
        items: shards that it should hold.
        manifest: of finished records; empty before they are finished, when only what the JSON files state is compared.
    """
    found = {}
    with progress(len(items), "verifying records", "shard") as bar:
        for case, copy in items:
            if damage := _damage(records, (case, copy), manifest):
                found[case, copy] = damage
            bar.update()
    return found


def _damage(records: Path, item: Item, manifest: Mapping[str, Any]) -> Damage | None:
    """Damage of a shard or its JSON file; None where both are whole."""
    case, copy = item
    properties, shards = manifest.get("properties", {}).get(case), manifest.get("cases", {}).get(case)
    file = case_path(records, case, copy, ".json")
    try:
        record = CaseRecord.read(file, None if properties is None else properties[copy])
        file = case_path(records, case, copy, ".tfrecord")
        Shard.open(file, record.layout).verify(None if shards is None else shards[copy])
    except UserError as error:
        return Damage(file, str(error))
    return None


def properties_checksums(records: Path, copies: Mapping[str, int]) -> dict[str, list[str]]:
    """Checksums of the JSON files of each case and its copies, for the manifest.

    Args:
        records: the folder.
        copies: case id -> number of its augmented copies.
    """
    return {
        case: [checksum(case_path(records, case, copy, ".json")) for copy in range(count + 1)] for case, count in copies.items()
    }
