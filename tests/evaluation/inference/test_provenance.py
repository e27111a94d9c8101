"""Cases that trained the runs behind predictions, and the state of those runs."""

from types import SimpleNamespace

import pytest

from evaluation.inference.provenance import (
    merge_training_cases,
    predicted_by,
    run_state,
    trained_patients,
    training_line,
)


def test_the_line_counts_patients_once_and_names_folds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = [{"records": f"{tmp_path}/rec", "fold": fold, "cases": cases} for fold, cases in ((0, ["a", "b"]), (1, ["b"]))]
    assert merge_training_cases([*entries, entries[1] | {"cases": ["c"]}])[1]["cases"] == ["b", "c"]
    patients = {"a": "p", "b": "q", "b2": "q", "x": "r"}
    assert trained_patients(entries, patients) == ["p", "q"]
    line = "trained these runs (records rec, fold 0 1): scores will be too good"
    assert training_line(entries, patients) == (f"2 of 3 patients {line}", True)
    assert training_line(entries, {"x": "r"}) == ("0 of 1 patient trained these runs, by the checksums of their scans", False)
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
