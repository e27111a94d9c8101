"""Patients of a folder of DICOM: which files belong to whom, and under which id they leave the source."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from common.errors import Problems, UserError
from common.tables import counted, read_rows
from data_prep.scans.dicom import DicomIndex, index_files
from data_prep.sources.base import id_problem
from data_prep.sources.dicom_rules import DicomRules, Division

FOLDER, NUMBER, CASE, PATIENT = "folder", "dicom_patient_id", "case_id", "patient_id"  # columns of the table
DIGITS = 10  # of a hash


@dataclass(frozen=True)
class DicomPatient:
    """Patient of a source: files of one folder, or of one PatientID.

    Attributes:
        folder: that holds the files.
        number: PatientID; empty where the files have none.
        index: content of the files.
        warnings: about the files as a whole, a line each; several patients may have the same ones.
        case, patient: ids under which they leave the source.
        attributes: of the table.
    """

    folder: Path
    number: str
    index: DicomIndex
    warnings: tuple[str, ...] = ()
    case: str = ""
    patient: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def find_patients(root: Path, paths: Sequence[Path], division: Division = "auto") -> list[DicomPatient]:
    """Patients below a folder, without ids.

    Args:
        root: the folder.
        paths: of its files.
        division: folder: each sub-folder is a patient; id: each PatientID is one; auto: a folder is one patient where all of
            its series are of one study, or of one PatientID and each modality of one study (MR of one day, CT of another).
            Else each sub-folder is a patient, or a visit of one, unless it holds several PatientIDs, as the folders of an
            export with DICOMDIR may; then each PatientID is a patient.

    Raises:
        UserError: a file lies beside the patients' folders, or files without PatientID among those of several patients.
    """
    index = index_files(paths, "reading DICOM headers")
    known = {series.patient_id for series in index.series}
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        below = path.relative_to(root).parts
        folders[root / below[0] if len(below) > 1 else root].append(path)
    if division == "auto" and _is_one_patient(index):
        return [DicomPatient(root, next(iter(known), ""), index, tuple(_doubts(root, index)))]
    indexed = {folder: index_files(files) for folder, files in folders.items()}
    numbers = {folder: {series.patient_id for series in found.series} for folder, found in indexed.items()}
    if division == "folder" and numbers.get(root):
        raise UserError(f"{root}: patients: folder: expected each patient in a sub-folder; received files beside them")
    if division == "folder" or (
        division == "auto" and not numbers.get(root) and all(len(found) < 2 for found in numbers.values())
    ):
        return [
            DicomPatient(folder, next(iter(numbers[folder])) if len(numbers[folder]) == 1 else "", found, tuple(_empty(found)))
            for folder, found in indexed.items()
            if found.series or found.damaged
        ]
    if "" in known:
        raise UserError(f"{root}: files of several patients, some without PatientID; expected a sub-folder for each patient")
    return [DicomPatient(root, number, *_of_patient(index, number)) for number in sorted(known)]


def named_patients(patients: list[DicomPatient], rules: DicomRules, where: Path) -> list[DicomPatient]:
    """Patients with their ids, by the table or as the rules say.

    Args:
        patients: as found.
        rules: `ids`, `salt` and `table`.
        where: file of the rules, to which the table's path is relative.

    Raises:
        UserError: the table lacks a column, or has no row or several for a patient, or an id that names no file.
        Problems: several patients get the same case id.
    """
    if rules.table is not None:
        return _different_ids(_by_table(patients, where.parent / rules.table))
    named = []
    numbers = [patient.number for patient in patients]
    for patient in patients:
        folder = patient.folder.resolve().name
        by_folder = rules.patients == "folder"
        person = folder if by_folder else patient.number or folder
        visit = not by_folder and numbers.count(patient.number) > 1  # several folders of one person
        if rules.ids == "hash":
            of_person = _hash(rules.salt, person)
            case = _hash(rules.salt, person, folder) if visit else of_person
        else:
            of_person = _file_name(person if rules.ids == "patient_id" else folder)
            case = _file_name(f"{person}_{folder}") if visit and rules.ids == "patient_id" else of_person
        named.append(replace(patient, case=case, patient=of_person))
    return _different_ids(named)


def _different_ids(patients: list[DicomPatient]) -> list[DicomPatient]:
    """The patients, whose case ids must differ.

    Raises:
        Problems: those of some do not.
    """
    same: defaultdict[str, list[str]] = defaultdict(list)
    folders = Counter(patient.folder for patient in patients)
    for patient in patients:
        path = patient.index.series[0].frames[0].path if patient.index.series else patient.folder
        same[patient.case].append(str(patient.folder if folders[patient.folder] == 1 else path))
    lines = [
        f"{first}: duplicate case id {case}, which {', '.join(others)} has too; give each its own, such as by a table's case_id"
        for case, (first, *others) in same.items()
        if others
    ]
    if lines:
        raise Problems(lines, f"{counted(len(lines), 'case id')} of several patients each")
    return patients


def _by_table(patients: list[DicomPatient], table: Path) -> list[DicomPatient]:
    """Patients with the ids and attributes of a table's rows; those without a row are left out, with a warning at the first."""
    rows = read_rows(table)
    keys = [name for name in (FOLDER, NUMBER) if rows and name in rows[0]]
    if not keys or CASE not in rows[0]:
        received = ", ".join(rows[0]) if rows else "no row"
        raise UserError(f"{table}: expected columns {CASE}, and {FOLDER} or {NUMBER}; received {received}")
    named: list[DicomPatient] = []
    used: list[dict[str, str]] = []
    for patient in patients:
        own = {FOLDER: patient.folder.resolve().name, NUMBER: patient.number}
        found = [row for row in rows if all(row[key] in ("", own[key]) for key in keys) and any(row[key] for key in keys)]
        if len(found) > 1:
            raise UserError(f"{table}: expected one row for each patient; received {len(found)} for case {found[0][CASE]}")
        if found:
            (row,) = found
            attributes = {name: value for name, value in row.items() if value and name not in (FOLDER, NUMBER, CASE, PATIENT)}
            if problem := id_problem(row[CASE]):
                raise UserError(f"{table}: {problem}")
            named.append(replace(patient, case=row[CASE], patient=row.get(PATIENT) or row[CASE], attributes=attributes))
            used.append(row)
    if not named:
        raise UserError(f"{table}: expected rows of the patients found, by {' and '.join(keys)}; received none that fits")
    lines = []
    if left_out := len(patients) - len(named):
        lines.append(f"{table}: {counted(left_out, 'patient')} of {len(patients)} left out: no row fits")
    if unused := [row for row in rows if row not in used]:
        listed = ", ".join(row[CASE] for row in unused[:5])
        lines.append(f"{table}: {counted(len(unused), 'row')} fit no patient: {listed}{' ...' if len(unused) > 5 else ''}")
    return [replace(named[0], warnings=(*named[0].warnings, *lines)), *named[1:]]


def _is_one_patient(index: DicomIndex) -> bool:
    """True for series of one study, or of one PatientID and each modality of one study."""
    studies = {(series.modality, series.study_uid) for series in index.series}
    numbers = {series.patient_id for series in index.series}
    one_of_each = len(studies) == len({modality for modality, _ in studies})
    return len(numbers) < 2 and (one_of_each if any(numbers) else len({study for _, study in studies}) < 2)


def _doubts(root: Path, index: DicomIndex) -> Iterator[str]:
    """Warnings about a folder that is taken as one patient, a line each."""
    yield from _empty(index)
    studies = {series.study_uid for series in index.series}
    folders = {series.frames[0].path.relative_to(root).parts[0] for series in index.series}
    if len(studies) > 1 and len(folders) > 1:
        yield (
            f"{root}: {len(studies)} studies in {len(folders)} folders, of one PatientID, are taken as one patient; "
            "`patients: folder` in the rules makes each folder one (--series)"
        )


def _empty(index: DicomIndex) -> Iterator[str]:
    """Warning about files of no bytes."""
    if index.empty:
        others = f", as {counted(len(index.empty) - 1, 'other file')}" if len(index.empty) > 1 else ""
        yield f"{index.empty[0]}: empty{others}; if it is a slice of a series, fetch it again"


def _of_patient(index: DicomIndex, number: str) -> tuple[DicomIndex, tuple[str, ...]]:
    """Part of an index that belongs to a PatientID, and warnings about damaged files that belong to nobody.

    A damaged file belongs to the patients that have slices in its folder. What else belongs to nobody goes with all.
    """
    series = [each for each in index.series if each.patient_id == number]
    folders = {frame.path.parent for each in series for frame in each.frames}
    own = {path: line for path, line in index.damaged.items() if path.parent in folders}
    annotations = [header for header in index.annotations if header.patient_id == number]
    others = tuple(line for path, line in index.damaged.items() if path not in own)
    return replace(index, series=series, annotations=annotations, damaged=own), (*_empty(index), *others)


def _hash(salt: str, *words: str) -> str:
    """Short keyed hash of words."""
    key = blake2b(salt.encode()).digest()
    return f"p{blake2b('|'.join(words).encode(), key=key, digest_size=DIGITS // 2).hexdigest()}"


def _file_name(text: str) -> str:
    """Text without characters that a file name cannot have."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text).lstrip(".") or "_"
