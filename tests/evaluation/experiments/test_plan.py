"""The plan of a study: seeds, records by name, the order of training, and what may not change."""

import pytest

from common import cli
from common.errors import Problems, UserError
from common.files import checksum, write_json, write_yaml
from evaluation.experiments.plan import StudyRecords, plan_runs, refuse_changes, training_order
from training.config import RecordsConfig

TRAIN = {"model": {"filters": 2, "depth": 1}, "precision": "float32"}
BOTH = [{"name": "hgg", "share": 0.7, "heads": ["hgg"]}, {"name": "mets", "share": 0.3, "heads": ["mets"]}]
HGG = {"name": "specific", "train": TRAIN, "records": ["hgg"]}
TRANSFER = {"name": "transfer", "train": TRAIN, "records": ["mets"], "init_from": "specific"}
MULTI = {"name": "multi", "train": TRAIN | {"heads": {"hgg": {}, "mets": {}}}, "records": BOTH}


@pytest.fixture
def named(records):
    """One folder by two names."""
    return StudyRecords({"hgg": records, "mets": records})


@pytest.fixture
def plan(named, tmp_path):
    """`plan(*runs, seeds=(), records=...)`: plan a study."""
    return lambda *runs, seeds=(), records=named: plan_runs(runs, {}, seeds, records, tmp_path / "study", None)


def test_every_seed_has_a_run_of_its_own_that_begins_with_the_same_seed(plan, tmp_path):
    planned = plan(TRANSFER, HGG, seeds=[3, 5])
    assert [run.folder.name for run in planned] == ["transfer_seed3", "specific_seed3", "transfer_seed5", "specific_seed5"]
    assert [(run.name, run.seed, run.config.seed) for run in planned[:2]] == [("transfer", 3, 3), ("specific", 3, 3)]
    assert planned[2].config.init_from == tmp_path / "study" / "runs" / "specific_seed5"
    assert planned[1].config.init_from is None


def test_a_run_is_trained_after_the_one_that_it_begins_with(plan):
    again = TRANSFER | {"name": "again", "init_from": "transfer"}
    order = training_order(plan(again, TRANSFER, MULTI, HGG))
    assert [run.name for run in order] == ["specific", "transfer", "again", "multi"]


def test_a_run_trains_on_the_records_that_it_names(plan, records):
    specific, multi, default = plan(HGG, MULTI, {"name": "all", "train": TRAIN})
    assert (specific.records, multi.records, default.records) == (("hgg",), ("hgg", "mets"), ("hgg", "mets"))
    entries = multi.config.sources
    assert [(each.path, each.share, each.heads) for each in entries] == [(records, 0.7, ["hgg"]), (records, 0.3, ["mets"])]
    assert [(each.weight, each.heads) for each in default.config.sources] == [(1.0, None)] * 2
    assert "--records" not in multi.training.arguments  # they are in its config


def test_one_folder_is_given_on_the_command_line_as_before(plan, records):
    (run,) = plan({"name": "a", "train": TRAIN}, records=StudyRecords(records))
    assert run.training.arguments[-2:] == ("--records", records)
    assert (run.config.records, run.records) == (None, (records.name,))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([HGG | {"records": ["lgg"]}], "specific: --runs: records: expected different names of hgg, mets; received lgg"),
        ([HGG | {"records": ["hgg", "hgg"]}], "expected different names of hgg, mets; received hgg, hgg"),
        ([HGG | {"records": []}], "expected different names of hgg, mets; received none"),
        ([TRANSFER], "transfer: --runs: init_from: expected another run of the study; received specific"),
        ([HGG | {"init_from": "specific"}], "received specific -> specific"),
        (
            [HGG | {"init_from": "transfer"}, TRANSFER],
            "--runs: init_from: expected runs that do not begin with each other; received specific -> transfer -> specific",
        ),
        ([HGG, TRANSFER | {"options": {"init_from": "runs/x"}}], "expected it in the run or in its training's config"),
        ([HGG | {"records": [{"name": "hgg", "share": 0}]}], "share: expected more than 0; received 0"),
        ([HGG, HGG], "--runs: expected different names; received specific twice"),
    ],
)
def test_mistakes_are_refused_in_one_line(plan, runs, expected):
    with pytest.raises(UserError) as error:
        plan(*runs)
    assert expected in str(error.value).splitlines()[0]


def test_no_records_are_refused():
    with pytest.raises(UserError, match="expected a folder, or named folders"):
        StudyRecords({})


def begun(run, records, **facts):
    """A run folder with the settings of a planned run."""
    config = cli.as_dict(run.config)
    entries = run.config.sources or [RecordsConfig(records.path)]
    heads = sorted(run.config.heads or ["segmentation"])
    stored = [
        {
            "path": str(each.path),
            "fingerprint": next(iter(records.folders.values())).fingerprint,
            "share": each.weight,
            "heads": sorted(each.heads or heads),
        }
        for each in entries
    ]
    write_yaml(run.folder / "config.yaml", config)
    write_json(run.folder / "run.json", {"format": 3, "command": "training.train", "records": stored, **facts})


def changes(planned, records):
    """The settings that changed, by run."""
    try:
        refuse_changes(planned, records)
    except Problems as problems:
        lines = str(problems).splitlines()[:-1]
        return {
            line.partition(": was begun")[0].rpartition("/")[2]: line.partition("--")[2].partition(";")[0] for line in lines
        }
    return {}


def test_other_shares_heads_and_settings_are_changes(plan, named):
    planned = plan(HGG, MULTI)
    for run in planned:
        begun(run, named)
    assert changes(planned, named) == {}
    swapped = [BOTH[0] | {"share": 0.5}, BOTH[1]]
    assert changes(plan(HGG, MULTI | {"records": swapped}), named) == {"multi": "records"}
    assert changes(plan(HGG, MULTI | {"records": ["hgg", "mets"]}), named) == {"multi": "records"}
    assert changes(plan(HGG | {"options": {"epochs": 9}}, MULTI), named) == {"specific": "epochs"}


def test_the_initial_weights_are_compared_by_their_content(plan, named):
    planned = plan(HGG, TRANSFER)
    weights = planned[0].folder / "last.weights.h5"
    begun(planned[0], named)
    weights.write_bytes(b"1")
    begun(planned[1], named, init_from={"path": "elsewhere", "checksum": checksum(weights)})
    assert changes(planned, named) == {}
    weights.write_bytes(b"2")
    assert changes(planned, named) == {"transfer": "init_from"}
    weights.unlink()
    assert changes(planned, named) == {}
    without = {name: value for name, value in TRANSFER.items() if name != "init_from"}
    assert changes(plan(HGG, without), named) == {"transfer": "init_from"}


def test_a_seed_twice_is_refused(plan):
    with pytest.raises(UserError, match=r"^--seeds: expected different numbers; received 0 twice$"):
        plan(HGG, seeds=[0, 1, 0])
