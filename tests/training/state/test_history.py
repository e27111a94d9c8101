"""History of a training: names of scores with one head and with several, and the file."""

import csv
import math

import pytest

from common.errors import UserError
from training.state.history import history_row, read_history, write_history

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


def test_a_history_is_read_as_it_was_written(tmp_path):
    rows = [{"epoch": 1.0, "loss": 0.5, "val_loss": 0.25}, {"epoch": 2.0, "loss": 0.125, "val_loss": 4.0}]
    assert read_history(tmp_path) == []
    write_history(tmp_path / "history.csv", rows)
    assert read_history(tmp_path) == rows


def test_an_empty_cell_is_nan(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,auc\n1,,0.5\n2,inf,\n")
    first, second = read_history(tmp_path)
    assert math.isnan(first["loss"])
    assert math.isnan(second["auc"])
    assert (second["epoch"], second["loss"], first["auc"]) == (2, math.inf, 0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,loss,auc\n1,,x\n", "row 1: auc: expected a number; received 'x'"),
        ("epoch,loss\n1,0.5\n,0.5\n", "row 2: epoch: expected a finite number"),
        ("epoch,loss\n1\n", "line 2: expected 2 cells"),
        ("loss\n1\n", "expected a training history with a column epoch; received loss"),
        ("epoch,minutes\n1,nan\n", "row 1: minutes: expected a finite number of at least 0; received nan"),
        ("", "expected different column names"),
    ],
)
def test_a_damaged_history_is_refused_with_row_and_column(tmp_path, text, said):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(UserError) as error:
        read_history(tmp_path)
    assert said in str(error.value)


def test_a_head_without_annotated_examples_is_left_out_of_the_means():
    nan = math.nan
    logs = {"loss": 2.0, "hgg_loss": 2.0, "hgg_dice": 0.25, "mets_loss": 0.0, "mets_dice": nan}
    logs |= {"hgg_annotated": 1.0, "mets_annotated": 0.0}
    logs |= {f"val_{name}": value for name, value in logs.items()}
    logs |= {"val_mets_dice": 0.75, "val_mets_loss": 0.5, "val_mets_annotated": 0.25}
    row = history_row({"epoch": 1}, logs, ["hgg", "mets"])
    assert (row["dice"], row["val_dice"]) == (0.25, 0.5)
    assert math.isnan(row["mets_loss"])
    assert not any("annotated" in name for name in row)
    none = history_row({"epoch": 1}, logs | {"hgg_dice": nan, "hgg_annotated": 0.0}, ["hgg", "mets"])
    assert math.isnan(none["dice"])


def test_the_loss_of_a_head_is_that_of_the_batches_with_an_annotation():
    logs = {"loss": 3.0, "a_loss": 2.0, "b_loss": 1.0, "a_annotated": 1.0, "b_annotated": 0.25}
    row = history_row({}, logs, ["a", "b"])
    assert (row["loss"], row["a_loss"], row["b_loss"]) == (3.0, 2.0, 4.0)


def test_weights_of_losses_are_no_scores():
    logs = {"loss": 1.0, "a_loss": 1.0, "b_loss": 0.0, "a_dice": 0.5, "b_dice": math.nan, "b_annotated": 0.0}
    row = history_row({}, logs | {"a_loss_weight": 0.5, "b_loss_weight": 2.0}, ["a", "b"])
    assert "loss_weight" not in row
    assert (row["dice"], row["a_loss_weight"], row["b_loss_weight"]) == (0.5, 0.5, 2.0)
    assert math.isnan(row["b_loss"])
