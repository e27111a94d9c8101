"""Consistency of a folder of records, finished or not, with config, scans, split and schema."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from common.errors import Problems
from common.files import refuse_foreign
from common.manifests import CONTENT, MapOf, read_manifest
from data_prep.labels import LabelSchema
from data_prep.records.build import source_state
from data_prep.records.folder import MANIFEST, case_path
from data_prep.records.manifests import read_dataset, read_sources
from data_prep.scans.case import CaseFiles
from data_prep.split import Split

ADVICE = "choose another --out, or delete the folder to build anew"


def refuse_other_config(records: Path, settings: dict[str, Any], what: str = "records", free: Collection[str] = ()) -> None:
    """Refuse a folder with other files, or records that were begun with another config.

    Args:
        records: the folder; may be empty.
        settings: all that determines the records' content, as in `config.yaml`.
        what: noun of the content, in errors.
        free: settings at the top that may differ.

    Raises:
        UserError: the folder holds other files.
        Problems: a line per setting that differs.
    """
    before = records / "config.yaml"
    if not before.is_file():
        refuse_foreign(records, f"the {what}")
        return
    stored = read_manifest(before, f"config of the {what}", MapOf(CONTENT), advice=ADVICE)
    now = settings | {name: stored.get(name) for name in free}
    lines = [f"{records}: {line}" for line in _differences(stored, now)]
    if lines:
        raise Problems(lines, f"these {what} were begun with another config; {ADVICE}")


def refuse_other_scans(records: Path, cases: list[CaseFiles], unread: Collection[str] = ()) -> None:
    """Refuse records whose built cases no longer fit the scans.

    Args:
        records: the folder, finished or not.
        cases: of the source, as they are now.
        unread: ids of cases whose JSON file is damaged.

    Raises:
        Problems: a line per file or case.
    """
    lines = [line for case in cases if case.id not in unread for line in _changed_files(records, case)]
    if (records / MANIFEST).is_file():
        built, now = set(read_dataset(records / MANIFEST)["cases"]), {case.id for case in cases}
        lines += [f"{case}: is in the source now, and was not when the records were built" for case in sorted(now - built)]
        lines += [f"{case}: is in the records, and no longer in the source" for case in sorted(built - now)]
    if lines:
        raise Problems(lines, f"{records}: built from other scans; {ADVICE}")


def refuse_other_files(records: Path, split: Split, schema: LabelSchema) -> None:
    """Refuse finished records whose split file or label schema has been edited since.

    Raises:
        Problems: a line per subset, and one for the schema.
    """
    if not (records / MANIFEST).is_file():
        return
    before = read_dataset(records / MANIFEST)
    lines = [f"{records}: the split's `{name}` names other cases now" for name in split if split[name] != before["split"][name]]
    if schema.to_dict() != before["schema"]:
        lines.append(f"{records}: the label schema {schema.name} has changed")
    if lines:
        raise Problems(lines, f"{records}: built otherwise; {ADVICE}")


def _changed_files(records: Path, case: CaseFiles) -> Iterator[str]:
    """A line per file of a built case that was added, removed or changed."""
    facts = case_path(records, case.id, 0, ".json")
    if not facts.is_file():
        return
    before = {entry["path"]: entry for entry in read_sources(facts)}
    now = {entry["path"]: entry for entry in source_state(case)}
    for path in sorted(before | now):
        if path not in before or path not in now:
            yield f"{path}: was {'added' if path in now else 'removed'} since {case.id} was built"
        elif before[path] != now[path]:
            yield f"{path}: has changed since {case.id} was built"


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """A line per value that differs between two nested dicts."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield f"{name} was {before!r} and is now {now!r}"
