"""Prediction into a folder that holds predictions already, and of cases that trained the run."""

import csv
import json

from common.files import read_lines
from tests.evaluation.conftest import CASE
from tests.scans import scan, write_brats


def test_finished_cases_are_kept_and_stale_scores_removed(predict, command, source, tmp_path):
    out = tmp_path / "out"
    assert predict("--overlays", "true").status == 0
    assert command("evaluation.score", "--predictions", out, "--source", source).status == 0
    written = (out / f"{CASE}.nii.gz").stat().st_mtime_ns
    again = predict("--overlays", "true")
    assert (again.status, again.out) == (0, f"{out}: 1 of 1 case there already; --overwrite true predicts anew\n")
    assert ((out / f"{CASE}.nii.gz").stat().st_mtime_ns, (out / "scores" / "scores.json").is_file()) == (written, True)
    (out / "overlays" / f"{CASE}.png").unlink()  # a file that is missing is made anew
    done = predict("--overlays", "true")
    assert "there already" not in done.out
    assert (out / "overlays" / f"{CASE}.png").is_file()
    assert f"removed {out / 'scores'}" in done.out
    assert not (out / "scores").exists()
    done = predict("--overwrite", "true")
    assert (done.status, "there already" in done.out) == (0, False)
    assert (out / f"{CASE}.nii.gz").stat().st_mtime_ns > written


def test_cases_that_trained_the_run_are_a_warning_of_prediction_and_scores(predict, command, records, source, tmp_path):
    train, test = (read_lines(records / f"{name}.txt", "list") for name in ("train", "test"))
    words = f"1 of 2 patients trained these runs (records {records}): scores will be too good"
    (tmp_path / "both.txt").write_text(f"{train[0]}\n{test[0]}\n")
    done = predict("--cases", tmp_path / "both.txt")
    assert f"warning: {words}" in done.err
    stored = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert stored["training"] == [{"records": str(records), "fold": None, "cases": [train[0]]}]
    assert stored["states"] == ["finished, 2 epochs"]
    scored = command("evaluation.score", "--predictions", tmp_path / "out", "--source", source)
    assert f"warning: {words}" in scored.err
    assert f"predicted by {stored['runs'][0]} (finished, 2 epochs)" in scored.out
    assert json.loads((tmp_path / "out" / "scores" / "scores.json").read_text())["training"] == stored["training"]
    (tmp_path / "test.txt").write_text(f"{test[0]}\n")
    for done in (
        predict("--cases", tmp_path / "test.txt", out=tmp_path / "test"),
        command("evaluation.score", "--predictions", tmp_path / "test", "--source", source),
    ):
        assert (done.status, "trained these" in done.err) == (0, False)
        assert "0 of 1 patient trained these runs" in done.out
    rows = list(csv.DictReader((tmp_path / "out" / "scores" / "per_patient.csv").open()))
    assert {(row["patient"], row["trained"]) for row in rows} == {(train[0], "1"), (test[0], "0")}
    both = ("evaluation.compare", "--scores", tmp_path / "test", tmp_path / "out")
    refused = command(*both)
    assert refused.status == 2
    assert f"1 of 2 patients trained the runs of out, such as {train[0]}" in refused.err
    done = command(*both, "--seen_patients", "warn", "--out", tmp_path / "compared")
    assert (done.status, "scored on them: test 0 of 1, out 1 of 2." in done.out) == (0, True)
    rows = list(csv.DictReader((tmp_path / "compared" / "compare.csv").open()))
    assert {(row["name"], row["trained"]) for row in rows} == {("test", "0"), ("out", "1")}
    own_words = ("--records", records, "--subset", "train", "--out", tmp_path / "own")
    own = command("evaluation.score", "--run", stored["runs"][0], *own_words)
    assert "3 of 3 patients trained these runs" in own.err


def test_cases_of_another_source_are_not_added(predict, source, tmp_path):
    assert predict().status == 0
    other = write_brats(tmp_path / "other" / "HGG", [scan("stranger", shape=(18, 20, 8))]).parent
    (tmp_path / "stranger.txt").write_text("stranger\n")
    refused = predict("--source", other, "--cases", tmp_path / "stranger.txt")
    line = f"out: holds predictions of {source}, such as {CASE}, which is no case of {other}; choose another --out"
    assert (refused.status, len(refused.errors)) == (2, 1)
    assert refused.errors[0].endswith(line)
