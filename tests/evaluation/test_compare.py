import csv
import json

import numpy as np
import pytest

from common.files import write_json, write_text
from common.metrics.overlap import ABSENT_RULE
from data_prep.labels import LabelSchema
from evaluation.scores.patients import METRICS, VOLUMES, PatientScores, scored_structures
from evaluation.tables.patients import csv_text, summarise_scores, write_scores
from tests import scans

SCHEMA = LabelSchema.load("brats2017-2021")
COMPARE = "evaluation.compare"


def write_made(folder, seed, patients=8, first=0, better=0.0, schema=SCHEMA):
    """A predictions folder with random scores of patients p00, p01, ...; as evaluation.score writes them."""
    structures, names = scored_structures(schema), [f"p{number:02d}" for number in range(first, first + patients)]
    values = np.random.default_rng(seed).random((patients, len(structures), len(METRICS + VOLUMES))) * (1 - better) + better
    scores = PatientScores(structures, names, [1] * patients, values, np.zeros((patients, len(structures)), np.int64))
    write_scores(folder / "scores", scores, schema, summarise_scores(scores, 0), {}, {})
    return folder


def edit(file, **changes):
    write_json(file, json.loads(file.read_text()) | changes)


def write_category(folder, value, split="patient", classes=("grade II", "grade III"), weights="random initialisation"):
    score = {"value": value, "low": value - 0.1, "high": min(1, value + 0.1)}
    auc = {"value": None, "low": None, "high": None}
    level = {"n": 20, "accuracy": score, "f1": score, "auc": auc, "roc": {"points": [[0, 0], [1, 1]]}}
    folder.mkdir()
    content = {"format": 1, "kind": "category", "head": "grade", "classes": list(classes), "split": split, "weights": weights}
    write_json(folder / "category_scores.json", content | {"level": {"patient": level, "slice": level | {"n": 400}}})
    return folder


@pytest.fixture
def two(tmp_path):
    return write_made(tmp_path / "unet", 0), write_made(tmp_path / "attention", 1, better=0.5)


def test_scores_of_the_score_command_are_compared(tmp_path, command):
    case = scans.scan("case_a", 0)
    source = scans.write_brats(tmp_path / "source", [case])
    for name, label in (("perfect", case.label), ("nothing", np.zeros_like(case.label))):
        (tmp_path / name).mkdir()
        scans.save(tmp_path / name / "case_a.nii.gz", label, scans.LPS)
        manifest = {"format": 1, "runs": [], "schema": SCHEMA.to_dict(), "cases": ["case_a"]}
        write_json(tmp_path / name / "predictions.json", manifest)
        done = command("evaluation.score", "--predictions", tmp_path / name, "--source", source)
        assert done.status == 0, done.err
    done = command(COMPARE, "--scores", tmp_path / "nothing", tmp_path / "perfect" / "scores")
    assert done.status == 0, done.err
    (row,) = [
        line.split() for line in done.out.splitlines() if line.startswith("WT (region)") and "Dice" in line and "*" in line
    ]
    assert row[3:] == ["0.000", "*1.000"]
    assert "+1.000, p too few" in done.out
    assert "nothing" in done.out
    assert "perfect" in done.out


def test_files_hold_what_was_printed(tmp_path, two, command):
    out = tmp_path / "out"
    done = command(COMPARE, "--scores", *two, "--out", out, "--names", "a", "b", "--structures", "TC", "WT", "--metrics", "iou")
    assert done.status == 0, done.err
    names = ["boxes.pdf", "boxes.png", "compare.csv", "compare.md", "compare.txt"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert done.out.startswith((out / "compare.txt").read_text().rstrip())
    assert all(f"wrote {out / name}" in done.out for name in names)
    rows = list(csv.DictReader((out / "compare.csv").open()))
    means = [(row["structure"], row["score"], row["name"], row["best"]) for row in rows if row["table"] == "mean"]
    expected = [(structure, "iou", name, best) for structure in ("TC", "WT") for name, best in (("a", "0"), ("b", "1"))]
    assert means == expected
    assert "**" in (out / "compare.md").read_text()
    assert ABSENT_RULE[:40] in done.out


def test_figures_equal_those_of_the_scores(two, command, tmp_path):
    command(COMPARE, "--scores", *two, "--out", tmp_path / "out")
    compared = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    for folder in two:
        summary = {
            (row["kind"], row["structure"], row["score"]): row
            for row in csv.DictReader((folder / "scores" / "summary.csv").open())
        }
        mine = [row for row in compared if row["table"] == "mean" and row["name"] == folder.name]
        assert len(mine) == 7 * 2
        for row in mine:
            expected = summary[row["kind"], row["structure"], row["score"]]
            for one, other in (("value", "mean"), ("low_95", "low_95"), ("high_95", "high_95")):
                assert float(row[one]) == pytest.approx(float(expected[other]), abs=2e-6)


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path, command):
    folders = [write_made(tmp_path / run / "predictions", seed) for seed, run in enumerate(("one", "two"))]
    done = command(COMPARE, "--scores", *folders)
    assert "one/predictions" in done.out
    assert "two/predictions" in done.out


@pytest.mark.parametrize("place", ["scores/scores.json", "predictions.json"])
def test_a_slice_split_is_read_from_either_manifest(two, command, tmp_path, place):
    file = two[1] / place
    write_json(file, (json.loads(file.read_text()) if file.is_file() else {}) | {"split": "slice"})
    done = command(COMPARE, "--scores", *two, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    head = done.out.splitlines()[4].split("  ")
    assert [part.strip() for part in head if part.strip()] == ["patient split", "slice split"]
    assert " *0." not in done.out
    for score in ("Dice", "IoU"):
        assert f"optimism gap (slice split minus patient split), {score}, attention minus unet:" in done.out


def test_patients_of_one_set_alone_are_told(tmp_path, command):
    folders = [write_made(tmp_path / "a", 0), write_made(tmp_path / "b", 1, first=2)]
    done = command(COMPARE, "--scores", *folders)
    assert "Only a has, not b, so left out of their differences: p00, p01 (2)." in done.out
    assert "b (6 patients)" in done.out


def test_structures_that_not_all_have_are_left_out(tmp_path, command):
    newer = LabelSchema.load("brats2023")
    folders = [write_made(tmp_path / "a", 0), write_made(tmp_path / "b", 1, schema=LabelSchema.load("binary"))]
    done = command(COMPARE, "--scores", *folders)
    assert done.status == 2
    assert "made of the same classes; received none" in done.err
    done = command(COMPARE, "--scores", folders[0], write_made(tmp_path / "c", 2, schema=newer))
    assert done.status == 0, done.err


def test_categories_are_compared(tmp_path, command):
    folders = [write_category(tmp_path / "a", 0.7), write_category(tmp_path / "b", 0.9, "slice", weights="ImageNet")]
    done = command(COMPARE, "--scores", *folders, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "grade (grade II, grade III)" in done.out
    assert "weights: ImageNet" in done.out
    assert "20 patients, 400 slices" in done.out
    assert "0.700 [0.600, 0.800]" in done.out
    assert "accuracy, b minus a: per patient +0.200, per slice +0.200" in done.out
    assert "AUC, b minus a: per patient n/a" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.csv", "compare.md", "compare.txt"]


def one_line(done):
    assert (done.status, done.out) == (2, "")
    (line,) = done.errors
    return line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--names", "a"), "--names: expected 2 different names; received a"),
        (("--names", "a", "a"), "--names: expected 2 different names"),
        (("--structures", "WT", "liver"), "--structures: expected some of WT, TC, ET"),
        (("--metrics", "hausdorff"), "--metrics: expected some of dice, iou, sensitivity, precision"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(two, command, options, told):
    assert told in one_line(command(COMPARE, "--scores", *two, *options))


def break_csv(folder, text):
    write_text(folder / "scores" / "per_patient.csv", text)


def other_patients(folder):
    write_made(folder, 3, first=50)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: edit(folder / "scores" / "scores.json", absent_rule="NaN"), "expected the absent rule of this version"),
        (lambda folder: edit(folder / "scores" / "scores.json", format=2), "expected scores of format 1"),
        (lambda folder: edit(folder / "scores" / "scores.json", kind="slices of records"), "expected scores per patient"),
        (lambda folder: edit(folder / "scores" / "scores.json", split="voxel"), "expected split to be one of patient, slice"),
        (lambda folder: (folder / "scores" / "scores.json").unlink(), "expected scores.json or category_scores.json in it"),
        (lambda folder: (folder / "scores" / "per_patient.csv").unlink(), "per_patient.csv: table not found"),
        (lambda folder: break_csv(folder, "a,b\n1,2\n"), "expected scores per patient, as evaluation.score writes them"),
        (
            lambda folder: break_csv(
                folder, csv_text([["patient", "kind", "structure", *METRICS], ["p", "mean", "m", *"0x00"]])
            ),
            "patient p, m: expected a score of 0 to 1; received 'x'",
        ),
        (
            lambda folder: break_csv(
                folder,
                csv_text(
                    [["patient", "kind", "structure", *METRICS], ["p", "mean", "m", *"0000"], ["q", "mean", "n", *"0000"]]
                ),
            ),
            "expected a row for each patient and structure",
        ),
        (other_patients, "expected patients that both have; received none in common"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(two, command, spoil, told):
    spoil(two[1])
    assert told in one_line(command(COMPARE, "--scores", *two))


def test_the_same_folder_twice_one_folder_and_two_kinds_are_refused(two, tmp_path, command):
    assert "received one of them twice" in one_line(command(COMPARE, "--scores", two[0], two[0] / "scores"))
    assert "at least two folders" in one_line(command(COMPARE, "--scores", two[0]))
    category = write_category(tmp_path / "c", 0.7)
    assert "expected all of one kind" in one_line(command(COMPARE, "--scores", two[0], category))


def test_categories_that_cannot_be_compared_are_refused(tmp_path, command):
    one, other = write_category(tmp_path / "a", 0.7), write_category(tmp_path / "b", 0.7, classes=("x", "y"))
    assert "one head and its classes" in one_line(command(COMPARE, "--scores", one, other))
    assert "--structures" in one_line(command(COMPARE, "--scores", one, other, "--structures", "WT"))
    edit(other / "category_scores.json", level={"patient": 3})
    assert "damaged" in one_line(command(COMPARE, "--scores", one, other))
