"""History of a training: names of scores with one head and with several, and the file."""

import csv

from training.state.history import history_row, write_history

LOGS = {"grade_auc": 0.5, "loss": 1.0, "val_grade_auc": 0.25, "val_loss": 2.0, "grade_category_grade_x": 3.0}


def test_a_single_heads_name_is_left_out_once():
    row = history_row({"epoch": 1}, LOGS, ["grade"])
    assert row == {"epoch": 1, "loss": 1.0, "auc": 0.5, "category_grade_x": 3.0, "val_auc": 0.25, "val_loss": 2.0}
    assert list(row)[:2] == ["epoch", "loss"]


def test_several_heads_keep_their_names():
    row = history_row({"epoch": 1}, LOGS, ["grade", "tumour"])
    assert set(row) == {"epoch", *LOGS}


def test_a_row_per_epoch_is_written(tmp_path):
    write_history(tmp_path / "history.csv", [{"epoch": 1, "loss": 1 / 3}, {"epoch": 2, "loss": 0.25}])
    with (tmp_path / "history.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"epoch": "1", "loss": "0.333333333"}, {"epoch": "2", "loss": "0.25"}]
