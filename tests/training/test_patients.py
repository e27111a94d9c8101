"""Tests of the patients that a run stores."""

import shutil

import pytest

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.records.folder import Records
from tests.training.runs import SHORT
from training.patients import read_patients
from training.run import Run


def ids(cases):
    return [case.case for case in cases]


def test_a_run_stores_its_training_and_validation_patients(trained, records):
    opened, known = Records(records), read_patients(Run(trained))
    assert ids(known.training) == opened.subset("train")
    assert ids(known.validation) == opened.subset("validation")
    first = known.training[0]
    assert (first.patient, first.records, first.fold) == (opened.cases[first.case].patient, str(records.resolve()), None)
    sources = read_json(records / "cases" / f"{first.case}.json", "case")["sources"]
    assert first.files == {(entry["bytes"], entry["crc32c"]) for entry in sources}
    assert (list(known.began_with), known.unknown) == ([], "")


def test_a_run_without_the_list_is_known_by_its_records(trained, tmp_path):
    older = shutil.copytree(trained, tmp_path / "run")
    (older / "patients.json").unlink()
    assert read_patients(Run(older)) == read_patients(Run(trained))


def test_a_run_knows_the_patients_of_the_run_that_it_began_with(train, whole, tmp_path):
    first = shutil.copytree(whole, tmp_path / "first")
    done = train(tmp_path / "out", *SHORT, "--init_from", first, "--fold", 1)
    assert done.status == 0, done.err
    shutil.rmtree(first)
    known = read_patients(Run(tmp_path / "out"))
    assert list(known.began_with) == [str(first)]
    before = read_patients(Run(whole))
    assert list(known.training[-len(before.training) :]) == list(before.training)
    assert {case.fold for case in known.training} == {1, *(case.fold for case in before.training)}


def test_a_damaged_list_is_one_line(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    entry = {"patient": "a", "case": "b", "fold": None, "records": 7, "files": []}
    write_json(run / "patients.json", {"format": 1, "training": [entry], "validation": []})
    with pytest.raises(UserError, match=r"patients.json: training\[0\].records: expected"):
        read_patients(Run(run))
