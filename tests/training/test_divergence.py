"""Trainings that diverge, weights that are not finite, and weights files that are damaged: never used, never overwritten."""

import json
import shutil

import keras
import numpy as np
import pytest

from common.files import checksum
from common.finite import is_finite
from tests.networks import TINY
from tests.training.runs import TOY, history, state, weights
from training.run import Run
from training.state.weights import save_weights

PHASES = json.dumps([{"epochs": 1, "steps": None}, {"epochs": 2, "optimizer": {"learning_rate": 1e38}}])
OF_KIND = {
    "training.train": (*TOY, "--steps_per_epoch", 2),
    "training.classify": (
        *("--steps_per_epoch", 3, "--input.batch_size", 4, "--model.name", TINY, "--precision", "float32"),
        *("--slices", "tumour", "--target.attribute", "grade", "--optimizer.name", "sgd"),
    ),
}


@pytest.mark.parametrize("name", OF_KIND)
def test_a_training_that_diverges_keeps_the_epoch_before_and_is_not_resumed(command, records, tmp_path, name):
    out = tmp_path / "run"
    done = command(name, "--records", records, "--out", out, *OF_KIND[name], "--phases", PHASES)
    assert (done.status, len(done.errors)) == (2, 1), done.err
    assert done.errors[0].startswith(f"error: {out}: the training diverged in epoch 2 (")
    assert "weights and state of epoch 1 are kept; train anew with a lower --optimizer.learning_rate" in done.errors[0]
    facts = Run(out).metadata
    assert (facts["status"], facts["ended"], facts["epoch"]) == ("diverged", "loss", 1)
    assert len(history(out)) == 2
    assert [path.name for path in (out / "state").iterdir()] == ["epoch_00001.npz"]
    arrays = [*weights(out / "last.weights.h5").values(), *state(out / "state" / "epoch_00001.npz").values()]
    assert all(map(is_finite, arrays))
    assert all(is_finite(variable) for variable in Run(out).load_network().weights)
    resumed = command(name, "--resume", out)
    assert (resumed.status, resumed.errors, resumed.out) == (2, done.errors, "")


def test_a_training_that_diverges_at_once_leaves_a_folder_to_start_in(command, records, tmp_path):
    options = ("training.train", "--records", records, "--out", tmp_path / "run", *TOY, "--steps_per_epoch", 2, "--epochs", 2)
    done = command(*options, "--optimizer.learning_rate", "1e38")
    assert (done.status, len(done.errors)) == (2, 1), done.err
    assert "the training diverged in epoch 1 (" in done.errors[0]
    assert "no epoch was finished before; train anew with a lower --optimizer.learning_rate" in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()


def put_nan(run):
    """Weights of which one is NaN, as versions of before wrote them."""
    network = run.load_network()
    kernel = network.get_layer("encoder1_conv1").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    save_weights(network, run, ["best.weights.h5", "last.weights.h5"])


def flip(run):
    """Weights with a bit in half a percent of the bytes flipped."""
    content = np.frombuffer(run.weights.read_bytes(), np.uint8).copy()
    places = np.random.default_rng(0).choice(len(content), len(content) // 200, replace=False)
    content[places] ^= 1
    run.weights.write_bytes(content.tobytes())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put_nan, "best.weights.h5: encoder1_conv1/kernel is not finite"),
        (flip, "best.weights.h5: is damaged, of another epoch or of another run"),
    ],
)
def test_weights_that_are_not_finite_or_damaged_are_refused_by_every_command(
    command, trained, records, source, tmp_path, change, words
):
    run = shutil.copytree(trained, tmp_path / "run")
    change(Run(run))
    commands = [
        ("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "predictions"),
        ("evaluation.score", "--run", run, "--records", records),
        ("evaluation.tune", "--runs", run),
        ("training.train", "--records", records, "--out", tmp_path / "next", *TOY, "--init_from", run, "--model.filters", 4),
    ]
    for arguments in commands:
        done = command(*arguments)
        assert (done.status, len(done.errors)) == (2, 1), (arguments, done.err)
        assert words in done.errors[0]


def test_runs_of_before_without_checksums_of_their_weights_are_read(trained, tmp_path):
    run = Run(shutil.copytree(trained, tmp_path / "run"))
    assert run.metadata["weights"]["best.weights.h5"][-1] == checksum(run.weights)
    facts = json.loads((run.path / "run.json").read_text())
    del facts["weights"]
    (run.path / "run.json").write_text(json.dumps(facts))
    assert isinstance(Run(run.path).load_network(), keras.Model)


def test_a_kill_before_or_after_the_weights_are_written_leaves_weights_that_are_read(trained, tmp_path):
    run = Run(shutil.copytree(trained, tmp_path / "run"))
    run.expect_weights(["best.weights.h5"], "12345678")  # killed before the file was replaced
    Run(run.path).verify_weights(run.weights)
    run.weights.write_bytes(b"the next epoch's")
    run.expect_weights(["best.weights.h5"], checksum(run.weights))
    Run(run.path).verify_weights(run.weights)
