import shutil

import pytest

from common.errors import UserError
from common.files import write_text
from evaluation.reports.subject import CROSS_VALIDATION, find_subject


def test_predictions_and_the_runs_behind_them(predictions, trained):
    found = find_subject(predictions)
    assert (found.kind, found.name) == ("predictions", "tiny")
    assert list(found.predictions.values()) == [predictions]
    assert [run.path for run in found.runs.values()] == [trained.resolve()]


def test_a_run_and_predictions_that_are_given(predictions, trained):
    assert find_subject(trained).predictions == {}
    found = find_subject(trained, [predictions])
    assert (found.kind, list(found.predictions.values()), len(found.runs)) == ("run", [predictions], 1)


def test_scores_of_a_run_on_slices_belong_to_it(trained, records, command, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    assert command("evaluation.score", "--run", run, "--records", records).status == 0
    assert find_subject(run).slices == {"test": run / "scores_test"}


def test_predictions_that_are_given_twice_count_once(predictions):
    assert len(find_subject(predictions, [predictions]).predictions) == 1


def test_a_cross_validation_has_its_folds_in_order(predictions, trained, tmp_path):
    write_text(tmp_path / "cross_validation.yaml", "train: {}\n")
    for fold in (10, 2):
        shutil.copytree(trained, tmp_path / f"fold{fold}")
    (tmp_path / "fold3").mkdir()
    shutil.copytree(trained, tmp_path / "fold_old")
    write_text(tmp_path / "scores" / "classification_scores.json", "{}")
    shutil.copytree(predictions, tmp_path / "predictions")
    found = find_subject(tmp_path)
    assert (found.kind, list(found.runs)) == (CROSS_VALIDATION, ["fold 2", "fold 10"])
    assert list(found.predictions.values()) == [tmp_path / "predictions"]
    assert (found.classes, found.slices) == ({"scores": tmp_path / "scores"}, {})


def test_a_comparison_finds_what_it_compared(predictions, tmp_path, command):
    other = shutil.copytree(predictions, tmp_path / "other")
    out = tmp_path / "comparison"
    done = command("evaluation.compare", "--scores", predictions, other, "--seen_patients", "warn", "--out", out)
    assert done.status == 0, done.err
    found = find_subject(out)
    assert (found.kind, list(found.predictions), found.tables) == ("comparison", ["tiny", "other"], [out / "compare.md"])


def test_a_study_has_runs_predictions_and_tables(predictions, trained, tmp_path):
    write_text(tmp_path / "study.md", "# study\n")
    shutil.copytree(trained, tmp_path / "runs" / "a")
    shutil.copytree(predictions, tmp_path / "predictions" / "a" / "test")
    found = find_subject(tmp_path)
    assert (found.kind, list(found.runs), found.tables) == ("study", ["a"], [tmp_path / "study.md"])
    assert len(found.predictions) == 1


def test_other_folders_and_predictions_without_scores_are_refused(predictions, trained, tmp_path):
    for path, word in ((tmp_path, "another folder"), (tmp_path / "missing", "none there")):
        with pytest.raises(UserError, match=f"expected a run, a cross-validation.*received {word}"):
            find_subject(path)
    copy = shutil.copytree(predictions, tmp_path / "copy")
    shutil.rmtree(copy / "scores")
    for arguments in ((copy,), (trained, [copy])):
        with pytest.raises(UserError, match=r"expected predictions with scores; score them first: glioskull score"):
            find_subject(*arguments)
