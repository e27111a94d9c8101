"""Runs of somebody else that name code: refused by every command that opens a run, and nothing of theirs is run."""

import json
import shutil
import sys

import pytest
import yaml

from evaluation.experiments import runner
from tests.training.runs import CUSTOM, SHORT, write_model

MINE = "tests.models.custom_networks:tiny"


@pytest.fixture
def canary(tmp_path):
    """A file that a payload makes."""
    return tmp_path / "canary"


@pytest.fixture
def hostile(trained, tmp_path, canary, monkeypatch):
    """`hostile(model, **changes)`: a run with this model in its config, in the current folder, with a payload in both."""
    run = shutil.copytree(trained, tmp_path / "here" / "run")
    shutil.copyfile(run / "last.weights.h5", run / "before_phase2.weights.h5")
    monkeypatch.chdir(run.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    payload = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n\n\ndef make(**options):\n    raise SystemExit(9)\n"
    for place in (run / "payload_in_run.py", run.parent / "payload_here.py"):
        place.write_text(payload)

    def made(model, **changes):
        settings = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(settings | changes))
        write_model(run, model)
        return run

    return made


LAMBDA = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}}
KERAS = {"name": "keras.saving:deserialize_keras_object", "args": {"config": LAMBDA, "safe_mode": False}}
FORMS = {
    "a Lambda of Keras": (KERAS, "those of keras.saving are never called"),
    "a function that empties a file": ({"name": "logging:basicConfig", "args": {"filename": "x", "filemode": "w"}}, "logging"),
    "a program": ({"name": "os:system", "args": {"command": "touch x"}}, "those of os are never called"),
    "a module in the run": ({"name": "run.payload_in_run:make"}, "add --trust run.payload_in_run:make"),
    "a module in the current folder": ({"name": "payload_here:make"}, "add --trust payload_here:make"),
    "an installed module": ({"name": MINE}, f"add --trust {MINE}"),
    "a name that prints": ({"name": "a\x1b[2Jb:c"}, "expected package.module:callable"),
    "a class path": ({"class_path": "payload_here.make"}, "model: expected a mapping of its options; received a class_path"),
    "a text": ("payload_here.make", "config.yaml"),
    "a name that is none": ({"name": {"class_path": "payload_here.make"}}, "expected one of unet"),
}


def refused(done, canary, words=""):
    """Whether a command ended with status 2 and a line with these words (a study adds how many runs), and nothing was run."""
    assert done.status == 2, done.out + done.err
    assert 1 <= len(done.errors) == len(done.err.splitlines()) <= 2
    assert words in done.errors[0]
    assert not canary.exists()
    assert "payload_here" not in sys.modules
    assert "run.payload_in_run" not in sys.modules


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_refused_before_anything_is_imported(form, hostile, command, source, canary, tmp_path):
    model, words = FORMS[form]
    victim = tmp_path / "here" / "x"
    victim.write_text("kept")
    done = command("evaluation.predict", "--runs", hostile(model), "--source", source, "--out", tmp_path / "out")
    refused(done, canary, words)
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("name", ["keras.saving:deserialize_keras_object", "logging:basicConfig", "run.payload_in_run:make"])
def test_some_are_refused_trusted_or_not(name, hostile, command, source, canary, tmp_path):
    words = ("--runs", hostile({"name": name}), "--source", source, "--out", tmp_path / "out", "--trust", name)
    refused(command("evaluation.predict", *words), canary)


@pytest.mark.parametrize("setting", ["schedule", "optimizer", "loss", "logger", "phases", "heads", "records", "input"])
def test_no_setting_of_a_run_imports_anything(setting, hostile, command, source, canary, tmp_path):
    item = {"class_path": "payload_here.make", "init_args": {}}
    value = {"phases": [item], "records": [item], "heads": {"a": item}}.get(setting, item)
    run = hostile({"name": "unet"}, **{setting: value})
    refused(command("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "out"), canary, "config.yaml")


@pytest.mark.parametrize("file", ["config.yaml", "schema.yaml", "preparation.yaml", "run.json"])
def test_tags_of_yaml_make_no_objects(file, hostile, command, source, canary, tmp_path):
    run = hostile({"name": "unet"})
    (run / file).write_text("seed: !!python/object/apply:payload_here.make []\n")
    refused(command("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "out"), canary, file)


COMMANDS = {
    "predict": ("evaluation.predict", "--runs {run} --source {source} --out {out}"),
    "score": ("evaluation.score", "--run {run} --records {records} --subset validation"),
    "tune": ("evaluation.tune", "--runs {run}"),
    "plots": ("evaluation.plots", "--runs {run} --records {records} --out {out}"),
    "fine_tuning": ("evaluation.fine_tuning", "--run {run} --records {records} --out {out}"),
    "classify_features": (
        "evaluation.classify_features",
        "--runs {run} --source {source} --attribute grade --out {out} --seen_patients warn",
    ),
    "resume": ("training.train", "--resume {run} --extend 1"),
    "init_from": ("training.train", "--init_from {run} --records {records} --out {out}"),
    "a config in a run": ("training.train", "--config {run}/config.yaml --records {records} --out {out}"),
    "a network in a run": ("training.train", "--model {run}/network.yaml --records {records} --out {out}"),
    "cross_validate": ("evaluation.cross_validate", "--train {run}/config.yaml --records {records} --out {out}"),
    "study": ("evaluation.study", '--runs=[{{"name":"a","train":"{run}/config.yaml"}}] --records {records} --out {out}'),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_that_opens_a_run_refuses_it(name, hostile, command, source, records, canary, tmp_path):
    module, words = COMMANDS[name]
    run = hostile({"name": "payload_here:make"})
    if name not in ("resume", "tune"):
        settings = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**settings, "out": None, "records": None}))
    (run / "network.yaml").write_text("name: payload_here:make\n")
    given = [word.format(run=run, source=source, records=records, out=tmp_path / "out") for word in words.split()]
    refused(command(module, *given), canary, "add --trust payload_here:make")


def test_a_study_with_a_runs_folder_of_somebody_else_refuses_it(hostile, command, records, canary, tmp_path):
    run = hostile({"name": "payload_here:make"})
    place = shutil.copytree(run, tmp_path / "study" / "runs" / "a")
    assert json.loads((place / "run.json").read_text())["status"] == "finished"
    runs = json.dumps([{"name": "a", "train": {"epochs": 2}}])
    done = command("evaluation.study", f"--runs={runs}", "--records", records, "--out", tmp_path / "study")
    refused(done, canary, "add --trust payload_here:make")


@pytest.fixture(scope="module")
def custom(records, run_once):
    """A run of a network that is not the toolkit's."""
    return run_once("custom", "training.train", "--records", records, *CUSTOM, *SHORT, "--steps_per_epoch", 1, "--epochs", 1)


def test_what_the_user_trusts_works(custom, command, source, records, tmp_path):
    words = ("--runs", custom, "--source", source, "--out", tmp_path / "out", "--overlays", "false")
    done = command("evaluation.predict", *words)
    assert done.errors == [
        f"error: {custom}/config.yaml: model.name {MINE} is code that would be run; if you trust it and this run, "
        f"add --trust {MINE}"
    ]
    assert command("evaluation.predict", *words, "--trust", MINE).status == 0
    assert command("evaluation.predict", *words).status == 2  # it is stored nowhere
    own = shutil.copytree(custom, tmp_path / "own")
    assert command("training.train", "--resume", own, "--extend", 1).status == 2
    assert command("training.train", "--resume", own, "--trust", MINE).status == 0


def test_trust_goes_on_to_the_commands_that_a_command_calls(monkeypatch, command, records, tmp_path):
    called = []
    monkeypatch.setattr(runner.processes, "run_command", lambda name, words, *_: called.append((name, words)) or 2)
    (tmp_path / "own.yaml").write_text(f"model: {{name: '{MINE}', stride: 2}}\n")
    words = ("--train", tmp_path / "own.yaml", "--records", records, "--out", tmp_path / "out", "--trust", "my_models:net")
    command("evaluation.cross_validate", *words)
    ((name, words),) = called
    assert name == "training.train"
    assert words[-4:] == ["--trust", "my_models:net", "--trust", MINE]
