"""Cases that trained the runs behind predictions, and the state of those runs."""

from types import SimpleNamespace

import pytest

from data_prep.records.folder import Records
from data_prep.sources import open_source
from evaluation.inference.provenance import (
    find_training_cases,
    merge_training_cases,
    predicted_by,
    run_state,
    training_warning,
)
from tests.conftest import write_source
from training.config import TrainConfig


def a_run(records, fold=None, split="patient"):
    """A run that was trained on records, or on a fold of them."""
    fingerprint = Records(records).fingerprint
    return SimpleNamespace(
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


def test_records_that_are_gone_or_changed_are_left_out(records, source, tmp_path):
    run = a_run(records)
    run.records_paths = [tmp_path / "gone"]
    assert find_training_cases([run], open_source(source).cases()) == []
    run.records_paths, run.trained_on = [records], lambda other: False
    assert find_training_cases([run], open_source(source).cases()) == []


def test_the_warning_counts_cases_once_and_names_folds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = [{"records": f"{tmp_path}/rec", "fold": fold, "cases": cases} for fold, cases in ((0, ["a", "b"]), (1, ["b"]))]
    assert merge_training_cases([*entries, entries[1] | {"cases": ["c"]}])[1]["cases"] == ["b", "c"]
    line = "trained these runs (records rec, fold 0 1): scores will be too good"
    assert training_warning(entries, ["a", "b", "x"]) == f"warning: 2 of 3 cases {line}"
    assert training_warning([entries[0] | {"fold": None}], ["a"]) == (
        "warning: 1 of 1 case trained these runs (records rec): scores will be too good"
    )
    assert training_warning(entries, ["x"]) is None


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
