"""A study: what is done is not done again, what fails loses nothing else, and the table says what the scores say.

The commands that it calls run in this process, which saves a start of Python and TensorFlow for each; that processes are
started, stopped and killed is tested in experiments/test_runner.py.
"""

import csv
import json
import os
import shlex
import shutil

import pytest
import yaml

from common import cli
from common.tables import for_terminal, latex_of
from evaluation import study as module
from evaluation.experiments import runner
from tests.training.runs import begin_on, history
from training.run import Run

NAME = "evaluation.study"
TINY = {"model.depth": 1, "precision": "float32", "input.batch_size": 4, "steps_per_epoch": 2, "optimizer.learning_rate": 0.01}
RUNS = [
    {"name": "plain", "train": "tiny.yaml"},
    {"name": "refused", "train": "tiny.yaml", "options": {"input.size": [7, 7]}},
    {"name": "wide", "train": {"model": {"filters": 3}}, "options": {"epochs": 2}},
]
COPIES = [
    {"name": "plain", "train": "tiny.yaml", "options": {"input.copies": False}},
    {"name": "copies", "train": "tiny.yaml"},
]


class Killed(Exception):
    """In the place of a power cut."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where tiny.yaml stands, the config of a training."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny.yaml").write_text("model: {filters: 2}\nepochs: 1\n")
    return folder


@pytest.fixture(scope="module")
def written(folder):
    """`written(**changes)`: a study's file."""

    def write(**changes):
        study = {"options": TINY, "runs": RUNS} | changes
        file = folder / "study.yaml"
        file.write_text(yaml.safe_dump(study))
        return file

    return write


@pytest.fixture(scope="module")
def called(command):
    """What was called, in order; it runs in this process. `called.limit` kills before so many."""

    class Called(list):
        limit = None

        def __call__(self, name, arguments, log, should_stop=lambda: False):
            if self.limit is not None and len(self) >= self.limit:
                raise Killed
            folder = next(word for word, option in zip(arguments[1:], arguments, strict=False) if option in STANDS)
            self.append((name, folder.name, *(["resumed"] if "--resume" in arguments else [])))
            done = command(name, *arguments)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"$ python -m {name}\n{done.out}{done.err}")
            return done.status

    calls = Called()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "call", calls)
        yield calls


STANDS = ("--out", "--resume", "--run")  # options that name a run's folder


@pytest.fixture
def fresh(called):
    called.clear()
    called.limit = None
    return called


@pytest.fixture(scope="module")
def studied(called, command, records, written, tmp_path_factory):
    """A study of three runs, of which one is refused, that was killed when its first run was trained, and called again."""
    out = tmp_path_factory.mktemp("studies") / "study"
    arguments = ("--config", written(), "--records", records, "--out", out)
    called.limit = 1
    with pytest.raises(Killed):
        command(NAME, *arguments)
    called.limit = None
    done = command(NAME, *arguments)
    (out / "printed.txt").write_text(done.out)
    (out / "errors.txt").write_text(f"{done.status}\n{done.err}")
    assert list(called) == [
        *(("training.train", "plain"), ("evaluation.score", "plain"), ("training.train", "refused")),
        *(("training.train", "wide"), ("evaluation.score", "wide")),
    ]
    return out


@pytest.fixture
def copy(studied, tmp_path):
    """The study, to be changed."""
    return shutil.copytree(studied, tmp_path / "study")


@pytest.fixture
def study(command, records, written):
    """`study(out, *options, **changes)`: call the study, with changes of its file."""
    return lambda out, *options, **changes: command(
        NAME, "--config", written(**changes), "--records", records, "--out", out, *options
    )


def table(out):
    with (out / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_fails_is_told_at_the_end_and_loses_no_other(studied):
    status, *errors = (studied / "errors.txt").read_text().splitlines()
    assert status == "2"
    assert len(errors) == 2
    assert errors[0].startswith("error: refused: its training ended with status 2 (")
    assert "slices of 7 x 7 do not fit" in errors[0]
    assert "tries again what failed" in errors[1]
    assert {row["run"] for row in table(studied)} == {"plain", "wide"}


def test_the_table_holds_the_scores_of_each_run(studied):
    rows = table(studied)
    for row in rows:
        run = Run(studied / "runs" / row["run"])
        summary = json.loads((run.path / "scores_test" / "scores.json").read_text())["summary"]
        scores = {each["key"]: each["value"] for each in reversed(summary)}
        for key in ("loss", "accuracy", "dice", "hd95", "iou_edema", "dice_WT", "dice_with_background"):
            assert float(row[key]) == scores[key]
        assert int(row["epochs"]) == len(history(run.path))
        assert int(row["parameters"]) == run.build_network().count_params()
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert float(rows[0]["dice"]) >= float(rows[1]["dice"])


def test_the_table_is_printed_and_written(studied):
    printed, text = (studied / "printed.txt").read_text(), (studied / "table.md").read_text()
    assert for_terminal(text) in printed
    assert (studied / "table.tex").read_text() == latex_of(text)
    for word in (
        "| rank | run ",
        "| Dice ",
        "| HD95 (mm)",
        "wide",
        "Scored on the test cases",
        "ranked by Dice.",
        "0 of 1 patient trained the runs",
    ):
        assert word in text
    for word in ("run 2 of 3: refused", "epoch 2/2: loss ", "about 0.0 min left", str(studied / "table.csv")):
        assert word in printed


def test_the_line_for_the_learning_curves_draws_them(studied, command, tmp_path):
    printed = (studied / "printed.txt").read_text().splitlines()
    (line,) = [line.strip() for line in printed if "glioskull plots" in line]
    words = shlex.split(line)
    assert words[:2] == ["glioskull", "plots"]
    done = command("evaluation.plots", *words[2:-1], tmp_path)
    assert done.status == 0, done.err
    assert list(tmp_path.glob("*.png"))


def test_options_of_a_run_win_over_those_of_all(studied):
    plain, wide = (Run(studied / "runs" / name).config for name in ("plain", "wide"))
    assert (plain.epochs, plain.model.filters, plain.steps_per_epoch) == (1, 2, 2)
    assert (wide.epochs, wide.model.filters, wide.model.depth) == (2, 3, 1)


def test_a_second_call_tries_again_only_what_failed(studied, study, fresh):
    before = {path: path.read_bytes() for path in (studied / "runs").rglob("*.h5")}
    assert study(studied).status == 2
    assert list(fresh) == [("training.train", "refused")]
    assert {path: path.read_bytes() for path in before} == before


def test_a_half_trained_run_is_resumed(copy, study, fresh):
    Run(copy / "runs" / "wide").set_status("stopped", ended=None)
    assert study(copy, runs=RUNS[2:]).status == 0
    assert list(fresh) == [("training.train", "wide", "resumed")]


def test_a_training_that_was_killed_in_its_first_moment_starts_anew(copy, study, fresh):
    run = copy / "runs" / "plain"
    for path in run.iterdir():
        if path.name not in ("config.yaml", "preparation.yaml", ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert study(copy, runs=RUNS[:1]).status == 0
    assert list(fresh) == [("training.train", "plain"), ("evaluation.score", "plain")]


def test_a_run_that_has_changed_is_scored_again(copy, study, fresh):
    weights = Run(copy / "runs" / "wide").weights
    later = (copy / "runs" / "wide" / "scores_test" / "scores.json").stat().st_mtime_ns + 1
    os.utime(weights, ns=(later, later))
    assert study(copy, runs=[RUNS[0], RUNS[2]]).status == 0
    assert list(fresh) == [("evaluation.score", "wide")]


def test_another_subset_is_scored_and_another_ranking_is_not(copy, study, fresh):
    good = [RUNS[0], RUNS[2]]
    assert study(copy, "--rank_by", "iou_with_background", runs=good).status == 0
    assert not fresh
    values = [float(row["iou_with_background"]) for row in table(copy)]
    assert values == sorted(values, reverse=True)
    assert study(copy, "--subset", "validation", runs=good).status == 0
    assert [name for name, *_ in fresh] == ["evaluation.score"] * 2


def test_the_loss_and_distances_rank_upwards(copy, study, fresh):
    for key in ("loss", "hd95", "hd95_WT"):
        assert study(copy, "--rank_by", key, runs=[RUNS[0], RUNS[2]]).status == 0
        values = [float(row[key]) for row in table(copy)]
        assert values == sorted(values)


def test_a_ranking_that_is_no_score_is_refused_before_anything_is_trained(study, fresh, tmp_path):
    done = study(tmp_path / "out", "--rank_by", "mean_iou")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "--rank_by: expected one of loss, accuracy, dice_WT, " in done.errors[0]
    assert "received mean_iou" in done.errors[0]
    assert not fresh


def test_records_without_test_cases_are_scored_on_validation(copy, records, study, fresh, tmp_path):
    other = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((other / "dataset.json").read_text())
    manifest["split"]["test"] = []
    (other / "dataset.json").write_text(json.dumps(manifest))
    begin_on(copy / "runs" / "plain", other)
    done = study(copy, "--records", other, runs=RUNS[:1])
    assert done.status == 0, done.err
    assert "Scored on the validation cases" in done.out
    assert study(copy, "--records", other, "--subset", "test", runs=RUNS[:1]).errors == [
        f"error: plain: {other}: has no test cases to score on; choose another --subset",
        "error: 1 of 1 run cannot be trained",
    ]


def test_a_run_whose_loss_is_no_number_is_told(copy, study, fresh):
    Run(copy / "runs" / "wide").set_status("diverged", ended="loss", diverged="in epoch 2 (loss nan)")
    done = study(copy, runs=[RUNS[0], RUNS[2]])
    assert done.status == 2
    assert done.errors[0].startswith("error: wide: its training diverged in epoch 2 (loss nan); delete ")
    assert not fresh


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"options": {"epochs": 3}}, "epochs"),
        ({"options": {"epochs": 2, "model.dropout": 0.1}}, "model.dropout"),
        ({"options": {"epochs": 2, "loss": {"gamma": 1.0}}}, "loss.gamma"),
    ],
)
def test_changed_settings_are_refused_before_anything_is_trained(studied, study, fresh, change, setting):
    done = study(studied, runs=[RUNS[0], RUNS[2] | change])
    wide = studied / "runs" / "wide"
    assert done.errors == [
        f"error: {wide}: was begun with another --{setting}; rename the run, or choose another --out",
        "error: nothing was trained",
    ]
    assert not fresh


def test_changed_records_are_refused(studied, study, records, fresh, tmp_path):
    other = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((other / "dataset.json").read_text())
    manifest["cases"]["case_0"][0] += 1
    (other / "dataset.json").write_text(json.dumps(manifest))
    done = study(studied, "--records", other, runs=RUNS[:1])
    assert "plain: was begun with another --records" in done.errors[0]
    assert not fresh


@pytest.mark.parametrize(("copies", "warned"), [(0, True), (1, False)])
def test_runs_that_differ_in_copies_are_warned_of_on_records_without(study, records, monkeypatch, tmp_path, copies, warned):
    other = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((other / "dataset.json").read_text()) | {"copies": copies}
    (other / "dataset.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(module, "_run_all", lambda *arguments: [])
    done = study(tmp_path / "out", "--records", other, runs=COPIES)
    assert done.status == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("warning:")] == [
        f"warning: {other}: has no augmented copies, so input.copies changes nothing: copies (true) train on the same examples "
        "as plain (false); build the records by make_records --augment.copies 1"
    ] * warned


def test_runs_that_agree_in_copies_are_not_warned_of(studied):
    assert "warning:" not in (studied / "printed.txt").read_text()


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], "nothing to do: give runs, or a sweep"),
        ([{"name": "a", "config": "x.yaml"}], "a: --runs: expected train, options, name, records, init_from; received config"),
        ([{"train": {}}], "run 1: --runs: missing key name"),
        ([{"name": "a"}], "a: --runs: missing key train"),
        ([{"name": "a/b", "train": {}}], "a/b: --name: expected letters, digits"),
        (
            [{"name": "a", "train": "none.yaml"}],
            "none.yaml: config of the training not found; expected a YAML file or the name of a shipped one",
        ),
        ([{"name": "a", "train": {"epochz": 1}}], "a: train: epochz: unknown key; did you mean epochs?"),
        (
            [{"name": "a", "train": {}, "options": {"epochs": "many"}}],
            "a: train: epochs: expected a whole number; received many",
        ),
        ([{"name": "a", "train": {}, "options": {"model.filters": 0}}], "a: --model.filters: expected at least 1; received 0"),
        ([{"name": "a", "train": {}, "options": {"out": "x"}}], "a: out is given by the study itself"),
        ([{"name": "a", "train": {}, "options": {"fold": 7}}], "expected a fold of 0..1; received 7"),
        ([{"name": "a", "train": {}}] * 2, "--runs: expected different names; received a twice"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(study, fresh, tmp_path, runs, said):
    done = study(tmp_path / "out", runs=runs)
    assert done.status == 2
    assert said in done.errors[0]
    assert not fresh
    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_told_at_once(study, tmp_path):
    wrong = [{"name": name, "train": {"epochs": epochs}} for name, epochs in (("a", 0), ("b", 0), ("c", -1))]
    done = study(tmp_path / "out", runs=[*wrong, *RUNS[:1]])
    assert [line.split(":")[1].strip() for line in done.errors] == ["a, b", "c", "3 of 4 runs cannot be trained"]


def test_the_settings_can_be_printed(written, capsys):
    with pytest.raises(SystemExit) as end:
        cli.parse(module.StudyConfig, ["--config", str(written()), "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert [run["name"] for run in printed["runs"]] == ["plain", "refused", "wide"]
    assert printed["options"] == TINY
