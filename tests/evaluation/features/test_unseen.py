"""Training patients of runs, and folds without them."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.files import checksum, read_json, write_json
from data_prep.leakage.same_scans import ScanChecksums
from data_prep.records.folder import Records
from evaluation.features.cases import LabelledCase, LabelledCases
from evaluation.features.unseen import deal, held_out_fold, make_folds, training_patients
from tests.evaluation.features.runs import run_of
from training.patients import read_patients
from training.run import Run

NO_SCAN = ScanChecksums("none")


def labelled(classes, scan=NO_SCAN):
    """A case of each patient; patients a0, a1, ... of the first class, b0, ... of the second."""
    cases = [
        LabelledCase(f"{name}{number}", f"{name}{number}", target, scan, "", None)
        for target, (name, count) in enumerate(classes.items())
        for number in range(count)
    ]
    return LabelledCases(cases, "subtype", {name: [name] for name in classes})


def of_records(records):
    """The cases of records with their grades."""
    cases = [
        LabelledCase(case, facts.patient, int(facts.attributes["grade"] == "LGG"), NO_SCAN, "", None)
        for case, facts in records.cases.items()
    ]
    return LabelledCases(cases, "grade", {"HGG": ["HGG"], "LGG": ["LGG"]})


@pytest.fixture(scope="module")
def trainings(validated):
    return [training_patients(Run(validated / f"fold{fold}")) for fold in (0, 1)]


def test_training_patients_are_those_of_the_fold(trainings, graded):
    opened = Records(graded[1])
    for fold, found in enumerate(trainings):
        assert found.patients == opened.subset("train", fold)
        assert found.validation == opened.subset("validation", fold)
        assert found.records == [f"{graded[1]}, fold {fold}"]
        assert (found.began_with, found.unknown) == ([], "")
        assert found.facts()["weights"] == checksum(found.run.weights)


def test_patients_of_the_run_that_a_run_began_with_count_too(trained, validated, graded, records, tmp_path):
    began = {"path": str(trained), "checksum": checksum(Run(trained).weights)}
    run = Run(run_of(trained, tmp_path / "run", graded[1], 0, init_from=began))
    found = training_patients(run)
    assert found.patients == sorted({*Records(graded[1]).subset("train", 0), *Records(records).subset("train")})
    assert found.began_with == [str(trained)]
    assert found.unknown == ""
    other = Run(run_of(trained, tmp_path / "other", graded[1], 0, init_from=began | {"checksum": "0"}))
    assert training_patients(other).unknown == f"{trained}: {other.path} began with other weights than it has now"
    gone = Run(run_of(trained, tmp_path / "gone", graded[1], 0, init_from={"path": str(tmp_path / "none")}))
    assert training_patients(gone).unknown == f"{tmp_path / 'none'}: {gone.path} began with it, and it is gone"


def test_a_run_without_its_records_may_have_seen_anyone(trained, graded, tmp_path):
    copy = shutil.copytree(graded[1], tmp_path / "records")
    run = Run(run_of(trained, tmp_path / "run", copy, 0))
    write_json(copy / "dataset.json", read_json(copy / "dataset.json", "records") | {"channels": ["x", "y", "z", "v"]})
    found = training_patients(run)
    assert found.unknown == f"{copy}: is no longer what {run.path} was trained on"
    given = of_records(Records(graded[1]))
    with pytest.raises(
        UserError, match=r"so it is not known which patients trained .*; put it back, or .* --seen_patients warn"
    ):
        make_folds(given, [found], 2, 0, "refuse")
    assert make_folds(given, [found], 2, 0, "warn")


def test_equal_scans_are_seen_whatever_their_patient_is_called(trainings):
    training = trainings[0]
    known = read_patients(training.run).training[0].scan
    file, further = next(iter(known.files)), {(1, 1), (2, 2), (3, 3)}
    for files, seen in ((known.files, True), ({file}, True), ({file} | further, False), ((), False)):
        (case,) = labelled({"a": 1}, ScanChecksums("other", frozenset(files))).cases
        assert training.saw(case) == seen
    (case,) = labelled({"a": 1}, ScanChecksums("other", frozenset(further), known.voxels)).cases  # saved anew
    assert training.saw(case)


def test_each_patient_is_tested_by_the_run_that_it_did_not_train(trainings, graded):
    given = of_records(Records(graded[1]))
    folds = make_folds(given, trainings, None, 0, "refuse")
    assert [fold.run for fold in folds] == [0, 1]
    for fold, training in zip(folds, trainings, strict=True):
        assert fold.test == training.validation
        assert set(fold.test).isdisjoint(training.patients)
        assert sorted([*fold.test, *fold.train]) == sorted(given.patients)
        assert fold.seen == []


def test_patients_that_no_run_knows_are_dealt_out_by_class(trainings):
    folds = make_folds(labelled({"a": 6, "b": 4}), trainings, None, 0, "refuse")
    for fold in folds:
        assert [sum(name.startswith(letter) for name in fold.test) for letter in "ab"] == [3, 2]
    (training, _) = trainings
    several = make_folds(labelled({"a": 7, "b": 5}), [training], 3, 0, "refuse")
    assert [len(fold.test) for fold in several] == [4, 4, 4]
    assert sorted(sum(name.startswith("b") for name in fold.test) for fold in several) == [1, 2, 2]
    assert {fold.run for fold in several} == {0}
    assert len(make_folds(labelled({"a": 7, "b": 5}), [training], None, 0, "refuse")) == 5


def test_one_run_takes_the_folds_of_records_that_did_not_train_it(trained, graded):
    opened = Records(graded[1])
    training = training_patients(Run(trained))
    given = of_records(opened)
    folds = make_folds(given, [training], None, 0, "warn", opened)
    assert [fold.test for fold in folds] == [sorted(fold["validation"]) for fold in opened.folds]
    assert sorted(name for fold in folds for name in fold.seen) == sorted({*given.patients} & {*training.patients})


def test_a_patient_that_trained_the_run_is_refused(trainings, graded):
    given = of_records(Records(graded[1]))
    first = trainings[0].patients[0]
    with pytest.raises(UserError) as error:
        make_folds(given, trainings[:1], 2, 0, "refuse")
    assert str(error.value) == (
        f"--runs: patient {first} (and 3 more) trained {trainings[0].run.path}, so the features know this patient; train a run "
        "without each patient by glioskull cross_validate and give its folder, leave the patients out by --cases, or take them "
        "by --seen_patients warn"
    )


@pytest.mark.parametrize(
    ("classes", "folds", "told"),
    [
        (
            {"a": 9, "b": 3},
            4,
            "subtype b: expected at least 4 patients, one for each fold; received 3; choose at most 3 by --folds",
        ),
        ({"a": 9, "b": 1}, 2, "subtype b: expected at least 2 patients, one for each fold; received 1; add patients"),
        ({"a": 9, "b": 2}, 2, "subtype b: expected at least 2 patients to train on in each fold; received 1 in fold 0"),
    ],
)
def test_few_patients_are_refused_with_the_number_that_is_needed(trainings, classes, folds, told):
    with pytest.raises(UserError, match=told):
        make_folds(labelled(classes), trainings[:1], folds, 0, "refuse")


def test_runs_are_folds_themselves(trainings):
    with pytest.raises(UserError, match="--folds: 2 runs are given, and each is a fold; leave --folds out"):
        make_folds(labelled({"a": 9, "b": 9}), trainings, 3, 0, "refuse")
    with pytest.raises(UserError, match="received 1; add patients"):
        make_folds(labelled({"a": 9, "b": 1}), trainings, None, 0, "refuse")


def test_dealing_keeps_to_the_folds_that_are_allowed():
    targets = {f"p{number}": number % 2 for number in range(12)}
    allowed = {name: [1] if number < 3 else [0, 1, 2] for number, name in enumerate(targets)}
    found = deal(targets, allowed, 4)
    assert all(found[f"p{number}"] == 1 for number in range(3))
    for target in (0, 1):
        counts = [sum(found[name] == fold for name in targets if targets[name] == target) for fold in range(3)]
        assert max(counts) - min(counts) <= 1, counts
    assert found == deal(dict(reversed(targets.items())), allowed, 4)


def test_the_division_of_records_is_one_fold_whose_test_patients_the_run_did_not_see(trainings):
    training = trainings[0]
    given = labelled({"a": 4, "b": 3})
    cases = {case.id: SimpleNamespace(patient=case.patient) for case in given.cases}
    records = SimpleNamespace(path="R", cases=cases, subset=lambda name: {"test": ["a0", "b0"]}[name])
    (fold,) = held_out_fold(given, training, records, "refuse")
    assert (fold.run, fold.test, fold.train, fold.seen) == (0, ["a0", "b0"], ["a1", "a2", "a3", "b1", "b2"], [])
    seen = replace(training, patients=["a0", "a1"])  # a training patient of the classifier may have trained the run
    with pytest.raises(UserError, match=r"patient a0 trained"):
        held_out_fold(given, seen, records, "refuse")
    assert held_out_fold(given, seen, records, "warn")[0].seen == ["a0"]
    with pytest.raises(UserError, match="R: expected test patients with a value of subtype; received none"):
        held_out_fold(given, training, SimpleNamespace(path="R", cases=cases, subset=lambda name: []), "refuse")
    records.subset = lambda name: ["b0", "b1"]
    with pytest.raises(UserError, match="subtype b: expected at least 2 patients to train on in each fold; received 1"):
        held_out_fold(given, training, records, "refuse")
