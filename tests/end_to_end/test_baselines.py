"""A study of several records from trainings to tables: killed twice, once in a training, and resumed; one run that fails.

The commands that it calls run in this process, as in tests/evaluation/test_study.py.
"""

import csv
import json
import shutil

import pytest
import yaml

from common.tables import for_terminal
from evaluation.experiments import runner
from evaluation.inference import cost
from tests.training.runs import history
from training.run import Run
from training.state import callbacks

TINY = {
    "model": {"filters": 2, "depth": 1},
    "input": {"batch_size": 4},
    "epochs": 1,
    "steps_per_epoch": 1,
    "precision": "float32",
    "monitor": "mean_dice",
}
HEADS = {"heads": {"hgg": {}, "mets": {}}}
RUNS = [
    {"name": "transfer", "train": TINY, "records": ["mets"], "init_from": "specific"},
    {"name": "specific", "train": TINY, "records": ["hgg"]},
    {"name": "refused", "train": TINY, "records": ["mets"], "options": {"input.size": [7, 7]}},
    {"name": "after_refused", "train": TINY, "records": ["mets"], "init_from": "refused"},
    {
        "name": "multi",
        "train": TINY | HEADS,
        "records": [{"name": "hgg", "share": 0.7, "heads": ["hgg"]}, {"name": "mets", "share": 0.3, "heads": ["mets"]}],
    },
]
BEFORE = {"transfer": ("specific",)}
LESIONS = "lesion_dice@brats2023-met"
TESTS = [
    {"records": "hgg"},
    {"records": "mets", "structures": ["WT", "class_mean"]},
    {"records": "mets", "metric": LESIONS},
]


class Killed(Exception):
    """In the place of a power cut."""


def killed(*arguments):
    """The end of an epoch at which the power fails."""
    raise Killed


class Calls(list):
    """Commands that are called, in this process; `limit` kills before so many, `in_training` before a training's last epoch."""

    def __init__(self, command):
        super().__init__()
        self.command, self.limit, self.in_training = command, None, False

    def __call__(self, name, arguments, log, should_stop=lambda: False):
        if self.limit is not None and len(self) >= self.limit:
            raise Killed
        self.append((name.rpartition(".")[2], *(word.name for word in arguments if hasattr(word, "name"))))
        with pytest.MonkeyPatch.context() as patch:
            # A command has a process of its own otherwise; the peak of this one may be that of an earlier test.
            patch.setattr(cost, "resident_memory", lambda: 0)
            if self.in_training:
                patch.setattr(callbacks, "save_state", killed)
            done = self.command(name, *arguments)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"$ python -m {name}\n{done.out}{done.err}")
        return done.status


@pytest.fixture(scope="module")
def study(command, records, tmp_path_factory):
    """`study(out, limit=None, in_training=False, **changes)`: call the study; returns its `Done` and the commands called."""
    folder = tmp_path_factory.mktemp("baselines")
    copies = {name: shutil.copytree(records, folder / name) for name in ("hgg", "mets")}

    def call(out, limit=None, in_training=False, **changes):
        file = folder / "study.yaml"
        file.write_text(yaml.safe_dump({"runs": RUNS, "tests": TESTS, "reference": "multi", "seeds": [3]} | changes))
        named = json.dumps({name: str(path) for name, path in copies.items()})
        calls = Calls(command)
        calls.limit, calls.in_training = limit, in_training
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "call", calls)
            try:
                done = command("evaluation.study", "--config", file, "--records", named, "--out", out)
            except Killed:
                done = None
        return done, calls

    return call


@pytest.fixture(scope="module")
def studied(study, tmp_path_factory):
    """A study that was killed in its first training and before its first prediction was scored, and called again."""
    out = tmp_path_factory.mktemp("studies") / "btn"
    done, first = study(out, in_training=True)
    assert done is None
    assert [call[0] for call in first] == ["train"]
    (begun,) = (out / "runs").iterdir()
    assert (begun / "last.weights.h5").is_file()
    assert not list(begun.glob("state/*.npz"))
    done, before = study(out, limit=2)
    assert done is None
    assert [call[0] for call in before] == ["train", "predict"]
    assert Run(begun).metadata["status"] == "finished"
    done, after = study(out)
    (out / "printed.txt").write_text(done.out)
    (out / "errors.txt").write_text(done.err)
    (out / "calls.json").write_text(json.dumps(after))
    return out


def table(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_what_was_done_is_not_done_again(studied, study):
    calls = [call[0] for call in json.loads((studied / "calls.json").read_text())]
    assert calls == ["score", *["train", "predict", "score"], "train", *["train", "predict", "score", "predict", "score"]]
    done, again = study(studied)
    assert [call[0] for call in again] == ["train"]  # the run that failed
    assert done.status == 2


def test_a_run_begins_with_another_of_its_seed(studied):
    metadata = Run(studied / "runs" / "transfer_seed3").metadata["init_from"]
    assert metadata["path"] == str(studied / "runs" / "specific_seed3")
    assert metadata["loaded"] == metadata["total"]


def test_a_run_that_fails_loses_those_alone_that_begin_with_it(studied):
    errors = (studied / "errors.txt").read_text().splitlines()
    assert errors[0].startswith("error: refused_seed3: its training ended with status 2 (")
    assert errors[1] == "error: after_refused_seed3: begins with refused_seed3, which failed"
    assert "tries again what failed" in errors[2]


def test_each_test_has_the_runs_that_train_on_its_records(studied):
    rows = table(studied / "study.csv")
    assert [(row["test"], row["structure"], row["metric"], row["run"]) for row in rows] == [
        *(("hgg", "WT", "dice", name) for name in ("specific", "multi")),
        *(("mets", structure, "dice", name) for structure in ("WT", "class_mean") for name in ("transfer", "multi")),
        *(("mets", "WT", LESIONS, name) for name in ("transfer", "multi")),
    ]
    for row in rows:
        folder = studied / "predictions" / f"{row['run']}_seed3" / row["test"]
        folder = folder / row["test"] if row["run"] == "multi" else folder
        summary = json.loads((folder / "scores" / "scores.json").read_text())["summary"]
        (mean,) = [
            each["mean"]
            for each in summary
            if (each["structure"], each["score"]) == (row["structure"], row["metric"]) and each["kind"] != "class"
        ]
        assert float(row["mean"]) == pytest.approx(mean, abs=1e-6)
    others = [row for row in rows if row["run"] != "multi"]
    assert all(row["difference"] for row in others)


def test_the_cost_of_each_network_is_measured(studied):
    rows = {row["run"]: row for row in table(studied / "cost.csv")}
    assert set(rows) == {"specific", "transfer", "multi"}
    for name, row in rows.items():
        network = Run(studied / "runs" / f"{name}_seed3").build_network()
        assert float(row["trainable_parameters"]) == sum(weight.numpy().size for weight in network.trainable_weights)
        assert float(row["seconds_per_case"]) > 0
        assert float(row["prediction_memory_mb"]) > 0
        own = [history(studied / "runs" / f"{part}_seed3")[-1]["minutes"] for part in (name, *BEFORE.get(name, ()))]
        assert float(row["training_minutes"]) == pytest.approx(sum(map(float, own)))


def test_the_tables_are_printed_and_figures_drawn(studied):
    text = (studied / "study.md").read_text()
    assert for_terminal(text) in (studied / "printed.txt").read_text()
    for word in ("## hgg: Dice of WT (region), 1 patient", "| multi minus this run [95 %]", "## Cost"):
        assert word in text
    figures = {path.name for path in (studied / "figures").glob("*.png")}
    assert figures == {
        *("boxes_hgg_WT_dice.png", "boxes_mets_WT_dice.png", "boxes_mets_class_mean_dice.png", f"boxes_mets_WT_{LESIONS}.png"),
        *("learning_curves_hgg.png", "learning_curves_mets.png"),
    }


def test_predictions_of_other_weights_are_made_anew(studied, study, tmp_path):
    out = shutil.copytree(studied, tmp_path / "btn")
    manifest = out / "predictions" / "multi_seed3" / "mets" / "mets" / "predictions.json"
    values = json.loads(manifest.read_text())
    values["weights"][0]["crc32c"] = "00000000"
    manifest.write_text(json.dumps(values))
    _, calls = study(out, runs=RUNS[:2] + RUNS[4:])
    assert [call[0] for call in calls] == ["predict", "score"]


def test_scores_by_another_definition_are_made_anew(studied, study, tmp_path):
    out = shutil.copytree(studied, tmp_path / "btn")
    manifest = out / "predictions" / "multi_seed3" / "hgg" / "hgg" / "scores" / "scores.json"
    values = json.loads(manifest.read_text())
    values["metrics"]["dice"]["one_absent"] = 0.5
    manifest.write_text(json.dumps(values))
    done, calls = study(out, runs=RUNS[:2] + RUNS[4:])
    assert (done.status, [call[0] for call in calls]) == (0, ["score"])


def test_changed_shares_are_refused_before_anything_is_trained(studied, study):
    changed = RUNS[4] | {"records": [RUNS[4]["records"][0] | {"share": 0.5}, RUNS[4]["records"][1]]}
    done, calls = study(studied, runs=[changed], tests=TESTS)
    assert done.errors[0].endswith("multi_seed3: was begun with another --records; rename the run, or choose another --out")
    assert not calls


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tests": []}, "--tests: expected tests for several --records, such as [{records: hgg}]; received none"),
        ({"reference": "x"}, "--reference: expected one of transfer, specific, refused, after_refused, multi; received x"),
        ({"sweep": {"train": TINY, "space": {}}}, "--sweep: expected a study without tests"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(study, tmp_path, changes, expected):
    done, calls = study(tmp_path / "out", **changes)
    assert done.status == 2
    assert expected in done.errors[0]
    assert not calls
