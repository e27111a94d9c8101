"""Table of fine-tuning: scores of segmentations and classifiers, as text, Markdown and CSV."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.tables import latex_of
from evaluation.scores.records import Counts
from evaluation.tables.fine_tuning import RunScores, format_markdown, format_text, segmentation_scores, write_table
from training.state.history import write_history

PARTS = [RunScores(["head"], [("Loss", 0.5, float("nan"))], ["note"]), RunScores([], [("AUC", 1.0, 0.25)], [])]


def test_text_and_markdown_hold_the_same_rows():
    assert [line.split() for line in format_text(PARTS).splitlines() if line.startswith(("Loss", "AUC"))] == [
        ["Loss", "0.500", "none"],
        ["AUC", "1.000", "0.250"],
    ]
    assert (
        format_markdown(PARTS)
        == """- head

|      | Before | After |
| ---- | -----: | ----: |
| Loss |  0.500 |  none |
| AUC  |  1.000 | 0.250 |

- note
"""
    )


def test_the_table_is_written_as_markdown_latex_and_csv(tmp_path):
    table, pasted, values = write_table(tmp_path, PARTS)
    assert pasted.read_text() == latex_of(table.read_text())
    assert table.read_text() == format_markdown(PARTS)
    assert values.read_text() == "score,before,after\nLoss,0.500000,\nAUC,1.000000,0.250000\n"


def test_dice_of_the_subset_and_dice_per_patient_are_two_means(tmp_path):
    write_history(tmp_path / "history.csv", [{"epoch": 1, "phase": 1}, {"epoch": 2, "phase": 2}])
    run = SimpleNamespace(path=tmp_path, metadata={"best_epoch": 2}, config=SimpleNamespace(split="patient"))
    large, small = np.array([[0, 0], [0, 90]]), np.array([[0, 0], [10, 0]])
    after = Counts(0.25, {"a": large, "b": small})
    found = segmentation_scores(run, Counts(0.5, {"a": large}), after, 7, "test of records")
    assert found.rows == [
        ("Segmentation loss", 0.5, 0.25),
        ("Tumour Dice", 1.0, pytest.approx(180 / 190)),
        ("Tumour Dice per patient", 1.0, 0.5),
    ]
    assert found.head == [
        f"Segmentation {tmp_path.name}: 2 patients, 7 slices of test of records",
        "Before: the best of epochs 1 to 1. After: epoch 2.",
    ]
