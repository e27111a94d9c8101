"""Building one case of the records: read, prepare, write the shard and its augmented copies, commit by JSON.

Worker processes import this module, so it imports no framework.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import checksum, write_json
from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import Augmentation, AugmentConfig, case_rng, draw
from data_prep.labels import LabelSchema
from data_prep.leakage.voxel_checksum import voxel_checksums
from data_prep.prepare import PrepareConfig, Prepared, prepare
from data_prep.records.folder import case_path
from data_prep.records.manifests import read_case
from data_prep.records.shard import write_shard
from data_prep.scans.case import Case, CaseFiles
from data_prep.scans.unusual import Doubts, case_doubts
from data_prep.sources import Source


@dataclass(frozen=True)
class BuiltCase:
    """Facts about a built case that may be worth a warning.

    Attributes:
        tumour_lost: share of the tumour's voxels that the crop cut off.
        constant: channel, or `label`, whose voxels all have one value -> value.
        brain_unknown: `crop: brain` found no brain: there is no mask, and voxels that are not zero reach all sides.
        unusual: further properties, as of `data_prep.scans.unusual`.
    """

    tumour_lost: float
    constant: dict[str, float]
    brain_unknown: bool
    unusual: Doubts = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """Builder of cases of the records; is sent to worker processes.

    Attributes:
        source: of the cases.
        schema: of its label ids.
        records: the folder to write into.
        preparation, augmentation: configs.
        copies: case id -> number of its augmented copies.
        seed: of the augmented copies.
        voxels: case -> `voxel_checksums` of its images, where they are known.
    """

    source: Source
    schema: LabelSchema
    records: Path
    preparation: PrepareConfig
    augmentation: AugmentConfig
    copies: dict[str, int]
    seed: int
    voxels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def build(self, files: CaseFiles) -> BuiltCase:
        """Write a case and its copies, but those that are there already."""
        copies = range(self.copies.get(files.id, 0) + 1)
        lacking = [copy for copy in copies if not case_path(self.records, files.id, copy, ".json").is_file()]
        if lacking:
            case = self.source.read(files)
            prepared = prepare(case, self.schema, self.preparation)
            if prepared.label is None:
                raise UserError(f"{files.id}: has no label; records need one")
            if 0 in lacking:
                self._write(case, prepared, 0, None)
            for copy in filter(None, lacking):
                augmentation = draw(self.augmentation, case_rng(self.seed, files.id, copy), len(case.channels))
                image, label = apply(
                    augmentation,
                    prepared.image,
                    prepared.label,
                    unit_range=self.preparation.unit_range,
                    spacing_mm=prepared.geometry.spacing_mm,
                )
                self._write(case, replace(prepared, image=image, label=label), copy, augmentation)
        original = read_case(case_path(self.records, files.id, 0, ".json"))
        unusual = original.get("unusual", {})
        return BuiltCase(original["tumour_lost"], original["constant"], original.get("brain_unknown", False), unusual)

    def _write(self, case: Case, prepared: Prepared, copy: int, augmentation: Augmentation | None) -> None:
        """Write the shard, then the JSON file that commits it."""
        files, preparation = case.files, self.preparation
        finds_brain = preparation.needs_background and preparation.crop != "brain"  # of a crop `brain_unknown` says it
        unusual = case_doubts(case, preparation.is_clipped, finds_brain) if copy == 0 else {}
        shard = case_path(self.records, files.id, copy, ".tfrecord")
        layout = write_shard(shard, prepared.image, prepared.label, files.id, copy)
        record = {
            "id": files.id,
            "patient": files.patient,
            "copy": copy,
            "attributes": files.attributes,
            "missing": case.missing,
            "constant": case.constant,
            **prepared.grid.to_dict(),
            "scaling": {name: asdict(scaling) for name, scaling in prepared.scaling.items()},
            "tumour_lost": prepared.tumour_lost,
            **({"brain_unknown": True} if prepared.brain_unknown else {}),
            **({"unusual": unusual} if unusual else {}),
            "augmentation": None if augmentation is None else asdict(augmentation),
            "sources": source_state(files),
            **({"voxel_checksums": self.voxels.get(files.id) or voxel_checksums(case.channels)} if copy == 0 else {}),
            "layout": asdict(layout),
            "voxels": _voxels(prepared.label, len(self.schema.classes), layout.slices),
            "brain": np.count_nonzero(prepared.inside, axis=(1, 2)).tolist(),
        }
        write_json(case_path(self.records, files.id, copy, ".json"), record)


def source_state(files: CaseFiles) -> list[dict[str, Any]]:
    """Path (of an anonymous case its place), size and CRC-32C of each of a case's files, to detect changes of the source."""
    return [
        {
            "path": f"{files.id}/file {place}" if files.anonymous else str(path.resolve()),
            "bytes": path.stat().st_size,
            "crc32c": int(checksum(path), 16),
        }
        for place, path in enumerate(files.paths, 1)
    ]


def _voxels(label: np.ndarray | None, classes: int, slices: int) -> list[list[int]]:
    """Annotated voxels per slice and class."""
    if label is None:
        return [[0] * classes for _ in range(slices)]
    counts = [np.bincount(plane.ravel(), minlength=256) for plane in label]
    return [[int(count[1 << c]) for c in range(classes)] for count in counts]
