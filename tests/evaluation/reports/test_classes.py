import pytest

from evaluation.reports.classes import classes_section
from evaluation.reports.content import Chart, Paragraph, TextTable
from evaluation.scores.classification import write_classification_scores
from tests.evaluation.scores.test_classification import predictions, summarised


@pytest.fixture
def scored(tmp_path):
    given = predictions(8, 3)
    write_classification_scores(tmp_path / "scores", given, summarised(given))
    return tmp_path / "scores"


def test_a_set_has_a_table_notes_and_charts(scored):
    blocks = classes_section({"scores": scored}).blocks
    table = blocks[0]
    assert isinstance(table, TextTable)
    assert table.head == ["", "n", "accuracy", "F1", "AUC", "Brier", "ECE"]
    assert [row[:2] for row in table.rows] == [["patient", "8"], ["slice", "24"]]
    assert table.caption == "grade (grade II, grade III), 8 patients."
    charts = [block.caption for block in blocks if isinstance(block, Chart)]
    assert [caption.split(" ")[0] for caption in charts] == ["ROC", "Confusion", "Calibration"]
    assert any("ECE" in block.text for block in blocks if isinstance(block, Paragraph))


def test_without_all_classes_in_truth_there_is_no_roc_curve(tmp_path):
    given = predictions(6, 2)
    given.truth[:] = 1
    write_classification_scores(tmp_path, given, summarised(given))
    captions = [block.caption for block in classes_section({"a": tmp_path, "b": tmp_path}).blocks if isinstance(block, Chart)]
    assert captions[:2] == ["a: Confusion matrix of the patients.", "a: Calibration of the patients' probabilities."]


def test_nothing_scored_gives_no_blocks():
    assert classes_section({}).blocks == []
