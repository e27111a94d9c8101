"""A training that goes on: killed and resumed equals uninterrupted, on both backends; and what a resume refuses."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from data_prep.records.folder import Records
from tests.training.runs import (
    EPOCHS,
    ROOT,
    STEPS,
    TOY,
    VOLUMES,
    assert_equal_runs,
    environment,
    finished_after,
    history,
    kill_in_epoch_3,
)
from training.run import Run

IN_ONE_PROCESS = """
import json, sys
from pathlib import Path
from common import cli
from tests.training.runs import EPOCHS, back_to, finished_after
from training.train import TrainConfig, main
runs = [cli.parse(TrainConfig, words) for words in json.loads(sys.argv[1])]
folder = Path(sys.argv[2])
for config in runs[:2]:
    main(config)
back_to(folder / "whole", EPOCHS - 1, folder / "killed")
finished_after(folder / "whole_volumes", 1, folder / "extended", epochs=1)
for config in runs[2:]:
    main(config)
"""


def test_killed_and_resumed_equals_uninterrupted(whole, records, command, tmp_path):
    killed = tmp_path / "killed"
    kill_in_epoch_3("tensorflow", ("--records", records, "--out", killed, *TOY, "--epochs", EPOCHS), killed)
    done = command("training.train", "--resume", killed)
    assert done.status == 0, done.err
    assert "resuming after epoch" in done.out
    assert "warning" not in done.out
    assert_equal_runs(whole, killed)


PHASES = '[{"epochs": 2, "freeze": ["encoder", "bottom"]}, {"epochs": 2, "optimizer": {"learning_rate": 0.002, "ema": 0.9}}]'


@pytest.fixture(scope="module")
def jax_runs(whole, records, tmp_path_factory):
    """Runs on JAX, of the shipped toy config `whole`, in two phases from a run on TensorFlow, and `killed` in the middle of
    its second phase and resumed; `whole_volumes` and `extended` are of volumes."""
    folder = tmp_path_factory.mktemp("jax")
    config = ROOT / "configs" / "synthetic" / "train.yaml"
    phased = ("--phases", PHASES, "--init_from", whole, "--steps_per_epoch", STEPS)
    new = ["--config", config, "--records", records, *TOY, *phased]
    volumes = ["--records", records, *VOLUMES, "--schedule.name", "constant", "--steps_per_epoch", 3]
    runs = (
        *([*new, "--out", folder / "whole"], [*volumes, "--out", folder / "whole_volumes", "--epochs", 2]),
        *(["--resume", folder / "killed"], ["--resume", folder / "extended", "--extend", 1]),
    )
    arguments = json.dumps([[str(word) for word in words] for words in runs])
    program = [sys.executable, "-c", IN_ONE_PROCESS, arguments, str(folder)]
    done = subprocess.run(program, cwd=ROOT, env=environment("jax"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_on_jax(jax_runs):
    assert json.loads((jax_runs / "whole" / "environment.json").read_text())["backend"] == "jax"
    assert_equal_runs(jax_runs / "whole", jax_runs / "killed")


@pytest.mark.slow
def test_frozen_layers_do_not_move_on_jax(jax_runs, whole):
    """Neither weights nor moving statistics, bit for bit; all others do."""
    run = Run(jax_runs / "whole")
    first = run.load_network(run.weights_before_last_phase)
    for given, variable in zip(Run(whole).load_network().weights, first.weights, strict=True):
        equal = np.array_equal(given, variable)
        assert equal == given.path.startswith(("encoder", "bottom")), given.path


@pytest.mark.slow
def test_extending_a_training_of_volumes_equals_a_longer_one_on_jax(jax_runs):
    assert_equal_runs(jax_runs / "whole_volumes", jax_runs / "extended")


@pytest.mark.slow
def test_a_run_of_another_backend_is_read(jax_runs, records):
    """Weights know no backend."""
    network = Run(jax_runs / "whole").load_network()
    image = np.asarray(Records(records).shard("case_0").image, np.float32)
    assert np.isfinite(network.predict_on_batch(image)["segmentation"]).all()


def test_extending_equals_a_longer_training(train, command, tmp_path):
    longer = tmp_path / "longer"
    train(longer, "--epochs", 2, "--schedule.name", "constant", "--optimizer.ema", 0.9)
    out = finished_after(longer, 1, tmp_path / "run", epochs=1)
    done = command("training.train", "--resume", out, "--extend", 1)
    assert done.status == 0, done.err
    assert Run(out).config.epochs == 2
    assert len(history(out)) == 2
    assert_equal_runs(longer, out)


def test_a_finished_run_stays_as_it_is(run, command):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "environment.json"}
    done = command("training.train", "--resume", run)
    assert done.status == 0, done.err
    assert "done after 4 epochs; add more with --extend N" in done.out
    assert {path: path.read_bytes() for path in before} == before


def test_time_ends_a_training_at_an_epoch_and_can_be_given_again(train, command, whole, tmp_path):
    out = tmp_path / "run"
    done = train(out, "--epochs", EPOCHS, "--max_minutes", 0.001)
    assert done.status == 0, done.err
    assert "another epoch would pass --max_minutes 0.001" in done.out
    assert (Run(out).metadata["status"], Run(out).metadata["epoch"]) == ("stopped", 1)
    done = command("training.train", "--resume", out, "--max_minutes", 60)
    assert done.status == 0, done.err
    assert_equal_runs(whole, out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give --records and --out for a new training, or --resume RUN"),
        (["--out", "somewhere"], "give --records and --out"),
        (["--resume", "RUN", "--records", "somewhere"], "somewhere: expected records"),
        (["--resume", "RUN", "--epochs", "9"], "--epochs: is a setting of"),
        (["--resume", "RUN", "--model.dropout", "0.3"], "--model.dropout: is a setting of"),
        (["--resume", "RUN", "--extend", "-1"], "extend"),
        (["--resume", "nowhere"], "nowhere: expected a run"),
    ],
)
def test_options_that_contradict_each_other_are_refused(command, run, options, said):
    before = (run / "config.yaml").read_bytes()
    done = command("training.train", *(str(run) if word == "RUN" else word for word in options))
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert (run / "config.yaml").read_bytes() == before


def test_a_mistaken_resume_makes_no_folder(command, tmp_path):
    assert command("training.train", "--resume", tmp_path / "nowhere").status == 2
    assert not (tmp_path / "nowhere").exists()


def test_changed_records_are_refused(run, records, command, tmp_path):
    other = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((other / "dataset.json").read_text())
    manifest["cases"]["case_0"][0] += 1
    (other / "dataset.json").write_text(json.dumps(manifest))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"records": str(other)}))
    done = command("training.train", "--resume", run, "--extend", 1)
    assert done.status == 2
    assert f"the records have changed since {run} was started" in done.errors[0]
    assert len(history(run)) == EPOCHS


def test_a_run_that_is_being_written_is_locked(run, command):
    from common.files import lock

    with lock(run):
        done = command("training.train", "--resume", run)
    assert done.errors == [f"error: {run}: another command is writing here; wait for it or choose another folder"]


def test_a_refused_resume_extends_nothing(command, run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"records": str(tmp_path / "missing")}))
    assert command("training.train", "--resume", run, "--extend", 3).status == 2
    assert Run(run).config.epochs == EPOCHS
