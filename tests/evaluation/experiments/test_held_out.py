"""Held-out tests of a study: what they need, which runs take them, and which predictions count."""

import pytest

from common.errors import Problems, UserError
from common.files import write_json
from evaluation.experiments.held_out import (
    check_runs,
    head_folder,
    open_tests,
    own_tests,
    predictions_folder,
    scored_folders,
)
from evaluation.experiments.plan import StudyRecords, plan_runs
from training.heads import SegmentationHead
from training.run_facts import FORMAT

TRAIN = {"model": {"filters": 2, "depth": 1}}
HEADS = {"heads": {"hgg": {}, "mets": {}}}
HGG, METS = {"records": "hgg"}, {"records": "mets"}


@pytest.fixture(scope="module")
def named(records):
    """One folder by two names."""
    return StudyRecords({"hgg": records, "mets": records})


@pytest.fixture
def planned(named, tmp_path):
    """A run on one of the records, one on both, and one on both with a head for each."""
    runs = [
        {"name": "one", "train": TRAIN, "records": ["hgg"]},
        {"name": "joint", "train": TRAIN},
        {"name": "multi", "train": TRAIN | HEADS},
    ]
    return plan_runs(runs, {}, [], named, tmp_path, None)


def test_a_test_knows_the_cases_and_the_scans_of_its_records(named, source):
    (test,) = open_tests([HGG | {"structures": ["ET"]}], named, "test")
    assert (test.name, test.source, test.subset) == ("hgg", source, "test")
    assert test.cases == named.folders["hgg"].split["test"]
    assert test.metrics == ["dice"]
    both = open_tests([HGG, METS | {"metric": "nsd"}, HGG | {"metric": "hd95"}], named, "test")
    assert [each.metrics for each in both] == [["dice", "hd95"], ["nsd"], ["dice", "hd95"]]
    (moved,) = open_tests([HGG | {"source": str(source.parent)}], named, "test")
    assert moved.source == source.parent
    assert moved.settings.structures == ["WT"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"records": "lgg"}, "--tests: records: expected one of hgg, mets; received lgg"),
        (HGG | {"structures": ["XX"]}, "hgg: structures: expected some of WT, TC, ET"),
        (HGG | {"structures": []}, "received none"),
        (HGG | {"metric": "mean_dice"}, "--tests: hgg: metric: expected a metric of docs/metrics.md; received mean_dice"),
        (HGG | {"source": "/nowhere"}, "in /nowhere; found nothing there; give their place as `source`"),
        (HGG | {"cases": 3}, "--tests: expected records, structures, metric, source; received cases"),
    ],
)
def test_mistakes_are_refused_in_one_line(named, values, expected):
    with pytest.raises(UserError) as error:
        open_tests([values], named, "test")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_is_own_tests_the_records_that_it_trains_on(named, planned):
    tests = open_tests([HGG, METS, HGG | {"metric": "hd95"}], named, "test")
    assert [[test.name for test in own_tests(run, tests)] for run in planned] == [["hgg"], ["hgg", "mets"], ["hgg", "mets"]]


def test_a_run_of_several_heads_needs_one_of_the_records_name(named, planned, tmp_path):
    tests = open_tests([HGG, METS], named, "test")
    check_runs(planned, tests)
    other = plan_runs([{"name": "m", "train": TRAIN | {"heads": {"hgg": {}, "x": {}}}}], {}, [], named, tmp_path, None)
    with pytest.raises(Problems, match=r"^m: expected a head named mets, as the records of the test; received hgg, x"):
        check_runs(other, tests)


def write_run(folder, named, heads):
    """A run folder with some segmentation heads."""
    schema = named.folders["hgg"].schema
    metadata = {name: SegmentationHead(name, schema).metadata() for name in heads}
    write_json(folder / "run.json", {"format": FORMAT, "heads": metadata})
    (folder / "last.weights.h5").write_bytes(b"1")


def test_the_predictions_that_count_are_those_of_the_head_of_the_records(named, planned, tmp_path):
    one, _, multi = planned
    write_run(one.folder, named, ["segmentation"])
    write_run(multi.folder, named, ["hgg", "mets"])
    out = predictions_folder(tmp_path, multi, "mets")
    assert out == tmp_path / "predictions" / "multi" / "mets"
    assert head_folder(out, multi.folder, "mets") == out / "mets"
    assert head_folder(out, one.folder, "mets") == out


def test_a_run_without_predictions_is_in_no_table(named, planned, tmp_path):
    (test,) = open_tests([HGG], named, "test")
    write_run(planned[0].folder, named, ["segmentation"])
    assert scored_folders(tmp_path, planned, test) == {}


def test_tests_of_the_same_records_have_one_source(named, source):
    other = HGG | {"metric": "hd95", "source": str(source.parent)}
    with pytest.raises(UserError, match=r"--tests: hgg: expected one source for all its tests; received .*None"):
        open_tests([HGG, other], named, "test")
    both = [HGG | {"source": str(source.parent)}, other]
    assert [test.source for test in open_tests(both, named, "test")] == [source.parent] * 2


@pytest.mark.parametrize(("options", "words"), [({"fold": 1}, "fold: 1"), ({"split": "slice"}, "split: slice")])
def test_runs_of_a_fold_or_of_slices_are_tested_on_test_cases_alone(named, tmp_path, options, words):
    runs = plan_runs([{"name": "a", "train": TRAIN | options}], {}, [], named, tmp_path, None)
    check_runs(runs, open_tests([HGG], named, "test"))
    with pytest.raises(Problems, match=rf"^a: {words}: may train on validation cases of hgg, .*; take --subset test"):
        check_runs(runs, open_tests([HGG], named, "validation"))


def test_runs_of_the_stored_division_are_tested_on_any_subset(named, planned):
    check_runs(planned, open_tests([HGG], named, "validation"))
