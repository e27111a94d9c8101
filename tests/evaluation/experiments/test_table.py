"""The tables of a study: keys and directions of rankings, columns, and files. Studies that run are in test_study.py."""

import csv
import math
from pathlib import Path

import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from evaluation.experiments.table import (
    Column,
    Result,
    check_ranking,
    named_metrics,
    ranked,
    rankings,
    result_columns,
    write_table,
)
from evaluation.scores.trained import TrainedPatients

SCHEMA = LabelSchema.load("brats2023")


def made(name, **scores):
    return Result(Path(name), scores, epochs=3, minutes=1.25, parameters=1000, trained=TrainedPatients(2, frozenset()))


def names(results):
    return [result.folder.name for result in results]


@pytest.mark.parametrize(
    ("by", "values", "order"),
    [
        ("dice", [0.1, 0.9, math.nan], "bac"),
        ("hd95", [30.0, 4.0, 8.0], "bca"),
        ("loss", [0.3, 0.2, 0.1], "cba"),
        ("iou_with_background", [0.3, 0.2, 0.4], "cab"),
    ],
)
def test_runs_are_ranked_by_the_direction_of_the_metric(by, values, order):
    results = [made(name, **{by: value}) for name, value in zip("abc", values, strict=True)]
    assert "".join(names(ranked(results, by, SCHEMA))) == order


def test_a_run_without_the_score_comes_last():
    assert names(ranked([made("a"), made("b", hd95=300.0)], "hd95", SCHEMA)) == ["b", "a"]


def test_keys_are_stable_names_and_not_headings():
    known = rankings(SCHEMA)
    assert {"loss", "accuracy", "dice", "dice_WT", "iou_edema", "iou_with_background", "hd95_ET"} <= set(known)
    assert known["iou_with_background"][1] == "IoU with background"
    assert known["hd95_WT"][1] == "HD95 WT"
    check_ranking("hd95", SCHEMA)
    with pytest.raises(UserError, match=r"--rank_by: expected one of loss, .*; received mean_iou"):
        check_ranking("mean_iou", SCHEMA)


def test_runs_are_ranked_by_lesions_under_a_rule():
    by = "lesion_hd95@brats2023-met_ET"
    check_ranking(by, SCHEMA)
    assert named_metrics(by, SCHEMA) == ["lesion_hd95@brats2023-met"]
    assert named_metrics("hd95_ET", SCHEMA) == named_metrics("loss", SCHEMA) == []
    results = [made(name, **{by: value}) for name, value in zip("ab", (30.0, 20.0), strict=True)]
    assert names(ranked(results, by, SCHEMA)) == ["b", "a"]
    with pytest.raises(UserError, match="did you mean lesion_hd95@brats2023-met_ET"):
        check_ranking("lesion_hd95@brats2023-met_E", SCHEMA)


def test_markdown_is_narrow_and_csv_has_every_score(tmp_path):
    scores = dict.fromkeys(rankings(SCHEMA), 0.5)
    results = [made("one", **scores), made("other", **scores)]
    columns = result_columns(results, "iou_WT", SCHEMA)
    text = write_table(tmp_path / "table", columns, "# study", ["note"])
    heading = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert heading == ["rank", "run", "loss", "IoU WT", "Dice", "HD95 (mm)", "epochs", "minutes", "parameters"]
    assert max(map(len, text.splitlines())) <= 110
    (first, _) = csv.DictReader((tmp_path / "table.csv").open())
    assert set(scores) <= set(first)
    assert (first["run"], first["minutes"]) == ("one", "1.25")


def test_a_table_has_empty_cells_for_what_is_unknown(tmp_path):
    text = write_table(tmp_path / "t", [Column("a", ".3f", [1 / 3, None]), Column("b", "", ["x", "y"])], "title", [])
    assert text == "title\n\n| a     | b   |\n| ----- | --- |\n| 0.333 | x   |\n|       | y   |\n"
    assert (tmp_path / "t.csv").read_text() == f"a,b\n{1 / 3},x\n,y\n"
