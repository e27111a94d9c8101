"""Records: a folder of prepared cases, with manifest.

RECORDS/config.yaml            options of the build
        cases/ID.tfrecord      one case's slices (`shard.py`), and cases/ID.copy1.tfrecord its augmented copies
        cases/ID.json          properties of the case; written after its shard, it commits the case
        train.txt ...          ids of each subset, one a line, for the --cases of other commands
        croissant.json         description for catalogues of data sets (`croissant.py`)
        dataset.json           schema, channels, split and folds, the list of cases; written last, it commits the records
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np

from common import cli
from common.errors import UserError, did_you_mean_path
from common.files import checksum
from data_prep.categories import known_attributes
from data_prep.grid.geometry import Geometry, Triple
from data_prep.grid.prepared_grid import PreparedGrid
from data_prep.labels import LabelSchema
from data_prep.leakage.same_scans import ScanChecksums
from data_prep.prepare import PrepareConfig
from data_prep.records.manifests import read_case, read_dataset
from data_prep.records.shard import ADVICE, Shard
from data_prep.split import Split

MANIFEST = "dataset.json"
Item = tuple[str, int]
"""A shard of the records: case id, and 0 for the original or the number of the augmented copy."""
FileState = tuple[int, int] | None
"""Inode, size and time of change of a file; None: there is none."""


@dataclass(frozen=True)
class CaseRecord:
    """Properties of a case, from its JSON file.

    Attributes:
        id, patient: of the case.
        copy: 0 for the original, else the number of the augmented copy.
        attributes: of the patient, such as grade.
        grid: transform between native and prepared grid.
        voxels: (slices, classes) int64, annotated voxels per slice and class.
        brain: (slices,) int64, voxels inside the stored mask of the original, else those that are non-zero in any channel.
        tumour_lost: share of the tumour's voxels that the crop cut off.
        layout: of the shard.
        missing: channels that the case lacks, stored as zeros.
        stored: channels whose voxels were stored, in the order of the images; None in older records.
        scan: checksums of the source files and, of an original, of their images; older records have none of images.
    """

    id: str
    patient: str
    copy: int
    attributes: dict[str, str]
    grid: PreparedGrid
    voxels: np.ndarray
    brain: np.ndarray
    tumour_lost: float
    layout: dict[str, Any]
    missing: list[str]
    stored: list[str] | None
    scan: ScanChecksums

    @property
    def geometry(self) -> Geometry:
        """Exact part of `grid`: orientation and crop."""
        return self.grid.geometry

    @property
    def tumour_slices(self) -> np.ndarray:
        """Slices with tumour, (slices,) bool: those with an annotated voxel of any class but background."""
        return np.asarray(self.voxels[:, 1:].any(axis=1))

    @property
    def shape(self) -> Triple:
        """Slices, rows and columns."""
        return self.layout["slices"], self.layout["height"], self.layout["width"]

    @classmethod
    def read(cls, path: Path, expected: str | None = None) -> Self:
        """Read a case's JSON file.

        Args:
            path: the file.
            expected: its checksum; None: that of old records, which have none.

        Raises:
            UserError: the file is missing or damaged.
        """
        if not path.is_file():
            raise UserError(f"{path}: case of the records is missing; {ADVICE}")
        if expected not in (None, checksum(path)):
            raise UserError(f"{path}: case of the records is damaged; {ADVICE}")
        values = read_case(path)
        return cls(
            id=values["id"],
            patient=values["patient"],
            copy=values["copy"],
            attributes=known_attributes(values["attributes"]),
            grid=PreparedGrid.from_dict(values),
            voxels=np.asarray(values["voxels"], np.int64),
            brain=np.asarray(values["brain"], np.int64),
            tumour_lost=values["tumour_lost"],
            layout=values["layout"],
            missing=values["missing"],
            stored=list(values["scaling"]) if "scaling" in values else None,
            scan=ScanChecksums(
                values["id"],
                frozenset((entry["bytes"], entry["crc32c"]) for entry in values["sources"]),
                frozenset(values.get("voxel_checksums", {}).values()),
            ),
        )


class Records:
    """Open records, read only.

    Args:
        path: the folder.
        channels: names of the channels of the images, in this order; None: all, as they are stored.

    Raises:
        UserError: no records there, an unfinished build, another format, or a channel that they lack.
    """

    def __init__(self, path: Path, channels: Sequence[str] | None = None) -> None:
        self.path = path
        manifest = path / MANIFEST
        if not manifest.is_file():
            state = "an unfinished build; run make_records again to finish it" if (path / "cases").is_dir() else "no records"
            raise UserError(
                f"{path}: expected records (a folder with {MANIFEST}, made by glioskull make_records); found {state}"
                f"{did_you_mean_path(path)}"
            )
        values = read_dataset(manifest)
        self.schema = LabelSchema.from_dict(values["schema"], manifest)
        self.stored_channels: list[str] = values["channels"]
        self.channels = self.stored_channels if channels is None else list(channels)
        unknown = [name for name in self.channels if name not in self.stored_channels]
        if unknown or len(set(self.channels)) < len(self.channels) or not self.channels:
            raise UserError(
                f"{path}: expected different channels of {', '.join(self.stored_channels)}; "
                f"received {', '.join(self.channels) or 'none'}"
            )
        self.split: Split = values["split"]
        self.folds: list[Split] = values["folds"]
        self.copies: int = values["copies"]
        self.source: dict[str, Any] = values["source"]
        self.preparation: PrepareConfig = cli.from_dict(PrepareConfig, values["preparation"], manifest)
        self._checksums: dict[str, list[int]] = values["cases"]
        self._properties: dict[str, list[str]] = values.get("properties", {})
        self._verified: dict[Item, FileState] = {}
        self._open = lru_cache(maxsize=4096)(self._open_shard)

    @cached_property
    def cases(self) -> dict[str, CaseRecord]:
        """Properties by case id, originals alone, in the order of the manifest."""
        return {case: self._read_case(case, 0) for case in self._checksums}

    @property
    def fingerprint(self) -> str:
        """Checksum of content and division: equal for equal shards, classes, channels, preparation, split and folds."""
        division = (self.split, self.folds)  # a run that goes on with other patients has seen those that it is tested on
        content = repr((self._checksums, self.schema.to_dict(), self.stored_channels, self.preparation.to_dict(), division))
        return f"{google_crc32c.value(content.encode()):08x}"

    def spacing_bounds(self, cases: Sequence[str]) -> dict[str, list[float]] | None:
        """Smallest and largest prepared voxel sizes (z, y, x) of some cases, `low` and `high`; None where one has none."""
        sizes = [self.cases[case].grid.spacing_mm for case in cases]
        if not sizes or None in sizes:
            return None
        table = np.array(sizes, np.float64)
        return {"low": table.min(axis=0).round(6).tolist(), "high": table.max(axis=0).round(6).tolist()}

    def case(self, case: str, copy: int = 0) -> CaseRecord:
        """Properties of a case or of one of its augmented copies; those of a copy are read anew."""
        return self.cases[case] if copy == 0 else self._read_case(case, copy)

    def checksum(self, case: str) -> str:
        """Checksum of a case: equal for equal stored voxels, channels and preparation, whatever else the records hold."""
        content = repr((self._checksums[case][0], self.channels, self.preparation.to_dict()))
        return f"{google_crc32c.value(content.encode()):08x}"

    def shard(self, case: str, copy: int = 0) -> Shard:
        """Shard of a case or of one of its augmented copies, with the chosen channels; opened shards are kept open.

        Raises:
            UserError: at its first opening: the shard is missing, damaged, or that of another build.
        """
        return self._open(case, copy)

    def refuse_changed(self) -> None:
        """Refuse to go on where a shard was deleted or changed after it was opened.

        Raises:
            UserError: names the file.
        """
        for (case, copy), before in list(self._verified.items()):
            path = case_path(self.path, case, copy, ".tfrecord")
            if (now := file_state(path)) != before:
                raise UserError(f"{path}: shard was {'deleted' if now is None else 'changed'} while it was in use; {ADVICE}")

    def copies_of(self, case: str) -> int:
        """Number of augmented copies of a case; cases for test have none."""
        return len(self._checksums[case]) - 1

    def items_of(self, cases: Sequence[str], copies: bool) -> list[Item]:
        """Shards of some cases, case by case: the originals, or with `copies` each original and its augmented copies."""
        return [(case, copy) for case in cases for copy in range((self.copies_of(case) if copies else 0) + 1)]

    def subset(self, name: str, fold: int | None = None) -> list[str]:
        """Case ids of `train`, `validation` or `test`, those of a fold if one is given.

        Raises:
            UserError: there is no such subset or fold.
        """
        if fold is not None and not self.folds:
            raise UserError(
                f"{self.path}: expected records with folds (make_records --split.folds 5) for fold {fold}; found none"
            )
        if fold is not None and not 0 <= fold < len(self.folds):
            raise UserError(f"{self.path}: expected a fold of 0..{len(self.folds) - 1}; received {fold}; see --split.folds")
        split = self.split if fold is None or name == "test" else self.folds[fold]
        if name not in split:
            raise UserError(f"{self.path}: expected a subset of {', '.join(split)}; received {name}")
        return split[name]

    def _read_case(self, case: str, copy: int) -> CaseRecord:
        """Properties of a case or of a copy, from its JSON file, which is compared with its checksum."""
        checksums = self._properties.get(case)
        path = case_path(self.path, case, copy, ".json")
        record = CaseRecord.read(path, None if checksums is None else checksums[copy])
        expected = [name for name in self.stored_channels if name not in record.missing]
        if record.stored not in (None, expected):
            raise UserError(
                f"{path}: holds the channels {', '.join(record.stored)}; {MANIFEST} says {', '.join(expected)}; "
                f"put {MANIFEST} back, or build the records again elsewhere"
            )
        return record

    def _open_shard(self, case: str, copy: int) -> Shard:
        """Shard of a case, by the layout in its JSON file; at its first opening all of its checksums are compared."""
        record = self.case(case, copy)
        channels = tuple(self.stored_channels.index(name) for name in self.channels)
        as_stored = self.channels == self.stored_channels and record.layout["dtype"] == "float16"
        shard = Shard.open(case_path(self.path, case, copy, ".tfrecord"), record.layout, None if as_stored else channels)
        state = file_state(shard.path)
        if self._verified.get((case, copy)) != state:
            shard.verify(self._checksums[case][copy])
            self._verified[case, copy] = state
        return shard


def file_state(path: Path) -> FileState:
    """Size and time of change of a file, which differ where it was changed or replaced; None where there is none.

    Its inode is left out: file systems in user space and network shares number an unchanged file anew.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def case_path(records: Path, case: str, copy: int, suffix: str) -> Path:
    """Path of a case's shard (`.tfrecord`) or properties (`.json`)."""
    return records / "cases" / f"{case}{f'.copy{copy}' if copy else ''}{suffix}"
