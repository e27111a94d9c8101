"""Cases that trained the runs behind predictions, and the state of those runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prep.records.folder import Records
from data_prep.sources import open_source
from evaluation.inference.provenance import (
    find_training_cases,
    merge_training_cases,
    predicted_by,
    run_state,
    trained_patients,
    training_line,
    unknown_training,
)
from tests.conftest import write_source
from training.config import TrainConfig


def a_run(records, fold=None, split="patient"):
    """A run that was trained on records, or on a fold of them."""
    fingerprint = Records(records).fingerprint
    return SimpleNamespace(
        path=Path("run"),
        metadata={},
        records_paths=[records],
        config=TrainConfig(fold=fold, split=split),
        trained_on=lambda other: other.fingerprint == fingerprint,
    )


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_training_cases_are_those_of_the_subset_or_fold(records, source, fold):
    cases = open_source(source).cases()
    train = Records(records).subset("train", fold)
    assert 0 < len(train) < len(cases)
    found = find_training_cases([a_run(records, fold)] * 2, cases)
    assert found == [{"records": str(records), "fold": fold, "cases": sorted(train)}]
    others = [files for files in cases if files.id not in train]
    assert find_training_cases([a_run(records, fold)], others) == []


def test_a_split_by_slice_trains_on_validation_cases_too(records, source):
    (found,) = find_training_cases([a_run(records, split="slice")], open_source(source).cases())
    assert len(found["cases"]) == 4


def test_other_scans_of_the_same_ids_did_not_train(records, tmp_path):
    other = write_source(tmp_path / "other")
    for path in other.rglob("*.nii.gz"):  # the same names, other bytes
        path.write_bytes(path.read_bytes() + b"\0")
    assert find_training_cases([a_run(records)], open_source(other).cases()) == []


def test_records_that_are_gone_or_changed_leave_it_unknown(records, source, tmp_path):
    run = a_run(records)
    assert unknown_training([run]) == []
    run.records_paths = [tmp_path / "gone"]
    assert find_training_cases([run], open_source(source).cases()) == []
    assert unknown_training([run, run]) == [f"{tmp_path / 'gone'}: is no longer what run was trained on"]
    run.records_paths, run.trained_on = [records], lambda other: False
    assert find_training_cases([run], open_source(source).cases()) == []


def test_training_scans_under_another_name_are_found(records, source, tmp_path):
    (train, *_) = Records(records).subset("train")
    (found,) = source.glob(f"*/{train}")
    other = tmp_path / "HGG" / "renamed"
    other.mkdir(parents=True)
    for path in found.iterdir():
        (other / path.name.replace(train, "renamed")).write_bytes(path.read_bytes())
    (entry,) = find_training_cases([a_run(records)], open_source(tmp_path).cases())
    assert entry["cases"] == ["renamed"]


def test_the_line_counts_patients_once_and_names_folds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = [{"records": f"{tmp_path}/rec", "fold": fold, "cases": cases} for fold, cases in ((0, ["a", "b"]), (1, ["b"]))]
    assert merge_training_cases([*entries, entries[1] | {"cases": ["c"]}])[1]["cases"] == ["b", "c"]
    patients = {"a": "p", "b": "q", "b2": "q", "x": "r"}
    assert trained_patients(entries, patients) == ["p", "q"]
    line = "trained these runs (records rec, fold 0 1): scores will be too good"
    assert training_line(entries, patients) == (f"2 of 3 patients {line}", True)
    assert training_line(entries, {"x": "r"}) == ("0 of 1 patient trained these runs, by the files of their scans", False)
    assert training_line([], {"x": "r"}, ["rec: is gone"]) == (
        "whether 1 patient trained these runs is not known: rec: is gone",
        True,
    )
    assert "not known" in training_line([], {"x": "r"}, None)[0]


@pytest.mark.parametrize(
    ("status", "rows", "state"),
    [("stopped", 1, "stopped after 1 epoch"), ("finished", 2, "finished, 2 epochs"), ("running", 0, "running after 0 epochs")],
)
def test_the_state_of_a_run_has_its_epochs(tmp_path, status, rows, state):
    if rows:
        (tmp_path / "history.csv").write_text("epoch,loss\n" + "".join(f"{row},1\n" for row in range(rows)))
    assert run_state(SimpleNamespace(path=tmp_path, metadata={"status": status})) == state


def test_runs_are_named_with_their_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [str(tmp_path / "best"), "/elsewhere/other"]
    assert predicted_by(runs, ["stopped after 1 epoch", "finished, 2 epochs"]) == (
        "predicted by best (stopped after 1 epoch), /elsewhere/other (finished, 2 epochs)"
    )
    assert predicted_by(runs, []) == "predicted by best, /elsewhere/other"
