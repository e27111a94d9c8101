"""Patients of a run: who trained it and who chose its epoch, those of the runs that it began with included.

RUN/patients.json holds them, so that a run alone says whom it has seen. Runs of earlier versions have none: there the records
are read, as long as they are what the run was trained on.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import checksum, write_json
from common.manifests import CONTENT, Fields, ListOf, Maybe, Text, Whole, read_manifest
from common.tables import counted
from data_prep.leakage.same_scans import ScanChecksums, ScanIndex
from data_prep.records.folder import Records
from data_prep.records.manifests import CRC
from training.config import HD_BET, TrainingConfig
from training.data.division import divide_cases
from training.data.mixture import FolderExamples, Mixture
from training.run import PATIENTS, Run, values_checksum
from training.run_facts import COPY_AGAIN

FORMAT = 1
_CASES = ListOf(
    Fields(
        {
            "patient": Text(least=1),
            "case": Text(least=1),
            "records": Text(least=1),
            "fold": Maybe(Whole(0)),
            "files": ListOf(ListOf(Whole(0), 2, 2)),
        },
        {"voxels": ListOf(Text(least=1))},
    )
)
SCHEMA = Fields(
    {"training": replace(_CASES, least=1), "validation": _CASES},
    {"began_with": ListOf(Text(least=1)), "unknown": Text(), "format": CONTENT},
)


@dataclass(frozen=True)
class RunCase:
    """Case that a run has seen.

    Attributes:
        patient, case: ids.
        records: path of the records folder.
        fold: of the records; None where the run was trained on their split.
        scan: checksums of its files and images.
    """

    patient: str
    case: str
    records: str
    fold: int | None
    scan: ScanChecksums

    def facts(self) -> dict[str, Any]:
        """Content for JSON."""
        own = {name: value for name, value in vars(self).items() if name != "scan"}
        return own | {"files": sorted(map(list, self.scan.files)), "voxels": sorted(self.scan.voxels)}


@dataclass(frozen=True)
class RunPatients:
    """Cases that a run has seen.

    Attributes:
        training: cases that trained it, or a run with whose weights it began.
        validation: cases by which its own epoch was chosen.
        began_with: runs or files whose weights were the first ones, in their order.
        unknown: reason why the lists may be incomplete; empty where they are known to be complete.
    """

    training: Sequence[RunCase]
    validation: Sequence[RunCase]
    began_with: Sequence[str] = field(default_factory=list)
    unknown: str = ""


def write_patients(run: Path, config: TrainingConfig, data: Mixture) -> None:
    """Write the patients of a run that begins, with those of the run whose weights it takes."""
    training, validation = [], []
    for folder in data.folders:
        training += run_cases(folder.records, folder.train, config.fold)
        validation += run_cases(folder.records, folder.validation, config.fold)
    began_with, unknown = [], ""
    if config.init_from is not None:
        began_with.append(str(config.init_from))
        if config.init_from != HD_BET:
            before = read_patients(Run(config.init_from))
            training += before.training
            began_with += before.began_with
            unknown = before.unknown
    values = {
        "format": FORMAT,
        "training": [each.facts() for each in training],
        "validation": [each.facts() for each in validation],
        "began_with": began_with,
        "unknown": unknown,
    }
    write_json(run / PATIENTS, values)


def check_validation_patients(config: TrainingConfig, data: Mixture) -> None:
    """Refuse validation scans of one records folder that train in another; warn of ids in both, and of an earlier training.

    A folder's own division is by patient. Nothing is compared in a slice split, whose scores are known to be too good.

    Raises:
        UserError: names both cases.
    """
    if config.split == "slice":
        return
    training = [run_cases(folder.records, folder.train, config.fold) for folder in data.folders]
    before = [] if config.init_from in (None, HD_BET) else read_patients(Run(config.init_from)).training
    earlier = index_scans(before)
    seen: set[str] = set()
    for folder in data.folders:
        validation = run_cases(folder.records, folder.validation, config.fold)
        for other, cases in zip(data.folders, training, strict=True):
            if other is not folder:
                _refuse_same_scans(folder, validation, other, cases)
        seen |= {case.patient for case in validation if earlier.find(case.scan)}
    if seen:
        print(
            f"warning: {counted(len(seen), 'validation patient')} trained {config.init_from}, with which this run begins, "
            f"such as {min(seen)}: validation scores will be too good",
            file=sys.stderr,
        )


def _refuse_same_scans(
    folder: FolderExamples, validation: Sequence[RunCase], other: FolderExamples, training: Sequence[RunCase]
) -> None:
    """Refuse validation scans that train in another folder, by their files, images or prepared voxels; warn of equal ids."""
    voxels = {other.records.checksum(case.case): case for case in training}
    index = index_scans(training)
    same = [(case, twin) for case in validation for twin in index.find(case.scan)]
    same += [(case, voxels[key]) for case in validation if (key := folder.records.checksum(case.case)) in voxels]
    if same:
        one, twin = same[0]
        raise UserError(
            f"{folder.records.path}: {one.case} is for validation, and the same scan trains as {twin.case} of "
            f"{other.records.path}; build both by one division (make_records --split.file), or leave one of them out"
        )
    if names := {case.patient for case in validation} & {case.patient for case in training}:
        print(
            f"warning: {counted(len(names), 'validation patient')} of {folder.records.path} have the id of one that trains in "
            f"{other.records.path}, such as {min(names)}; if they are one, build both by one division "
            "(make_records --split.file)",
            file=sys.stderr,
        )


def read_patients(run: Run) -> RunPatients:
    """Patients of a run, by its patients.json or, in a run without one, by its records and those of the runs before it.

    Raises:
        UserError: a damaged file.
    """
    file = run.path / PATIENTS
    if not file.is_file():
        return _patients_by_records(run)
    values = read_manifest(file, "patients of a run", SCHEMA, FORMAT, COPY_AGAIN)
    if not run.began_with(PATIENTS, values_checksum(values)):
        raise UserError(f"{file}: expected the patients that the run was trained on; received others; {COPY_AGAIN}")
    training, validation = ([_case(each) for each in values[name]] for name in ("training", "validation"))
    return RunPatients(training, validation, values.get("began_with", []), values.get("unknown", ""))


def run_cases(records: Records, cases: Sequence[str], fold: int | None) -> list[RunCase]:
    """Cases of records as a run stores them."""
    path = records.path.resolve()
    return [RunCase(records.cases[case].patient, case, str(path), fold, records.cases[case].scan) for case in cases]


def index_scans(cases: Iterable[RunCase]) -> ScanIndex[RunCase]:
    """Index of cases that a run has seen, by their scans."""
    return ScanIndex((case.scan, case) for case in cases)


def open_training_records(path: Path, run: Run) -> Records | None:
    """Records of a run where they still are what it was trained on; else None."""
    try:
        records = Records(path)
    except UserError:
        return None
    return records if run.trained_on(records) else None


def _case(values: dict[str, Any]) -> RunCase:
    files = frozenset((size, int(CRC.check(crc, "files"))) for size, crc in values["files"])
    scan = ScanChecksums(values["case"], files, frozenset(values.get("voxels", ())))
    return RunCase(values["patient"], values["case"], values["records"], values["fold"], scan)


def _patients_by_records(run: Run) -> RunPatients:
    """Patients of a run without patients.json."""
    training: list[RunCase] = []
    validation: list[RunCase] = []
    began_with: list[str] = []
    unknown = ""
    following: Run | None = run
    visited: set[Path] = set()
    while following is not None and following.path.resolve() not in visited:
        visited.add(following.path.resolve())
        if following is not run and (following.path / PATIENTS).is_file():
            known = read_patients(following)
            training += known.training
            began_with += known.began_with
            unknown = known.unknown or unknown
            break
        for path in following.records_paths:
            opened = open_training_records(path, following)
            if opened is None:
                unknown = f"{path}: is no longer what {following.path} was trained on"
                continue
            train, chosen_by = divide_cases(opened, following.config)
            training += run_cases(opened, train, following.config.fold)
            validation += run_cases(opened, chosen_by, following.config.fold) if following is run else []
        before, reason = _began_with(following)
        began_with += [before] if before else []
        unknown = reason or unknown
        following = Run(Path(before)) if before and (Path(before) / "run.json").is_file() and not reason else None
    return RunPatients(training, validation, began_with, unknown)


def _began_with(run: Run) -> tuple[str, str]:
    """Run or file whose weights a run began with, empty for none; and the reason why its patients are not known."""
    given = run.metadata.get("init_from")
    if given is None and run.config.init_from is None:
        return "", ""
    place = str(given["path"] if isinstance(given, dict) and "path" in given else given or run.config.init_from)
    path = Path(place)
    if not (path / "run.json").is_file():
        # Weights of others, such as a published file, have no records; a run that is gone had some.
        return place, "" if path.is_file() or not path.is_absolute() else f"{path}: {run.path} began with it, and it is gone"
    stored = given.get("checksum") if isinstance(given, dict) else None
    if stored is not None and stored != checksum(Run(path).weights):
        return place, f"{path}: {run.path} began with other weights than it has now"
    return place, ""
