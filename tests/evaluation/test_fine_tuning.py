"""Command fine_tuning: the numbers of its table, the files, and what is refused."""

import csv
import re
import shutil
from types import SimpleNamespace
from unittest.mock import create_autospec

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_yaml, write_json, write_yaml
from evaluation import fine_tuning
from evaluation.scores import classification_run as category_run
from evaluation.scores.classification import SlicePredictions
from evaluation.scores.records import score_records
from training.heads.classification import ClassificationHead, TargetConfig
from training.run import Run
from training.run_facts import FORMAT
from training.state.history import write_history


@pytest.fixture(scope="module")
def tuned(command, records, tmp_path_factory):
    """A tiny segmentation, an epoch long, and one of fine-tuning that differs much."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    phases = (
        "--optimizer.learning_rate",
        0.01,
        "--phases",
        '[{"epochs": 1}, {"epochs": 1, "optimizer": {"learning_rate": 0.05}}]',
    )
    tiny = ("--model.filters", 2, "--model.depth", 1, "--precision", "float32", "--input.batch_size", 16, "--monitor", "loss")
    done = command("training.train", "--records", records, "--out", out, *phases, *tiny, "--input.resize", "[8,8]")
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def compared(command, tuned, records, tmp_path_factory):
    """What the command says of it, and the folder it wrote; of the three training patients."""
    out = tmp_path_factory.mktemp("compared")
    done = command("evaluation.fine_tuning", "--run", tuned, "--records", records, "--subset", "train", "--out", out)
    assert done.status == 0, done.err
    return done, out


def test_the_columns_are_the_scores_of_both_weights(compared, tuned, records):
    _, out = compared
    rows = {row["score"]: row for row in csv.DictReader((out / "table.csv").open())}
    assert list(rows) == ["Segmentation loss", "Tumour Dice", "Tumour Dice per patient"]
    for column, weights in (("before", Run(tuned).weights_before_last_phase), ("after", None)):
        found = score_records(tuned, records, "train", 7, weights)
        confusion = found.confusion
        both, total = confusion[1:, 1:].sum(), confusion[1:].sum() + confusion[:, 1:].sum()
        assert float(rows["Segmentation loss"][column]) == pytest.approx(found.loss, abs=2e-6)
        assert float(rows["Tumour Dice"][column]) == pytest.approx(2 * both / total, abs=1e-6)


def test_the_table_is_written_and_says_what_is_averaged(compared):
    done, out = compared
    files = ["before_after.pdf", "before_after.png", "made_from.json", "table.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert "3 patients, 24 slices of train" in done.out
    assert "Classification" not in done.out
    markdown = (out / "table.md").read_text()
    assert re.search(r"^\| +\| Before \| After \|$", markdown, re.MULTILINE)
    assert "from one confusion matrix over all slices" in markdown
    assert "that of the run's config in both columns" in markdown


def test_a_run_that_was_not_fine_tuned_is_refused(command, trained, records):
    done = command("evaluation.fine_tuning", "--run", trained, "--records", records)
    assert done.status == 2
    assert done.err.splitlines() == [
        f"error: {trained}: was trained in one phase, so there is no before and after; train with two --phases"
    ]


def test_a_run_whose_last_phase_has_not_begun_is_refused_by_another_line(command, trained, records, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    config = read_yaml(run / "config.yaml", "config")
    write_yaml(run / "config.yaml", config | {"phases": [{"epochs": 2}, {"epochs": 2}]})
    done = command("evaluation.fine_tuning", "--run", run, "--records", records)
    assert f"{run}: its last phase has not begun (finished, 2 epochs; 2 phases)" in done.err
    assert f"glioskull train --resume {run}" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to compare: give --run"),
        (("--classifier", "RUN"), "expected a run of glioskull classify; received one of glioskull train; give it as --run"),
        (("--run", "nowhere"), "nowhere: expected a run"),
        (("--run", "RUN", "--batch_size", 0), "--batch_size: expected at least 1; received 0"),
        (("--run", "RUN", "--out", "RECORDS"), "lies in the source"),
    ],
)
def test_mistakes_are_told_in_a_line(command, tuned, records, arguments, told):
    paths = {"RUN": tuned, "RECORDS": records}
    given = [paths.get(word, word) for word in arguments]
    done = command("evaluation.fine_tuning", "--records", records, *given)
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert told in line


def test_only_segmentations_are_scored_by_voxels(records, tmp_path):
    head = ClassificationHead("classification", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    facts = {"format": FORMAT, "command": "training.classify", "heads": {head.name: head.metadata()}}
    write_json(tmp_path / "run.json", facts)
    with pytest.raises(UserError, match="expected a run with the segmentation head segmentation; received classification"):
        score_records(tmp_path, records, "train", 8)


def scored(auc_truth, loss):
    """Predictions of four slices of two patients, the first of which is told right."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    names = ["a", "a", "b", "b"]
    given = SlicePredictions(names, names, np.arange(4), np.array(auc_truth), probabilities)
    return category_run.ScoredRun(None, given, loss)


def fake_classifier(folder, monkeypatch, best_epoch):
    config = SimpleNamespace(monitor="auc", split="slice", target=TargetConfig("grade"))
    head = ClassificationHead("classification", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    stored = {"pretrained": "random initialisation", "best_epoch": best_epoch}
    kept = {"heads": {head.name: head}, "metadata": stored, "path": folder, "config": config}
    run = SimpleNamespace(command="training.classify", weights_before_last_phase="before", **kept)
    write_history(folder / "history.csv", [{"epoch": epoch, "phase": phase} for epoch, phase in ((1, 1), (2, 1), (3, 2))])
    monkeypatch.setattr(fine_tuning, "Run", lambda path: run)
    found = {"before": scored([0, 0, 1, 1], 0.75), None: scored([0, 0, 0, 0], 0.5)}
    fake = create_autospec(category_run.score_run, side_effect=lambda *arguments: found[arguments[-1]])
    monkeypatch.setattr(fine_tuning, "score_run", fake)
    return run


@pytest.mark.parametrize("best_epoch", [1, 3])
def test_a_classifiers_rows_are_of_slices_and_of_patients(command, records, tmp_path, monkeypatch, best_epoch):
    fake_classifier(tmp_path / "grade", monkeypatch, best_epoch)
    out = tmp_path / "out"
    done = command("evaluation.fine_tuning", "--classifier", tmp_path / "grade", "--records", records, "--out", out)
    assert done.status == 0, done.err
    rows = [[row["score"], row["before"], row["after"]] for row in csv.DictReader((out / "table.csv").open())]
    assert rows == [
        ["Classification loss", "0.750000", "0.500000"],
        ["Classification accuracy", "0.750000", "0.750000"],
        ["AUC (ROC)", "1.000000", ""],  # a class is missing in truth
        ["Classification accuracy per patient", "0.500000", "1.000000"],
        ["AUC (ROC) per patient", "1.000000", ""],
    ]
    assert "weights before training: random initialisation" in " ".join(done.out.split())
    assert "Split by slice" in done.out
    assert ("both columns are of the same weights" in " ".join(done.out.split())) == (best_epoch == 1)
    assert not (out / "before_after.png").exists()
