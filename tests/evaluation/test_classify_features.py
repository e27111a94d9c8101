"""Classification by features of a network: no test patient trained it, and the scores are those that `compare` reads."""

import csv
import json
import shutil

import numpy as np
import pytest

from common.files import read_json, write_json
from data_prep.records.folder import Records
from evaluation import classify_features
from tests.copied_records import copy_records
from tests.evaluation.features.runs import run_of
from training.heads.classification import ClassificationHead

NAME = "evaluation.classify_features"


@pytest.fixture(scope="module")
def call(command, graded, validated):
    """`call(out, *options)`: classify the grades of `graded` by the runs of `validated`; later options win."""

    def run(out, *options):
        base = ("--runs", validated, "--records", graded[1], "--attribute", "grade", "--c", 0.1, 0.001, "--out", out)
        return command(NAME, *base, *options)

    return run


@pytest.fixture(scope="module")
def scored(call, tmp_path_factory):
    """Scores with figures; to be read only."""
    out = tmp_path_factory.mktemp("scored") / "out"
    done = call(out)
    assert done.status == 0, done.err
    (out / "printed.txt").write_text(done.out)
    return out


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(classify_features, "draw_classification", lambda *_: [])


def test_no_test_patient_trained_the_run_of_its_features(scored, graded):
    scores = json.loads((scored / "classification_scores.json").read_text())
    runs = {run["run"]: run for run in scores["runs"]}
    records, tested = Records(graded[1]), []
    for number, fold in enumerate(scores["folds"]):
        assert set(fold["test"]).isdisjoint(runs[fold["run"]]["trained_by"])
        assert runs[fold["run"]]["trained_by"] == records.subset("train", number)
        assert sorted(fold["test"] + fold["train"]) == sorted(records.cases)
        assert fold["c"] in (0.1, 0.001)
        tested += fold["test"]
    assert sorted(tested) == sorted(records.cases)
    assert (scores["trained_patients"], scores["training_unknown"]) == ([], [])
    assert scores["patients"] == {"HGG": 4, "LGG": 4}
    assert scores["features"] == {"kinds": ["mean", "max", "tumour"], "layers": ["bottom_relu2"], "number": 24}
    assert scores["level"]["patient"]["n"] == 8
    assert scores["level"]["patient"]["auc"]["low"] is not None
    printed = (scored / "printed.txt").read_text()
    assert "grade: 8 patients (4 HGG, 4 LGG), 8 cases" in printed
    assert "No test patient has trained the run of its features" in printed
    assert "Features: mean, max, tumour of bottom_relu2, 2 runs" in printed


def test_a_row_per_patient_and_figures_are_written(scored):
    rows = list(csv.DictReader((scored / "per_patient.csv").open()))
    assert [row["patient"] for row in rows] == [f"case_{number}" for number in range(8)]
    assert [row["truth"] for row in rows] == ["HGG"] * 4 + ["LGG"] * 4
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    names = {path.name for path in scored.iterdir()}
    assert {"roc.png", "confusion.png", "calibration.png", "table.txt", "features"} <= names
    assert "per_slice.csv" not in names


def test_sets_of_features_are_compared(scored, call, command, without_figures, tmp_path):
    """The second call into one folder takes the stored features, and `compare` reads both scores."""
    (tmp_path / "mean").mkdir()
    (tmp_path / "mean" / "features").symlink_to(scored / "features")
    before = {path: path.stat().st_mtime_ns for path in (scored / "features").rglob("*.npz")}
    assert call(tmp_path / "mean", "--features", "mean").status == 0
    assert before == {path: path.stat().st_mtime_ns for path in (scored / "features").rglob("*.npz")}
    again = call(tmp_path / "mean", "--features", "max")
    assert again.errors[0].endswith("holds scores made with another --features; choose another folder")
    done = command("evaluation.compare", "--scores", scored, tmp_path / "mean", "--names", "all", "mean")
    assert done.status == 0, done.err
    assert "weights: mean of bottom_relu2, 2 runs" in " ".join(done.out.split())


def test_cases_that_lack_a_channel_of_the_run_are_left_out(call, graded, validated, without_figures, tmp_path):
    def lack(case, facts):
        scaling = {name: value for name, value in facts["scaling"].items() if name != "t1"}
        return facts | {"missing": ["t1"], "scaling": scaling} if case == "case_0" else None

    records = copy_records(graded[1], tmp_path / "records", lack)
    done = call(tmp_path / "out", "--records", records)  # of HGG too few remain
    assert f"left out: 1 case of {records} that lack t1, which a run needs" in done.out
    assert "grade: 7 patients (3 HGG, 4 LGG), 7 cases" in done.out


def test_classes_of_the_training_patients_alone_matter(call, graded, scored, without_figures, tmp_path):
    """With the classes the other way round every probability is that of the other class."""
    done = call(tmp_path / "out", "--classes", "{LGG: [LGG], HGG: [HGG]}")
    assert done.status == 0, done.err
    first, second = (
        np.array([float(row["probability"]) for row in csv.DictReader((out / "per_patient.csv").open())])
        for out in (scored, tmp_path / "out")
    )
    np.testing.assert_allclose(first, 1 - second, atol=1e-3)


def test_patients_that_trained_the_run_are_refused_or_named(call, validated, without_figures, tmp_path):
    one = ("--runs", validated / "fold0", "--folds", 2)
    done = call(tmp_path / "out", *one)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "trained" in done.errors[0]
    assert "glioskull cross_validate" in done.errors[0]
    done = call(tmp_path / "out", *one, "--seen_patients", "warn")
    assert done.status == 0, done.err
    assert "warning: 4 test patients trained the run of their features" in done.err
    assert "4 patients trained the network that made their features, so these scores are too good." in " ".join(
        done.out.split()
    )
    assert len(json.loads((tmp_path / "out" / "classification_scores.json").read_text())["trained_patients"]) == 4


def test_the_test_patients_of_records_are_classified_by_all_others(call, graded, trained, without_figures, tmp_path):
    """As a study does it: one run, and the division of its own records."""
    records = shutil.copytree(graded[1], tmp_path / "records")
    manifest = read_json(records / "dataset.json", "records")
    fold = manifest["folds"][0]
    split = {"train": fold["train"], "validation": [], "test": fold["validation"]}
    write_json(records / "dataset.json", manifest | {"split": split})
    run = run_of(trained, tmp_path / "run", records, None)
    done = call(tmp_path / "out", "--runs", run, "--records", records, "--division", "held_out")
    assert done.status == 0, done.err
    scores = json.loads((tmp_path / "out" / "classification_scores.json").read_text())
    (only,) = scores["folds"]
    assert (only["train"], only["test"]) == (sorted(fold["train"]), sorted(fold["validation"]))
    assert (scores["runs"][0]["trained_by"], scores["trained_patients"]) == (sorted(fold["train"]), [])
    rows = list(csv.DictReader((tmp_path / "out" / "per_patient.csv").open()))
    assert [row["patient"] for row in rows] == sorted(fold["validation"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--source", "x"), "expected either --records R or --source DIR; received both"),
        (("--records", "null"), "expected either --records R or --source DIR; received neither"),
        (("--c", "0"), "--c: expected numbers above 0; received [0.0]"),
        (("--features=[]",), "--features: expected some of mean, max, tumour, shape; received none"),
        (("--folds", "1"), "--folds: expected at least 2; received 1"),
        (("--folds", "3"), "--folds: 2 runs are given, and each is a fold; leave --folds out"),
        (("--head", "mets"), "expected one of segmentation; received mets"),
        (("--division", "held_out"), "--division held_out: expected one run; received 2"),
        (("--division", "held_out", "--folds", "2"), "--division held_out: expected --records, whose test patients"),
    ],
)
def test_wrong_options_are_refused(call, tmp_path, options, told):
    done = call(tmp_path / "out", *options)
    assert (done.status, len(done.errors)) == (2, 1), done.err
    assert told in done.errors[0]
    assert not (tmp_path / "out").exists()


def test_a_run_without_segmentation_is_refused(call, trained, graded, tmp_path):
    head = ClassificationHead("classification", "grade", {"HGG": ["HGG"], "LGG": ["LGG"]})
    run = run_of(trained, tmp_path / "run", graded[1], 0, heads={head.name: head.metadata()})
    done = call(tmp_path / "out", "--runs", run)
    assert "expected a run with a segmentation head; received heads classification" in done.errors[0]
