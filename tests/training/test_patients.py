"""Tests of the patients that a run stores."""

import shutil
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.leakage.same_scans import ScanChecksums
from data_prep.records.folder import Records
from tests.conftest import SMALL
from tests.training.runs import SHORT, TOY
from training.patients import RunCase, _refuse_same_scans, read_patients
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
    assert first.scan.files == {(entry["bytes"], entry["crc32c"]) for entry in sources}
    assert len(first.scan.voxels) == len(opened.channels)
    assert (list(known.began_with), known.unknown) == ([], "")


def test_a_run_without_the_list_is_known_by_its_records(trained, tmp_path):
    older = shutil.copytree(trained, tmp_path / "run")
    (older / "patients.json").unlink()
    assert read_patients(Run(older)) == read_patients(Run(trained))


def test_a_run_knows_the_patients_of_the_run_that_it_began_with(command, train, whole, tmp_path):
    first = shutil.copytree(whole, tmp_path / "first")
    done = train(tmp_path / "out", *SHORT, "--init_from", first, "--fold", 1)
    assert done.status == 0, done.err
    assert f"trained {first}, with which this run begins, such as " in done.err
    shutil.rmtree(first)
    resumed = command("training.train", "--resume", tmp_path / "out", "--extend", 1)
    assert resumed.status == 0, resumed.err
    known = read_patients(Run(tmp_path / "out"))
    assert list(known.began_with) == [str(first)]
    before = read_patients(Run(whole))
    assert list(known.training[-len(before.training) :]) == list(before.training)
    assert {case.fold for case in known.training} == {1, *(case.fold for case in before.training)}


def test_a_scan_that_trains_in_one_folder_and_validates_in_another_is_refused(command, records, source, tmp_path):
    first = Records(records)
    trained, validating = first.subset("train")[0], first.subset("validation")[0]
    others = [case for case in first.cases if case not in (trained, validating)]
    (tmp_path / "split.yaml").write_text(f"train: {[validating]}\nvalidation: {[trained]}\ntest: {others}\n")
    made = command(
        "data_prep.make_records", "--source", source, "--out", tmp_path / "r", "--split.file", tmp_path / "split.yaml", *SMALL
    )
    assert made.status == 0, made.err
    both = ("--records", records, tmp_path / "r", "--out", tmp_path / "run")
    done = command("training.train", *both, *TOY, *SHORT)
    assert (done.status, len(done.errors)) == (2, 1)
    assert f"{validating} is for validation, and the same scan trains as {validating} of {tmp_path / 'r'}" in done.err
    assert not (tmp_path / "run").exists()


def test_ids_that_train_in_one_folder_and_validate_in_another_are_warned_about(records, capsys):
    folder, other = (SimpleNamespace(records=SimpleNamespace(path=name, checksum=lambda case: case)) for name in "ab")
    seen = [RunCase("p", "c1", "a", None, ScanChecksums("c1", frozenset({(1, 2)})))]
    _refuse_same_scans(folder, seen, other, [RunCase("p", "c2", "b", None, ScanChecksums("c2", frozenset({(3, 4)})))])
    assert "warning: 1 validation patient of a have the id of one that trains in b, such as p; " in capsys.readouterr().err
    with pytest.raises(UserError, match="c1 is for validation, and the same scan trains as c3 of b"):
        _refuse_same_scans(
            folder, seen, other, [RunCase("q", "c3", "b", None, ScanChecksums("c3", frozenset({(1, 2), (5, 6)})))]
        )
    with pytest.raises(UserError, match="c1 is for validation, and the same scan trains as c1 of b"):  # equal voxels
        _refuse_same_scans(folder, seen, other, [RunCase("q", "c1", "b", None, ScanChecksums("c1", frozenset({(7, 8)})))])


def test_a_damaged_list_is_one_line(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    entry = {"patient": "a", "case": "b", "fold": None, "records": 7, "files": []}
    write_json(run / "patients.json", {"format": 1, "training": [entry], "validation": []})
    with pytest.raises(UserError, match=r"patients.json: training\[0\].records: expected"):
        read_patients(Run(run))


@pytest.mark.parametrize("change", [lambda cases: [], lambda cases: cases[1:]])
def test_a_list_that_was_shortened_is_refused(trained, tmp_path, change):
    run = shutil.copytree(trained, tmp_path / "run")
    values = read_json(run / "patients.json", "patients")
    write_json(run / "patients.json", values | {"training": change(values["training"])})
    with pytest.raises(UserError, match=r"patients.json: .*expected .*; copy the run again from where it is whole"):
        read_patients(Run(run))
