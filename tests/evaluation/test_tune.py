"""Choosing the post-processing of runs: the settings, what is written and printed, and what is refused."""

import csv
import math
import shutil

import numpy as np
import pytest

from common import cli
from common.errors import UserError
from common.files import read_json, read_yaml, write_json, write_yaml
from common.metrics.catalogue import METRICS
from common.metrics.overlap import confusion_matrix, overlap
from data_prep.grid.masks import inside_mask
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import Records
from evaluation.inference.ensemble import softmax
from evaluation.inference.postprocess import FOREGROUND, HysteresisRule, PostprocessConfig, ReplaceRule, apply, load
from evaluation.inference.search import Trial
from evaluation.tune import TuneConfig, _report, describe, make_grid, scored_parts
from tests.copied_records import copy_records
from tests.training.runs import begin_on, write_facts
from training.run import Run

SMALL = ("--thresholds", "[0.2,0.4]", "--least_voxels", "[0,30]", "--region_voxels", "[10]", "--replace_below", "[20,40]")


def test_the_first_setting_changes_nothing_and_zero_is_always_tried(tmp_path):
    grid = make_grid(TuneConfig(runs=[tmp_path], thresholds=[0.6, 0.4], least_voxels=[50, 10]))
    assert grid.settings()[0] == PostprocessConfig()
    assert (grid.thresholds, grid.largest, grid.least) == ([None, 0.4, 0.6], [False, True], [0, 10, 50])
    assert (grid.region_least, grid.below) == ([10, 20, 50, 100, 200, 500], [20, 50, 100, 200, 500, 1000])
    assert len({repr(setting) for setting in grid.settings()}) == len(grid.settings()) == 18


def test_more_levels_than_a_byte_counts_are_refused(tmp_path):
    levels = [0.01 + n / 1000 for n in range(256)]
    for option, values in (
        ("--thresholds", {"thresholds": levels}),
        ("--hysteresis_low", {"hysteresis_low": levels[:200], "hysteresis_high": levels[100:]}),
    ):
        with pytest.raises(UserError, match=f"{option}.*: expected at most 255 different values; received 256"):
            TuneConfig(runs=[tmp_path], **values).check()
    TuneConfig(runs=[tmp_path], hysteresis_low=levels[:200], hysteresis_high=levels[100:255]).check()


def test_the_report_says_on_how_many_patients_the_difference_rests(tmp_path):
    metric = "lesion_dice@brats2026-gli"
    before, after = np.array([0.0, 0, 0, 0.8, 0.8]), np.array([math.nan, math.nan, math.nan, 0.8, 0.8])
    trials = [Trial("foreground", PostprocessConfig(), scores) for scores in (before, after)]
    text = _report(trials, 1, TuneConfig(runs=[tmp_path], metric=metric))
    assert "+0.000 (on 2 of 5 patients)" in text
    assert "3 patients with a value before or after alone" in " ".join(text.split())


def test_nothing_is_tried_twice(tmp_path):
    grid = make_grid(TuneConfig(runs=[tmp_path], thresholds=[0.4, 0.4], region_voxels=[9, 0, 9], replace_below=[0]))
    assert (grid.thresholds, grid.region_least, grid.below) == ([None, 0.4], [9], [])


@pytest.mark.parametrize(
    ("structure", "parts"),
    [
        ("TC", [(2, 3)]),
        ("edema", [(1,)]),
        ("class_mean", [(1,), (2,), (3,)]),
        ("region_mean", [(1, 2, 3), (2, 3), (3,)]),
    ],
)
def test_a_structure_is_one_region_or_class_or_a_mean_over_several(structure, parts):
    assert [each.members for each in scored_parts(structure, LabelSchema.load("brats2023"), METRICS["dice"])] == parts


def test_the_structures_of_a_lesion_metric_are_those_that_its_rule_ranks():
    schema, metric = LabelSchema.load("brats2024"), METRICS["lesion_dice@brats2023-met"]
    assert [each.name for each in scored_parts("region_mean", schema, metric)] == ["WT", "TC", "ET"]
    assert [each.name for each in scored_parts("class_mean", schema, metric)] == ["enhancing tumor"]
    with pytest.raises(UserError, match="expected one that brats2023-met ranks, WT, TC, ET; received RC"):
        scored_parts("RC", schema, metric)


def test_a_schema_without_regions_has_no_mean_over_them():
    plain = LabelSchema("plain", {"background": (0,), "a": (1,)}, {})
    with pytest.raises(UserError, match="expected one of a, class_mean; received region_mean"):
        scored_parts("region_mean", plain, METRICS["dice"])


def test_a_setting_is_told_in_words():
    assert describe(PostprocessConfig()) == "no post-processing"
    told = describe(
        PostprocessConfig(
            threshold=0.4,
            largest=True,
            least_voxels={FOREGROUND: 50, "ET": 9},
            becomes={"ET": "edema"},
            replace=[ReplaceRule(structure="ET", below_voxels=20, by="edema")],
        )
    )
    rule = HysteresisRule(structure="ET", low=0.3, high=0.9, becomes="edema")
    assert describe(PostprocessConfig(hysteresis=[rule])) == "ET from 0.3 with a peak of 0.9"
    assert told == (
        "threshold 0.4, largest component, components of foreground of 50 voxels or more, components of ET of 9 voxels or more "
        "(smaller ones become edema), ET of fewer than 20 voxels becomes edema"
    )


def test_settings_may_be_given_as_words(tmp_path):
    config = cli.parse(TuneConfig, ["--runs", str(tmp_path), "--thresholds", "0.4", "0.5", "--least_voxels", "10"])
    assert (config.thresholds, config.least_voxels) == ([0.4, 0.5], [10])


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the tiny run, to be written to."""
    return shutil.copytree(trained, tmp_path / "run")


def change(run, **config):
    """Change settings in a run's config."""
    write_yaml(run / "config.yaml", read_yaml(run / "config.yaml", "config") | config)


def test_the_setting_and_the_table_are_written_into_the_run(command, run):
    done = command("evaluation.tune", "--runs", run, *SMALL, "--margin", 0)
    assert (done.status, done.errors) == (0, [])
    assert "Dice ↑ of class_mean, 1 validation patient" in done.out
    assert "0 of 1 patient trained these runs" in done.out
    assert "optimistic" in done.out
    assert "In brackets" not in done.out  # of one patient there is no interval
    rows = list(csv.DictReader((run / "tune.csv").open()))
    stages = {"foreground": 3 * 2 * 2, "least_voxels_TC": 1, "least_voxels_ET": 1, "replace_ET_below": 2}
    assert [row["stage"] for row in rows] == [name for name, count in stages.items() for _ in range(count)]
    (chosen,) = [row for row in rows if row["chosen"] == "True"]
    stored = read_yaml(run / "postprocess.yaml", "post-processing")
    told = stored["chosen"]
    assert (told["patients"], told["metric"], told["runs"]) == (1, "dice", [str(run.resolve())])
    assert told["score_before"] == float(rows[0]["score"])
    assert told["score_after"] == float(chosen["score"]) == max(float(row["score"]) for row in rows)
    setting = load(Run(run), "segmentation")
    assert str(setting.threshold or "") == chosen["threshold"].rstrip("0")
    assert setting.least_voxels.get(FOREGROUND, 0) == int(chosen["least_voxels"])
    assert setting.least_voxels.get("ET", 0) == int(chosen["least_voxels_ET"])
    assert sum(rule.below_voxels for rule in setting.replace) == int(chosen["replace_ET_below"])
    setting.check(Run(run).schema)


def test_the_scores_are_those_of_the_network_on_its_validation_patient(command, run, records):
    opened, loaded = Records(records), Run(run)
    (case,) = opened.subset("validation")
    shard = opened.shard(case)
    logits = loaded.load_network().predict(shard.image.astype(np.float32), verbose=0)["segmentation"]
    probabilities, truth = softmax(np.asarray(logits)), bits_to_classes(shard.label)
    inside = inside_mask(shard.image)
    # A network of two epochs is sure of little: these thresholds call most, some and few voxels foreground.
    thresholds = [float(value) for value in np.quantile(1 - probabilities[inside][:, 0], [0.3, 0.6, 0.9])]
    options = ["--thresholds", thresholds, "--least_voxels", [30], "--structure", "WT", "--metric", "iou"]
    options += ["--region_voxels", "[]", "--replace_below", "[]"]
    assert command("evaluation.tune", "--runs", run, *options).status == 0
    expected = []
    for setting in make_grid(TuneConfig(runs=[run], thresholds=thresholds, least_voxels=[30])).settings():
        predicted = apply(setting, probabilities, loaded.schema, inside)
        expected.append(overlap(confusion_matrix(truth, predicted, 4), [1, 2, 3]).iou)
    assert len(set(expected)) > 2  # the settings do differ here
    scores = [float(row["score"]) for row in csv.DictReader((run / "tune.csv").open())]
    np.testing.assert_allclose(scores, expected, atol=5e-3)  # voxels at a quantile may fall to either side
    assert (load(Run(run), "segmentation") == PostprocessConfig()) == (max(scores) - scores[0] <= 0.001)


def test_a_distance_is_tuned_downwards(command, run):
    options = ["--metric", "hd95", "--structure", "WT", "--thresholds", "[0.2,0.4]", "--least_voxels", "[30]", "--margin", 0]
    done = command("evaluation.tune", "--runs", run, *options, "--region_voxels", "[]", "--replace_below", "[]")
    assert done.status == 0, done.err
    assert "HD95 (mm) ↓ of WT" in done.out
    rows = list(csv.DictReader((run / "tune.csv").open()))
    scores = [float(row["score"]) for row in rows]
    (chosen,) = [float(row["score"]) for row in rows if row["chosen"] == "True"]
    assert chosen == min(scores)
    assert read_yaml(run / "postprocess.yaml", "post-processing")["chosen"]["metric"] == "hd95"


def test_hysteresis_is_tuned_for_a_lesion_metric_and_used_by_predict(command, run, records, tmp_path):
    metric = "lesion_dice@brats2023-met"
    levels = ("--hysteresis_low", "[0.1,0.2]", "--hysteresis_high", "[0.25,0.3]")
    done = command("evaluation.tune", "--runs", run, *SMALL, *levels, "--metric", metric, "--structure", "WT", "--margin", 0)
    assert done.status == 0, done.err
    assert "lesion Dice, brats2023-met ↑ of WT" in done.out
    rows = list(csv.DictReader((run / "tune.csv").open()))
    tried = {row["hysteresis_foreground"] for row in rows if row["stage"] == "hysteresis_foreground"}
    assert tried == {"0.1/0.25", "0.1/0.3", "0.2/0.25", "0.2/0.3"}
    assert {row["stage"] for row in rows} >= {"hysteresis_TC", "hysteresis_ET", "least_voxels_ET"}
    assert read_yaml(run / "postprocess.yaml", "post-processing")["chosen"]["metric"] == metric
    load(Run(run), "segmentation").check(Run(run).schema)


def test_a_mask_of_the_brain_that_records_do_not_hold_is_refused(command, run, records, tmp_path):
    copy = copy_records(
        records,
        tmp_path / "records",
        lambda _, facts: facts | {"brain": [count + 1 for count in facts["brain"]]} if "brain" in facts else None,
    )
    options = ("--runs", run, "--records", copy, *SMALL)
    done = command("evaluation.tune", *options)
    assert done.status == 2
    assert "predict takes its mask of the brain, which records do not hold; give --inside_only false" in done.errors[0]
    assert command("evaluation.tune", *options, "--inside_only", "false").status == 0


def test_a_distance_needs_the_spacing_of_the_records(command, run, records, tmp_path):
    copy = copy_records(
        records,
        tmp_path / "records",
        lambda _, facts: facts | {"geometry": facts["geometry"] | {"affine": None}} if "geometry" in facts else None,
    )
    done = command("evaluation.tune", "--runs", run, "--records", copy, "--metric", "hd95")
    assert done.status == 2
    assert "--metric hd95: needs the distance of voxels" in done.errors[0]


def test_folds_are_pooled_and_get_one_setting(command, trained, tmp_path):
    folds = [shutil.copytree(trained, tmp_path / f"fold{fold}") for fold in range(2)]
    for fold, path in enumerate(folds):
        change(path, fold=fold)
    done = command("evaluation.tune", "--runs", *folds, *SMALL)
    assert done.status == 0, done.err
    assert "4 validation patients" in done.out  # each patient that is not for test, once
    first, second = (read_yaml(path / "postprocess.yaml", "post-processing") for path in folds)
    assert first == second
    assert first["chosen"]["runs"] == [str(path.resolve()) for path in folds]


def test_no_setting_that_is_not_better_by_the_margin_replaces_an_earlier_one(command, run):
    (run / "postprocess.yaml").write_text("threshold: 0.9\n")
    done = command("evaluation.tune", "--runs", run, *SMALL, "--margin", 2)
    assert done.status == 0
    assert "none of 15 settings was better" in done.out
    assert load(Run(run), "segmentation") == PostprocessConfig()


def test_a_run_without_validation_patients_is_refused(command, run, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records")
    manifest["split"]["validation"] = []
    write_json(copy / "dataset.json", manifest)
    begin_on(run, copy)
    done = command("evaluation.tune", "--runs", run, "--records", copy)
    assert done.status == 2
    (line,) = done.errors
    assert "no annotated validation patients" in line
    assert "--postprocess FILE" in line


def test_a_run_that_mixed_slices_is_refused(command, run):
    change(run, split="slice")
    done = command("evaluation.tune", "--runs", run)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "--split slice" in done.errors[0]


def test_other_records_are_refused(command, run, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = read_json(copy / "dataset.json", "records")
    manifest["cases"] = {case: [1, *sums[1:]] for case, sums in manifest["cases"].items()}
    write_json(copy / "dataset.json", manifest)
    done = command("evaluation.tune", "--runs", run, "--records", copy)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "not the records that" in done.errors[0]


def test_runs_of_other_classes_are_refused(command, run, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    facts = read_json(other / "run.json", "run")
    facts["heads"]["segmentation"]["schema"]["name"] = "another"
    write_facts(other, facts)
    done = command("evaluation.tune", "--runs", run, other)
    assert (done.status, len(done.errors)) == (2, 1)
    assert "its schema differs" in done.errors[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--structure", "liver"), "--structure: expected one of WT, .*class_mean.*; received liver"),
        (
            ("--metric", "hausdorff"),
            "--metric: expected a metric with a direction; received hausdorff; they are dice, iou, .*hd95",
        ),
        (("--metric", "true_ml"), "--metric: expected a metric with a direction; received true_ml"),
        (("--region_voxels", "[-5]"), "--region_voxels: expected at least 0; received -5"),
        (("--replace_below", "[-5]"), "--replace_below: expected at least 0; received -5"),
        (("--thresholds", "[0.5,2]"), "--thresholds: expected 0 to 1; received 2"),
        (("--least_voxels", "[-1]"), "--least_voxels: expected at least 0"),
        (("--hysteresis_low", "[0.5]"), "expected both or none"),
        (("--hysteresis_low", "[0.5]", "--hysteresis_high", "[0.4]"), "--hysteresis_low: expected a value up to one of"),
        (("--hysteresis_low", "[0]", "--hysteresis_high", "[0.4]"), "--hysteresis_low: expected 0.01 to 1; received 0"),
        (("--batch_size", "0"), "--batch_size"),
        (("--runs", "[]"), "--runs: expected at least one"),
    ],
)
def test_options_that_mean_nothing_are_one_line(command, trained, options, told):
    done = command("evaluation.tune", "--runs", trained, *options)
    assert done.status == 2
    with pytest.raises(UserError, match=told):
        raise UserError(*done.errors)
