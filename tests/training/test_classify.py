"""The command that trains classifiers: which classes, slices and weights it trains with, the run it leaves, what it refuses."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from tests.training.runs import TOY, history, weights
from training import engine
from training.config import ClassifyConfig
from training.data.batches import CLASSIFICATION, InputConfig
from training.data.mixture import open_mixture
from training.heads.classification import ClassificationConfig, ClassificationHead, TargetConfig, target_values
from training.run import Run

GRADES = {"case_0": "HGG", "case_1": "HGG", "case_2": "HGG", "case_3": "LGG", "case_4": "LGG"}


@pytest.fixture
def classify(command, records, tmp_path):
    """`classify(*options)`: what is refused before a network is built."""
    return lambda *options: command("training.classify", "--records", records, "--out", tmp_path / "run", *options)


def made(values):
    """Records of a case for each value of the attribute `code`."""
    cases = {f"p{place}": SimpleNamespace(attributes={"code": value} if value else {}) for place, value in enumerate(values)}
    return SimpleNamespace(path=Path("records"), cases=cases)


def config(**changes):
    return ClassifyConfig(**changes)


def indices(records, target):
    """Class index of each case, by a head of the target."""
    return ClassificationHead.from_config(CLASSIFICATION, ClassificationConfig(target=target), [records]).indices(records)


def head_and_folder(opened, **changes):
    """The head, and the examples that a config trains and validates on."""
    settings = config(records=opened.path, **changes)
    heads = settings.make_heads([opened])
    return heads[CLASSIFICATION], open_mixture(settings, [opened], heads).folders[0]


def examples(opened, **changes):
    """Training and validation cases and examples."""
    _, folder = head_and_folder(opened, **changes)
    return folder.train, folder.validation, folder.sources, folder.validation_examples


def numbers(source):
    return {(source.items[item][0], int(number)) for item, number in source.rows}


def with_tumour(opened, cases):
    return {(case, int(number)) for case in cases for number in np.flatnonzero(opened.cases[case].tumour_slices)}


def test_without_classes_the_values_found_are_the_classes():
    assert target_values("grade", [made(["2", "1", "2", ""])], TargetConfig("code")) == {"1": ["1"], "2": ["2"]}


def test_classes_may_join_values_and_keep_their_order():
    target = TargetConfig("code", {"low": ["1", "2"], "high": ["3"]})
    records = made(["3", "1", "2", ""])
    assert target_values("grade", [records], target) == {"low": ["1", "2"], "high": ["3"]}
    assert indices(records, target) == {"p0": 1, "p1": 0, "p2": 0}
    assert indices(records, TargetConfig("code", {"high": ["3"], "low": ["2", "1"]})) == {"p0": 0, "p1": 1, "p2": 1}


def test_of_two_classes_the_last_is_the_positive_one(opened):
    assert indices(opened, TargetConfig("grade")) == {case: int(grade == "LGG") for case, grade in GRADES.items()}


@pytest.mark.parametrize(
    ("values", "target", "said"),
    [
        (
            ["1", "2"],
            TargetConfig("grade"),
            "the attribute grade, chosen by target.attribute; received none; the records' attributes are code",
        ),
        (["1", "1"], TargetConfig("code"), "at least two values of the attribute code, chosen by target.attribute; received 1"),
        (["1", "2"], TargetConfig("code", {"all": ["1", "2"]}), "at least two classes with different values; received 1 class"),
        (["1", "2"], TargetConfig("code", {"a": ["1"], "b": ["2", "1"]}), "received the value 1 twice"),
        (["1", "2"], TargetConfig("code", {"a": ["1", "1"], "b": ["2"]}), "received the value 1 twice"),
        (["1", "9"], TargetConfig("code", {"a": ["1"], "b": ["2"]}), "case p1: code is '9', which no class of"),
    ],
)
def test_classes_that_make_no_sense_are_refused(values, target, said):
    with pytest.raises(UserError) as error:
        indices(made(values), target)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_one_pass_is_refused(classify, opened, monkeypatch):
    monkeypatch.setattr(engine, "load_backend", lambda: pytest.fail("a framework was loaded before the error"))
    done = classify("--input.batch_size", 1000)
    (source,) = examples(opened)[2]
    said = f"--input.batch_size: expected at most {len(source)}, the training slices of one pass; received 1000"
    assert (done.status, done.errors) == (2, [f"error: {said}"])


def test_tumour_slices_alone_train_and_validate(opened):
    train, validation, sources, whole = examples(opened)
    assert (train, validation) == (opened.split["train"], opened.split["validation"])
    assert numbers(sources[0]) == with_tumour(opened, train)
    assert len(sources) == 1
    assert len(sources[0]) == 2 * len(numbers(sources[0]))  # copies too
    assert numbers(whole) == with_tumour(opened, validation)


def test_all_slices_may_train_and_validate(opened):
    train, validation, sources, whole = examples(opened, slices="all")
    assert (len(sources[0]), len(whole)) == (len(train) * 2 * 8, len(validation) * 8)


@pytest.mark.parametrize("slices", ["tumour", "all"])
def test_a_slice_split_deals_slices_of_the_same_patients(opened, slices):
    found = [examples(opened, slices=slices, split="slice", fold=fold) for fold in (0, 1)]
    for train, validation, sources, whole in found:
        assert train == validation
        assert set(train).isdisjoint(opened.split["test"])
        assert numbers(sources[0]).isdisjoint(numbers(whole))
        assert {case for case, _ in numbers(sources[0])} == {case for case, _ in numbers(whole)} == set(train)
    whole_of = with_tumour(opened, train) if slices == "tumour" else {(case, number) for case in train for number in range(8)}
    assert numbers(found[0][3]) | numbers(found[1][3]) == whole_of


def test_an_example_has_its_patients_class(opened):
    _, _, (source,), whole = examples(opened)
    for slices in (source, whole):
        for place in range(0, len(slices), 3):
            case = slices.items[slices.rows[place][0]][0]
            image, targets = slices[place]
            assert image.shape == (16, 16, 4)
            assert list(targets) == [CLASSIFICATION]
            assert (targets[CLASSIFICATION].tolist(), targets[CLASSIFICATION].dtype) == (
                [float(GRADES[case] == "LGG")],
                np.float32,
            )


def test_cases_of_unknown_class_are_left_out(opened):
    cases = dict(opened.cases)
    unknown = opened.split["train"][0]
    cases[unknown] = replace(cases[unknown], attributes={})
    part = Records(opened.path)
    part.__dict__["cases"] = cases
    train, _, sources, _ = examples(part)
    assert train == [case for case in opened.split["train"] if case != unknown]
    assert unknown not in {case for case, _ in numbers(sources[0])}


def test_classes_weigh_by_the_inverse_of_their_share(opened):
    head, found = head_and_folder(opened)
    grades = [GRADES[found.sources[0].items[item][0]] for item, _ in found.sources[0].rows]
    counts = np.array([grades.count("HGG"), grades.count("LGG")])
    assert (counts > 0).all()
    assert counts[0] != counts[1]
    weighed = np.array(head.class_weights([(opened, source) for source in found.sources]))
    np.testing.assert_allclose(weighed * counts, counts.sum() / 2)  # each class counts alike, and the mean weight is 1
    assert (weighed * counts).sum() / counts.sum() == pytest.approx(1)


@pytest.mark.parametrize(("balance", "expected"), [(True, [1.5, 0.75]), (False, [1.0, 1.0])])
def test_the_loss_is_weighed_only_where_that_is_asked_for(opened, balance, expected, monkeypatch):
    monkeypatch.setattr(ClassificationHead, "class_weights", lambda self, examples: [1.5, 0.75])
    head, _ = head_and_folder(opened, balance=balance)
    target, logits = np.array([[0], [1]], np.float32), np.zeros((2, 1), np.float32)
    assert float(head.loss({}, [])(target, logits)) == pytest.approx(np.log(2) * np.mean(expected), rel=1e-6)


def test_the_run_explains_itself(classified, records):
    run = Run(classified)
    head = run.heads[CLASSIFICATION]
    assert (head.kind, run.command) == ("classification", "training.classify")
    assert (head.attribute, head.class_names, head.outputs) == ("grade", ["HGG", "LGG"], 1)
    assert (list(run.heads), run.metadata["pretrained"], run.metadata["split"]) == (
        [CLASSIFICATION],
        "random initialisation",
        "patient",
    )
    assert (run.metadata["status"], run.metadata["epoch"]) == ("finished", 2)
    assert isinstance(run.config, ClassifyConfig)


def test_the_history_has_accuracy_and_auc(classified):
    rows = history(classified)
    front = ["epoch", "phase", "minutes", "learning_rate"]
    scores = {"loss", "accuracy", "auc"}
    assert list(rows[0])[:4] == front
    assert set(rows[0]) == {*front, *scores, *(f"val_{name}" for name in scores)}
    assert [(row["epoch"], row["phase"]) for row in rows] == [("1", "1"), ("2", "2")]
    assert all(np.isfinite(float(value)) for row in rows for name, value in row.items() if name != "val_auc")
    assert all(math.isnan(float(row["val_auc"])) for row in rows)  # one validation patient, so one class


def test_the_best_epoch_is_the_one_of_least_loss(classified):
    losses = [float(row["val_loss"]) for row in history(classified)]
    assert Run(classified).metadata["best_epoch"] == int(np.argmin(losses)) + 1


def test_a_backbone_of_random_numbers_trains_in_both_phases(classified):
    before, after = weights(classified / "before_phase2.weights.h5"), weights(classified / "last.weights.h5")
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(changed) > len(before) / 2


def test_training_cases_of_one_class_alone_are_refused(opened):
    """The other class stands in validation and test."""
    part = Records(opened.path)
    part.__dict__["cases"] = {
        case: replace(facts, attributes={"grade": "HGG" if case in opened.split["train"] else "LGG"})
        for case, facts in opened.cases.items()
    }
    with pytest.raises(UserError, match="expected training cases of at least two classes of grade; received HGG"):
        examples(part)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target.attribute", "colour"], "received none; the records' attributes are"),
        (["--target.classes", '{"low": ["LGG"]}'], "received 1 class"),
        (["--target.classes", '{"low": ["LGG"], "high": ["LGG"]}'], "received the value LGG twice"),
        (["--target.classes", '{"low": ["LGG"], "high": ["IV"]}'], "grade is 'HGG', which no class of target.classes names"),
        (["--model.dense", 0], "--model.dense"),
        (["--model.weights", "resnet"], "--model.weights: expected imagenet, null, or a file"),
        (["--model.weights", "missing.weights.h5"], "missing.weights.h5"),
        (["--phases", '[{"loss": {"dice": 2.0}}]'], "--phases: loss: classifiers have one loss"),
        (["--monitor", "mean_dice"], "monitor"),
        (["--extend", 1], "--extend goes with --resume"),
    ],
)
def test_what_cannot_be_classified_is_refused(classify, options, said, tmp_path):
    done = classify(*options)
    assert (done.status, len(done.errors)) == (2, 1)
    assert said in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_attribute_that_no_case_has_is_told_in_one_line(opened):
    target = TargetConfig("colour", {"red": ["1"], "blue": ["2"]})
    with pytest.raises(UserError, match="colour"):
        examples(opened, target=target)


def test_a_classifier_is_not_resumed_by_the_other_command(command, classified):
    done = command("training.train", "--resume", classified)
    assert done.errors == [f"error: {classified}: is a run of glioskull classify; go on with it by that command"]


def test_a_segmentation_is_not_resumed_by_the_other_command(command, trained):
    done = command("training.classify", "--resume", trained)
    assert done.errors == [f"error: {trained}: is a run of glioskull train; go on with it by that command"]


def test_a_slice_split_is_written_into_the_run(trained, command, records, tmp_path):
    """By the other command, whose networks are built in no time; what is written is the same."""
    out = tmp_path / "run"
    short = ("--epochs", 1, "--steps_per_epoch", 1, "--split", "slice")
    done = command("training.train", "--records", records, "--out", out, *TOY, *short)
    assert done.status == 0, done.err
    assert "slice split: slices of one patient train and validate; the scores are too good" in done.out
    assert json.loads((out / "run.json").read_text())["split"] == "slice"
    assert Run(trained).metadata["split"] == "patient"


def test_what_is_shown_of_a_slice_is_what_the_config_says(opened):
    small = InputConfig(resize=(8, 8), neighbours=1)
    _, _, (source,), _ = examples(opened, input=small)
    assert source[0][0].shape == (8, 8, 12)
