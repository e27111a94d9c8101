"""The printed table of patients' scores."""

import numpy as np

from common.metrics.catalogue import METRICS, MISSED_MM
from data_prep.labels import LabelSchema
from data_prep.structures import scored_structures
from evaluation.scores.patients import summarise_scores
from evaluation.tables.patients import format_table
from tests.evaluation.scores.test_folder import made_scores


def table(**how):
    scores = made_scores(0, **how)
    return scores, format_table(scores, summarise_scores(scores)).splitlines()


def test_the_main_metrics_are_printed_with_intervals_the_others_by_their_mean():
    scores, lines = table()
    (heading,) = [line for line in lines if "Dice" in line and "↑" in line]
    shown = ["Dice ↑", "HD95 (mm) ↓", "sensitivity ↑", "precision ↑"]
    assert [cell.strip() for cell in heading.split("  ") if cell.strip()] == shown
    wt = scores.structures[0]
    (row,) = [line for line in lines if line.startswith("WT (region)")]
    cells = [cell.strip() for cell in row.removeprefix("WT (region)").split("  ") if cell.strip()]
    for cell, name in zip(cells, ("dice", "hd95", "sensitivity", "precision"), strict=True):
        assert cell.startswith(METRICS[name].text(scores.values[wt, name].mean()))
    assert ["[" in cell for cell in cells] == [True, True, False, False]


def test_a_table_stays_within_a_terminal():
    for schema in ("brats2012-2015", "brats2024", "binary"):
        _, lines = table(schema=LabelSchema.load(schema))
        assert max(map(len, lines)) <= 110


def test_a_source_without_spacing_has_no_distances():
    _, lines = table(spacing=False)
    assert not any("HD95" in line for line in lines)


def test_a_binary_task_has_one_row():
    _, lines = table(schema=LabelSchema.load("binary"))
    assert [line.split("  ")[0] for line in lines if "[" in line and "(" in line and line.startswith("tumor")] == [
        "tumor (region)"
    ]
    assert "Equal structures are printed once: tumor (class), class mean = tumor (region)." in lines


def test_one_patient_has_no_interval_and_absent_structures_are_counted():
    scores = made_scores(0, patients=1)
    et = next(each for each in scored_structures(LabelSchema.load("brats2017-2021")) if each.name == "ET")
    scores.absent[et] = np.array([1])
    text = " ".join(format_table(scores, summarise_scores(scores)).split())
    assert "1 patient, 1 case; mean over patients (fewer than 5 patients, so no interval)" in text
    assert "Absent in truth: ET (region): 1 of 1 patient." in text


def test_an_interval_by_another_method_than_that_of_its_metric_is_named():
    scores = made_scores(0)
    wt, tc = scores.structures[:2]
    scores.values[wt, "hd95"][0] = MISSED_MM + 1
    scores.values[tc, "hd95"][0] = MISSED_MM
    text = " ".join(format_table(scores, summarise_scores(scores)).split())
    assert "Student's t, because the value of a patient lies beyond the metric's worst value: HD95 of WT (region)." in text
    assert "beyond the metric's worst value" not in " ".join(table()[1])


def test_every_printed_interval_by_another_method_is_named():
    scores = made_scores(0)
    wt = scores.structures[0]
    scores.values[wt, "hd95_pooled"] = np.full(8, 5.0) + np.arange(8)
    scores.values[wt, "hd95_pooled"][0] = MISSED_MM + 1
    text = " ".join(format_table(scores, summarise_scores(scores)).split())
    assert "lies beyond the metric's worst value: HD95 (voxels, pooled) of WT (region)." in text
