"""A metric is one entry of the catalogue: it reaches every table, choice, ranking and figure without any other change."""

import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from common.files import write_json
from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric
from data_prep.labels import LabelSchema
from evaluation.experiments.table import ranked, rankings, read_result, result_columns
from evaluation.figures.patients import worst_patients
from tests import scans

SCHEMA = LabelSchema.load("brats2017-2021")
AFFINE = np.diag([-2.0, -1.0, 3.0, 1.0])
SURPLUS = Metric(
    name="surplus",
    heading="surplus",
    definition="voxels of P outside T",
    compute=lambda pair: float(np.count_nonzero(~pair.masks.truth & pair.masks.prediction)),
    unit="voxels",
    limits=(0.0, math.inf),
    direction="smaller",
    both_absent=0.0,
    worst=1e6,
    from_masks=True,
    shown="interval",
)
RECALL = replace(METRICS["sensitivity"], name="recall", heading="recall", shown="interval")


@pytest.fixture(params=[METRICS["hd95"], SURPLUS, RECALL], ids=lambda metric: metric.name)
def metric(request, monkeypatch):
    """A metric in mm that the catalogue has, and two made-up entries: of masks and of counts."""
    monkeypatch.setitem(METRICS, request.param.name, request.param)
    return request.param


@pytest.fixture
def two(tmp_path, metric, command):
    """Two scored predictions of five patients, of which `near` is the better one."""
    cases = [scans.scan(f"case_{name}", seed, affine=AFFINE) for seed, name in enumerate("abcde")]
    for case in cases:
        case.label[...] = 0
        for margin, label in ((0, 2), (1, 1), (2, 4)):
            case.label[1 + margin : 6 - margin, 1 + margin : 6 - margin, 1 + margin : 6 - margin] = label
    source = scans.write_brats(tmp_path / "source", cases)
    for name, shift in (("far", 1), ("near", 0)):
        folder = tmp_path / name
        folder.mkdir()
        for number, case in enumerate(cases):
            label = np.roll(case.label, shift * (number % 3 + 1), axis=0)
            scans.save(folder / f"{case.id}.nii.gz", label, AFFINE)
        manifest = {"format": 1, "runs": [], "schema": SCHEMA.to_dict(), "cases": [case.id for case in cases]}
        write_json(folder / "predictions.json", manifest)
        done = command("evaluation.score", "--predictions", folder, "--source", source)
        assert done.status == 0, done.err
        assert metric.arrow_label in done.out
    return tmp_path / "far", tmp_path / "near"


def rows_of(file):
    return list(csv.DictReader(file.open()))


def mean(folder, metric):
    """Mean and interval of WT in summary.csv."""
    (row,) = [
        row for row in rows_of(folder / "scores" / "summary.csv") if (row["structure"], row["score"]) == ("WT", metric.name)
    ]
    return float(row["mean"]), float(row["low_95"]), float(row["high_95"])


def test_it_is_scored_compared_and_drawn(two, metric, command, tmp_path):
    far, near = (mean(folder, metric) for folder in two)
    assert metric.sign * near[0] > metric.sign * far[0]
    assert far[1] <= far[0] <= far[2]
    scores = {
        row["patient"]: float(row[metric.name])
        for row in rows_of(two[0] / "scores" / "per_patient.csv")
        if (row["kind"], row["structure"]) == ("region", "WT")
    }
    assert far[0] == pytest.approx(np.mean(list(scores.values())), abs=1e-5)
    extreme = min if metric.sign > 0 else max
    assert scores[worst_patients(scores, metric)[0]] == extreme(scores.values())
    assert metric.name in json.loads((two[0] / "scores" / "scores.json").read_text())["metrics"]

    done = command("evaluation.compare", "--scores", *two, "--metrics", metric.name, "--out", tmp_path / "compared")
    assert done.status == 0, done.err
    rows = [row for row in rows_of(tmp_path / "compared" / "compare.csv") if row["structure"] == "WT"]
    assert [(row["name"], row["best"]) for row in rows if row["table"] == "mean"] == [("far", "0"), ("near", "1")]
    (difference,) = [row for row in rows if row["table"] == "difference"]
    assert (np.sign(float(difference["value"])), difference["change"]) == (metric.sign, "better")
    assert metric.arrow_label in done.out
    assert (tmp_path / "compared" / f"boxes_{metric.name}.pdf").is_file()

    done = command("evaluation.plots", "--scores", *two, "--out", tmp_path / "figures")
    assert done.status == 0, done.err
    assert (tmp_path / "figures" / f"class_scores_{metric.name}.pdf").is_file()


def test_it_is_compared_by_default_where_it_is_printed_with_its_interval(two, metric, command):
    assert metric.arrow_label in command("evaluation.compare", "--scores", *two).out


def test_it_can_be_tuned_for(metric, command, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    grid = ("--thresholds", "[0.2,0.4]", "--least_voxels", "[30]", "--region_voxels", "[]", "--replace_below", "[]")
    done = command("evaluation.tune", "--runs", run, *grid, "--metric", metric.name, "--structure", "WT", "--margin", 0)
    assert done.status == 0, done.err
    rows = rows_of(run / "tune.csv")
    (chosen,) = [float(row["score"]) for row in rows if row["chosen"] == "True"]
    assert chosen == metric.best(float(row["score"]) for row in rows)


def test_a_study_ranks_by_it(metric, command, trained, records, tmp_path):
    results = []
    for name in ("a", "b"):
        run = shutil.copytree(trained, tmp_path / name)
        done = command("evaluation.score", "--run", run, "--records", records, "--subset", "test")
        assert done.status == 0, done.err
        assert metric.arrow_label in done.out
        results.append(read_result(run, "test"))
    schema = LabelSchema.load("brats2017-2021")
    assert {metric.name, f"{metric.name}_WT"} <= set(rankings(schema))
    better = replace(results[1], scores=results[1].scores | {metric.name: results[0].scores[metric.name] + metric.sign})
    assert [result.folder.name for result in ranked([results[0], better], metric.name, schema)] == ["b", "a"]
    columns = {column.key or column.name: column for column in result_columns(results, metric.name, schema)}
    assert not columns[metric.name].csv_only
    assert columns[metric.name].values == [result.scores[metric.name] for result in results]
