"""Inspection of finished records: every fault of their bytes, counts, labels, intensities and division, a line each.

Faults of bytes come from `verification`; whatever is whole is read once, shard by shard, for the rest.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from common.files import read_json
from common.progress import progress
from data_prep.labels import LabelSchema
from data_prep.leakage.comparison import alike_heads, alike_patients
from data_prep.leakage.fingerprint import Fingerprint, fingerprint
from data_prep.records.folder import MANIFEST, CaseRecord, Records, case_path
from data_prep.records.image_view import network_input
from data_prep.records.shard import Shard
from data_prep.records.verification import damaged_shards
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.split import Split

LARGEST = 100.0  # intensity that a scaling to 0..1, z-scores and medians of tissue stay far below
REBUILD = "build the records again"


def faults_of_records(records: Records) -> tuple[list[str], list[str]]:
    """Faults of records, and warnings about patients that may be one; a line each, with what to do."""
    manifest = read_json(records.path / MANIFEST, "records")
    items, names = records.items_of(list(manifest["cases"]), copies=True), records.channels
    damaged = damaged_shards(records.path, items, manifest)
    faults = [damage.problem for damage in damaged.values()]
    facts: dict[str, CaseRecord] = {}
    prints: dict[str, Fingerprint] = {}
    with progress(len(items), "inspecting records", "shard") as bar:
        for case, copy in items:
            if (case, copy) not in damaged:
                record = CaseRecord.read(case_path(records.path, case, copy, ".json"))
                shard = Shard.open(case_path(records.path, case, copy, ".tfrecord"), record.layout)
                faults += [f"{shard.path}: {fault}; {REBUILD}" for fault in shard_faults(record, shard, records.schema)]
                if copy == 0:
                    facts[case] = record
                    image = network_input(np.asarray(shard.image))
                    prints[case] = fingerprint({name: image[..., c].astype(np.float32) for c, name in enumerate(names)})
            bar.update()
    patients = {case: record.patient for case, record in facts.items()}
    faults += [f"{records.path}: {fault}" for fault in division_faults(records, manifest["cases"], patients)]
    cases = [CaseFiles(case, patients[case], dict.fromkeys(prints[case].voxels, ImageRef(records.path))) for case in facts]
    faults += [f"{records.path}: {line}" for line in _equal_cases(records, cases, [prints[case] for case in facts])]
    return faults, [*alike_patients(cases), *alike_heads(cases, list(prints.values()))]


def shard_faults(record: CaseRecord, shard: Shard, schema: LabelSchema) -> Iterator[str]:
    """Faults of the voxels of a shard whose bytes are whole."""
    label = np.asarray(shard.label)
    counts = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in label])
    allowed = [0, *(1 << c for c in range(len(schema.classes)))]
    wrong = [value for value in range(256) if value not in allowed and counts[:, value].any()]
    if wrong:
        classes = len(schema.classes)
        yield f"expected labels of one of {classes} classes in each voxel; received the bits {', '.join(map(bin, wrong[:3]))}"
    stored = counts[:, [1 << c for c in range(len(schema.classes))]]
    if record.voxels.shape != stored.shape or (record.voxels != stored).any():
        yield f"expected {record.voxels.sum()} annotated voxels, as its JSON file counts; received {stored.sum()}, or others"
    image = network_input(np.asarray(shard.image))
    if not np.isfinite(image).all():
        yield f"expected finite intensities; received {np.count_nonzero(~np.isfinite(image))} others"
    elif (largest := float(np.abs(image).max(initial=0))) > LARGEST:
        yield f"expected scaled intensities of at most {LARGEST:g}; received {largest:g}"


def division_faults(records: Records, known: Collection[str], patients: Mapping[str, str]) -> Iterator[str]:
    """Faults of the split and of the folds: patients on two sides, cases on none, copies of test cases.

    Args:
        records: whose division it is.
        known: ids of all cases.
        patients: case -> patient, of those that can be read.
    """
    divisions = {"split": records.split} | {f"fold {number}": fold for number, fold in enumerate(records.folds)}
    for name, division in divisions.items():
        yield from _shared_patients(name, division, patients)
    everywhere = {case for cases in records.split.values() for case in cases}
    if missing := sorted(set(known) - everywhere):
        yield f"split: {missing[0]} is in no subset ({len(missing)} such cases); {REBUILD}"
    for number, fold in enumerate(records.folds):
        tested = {patients[case] for case in records.split.get("test", []) if case in patients}
        inside = sorted({patients[case] for cases in fold.values() for case in cases if case in patients} & tested)
        if inside:
            yield f"fold {number}: patient {inside[0]} is for test and in the fold; {REBUILD}"
    for case in records.split.get("test", []):
        if records.copies_of(case):
            yield f"{case}: is for test and has augmented copies, which belong to training alone; {REBUILD}"


def _shared_patients(name: str, division: Split, patients: Mapping[str, str]) -> Iterator[str]:
    """Patients with cases on two sides of a division."""
    for one, other in combinations(division, 2):
        first, second = ({patients[case] for case in division[side] if case in patients} for side in (one, other))
        for patient in sorted(first & second):
            yield f"{name}: patient {patient} is in {one} and in {other}; correct --split.file, and build the records again"


def _equal_cases(records: Records, cases: Sequence[CaseFiles], prints: Sequence[Fingerprint]) -> Iterator[str]:
    """Patients with equal prepared voxels, the first of them with each other."""
    sides: defaultdict[str, list[str]] = defaultdict(list)
    for side, names in records.split.items():
        for case in names:
            sides[case].append(side)
    holders: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for files, each in zip(cases, prints, strict=True):
        for value in each.voxels.values():
            holders[value].setdefault(files.patient, files.id)
    pairs = {(first, other) for first, *others in (named.items() for named in holders.values()) for other in others}
    for (one, first), (other, second) in sorted(pairs):
        where = " and ".join("/".join(sides[case]) or "no subset" for case in (first, second))
        yield (
            f"patients {one} and {other} have the same voxels (cases {first} and {second}, in {where}); give both one patient "
            "id, or remove one, and build again"
        )
