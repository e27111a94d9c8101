"""The table of a run on records: what the glioma papers print, from one confusion matrix, and distances of whole volumes."""

import csv
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common import cli
from data_prep.labels import LabelSchema
from data_prep.structures import scored_structures
from evaluation.heads import segmentation as module
from evaluation.score import ScoreConfig, main
from evaluation.scores.records import RecordScores
from evaluation.tables.records import format_records_table
from tests.evaluation.scores.test_folder import write_records
from training.run import Run


def run(*arguments):
    cli.run(main, ScoreConfig, [str(argument) for argument in arguments])


@pytest.fixture
def scored(monkeypatch, tmp_path):
    """Puts made scores in the place of a network's, and a run that segments where it is looked for."""
    (tmp_path / "model1").mkdir()
    schema = LabelSchema(
        "two", {"background": (0,), "edema": (1,), "enhancing tumor": (2,)}, {"WT": ("edema", "enhancing tumor")}
    )
    head = {"kind": "segmentation", "outputs": 3, "schema": schema.to_dict()}
    (tmp_path / "model1" / "run.json").write_text(
        json.dumps({"format": 3, "status": "finished", "epoch": 2, "heads": {"segmentation": head}})
    )
    confusion = np.array([[900, 10, 0], [20, 60, 10], [0, 0, 0]])
    volumes = {(structure, "hd95"): 12.5 for structure in scored_structures(schema)}
    facts = {"records": tmp_path / "r", "own_records": True, "schema": schema, "loss": 0.25, "confusion": confusion}
    facts |= {
        "volumes": volumes,
        "known": dict.fromkeys(volumes, 2),
        "scored_patients": 2,
        "patients": 2,
        "slices": 256,
        "crop": "middle",
    }
    asked = []

    def score(run, records, subset, batch_size, head, metrics):
        assert head == "segmentation"
        asked.append((run, records, subset, batch_size))
        return RecordScores(run=run, subset=subset, **facts)

    monkeypatch.setattr(module, "score_records", score)
    monkeypatch.setattr(Run, "open_records", lambda self, path: SimpleNamespace(path=path, fingerprint="0"))
    monkeypatch.setattr(Run, "trained_on", lambda self, records: True)
    monkeypatch.setattr(Run, "config", SimpleNamespace(split="patient"))
    for name in ("subset_cases", "find_training_records", "unknown_training"):
        monkeypatch.setattr(f"evaluation.score.{name}", lambda *_: [])
    return asked


def read_summary(folder):
    """key -> value of summary.csv."""
    return {row["key"]: float(row["value"]) for row in csv.DictReader((folder / "summary.csv").open())}


def test_the_papers_table_is_that_of_one_confusion_matrix(tmp_path, scored, capsys):
    run("--run", tmp_path / "model1", "--records", tmp_path / "r", "--subset", "validation", "--batch_size", 4)
    assert scored == [(tmp_path / "model1", tmp_path / "r", "validation", 4)]
    values = read_summary(tmp_path / "model1" / "scores_validation")
    assert values["loss"] == 0.25
    assert values["accuracy"] == 0.96
    iou = [900 / 930, 60 / 100, 0.0]
    assert values["iou_background"] == pytest.approx(iou[0], abs=1e-6)
    assert values["iou_edema"] == pytest.approx(iou[1], abs=1e-6)
    assert values["iou_with_background"] == pytest.approx(np.mean(iou), abs=1e-6)
    assert values["iou"] == pytest.approx(np.mean(iou[1:]), abs=1e-6)
    assert values["dice_with_background"] == pytest.approx(np.mean([1800 / 1830, 120 / 160, 0]), abs=1e-6)
    assert values["dice"] == pytest.approx(np.mean([120 / 160, 0]), abs=1e-6)
    assert values["dice_WT"] == pytest.approx(2 * 70 / (80 + 90), abs=1e-6)
    assert values["hd95"] == values["hd95_WT"] == 12.5
    assert not any(key.startswith("hd95") and "background" in key for key in values)
    printed = capsys.readouterr().out
    assert "2 patients, 256 slices of the prepared grid (crop: middle)" in " ".join(printed.split())
    lines = [line.split("  ")[0] for line in printed.splitlines()]
    assert lines.index("class mean") < lines.index("class mean with background")


def test_the_papers_table_keeps_its_counts(tmp_path, scored):
    run("--run", tmp_path / "model1", "--records", tmp_path / "r", "--out", tmp_path / "s")
    facts = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert facts["confusion"] == [[900, 10, 0], [20, 60, 10], [0, 0, 0]]
    assert (facts["patients"], facts["slices"], facts["options"]["subset"]) == (2, 256, "test")


@pytest.mark.parametrize("schema", ["brats2012-2015", "brats2024", "binary"])
def test_the_printed_table_stays_within_a_terminal_and_repeats_nothing(tmp_path, schema):
    lines = format_records_table(write_records(tmp_path, schema=LabelSchema.load(schema))).splitlines()
    assert max(map(len, lines)) <= 110
    rows = [line for line in lines if "(region)  " in line or "(class)  " in line]
    values = [line.split(")", 1)[1].split() for line in rows]
    assert len({tuple(each) for each in values}) == len(rows)
    assert any(line.startswith("Equal structures are printed once") for line in lines)


def test_further_metrics_have_a_row_each_and_their_rule_below(tmp_path, scored, monkeypatch):
    metric = "lesion_dice@brats2023-met"

    def score(run, records, subset, batch_size, head, metrics):
        assert metric in {each.name for each in metrics}
        found = before(run, records, subset, batch_size, head, metrics)
        wt, edema = scored_structures(found.schema)[:2]
        volumes = {**found.volumes, (wt, metric): 0.25, (edema, metric): math.nan}
        return replace(found, volumes=volumes, known={**found.known, (wt, metric): 1, (edema, metric): 0})

    before = module.score_records
    monkeypatch.setattr(module, "score_records", score)
    run("--run", tmp_path / "model1", "--records", tmp_path / "r", "--lesions", "[brats2023-met]", "--out", tmp_path / "s")
    text = (tmp_path / "s" / "table.txt").read_text()
    (line,) = [line for line in text.splitlines() if "lesion Dice" in line and "WT (region)" in line]
    assert line.endswith("0.250 (1 of 2)")
    (line,) = [line for line in text.splitlines() if "lesion Dice" in line and "edema (class)" in line]
    assert line.endswith("n/a (0 of 2)")
    assert "(n of N): patients that have a value" in text
    facts = json.loads((tmp_path / "s" / "scores.json").read_text())["patients_without_value"]
    assert {(each["structure"], each["score"]): each["patients"] for each in facts} == {("WT", metric): 1, ("edema", metric): 2}
    assert "brats2023-met: BraTS 2023 MET (BraTS-2023-Metrics, metrics.py)." in " ".join(text.split())
    assert "every score but HD95, lesion Dice, brats2023-met comes from it" in " ".join(text.split())
    assert "brats2026" not in text
    assert max(map(len, text.splitlines())) <= 110
