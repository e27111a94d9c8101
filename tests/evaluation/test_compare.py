import csv
import json
import shutil

import numpy as np
import pytest

from common.files import write_json, write_text
from common.tables import csv_text
from data_prep.labels import LabelSchema
from evaluation.outputs import FILE
from evaluation.scores.folder import read_scores
from evaluation.tables.scored import read_scored
from tests import scans
from tests.evaluation.scores.test_folder import write_made, write_records

SCHEMA = LabelSchema.load("brats2017-2021")
COMPARE, CLASSES = "evaluation.compare", "classification_scores.json"


def edit(file, **changes):
    write_json(file, json.loads(file.read_text()) | changes)


def write_classes(folder, value, split="patient", classes=("grade II", "grade III"), weights="random initialisation"):
    score = {"value": value, "low": value - 0.1, "high": min(1, value + 0.1)}
    auc = {"value": None, "low": None, "high": None}
    level = {"n": 20, "accuracy": score, "f1": score, "auc": auc, "roc": {"points": [[0, 0], [1, 1]]}}
    folder.mkdir()
    content = {
        "format": 1,
        "kind": "classification",
        "head": "grade",
        "classes": list(classes),
        "split": split,
        "weights": weights,
    }
    write_json(folder / CLASSES, content | {"level": {"patient": level, "slice": level | {"n": 400}}})
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
    assert row[4:] == ["0.000", "*1.000"]
    assert "+1.000 better, not tested" in done.out
    (row,) = [line for line in done.out.splitlines() if line.startswith("WT (region)") and "HD95" in line and "*" in line]
    assert row.split()[5:] == ["374.00", "*0.00"]
    assert "-374.00 better, not tested" in done.out
    assert "nothing" in done.out
    assert "perfect" in done.out


def test_files_hold_what_was_printed(tmp_path, two, command):
    out = tmp_path / "out"
    done = command(COMPARE, "--scores", *two, "--out", out, "--names", "a", "b", "--structures", "TC", "WT", "--metrics", "iou")
    assert done.status == 0, done.err
    names = ["boxes_iou.csv", "boxes_iou.pdf", "boxes_iou.png", "compare.csv", "compare.md", "compare.txt"]
    assert sorted(path.name for path in out.iterdir() if path.name != FILE) == names
    assert done.out.startswith((out / "compare.txt").read_text().rstrip())
    assert all(f"wrote {out / name}" in done.out for name in names)
    rows = list(csv.DictReader((out / "compare.csv").open()))
    means = [(row["structure"], row["score"], row["name"], row["best"]) for row in rows if row["table"] == "mean"]
    expected = [(structure, "iou", name, best) for structure in ("TC", "WT") for name, best in (("a", "0"), ("b", "1"))]
    assert means == expected
    assert "**" in (out / "compare.md").read_text()
    assert "IoU: 1 and 0" in done.out


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


def test_a_distance_is_compared_and_drawn_by_its_direction(two, command, tmp_path):
    out = tmp_path / "out"
    done = command(COMPARE, "--scores", *two, "--metrics", "hd95", "--structures", "WT", "--out", out)
    assert done.status == 0, done.err
    rows = list(csv.DictReader((out / "compare.csv").open()))
    means = {row["name"]: (float(row["value"]), row["best"]) for row in rows if row["table"] == "mean"}
    assert means["attention"][0] > means["unet"][0]
    assert (means["attention"][1], means["unet"][1]) == ("0", "1")
    (difference,) = [row for row in rows if row["table"] == "difference"]
    assert (float(difference["value"]) > 0, difference["change"]) == (True, "worse")
    assert (out / "boxes_hd95.pdf").is_file()


def test_volumes_are_compared_without_a_best(two, command):
    done = command(COMPARE, "--scores", *two, "--metrics", "true_ml", "--structures", "WT")
    assert done.status == 0, done.err
    assert "*" not in done.out.split("best: *")[1].split("Minus")[0]
    assert "class mean" not in done.out.split("Minus")[0]


def test_equal_structures_are_compared_once(two, command, tmp_path):
    done = command(COMPARE, "--scores", *two, "--out", tmp_path / "out")
    assert "Equal structures are printed once: enhancing tumor (class) = ET (region)." in done.out
    assert not any(line.startswith("enhancing tumor (class)") for line in done.out.splitlines())
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    assert "enhancing tumor" in {row["structure"] for row in rows}
    asked = command(COMPARE, "--scores", *two, "--structures", "ET", "enhancing tumor")
    assert any(line.startswith("enhancing tumor (class)") for line in asked.out.splitlines())


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
    for score in ("Dice", "HD95 (mm)"):
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
    folders = [write_classes(tmp_path / "a", 0.7), write_classes(tmp_path / "b", 0.9, "slice", weights="ImageNet")]
    done = command(COMPARE, "--scores", *folders, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "grade (grade II, grade III)" in done.out
    assert "weights: ImageNet" in done.out
    assert "20 patients, 400 slices" in done.out
    assert "0.700 [0.600, 0.800]" in done.out
    assert "accuracy, b minus a: per patient +0.200, per slice +0.200" in " ".join(done.out.split())
    assert "AUC, b minus a: per patient n/a" in done.out
    assert "Not known whether patients trained the runs: a, b." in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.csv", "compare.md", "compare.txt", FILE]


def test_categories_of_patients_who_trained_the_runs_are_not_ranked(tmp_path, command):
    first, second = write_classes(tmp_path / "a", 0.7), write_classes(tmp_path / "b", 0.9)
    for folder, trained in ((first, []), (second, ["p1", "p2"])):
        scores = json.loads((folder / CLASSES).read_text())
        (folder / CLASSES).write_text(json.dumps(scores | {"trained_patients": trained, "training_unknown": []}))
    refused = one_line(command(COMPARE, "--scores", first, second))
    assert f"{second}: 2 of 20 patients trained the runs of b, such as p1, so its scores are too good" in refused
    done = command(COMPARE, "--scores", first, second, "--seen_patients", "warn", "--out", tmp_path / "out")
    assert "Patients who trained the runs that are scored on them: a 0 of 20, b 2 of 20." in done.out
    with (tmp_path / "out" / "compare.csv").open() as file:
        assert {(row["name"], row["trained"]) for row in csv.DictReader(file)} == {("a", "0"), ("b", "2")}


def test_sets_of_one_name_are_seeds_whose_mean_is_compared(two, tmp_path, command):
    folders = (*two, write_made(tmp_path / "attention_again", 2, better=0.5))
    done = command(COMPARE, "--scores", *folders, "--names", "unet", "attention", "attention", "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "attention: a patient's score is the mean over 2 sets of scores." in done.out
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    own = ("mean", "attention", "WT", "dice")
    (seeds,) = [row for row in rows if (row["table"], row["name"], row["structure"], row["score"]) == own]
    single = [
        np.mean(list(read_scored(read_scores(folder), "").values["region", "WT", "dice"].values())) for folder in folders[1:]
    ]
    assert float(seeds["value"]) == pytest.approx(np.mean(single))
    assert {row["name"] for row in rows} == {"unet", "attention"}


def test_sets_with_post_processing_say_so(two, command):
    chosen = {"head": "tumour", "setting": "threshold 0.3", "file": "/r/p.yaml", "patients": 2, "patient_ids": ["p0", "x"]}
    edit(two[1] / "scores" / "scores.json", postprocessing=[chosen])
    done = command(COMPARE, "--scores", *two)
    text = " ".join(done.out.split())
    assert "attention: post-processing: threshold 0.3; chosen on 2 validation patients" in text
    assert "unet: post-processing" not in text


def test_classifiers_of_one_name_are_refused(tmp_path, command):
    sets = [write_classes(tmp_path / name, 0.7) for name in "ab"]
    assert "expected 2 different names; received x, x" in one_line(command(COMPARE, "--scores", *sets, "--names", "x", "x"))


def one_line(done):
    assert (done.status, done.out) == (2, "")
    (line,) = done.errors
    return line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--names", "a"), "--names: expected 2 names, 2 of them different; received a"),
        (("--names", "a", "a"), "--names: expected 2 names, 2 of them different"),
        (("--structures", "WT", "liver"), "--structures: expected some of WT, TC, ET"),
        (("--metrics", "hausdorff"), "--metrics: expected some of dice, iou, sensitivity, precision, hd95"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(two, command, options, told):
    assert told in one_line(command(COMPARE, "--scores", *two, *options))


def break_csv(folder, text):
    write_text(folder / "scores" / "per_patient.csv", text)


def change_csv(folder, patient, name, **changes):
    """Change a row of per_patient.csv."""
    file = folder / "scores" / "per_patient.csv"
    rows = list(csv.DictReader(file.open()))
    for row in rows:
        if (row["patient"], row["structure"]) == (patient, name):
            row.update(changes)
    write_text(file, csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))


def spoil_rule(folder):
    """Another absent rule of Dice."""
    file = folder / "scores" / "scores.json"
    metrics = json.loads(file.read_text())["metrics"]
    edit(file, metrics=metrics | {"dice": metrics["dice"] | {"both_absent": 0.0}})


def other_patients(folder):
    write_made(folder, 3, first=50)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: spoil_rule(folder), "expected dice as this version defines it; received another rule; score again"),
        (lambda folder: edit(folder / "scores" / "scores.json", format=1), "expected scores of format 3"),
        (lambda folder: write_records(folder / "scores"), "expected scores per patient"),
        (lambda folder: edit(folder / "scores" / "scores.json", split="voxel"), "split: expected one of patient, slice"),
        (
            lambda folder: (folder / "scores" / "scores.json").unlink(),
            "expected scores.json or classification_scores.json in it",
        ),
        (lambda folder: (folder / "scores" / "per_patient.csv").unlink(), "per_patient.csv: table not found"),
        (lambda folder: break_csv(folder, "a,b\n1,2\n"), "expected scores per patient, as glioskull score writes them"),
        (lambda folder: change_csv(folder, "p01", "WT", dice="x"), "patient p01, WT: expected dice of 0 to 1; received 'x'"),
        (lambda folder: change_csv(folder, "p01", "WT", dice="1.5"), "patient p01, WT: expected dice of 0 to 1"),
        (lambda folder: change_csv(folder, "p01", "WT", hd95="-1"), "patient p01, WT: expected hd95 of at least 0"),
        (lambda folder: change_csv(folder, "p01", "WT", structure="liver"), "expected a row for each patient and structure"),
        (other_patients, "expected patients that both have; received none in common"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(two, command, spoil, told):
    spoil(two[1])
    assert told in one_line(command(COMPARE, "--scores", *two))


def test_the_same_folder_twice_one_folder_and_two_kinds_are_refused(two, tmp_path, command):
    assert "received one of them twice" in one_line(command(COMPARE, "--scores", two[0], two[0] / "scores"))
    assert "at least two folders" in one_line(command(COMPARE, "--scores", two[0]))
    classes = write_classes(tmp_path / "c", 0.7)
    assert "expected all of one kind" in one_line(command(COMPARE, "--scores", two[0], classes))


def test_categories_that_cannot_be_compared_are_refused(tmp_path, command):
    one, other = write_classes(tmp_path / "a", 0.7), write_classes(tmp_path / "b", 0.7, classes=("x", "y"))
    assert "one head and its classes" in one_line(command(COMPARE, "--scores", one, other))
    assert "--structures" in one_line(command(COMPARE, "--scores", one, other, "--structures", "WT"))
    edit(other / CLASSES, level={"patient": 3})
    assert "level.patient: expected a mapping with n; received 3" in one_line(command(COMPARE, "--scores", one, other))


def test_lesion_scores_of_one_rule_are_compared_and_those_of_two_are_not(tmp_path, command):
    case = scans.scan("case_a", 0)
    source = scans.write_brats(tmp_path / "source", [case])
    for name, rule in (("one", "brats2023-met"), ("same", "brats2023-met"), ("other", "brats2026-mets")):
        (tmp_path / name).mkdir()
        scans.save(tmp_path / name / "case_a.nii.gz", case.label, scans.LPS)
        options = ("--predictions", tmp_path / name, "--source", source, "--lesions", f"[{rule}]")
        done = command("evaluation.score", *options)
        assert done.status == 0, done.err
    metric = "lesion_dice@brats2023-met"
    chosen = ("--metrics", f"[{metric}]")
    done = command(COMPARE, "--scores", tmp_path / "one", tmp_path / "same", *chosen, "--out", tmp_path / "c")
    assert done.status == 0, done.err
    assert "brats2023-met: BraTS 2023 MET (BraTS-2023-Metrics, metrics.py)." in " ".join(done.out.split())
    assert (tmp_path / "c" / f"boxes_{metric}.png").is_file()
    done = command(COMPARE, "--scores", tmp_path / "one", tmp_path / "other", *chosen)
    assert done.status == 2
    assert f"received {metric}" in done.err
    done = command(COMPARE, "--scores", tmp_path / "one", tmp_path / "other")
    assert "Left out, for not all columns have them:" in " ".join(done.out.split())


def test_scores_of_another_version_of_a_lesion_rule_are_refused(tmp_path, command):
    case = scans.scan("case_a", 0)
    source = scans.write_brats(tmp_path / "source", [case])
    (tmp_path / "p").mkdir()
    scans.save(tmp_path / "p" / "case_a.nii.gz", case.label, scans.LPS)
    done = command("evaluation.score", "--predictions", tmp_path / "p", "--source", source, "--lesions", "[brats2026-gli]")
    assert done.status == 0, done.err
    file = tmp_path / "p" / "scores" / "scores.json"
    metrics = json.loads(file.read_text())["metrics"]
    metrics["lesion_f1@brats2026-gli"]["lesion_rule"]["version"] = "brats-evaluation 0.0.6"
    edit(file, metrics=metrics)
    again = shutil.copytree(tmp_path / "p", tmp_path / "again")
    done = command(COMPARE, "--scores", tmp_path / "p", again)
    assert done.status == 2
    assert "expected lesion_f1@brats2026-gli as this version defines it; received another rule; score again" in done.err
