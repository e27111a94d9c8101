"""A scores folder: what is written is read back, of predictions and of a run on records."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.metrics.catalogue import METRICS, MISSED_MM, chosen_metrics
from common.metrics.statistics import ATOM, STUDENT
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, scored_structures
from evaluation.scores.folder import (
    find_scores,
    has_current_scores,
    read_patient_scores,
    read_scores,
    remove_scores,
    write_patient_scores,
    write_record_scores,
)
from evaluation.scores.lesions import LesionScores
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.scores.records import RecordScores
from evaluation.tables.patients import format_table
from evaluation.tables.records import format_records_table, record_facts, record_rows

SCHEMA = LabelSchema.load("brats2017-2021")


def made_scores(seed, patients=8, first=0, better=0.0, schema=SCHEMA, spacing=True):
    """Random scores of patients p00, p01, ...; the ratios raised, and with them the distances, by `better`."""
    structures, names = scored_structures(schema), [f"p{number:02d}" for number in range(first, first + patients)]
    rng = np.random.default_rng(seed)
    values = {}
    for structure in structures:
        for name, metric in ((metric.name, metric) for metric in chosen_metrics()):
            drawn = rng.random(patients) * (1 - better) + better
            if (spacing or not metric.needs_spacing) and (metric.averaged or structure != CLASS_MEAN):
                values[structure, name] = drawn if metric.limits == (0, 1) else 20 * drawn
    absent = {structure: np.zeros(patients, np.int64) for structure in structures if structure != CLASS_MEAN}
    return PatientScores(structures, names, [1] * patients, values, absent)


def write_made(folder, seed, patients=8, first=0, better=0.0, schema=SCHEMA, spacing=True):
    """A predictions folder with random scores, as evaluation.score writes them."""
    scores = made_scores(seed, patients, first, better, schema, spacing)
    summaries = summarise_scores(scores)
    write_patient_scores(folder / "scores", scores, schema, summaries, format_table(scores, summaries), {}, {})
    return folder


def write_records(folder, seed=0, schema=None, hd95=8.0):
    """Scores of a run on records; returns them."""
    schema = schema or LabelSchema.load("brats2023")
    confusion = np.random.default_rng(seed).integers(1, 100, (len(schema.classes),) * 2)
    scores = RecordScores(
        run=Path("run"),
        records=Path("records"),
        subset="test",
        own_records=True,
        schema=schema,
        loss=0.1,
        confusion=confusion,
        volumes={(structure, "hd95"): hd95 for structure in scored_structures(schema)},
        known={(structure, "hd95"): 7 for structure in scored_structures(schema)},
        scored_patients=7,
        patients=7,
        slices=70,
        crop="middle",
    )
    write_record_scores(folder, record_rows(scores), schema, format_records_table(scores), {}, record_facts(scores))
    return scores


@pytest.mark.parametrize("spacing", [True, False])
def test_scores_of_patients_are_read_back(tmp_path, spacing):
    made = made_scores(0, spacing=spacing)
    stored = read_scores(write_made(tmp_path, 0, spacing=spacing))
    found = read_patient_scores(stored)
    assert (found.structures, found.patients, found.cases) == (made.structures, made.patients, made.cases)
    assert set(found.values) == set(made.values)
    for key, column in made.values.items():
        np.testing.assert_allclose(found.values[key], column, atol=1e-6)
        row = stored.summary[key[0].kind, key[0].name, key[1]]
        assert row.value == pytest.approx(column.mean())
        assert row.low <= row.value <= row.high
    assert {structure: list(each) for structure, each in found.absent.items()} == {
        structure: [0] * 8 for structure in made.structures if structure != CLASS_MEAN
    }
    assert (stored.per_patient, stored.patients, stored.split, stored.schema) == (True, 8, "patient", SCHEMA)


def test_a_folder_holds_its_tables(tmp_path):
    folder = write_made(tmp_path, 0) / "scores"
    assert sorted(path.name for path in folder.iterdir()) == ["per_patient.csv", "scores.json", "summary.csv", "table.txt"]


def test_scores_on_records_are_read_back(tmp_path):
    made = write_records(tmp_path)
    stored = read_scores(tmp_path)
    assert stored.summary["", "", "loss"].value == 0.1
    for (structure, metric), value in made.values().items():
        assert stored.summary[structure.kind, structure.name, metric].value == pytest.approx(value)
    assert stored.keys["mean", "class_mean", "dice"] == "dice"
    assert stored.keys["mean", "class_mean_with_background", "iou"] == "iou_with_background"
    assert (stored.per_patient, stored.patients) == (False, 7)
    with pytest.raises(UserError, match="expected scores per patient; received those of slices of records"):
        read_patient_scores(stored)


def test_a_folder_or_its_scores_are_found(tmp_path):
    write_made(tmp_path / "p", 0)
    assert find_scores(tmp_path / "p") == find_scores(tmp_path / "p" / "scores") == tmp_path / "p" / "scores"
    assert find_scores(tmp_path) is None


def test_a_metric_that_this_version_does_not_know_is_read_over(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "other", replace(METRICS["dice"], name="other"))
    write_made(tmp_path, 0)
    monkeypatch.undo()
    assert "other" in read_json(tmp_path / "scores" / "scores.json", "scores")["metrics"]
    assert {metric for _, metric in read_patient_scores(read_scores(tmp_path)).values} == {
        metric.name for metric in chosen_metrics()
    }


def test_every_interval_has_the_name_of_its_method(tmp_path):
    scores = made_scores(0)
    scores.values[scores.structures[0], "hd95"][0] = MISSED_MM + 1
    write_patient_scores(tmp_path, scores, SCHEMA, summarise_scores(scores), "", {}, {})
    methods = {
        (row["structure"], row["score"]): row["interval_method"]
        for row in read_json(tmp_path / "scores.json", "scores")["summary"]
    }
    assert methods["WT", "hd95"] == methods["WT", "true_ml"] == STUDENT
    assert methods["TC", "hd95"] == methods["WT", "dice"] == ATOM
    write_made(tmp_path / "few", 0, patients=4)
    few = read_json(tmp_path / "few" / "scores" / "scores.json", "scores")["summary"]
    assert {row["interval_method"] for row in few} == {None}


def lesion_scores_without_value(folder):
    """Scores by a rule that gives no patient a value of WT."""
    scores, metrics = made_scores(0, 2), ("lesion_dice@brats2026-gli", "lesion_false@brats2026-gli")
    for structure in scored_structures(SCHEMA)[:3]:
        for name in metrics:
            scores.values[structure, name] = np.array([math.nan, math.nan if structure.name == "WT" else 0.5])
    wt = scores.structures[0]
    found = [LesionScores(wt, "brats2026-gli", True, True, 40.0, True, 0.5, 3.0, 0.25)]
    found.append(LesionScores(wt, "brats2026-gli", False, True, 8.0, False, 0.0, 373.0, 0.0))
    scores = replace(scores, lesions=[("p00", "p00", each) for each in found], missing={"p01": "no file"})
    write_patient_scores(folder, scores, SCHEMA, summarise_scores(scores), "", {}, {})
    return scores


def test_a_score_of_a_rule_is_kept_where_no_patient_has_a_value(tmp_path):
    lesion_scores_without_value(tmp_path)
    stored = read_scores(tmp_path)
    values = read_patient_scores(stored).values
    named = {(structure.name, name): column for (structure, name), column in values.items() if "@" in name}
    assert {name for name, _ in named} == {"WT", "TC", "ET", "edema", "non-enhancing tumor"}  # all that the rule ranks
    np.testing.assert_array_equal(named["WT", "lesion_dice@brats2026-gli"], [math.nan, math.nan])
    np.testing.assert_array_equal(named["ET", "lesion_dice@brats2026-gli"], [math.nan, 0.5])
    assert stored.missing == read_patient_scores(stored).missing == {"p01": "no file"}


def test_removed_scores_leave_no_file_behind(tmp_path):
    lesion_scores_without_value(tmp_path / "s")
    assert (tmp_path / "s" / "per_lesion.csv").is_file()
    assert remove_scores(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert not remove_scores(tmp_path / "s")


def test_scores_older_than_what_they_were_made_from_do_not_count(tmp_path):
    predictions, scores = tmp_path / "predictions.json", tmp_path / "scores"
    write_json(predictions, {})
    assert not has_current_scores(scores, predictions, ["dice"])
    write_made(tmp_path, seed=0)
    assert has_current_scores(scores, predictions)
    assert has_current_scores(scores, predictions, ["dice", "hd95"])
    assert not has_current_scores(scores, predictions, ["dice", "nsd"])
    later = (scores / "scores.json").stat().st_mtime_ns + 1
    os.utime(predictions, ns=(later, later))
    assert not has_current_scores(scores, predictions, ["dice"])


@pytest.mark.parametrize("changes", [{"format": 1}, {"summary": 3}, {"metrics": {"dice": METRICS["hd95"].facts()}}])
def test_scores_of_another_version_or_definition_do_not_count(tmp_path, changes):
    predictions, scores = tmp_path / "predictions.json", tmp_path / "scores"
    write_json(predictions, {})
    write_made(tmp_path, seed=0)
    write_json(scores / "scores.json", read_json(scores / "scores.json", "scores") | changes)
    assert not has_current_scores(scores, predictions, ["dice"])
