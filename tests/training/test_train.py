"""The command that trains: the run it leaves, what it refuses, and that killed and resumed equals uninterrupted."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.errors import UserError
from data_prep.records import Records
from training.run import Run

ROOT = Path(__file__).resolve().parents[2]
TOY = (
    *("--model.filters", 2, "--model.depth", 1, "--model.dropout", 0.2, "--precision", "float32"),
    *("--input.batch_size", 4, "--optimizer.learning_rate", 0.01, "--seed", 5),
)
EPOCHS, STEPS = 4, 12  # 3 cases and their copies of 8 slices each, 4 a step
IN_ONE_PROCESS = """
import json, sys
from common import cli
from training.train import TrainConfig, main
for arguments in json.loads(sys.argv[1]):
    main(cli.parse(TrainConfig, arguments))
"""


@pytest.fixture(scope="module")
def train(command, records):
    """`train(out, *options)`: train the toy network in this process; later options win."""

    def run(out, *options):
        return command("training.train", "--records", records, "--out", out, *TOY, *options)

    return run


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """An uninterrupted run on TensorFlow; to be read only."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = train(out, "--epochs", EPOCHS)
    assert done.status == 0, done.err
    (out / "printed.txt").write_text(done.out)
    return out


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the uninterrupted run that a test may change."""
    return shutil.copytree(whole, tmp_path / "run")


def environment(backend):
    return os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}


def history(path):
    with (path / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(path):
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def state(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "progress"}


def assert_equal_arrays(first, second):
    assert list(first) == list(second)
    assert first
    for name in first:
        assert first[name].dtype == second[name].dtype
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def assert_equal_runs(first, second):
    """Bit for bit, but for the time it took."""
    rows, others = history(first), history(second)
    for row in (*rows, *others):
        assert float(row.pop("minutes")) >= 0
    assert rows == others
    for name in ("last.weights.h5", "best.weights.h5"):
        assert_equal_arrays(weights(first / name), weights(second / name))
    states = sorted(path.name for path in (first / "state").iterdir())
    assert states == sorted(path.name for path in (second / "state").iterdir())
    for name in states:
        assert_equal_arrays(state(first / "state" / name), state(second / "state" / name))
    kept = ("status", "epoch", "best_epoch", "steps_per_epoch")
    assert {name: Run(first).facts[name] for name in kept} == {name: Run(second).facts[name] for name in kept}


def kill_in_epoch_3(backend, arguments, out):
    """Start a training in a process of its own and kill it, without warning, when two epochs stand in its history."""
    program = [sys.executable, "-m", "training.train", *map(str, arguments)]
    with subprocess.Popen(
        program, cwd=ROOT, env=environment(backend), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while process.poll() is None and not ((out / "history.csv").is_file() and len(history(out)) >= 2):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().decode()
    assert process.returncode == -signal.SIGKILL, printed
    assert len(history(out)) < EPOCHS
    assert Run(out).facts["status"] == "running"


def test_a_run_folder_holds_what_it_says(whole):
    assert {path.name for path in whole.iterdir()} - {".lock", "printed.txt"} == {
        *("config.yaml", "preparation.yaml", "schema.yaml", "run.json", "environment.json"),
        *("history.csv", "best.weights.h5", "last.weights.h5", "state", "logs"),
    }
    assert sorted(path.name for path in (whole / "state").iterdir()) == ["epoch_00003.npz", "epoch_00004.npz"]
    assert list((whole / "logs").rglob("events.out.tfevents*"))


def test_a_run_explains_itself(whole, records):
    run, opened = Run(whole), Records(records)
    assert run.channels == opened.channels
    assert run.schema == opened.schema
    assert run.preparation == opened.preparation
    assert run.facts["records"]["fingerprint"] == opened.fingerprint
    assert (run.facts["status"], run.facts["epoch"], run.facts["steps_per_epoch"]) == ("finished", EPOCHS, STEPS)
    assert (run.config.model.filters, run.config.seed, run.config.epochs) == (2, 5, EPOCHS)
    assert run.config.precision == "float32"
    assert json.loads((whole / "environment.json").read_text())["backend"] == "tensorflow"


def test_the_command_says_what_it_does(whole):
    lines = (whole / "printed.txt").read_text().splitlines()
    assert lines[0].startswith("device: CPU")
    assert "channels flair, t1, t1ce, t2" in lines[1]
    assert lines[2] == "data: 3 training cases (48 slices with their copies, 12 steps an epoch), 1 validation cases"
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == [f"epoch {number}/4" for number in range(1, 5)]
    assert all("slices/s" in line and "min left" in line for line in epochs)
    assert lines[-1].startswith(f"run: {whole} (finished after 4 epochs")


def test_the_history_has_a_row_per_epoch_and_every_score(whole):
    rows = history(whole)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    names = [name.replace(" ", "_").replace("-", "_") for name in Run(whole).schema.class_names]
    scores = ["loss", "accuracy", "mean_iou", "mean_dice", *(f"{kind}_{name}" for kind in ("iou", "dice") for name in names)]
    assert set(rows[0]) == {"epoch", "phase", "minutes", "learning_rate", *scores, *(f"val_{score}" for score in scores)}
    values = np.array([[float(row[name]) for name in rows[0]] for row in rows])
    assert np.isfinite(values).all()
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_rate_in_the_history_is_that_of_the_epoch(whole):
    found = [float(row["learning_rate"]) for row in history(whole)]
    np.testing.assert_allclose(found, 0.01 * 0.985 ** np.arange(EPOCHS), rtol=1e-6)


def test_the_best_weights_are_those_of_the_best_epoch(whole, train, records, tmp_path):
    scores = [float(row["val_mean_iou"]) for row in history(whole)]
    best = int(np.argmax(scores)) + 1
    assert Run(whole).facts["best_epoch"] == best
    train(tmp_path / "run", "--epochs", best)
    assert_equal_arrays(weights(tmp_path / "run" / "last.weights.h5"), weights(whole / "best.weights.h5"))


def test_scores_on_validation_are_those_of_the_weights(whole, records):
    from common import scores
    from data_prep.labels import bits_to_classes

    network, opened = Run(whole).load_network(), Records(records)
    shard = opened.shard(opened.split["validation"][0])
    logits = np.asarray(network.predict_on_batch(np.asarray(shard.image, np.float32))["segmentation"])
    counts = scores.confusion_matrix(bits_to_classes(shard.label), logits.argmax(axis=-1).astype(np.uint8), 4)
    best = history(whole)[Run(whole).facts["best_epoch"] - 1]
    assert scores.mean_iou(counts) == pytest.approx(float(best["val_mean_iou"]), abs=1e-6)
    assert scores.accuracy(counts) == pytest.approx(float(best["val_accuracy"]), abs=1e-6)


def test_killed_and_resumed_equals_uninterrupted(whole, records, command, tmp_path):
    killed = tmp_path / "killed"
    kill_in_epoch_3("tensorflow", ("--records", records, "--out", killed, *TOY, "--epochs", EPOCHS), killed)
    done = command("training.train", "--resume", killed)
    assert done.status == 0, done.err
    assert "resuming after epoch" in done.out
    assert "warning" not in done.out
    assert_equal_runs(whole, killed)


@pytest.fixture(scope="module")
def jax_runs(records, tmp_path_factory):
    """Runs on JAX: `whole`, `killed` and resumed, and `toy`, three steps of the shipped toy config."""
    folder = tmp_path_factory.mktemp("jax")
    new = ["--records", records, *TOY, "--epochs", EPOCHS]
    kill_in_epoch_3("jax", (*new, "--out", folder / "killed"), folder / "killed")
    toy = ["--config", ROOT / "configs" / "train" / "toy.yaml", "--records", records, "--out", folder / "toy"]
    steps = ["--epochs", 1, "--steps_per_epoch", 3, "--model.depth", 1, "--model.filters", 2]  # quick to compile
    runs = ([*new, "--out", folder / "whole"], ["--resume", folder / "killed"], [*toy, *steps])
    arguments = json.dumps([[str(word) for word in words] for words in runs])
    program = [sys.executable, "-c", IN_ONE_PROCESS, arguments]
    done = subprocess.run(program, cwd=ROOT, env=environment("jax"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_on_jax(jax_runs):
    assert json.loads((jax_runs / "whole" / "environment.json").read_text())["backend"] == "jax"
    assert_equal_runs(jax_runs / "whole", jax_runs / "killed")


@pytest.mark.slow
def test_the_toy_config_trains_three_steps_on_jax(jax_runs):
    (row,) = history(jax_runs / "toy")
    assert math.isfinite(float(row["loss"]))
    assert Run(jax_runs / "toy").facts["steps_per_epoch"] == 3


@pytest.mark.slow
def test_a_run_of_another_backend_is_read(jax_runs, records):
    """Weights know no backend."""
    network = Run(jax_runs / "whole").load_network()
    image = np.asarray(Records(records).shard("case_0").image, np.float32)
    assert np.isfinite(network.predict_on_batch(image)["segmentation"]).all()


def test_extending_equals_a_longer_training(train, command, whole, tmp_path):
    out = tmp_path / "run"
    constant = ("--schedule.name", "constant")
    train(out, "--epochs", 1, *constant)
    done = command("training.train", "--resume", out, "--extend", 1)
    assert done.status == 0, done.err
    assert Run(out).config.epochs == 2
    assert len(history(out)) == 2
    train(tmp_path / "longer", "--epochs", 2, *constant)
    assert_equal_runs(tmp_path / "longer", out)


def test_a_finished_run_stays_as_it_is(run, command):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "environment.json"}
    done = command("training.train", "--resume", run)
    assert done.status == 0, done.err
    assert "all 4 epochs are done; add more with --extend N" in done.out
    assert {path: path.read_bytes() for path in before} == before


def test_time_ends_a_training_at_an_epoch_and_can_be_given_again(train, command, whole, tmp_path):
    out = tmp_path / "run"
    done = train(out, "--epochs", EPOCHS, "--max_minutes", 0)
    assert done.status == 0, done.err
    assert "another epoch would pass --max_minutes 0" in done.out
    assert (Run(out).facts["status"], Run(out).facts["epoch"]) == ("stopped", 1)
    done = command("training.train", "--resume", out, "--max_minutes", 60)
    assert done.status == 0, done.err
    assert_equal_runs(whole, out)


def test_patience_ends_a_training_without_a_better_score(train, tmp_path):
    # A rate of zero changes no weight, so no epoch is better than the first.
    options = ("--optimizer.learning_rate", 0, "--model.normalisation", "none", "--model.dropout", 0, "--patience", 2)
    done = train(tmp_path / "run", "--epochs", 6, *options)
    assert done.status == 0, done.err
    assert "no better validation mean_iou for 2 epochs" in done.out
    assert len(history(tmp_path / "run")) == 3
    assert Run(tmp_path / "run").facts["best_epoch"] == 1


def test_a_loss_that_is_no_number_ends_training_and_is_never_best(train, tmp_path):
    done = train(tmp_path / "run", "--epochs", 3, "--optimizer.learning_rate", "1e38", "--monitor", "loss")
    assert "the loss is no longer a number" in done.out
    run = Run(tmp_path / "run")
    rows = history(tmp_path / "run")
    assert not math.isfinite(float(rows[-1]["loss"]))
    for epoch, row in enumerate(rows, start=1):
        if not math.isfinite(float(row["val_loss"])):
            assert run.facts["best_epoch"] != epoch
    assert run.facts["status"] == "stopped"


def test_training_on_all_patients_keeps_the_last_model(command, source, tmp_path):
    small = ("--prepare.size", "[8,16,16]", "--workers", 1, "--split.fractions", "[1,0,0]")
    assert command("data_prep.make_records", "--source", source, "--out", tmp_path / "records", *small).status == 0
    out = tmp_path / "run"
    done = command("training.train", "--records", tmp_path / "records", "--out", out, *TOY, "--epochs", 2, "--patience", 1)
    assert done.status == 0, done.err
    assert done.out.count("no validation cases: the last model is kept") == 1
    assert not (out / "best.weights.h5").exists()
    assert Run(out).weights == out / "last.weights.h5"
    assert len(history(out)) == 2
    assert not any(name.startswith("val_") for name in history(out)[0])
    assert np.isfinite(Run(out).load_network().predict_on_batch(np.zeros((1, 16, 16, 4), np.float32))["segmentation"]).all()


def test_every_option_reaches_the_training(train, records, tmp_path):
    out = tmp_path / "run"
    done = train(
        out,
        *("--epochs", 1, "--fold", 1, "--steps_per_epoch", 2, "--input.neighbours", 1, "--input.size", "[20,12]"),
        *("--input.tumour_share", 0.5, "--input.drop_empty", "true"),
        *("--loss.name", "cross_entropy", "--loss.alpha", "[1,2,2,2]"),
        *("--optimizer.name", "sgd", "--schedule.name", "cosine", "--model.l2", "1e-4", "--model.normalisation", "group"),
    )
    assert done.status == 0, done.err
    assert "2 training cases" in done.out
    run = Run(out)
    assert run.config.loss.alpha == [1, 2, 2, 2]
    assert run.load_network().input_shape == (None, None, None, 12)
    assert run.facts["fold"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fold", 2], "expected a fold of 0..1; received 2"),
        (["--fold", -1], "expected a fold of 0..1; received -1"),
        (["--model.depth", 5], "multiples of 32"),
        (["--input.size", "[15,16]"], "multiples of 2"),
        (["--loss.alpha", "[1,2]"], "expected 1 or 4 numbers"),
        (["--loss.name", "dice"], "expected one of focal, cross_entropy"),
        (["--extend", 1], "--extend goes with --resume"),
        (["--epochs", 0], "epochs"),
        (["--steps_per_epoch", -1], "steps_per_epoch"),
        (["--input.batch_size", 0], "batch_size"),
        (["--input.neighbours", -1], "neighbours"),
        (["--input.tumour_share", 1.5], "tumour_share"),
        (["--input.threads", -1], "threads"),
        (["--input.size", "[0,16]"], "size"),
        (["--patience", 0], "patience"),
        (["--max_minutes", -1], "max_minutes"),
        (["--seed", -1], "seed"),
        (["--model.filters", 0], "filters"),
        (["--model.depth", 0], "depth"),
        (["--model.dropout", 1.5], "dropout"),
        (["--model.rank", 3], "rank"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_no_run(train, tmp_path, options, said):
    done = train(tmp_path / "run", *options)
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_used_folder_is_refused(train, run, tmp_path):
    before = (run / "run.json").read_bytes()
    done = train(run)
    assert done.errors == [f"error: {run}: exists and is not empty; go on with it by --resume {run}, or choose another --out"]
    assert (run / "run.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    assert "exists and is not empty; choose another --out" in train(tmp_path / "other").errors[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give --records and --out for a new training, or --resume RUN"),
        (["--out", "somewhere"], "give --records and --out"),
        (["--resume", "RUN", "--records", "somewhere"], "remove --records"),
        (["--resume", "RUN", "--epochs", "9"], "remove --epochs"),
        (["--resume", "RUN", "--model.dropout", "0.3"], "remove --model"),
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


def test_weights_that_do_not_fit_are_refused_in_one_line(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["filters"] = 3
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="weights do not fit the network") as error:
        Run(run).load_network()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_what_is_no_run_is_refused(run, damage):
    damage(run / "run.json")
    with pytest.raises(UserError, match=r"run\.json"):
        Run(run)


def test_a_run_without_an_epoch_has_no_weights(run):
    (run / "best.weights.h5").unlink()
    (run / "last.weights.h5").unlink()
    with pytest.raises(UserError, match="no epoch was finished"):
        _ = Run(run).weights


def test_a_refused_resume_extends_nothing(command, run, records, tmp_path):
    hidden = records.rename(records.with_name("hidden"))
    try:
        assert command("training.train", "--resume", run, "--extend", 3).status == 2
    finally:
        hidden.rename(records)
    assert Run(run).config.epochs == EPOCHS


def test_a_shard_cut_short_is_told_before_training_starts(command, records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    shard = copy / "cases" / f"{Records(copy).split['train'][0]}.copy1.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-5])
    done = command("training.train", "--records", copy, "--out", tmp_path / "run", *TOY, "--steps_per_epoch", 1)
    assert done.status == 2
    assert "build the records again" in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()
