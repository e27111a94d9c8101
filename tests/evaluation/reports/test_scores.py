import shutil

from common.files import read_json, write_json
from evaluation.reports.content import Chart, Paragraph, TextTable
from evaluation.reports.scores import SEEN, scores_section


def test_a_set_has_a_table_notes_and_a_chart(predictions):
    table, *notes, chart = scores_section({"tiny": predictions}).blocks
    assert isinstance(table, TextTable)
    assert table.head[:2] == ["", "Dice ↑"]
    assert [row[0] for row in table.rows[:3]] == ["WT (region)", "TC (region)", "ET (region)"]
    assert "[" in table.rows[0][1]
    assert "Mean over 5 patients" in table.caption
    assert "enhancing tumor (class) = ET (region)" in table.caption
    assert isinstance(chart, Chart)
    assert notes[-1] == Paragraph(SEEN, "warning")  # three of the patients trained the run


def test_each_of_several_sets_has_a_table(predictions):
    blocks = scores_section({"a": predictions, "b": predictions}).blocks
    assert [block.caption[:2] for block in blocks if isinstance(block, TextTable)] == ["a.", "b."]
    assert sum(isinstance(block, Chart) for block in blocks) == 1


def test_missing_predictions_are_said(predictions, tmp_path):
    copy = shutil.copytree(predictions, tmp_path / "copy")
    file = copy / "scores" / "scores.json"
    write_json(file, read_json(file, "scores") | {"missing": {"case_1": "not there"}})
    assert Paragraph("1 case without usable prediction, with the worst value.", "warning") in scores_section({"a": copy}).blocks


def test_post_processing_is_said_with_the_patients_on_whom_it_was_chosen(predictions, tmp_path):
    assert Paragraph("Post-processing: none.", "note") in scores_section({"a": predictions}).blocks
    copy = shutil.copytree(predictions, tmp_path / "copy")
    file = copy / "scores" / "scores.json"
    chosen = {"head": "tumour", "setting": "threshold 0.3", "file": "/r/p.yaml", "patients": 2, "patient_ids": ["case_1", "x"]}
    write_json(file, read_json(file, "scores") | {"postprocessing": [chosen]})
    (note,) = [block.text for block in scores_section({"a": copy}).blocks if "threshold" in getattr(block, "text", "")]
    assert note.startswith("Post-processing: threshold 0.3; chosen on 2 validation patients")
    assert "1 of 5 scored patients are among them: optimistic" in note


def test_nothing_scored_gives_no_blocks():
    assert scores_section({}).blocks == []


def test_scores_on_slices_are_a_table_of_their_own(trained, records, command, tmp_path):
    done = command("evaluation.score", "--run", trained, "--records", records, "--out", tmp_path / "scores_test")
    assert done.status == 0, done.err
    (table,) = scores_section({}, {"test": tmp_path / "scores_test"}).blocks
    assert table.caption.startswith("Slices of test, 1 patient, on the prepared grid")
    assert table.head[1] == "Dice ↑"
    assert [row[0] for row in table.rows[:3]] == ["WT (region)", "TC (region)", "ET (region)"]
    assert all(len(row) == len(table.head) for row in table.rows)
