from pathlib import Path

import pytest

from common.errors import Problems, UserError
from data_prep.sources.dicom_patients import find_patients, named_patients
from data_prep.sources.dicom_rules import DicomRules, SeriesRule
from tests.dicom_files import blob, write_series
from tests.scans import write_rows

SHAPE = (6, 5, 2)


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def named(root, **options):
    patients = named_patients(
        find_patients(root, files(root), options.get("patients", "auto")),
        DicomRules(channels={"t1": SeriesRule()}, **options),
        root / "rules.yaml",
    )
    return {patient.folder.name: patient for patient in patients}


def test_a_sub_folder_is_a_patient(tmp_path):
    write_series(tmp_path / "anna" / "a", blob(SHAPE), patient="1")
    write_series(tmp_path / "bea", blob(SHAPE), patient="2")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("x")
    found = named(tmp_path)
    assert sorted(found) == ["anna", "bea"]
    assert [len(patient.index.series) for patient in found.values()] == [1, 1]


def test_one_study_is_one_patient_whatever_its_folders(tmp_path):
    write_series(tmp_path / "t1", blob(SHAPE), description="t1")
    write_series(tmp_path / "t2", blob(SHAPE), description="t2")
    (patient,) = find_patients(tmp_path, files(tmp_path))
    assert (patient.folder, len(patient.index.series)) == (tmp_path, 2)


def test_mr_and_ct_of_two_days_are_one_patient_but_not_of_unnamed_persons(tmp_path):
    for modality, study in (("MR", "1.2.1"), ("CT", "1.2.2")):
        write_series(tmp_path / "named" / modality, blob(SHAPE), modality=modality, StudyInstanceUID=study, key=modality)
        options = {"modality": modality, "StudyInstanceUID": study, "key": modality, "patient": ""}
        write_series(tmp_path / "unnamed" / modality, blob(SHAPE), **options)
    (patient,) = find_patients(tmp_path / "named", files(tmp_path / "named"))
    assert (patient.folder, len(patient.index.series)) == (tmp_path / "named", 2)
    assert len(find_patients(tmp_path / "unnamed", files(tmp_path / "unnamed"))) == 2


def test_an_export_is_divided_by_patient_id(tmp_path):
    for patient in ("7", "8"):
        write_series(tmp_path / "DICOM" / patient, blob(SHAPE), patient=patient)
    found = find_patients(tmp_path, files(tmp_path))
    assert [(patient.number, len(patient.index.series)) for patient in found] == [("7", 1), ("8", 1)]
    write_series(tmp_path / "DICOM" / "none", blob(SHAPE), patient="", StudyInstanceUID="1.2.3")
    with pytest.raises(UserError, match="some without PatientID; expected a sub-folder"):
        find_patients(tmp_path, files(tmp_path))


def test_ids_are_hashes_that_a_salt_changes(tmp_path):
    write_series(tmp_path / "ANNA MEIER", blob(SHAPE), patient="4711")
    write_series(tmp_path / "BEA MEIER", blob(SHAPE), patient="4712")
    plain, salted = (named(tmp_path, salt=salt) for salt in ("", "secret"))
    ids = {patient.case for patient in [*plain.values(), *salted.values()]}
    assert len(ids) == 4
    assert all(len(case) == 11 and case.isalnum() for case in ids)
    assert {patient.case for patient in named(tmp_path).values()} == {patient.case for patient in plain.values()}


def test_visits_of_one_person_are_cases_of_one_patient(tmp_path):
    for visit in ("before", "after"):
        write_series(tmp_path / visit, blob(SHAPE), patient="4711", StudyInstanceUID=f"1.2.{len(visit)}", key=visit)
    found = list(named(tmp_path).values())
    assert len({patient.case for patient in found}) == 2
    assert len({patient.patient for patient in found}) == 1


def test_ids_may_be_folders_or_numbers(tmp_path):
    write_series(tmp_path / "anna m", blob(SHAPE), patient="47/11")
    write_series(tmp_path / "bea", blob(SHAPE), patient="48")
    assert sorted(patient.case for patient in named(tmp_path, ids="folder").values()) == ["anna_m", "bea"]
    assert sorted(patient.case for patient in named(tmp_path, ids="patient_id").values()) == ["47_11", "48"]
    write_series(tmp_path / "anna_m", blob(SHAPE), patient="49")
    with pytest.raises(Problems, match=r"anna m: duplicate case id anna_m, which /.*/anna_m has too"):
        named(tmp_path, ids="folder")


def test_a_table_gives_ids_and_attributes(tmp_path):
    for name in ("anna", "bea", "cleo"):
        write_series(tmp_path / "scans" / name, blob(SHAPE), patient=name[0])
    root = tmp_path / "scans"

    def by(rows):
        write_rows(root.parent / "ids.csv", rows)
        rules = DicomRules(channels={"t1": SeriesRule()}, table=Path("ids.csv"))
        return named_patients(find_patients(root, files(root)), rules, tmp_path / "rules.yaml")

    rows = [
        {"folder": "anna", "case_id": "P1_a", "patient_id": "P1", "grade": "2"},
        {"folder": "bea", "case_id": "P2", "patient_id": "", "grade": ""},
    ]
    found = by(rows)
    assert [(patient.case, patient.patient, patient.attributes) for patient in found] == [
        ("P1_a", "P1", {"grade": "2"}),
        ("P2", "P2", {}),
    ]
    assert [patient.case for patient in by([{"dicom_patient_id": "c", "case_id": "P3"}])] == ["P3"]
    for wrong, message in (
        ([{"folder": "anna"}], "expected columns case_id, and folder or dicom_patient_id; received folder"),
        ([{"folder": "x", "case_id": "P1"}], "received none that fits"),
        ([{"folder": "anna", "case_id": "P1"}] * 2, "expected one row for each patient; received 2"),
        ([{"folder": "anna", "case_id": "", "grade": "2"}], "case id '': expected a name for files"),
        ([{"folder": "anna", "case_id": "a/b"}], "case id 'a/b': expected a name for files"),
        ([{"folder": n, "case_id": "P1"} for n in ("anna", "cleo")], "anna: duplicate case id P1, which .*cleo has too"),
    ):
        with pytest.raises(UserError, match=message):
            by(wrong)


def test_the_rules_may_say_what_a_patient_is(tmp_path):
    for name, number, modality in (("anna", "ANON", "MR"), ("bea", "ANON", "CT"), ("cleo", "7", "MR"), ("cleo", "8", "CT")):
        write_series(tmp_path / name / modality, blob(SHAPE), modality=modality, patient=number, key=name)
    found = named(tmp_path, patients="folder")
    assert sorted(found) == ["anna", "bea", "cleo"]
    assert len({patient.patient for patient in found.values()}) == 3
    assert len(find_patients(tmp_path, files(tmp_path), "id")) == 3
    write_series(tmp_path, blob(SHAPE), patient="9")
    with pytest.raises(UserError, match="expected each patient in a sub-folder; received files beside them"):
        find_patients(tmp_path, files(tmp_path), "folder")


def test_folders_that_are_taken_as_one_patient_are_warned_of(tmp_path):
    for modality, study in (("MR", "1.2.1"), ("CT", "1.2.2")):
        write_series(tmp_path / modality, blob(SHAPE), modality=modality, StudyInstanceUID=study, key=modality)
    (patient,) = find_patients(tmp_path, files(tmp_path))
    (line,) = patient.warnings
    assert "2 studies in 2 folders, of one PatientID, are taken as one patient; `patients: folder`" in line


def test_a_damaged_file_belongs_to_the_patients_of_its_folder(tmp_path):
    for number in ("7", "8"):
        write_series(tmp_path / "DICOM" / number, blob(SHAPE), patient=number)
    slice_of_7 = write_series(tmp_path / "DICOM" / "7", blob(SHAPE), patient="7", key="b")[0]
    (tmp_path / "DICOM" / "junk").mkdir()
    junk = tmp_path / "DICOM" / "junk" / "x.dcm"
    junk.write_bytes(slice_of_7.read_bytes()[:400])
    slice_of_7.write_bytes(slice_of_7.read_bytes()[:400])
    seven, eight = find_patients(tmp_path, files(tmp_path))
    assert (list(seven.index.damaged), list(eight.index.damaged)) == ([slice_of_7], [])
    assert [str(junk) in " ".join(patient.warnings) for patient in (seven, eight)] == [True, True]


def test_rows_and_patients_without_the_other_are_named(tmp_path):
    for number in "123":
        write_series(tmp_path / "scans" / number, blob(SHAPE), patient=number)
    write_rows(tmp_path / "table.csv", [{"dicom_patient_id": number, "case_id": f"c{number}"} for number in ("1", "02")])
    (patient,) = named(tmp_path / "scans", table="../table.csv").values()
    assert [line.partition("table.csv: ")[2] for line in patient.warnings] == [
        "2 patients of 3 left out: no row fits",
        "1 row fit no patient: c02",
    ]
