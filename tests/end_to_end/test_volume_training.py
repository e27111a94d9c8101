"""Trainings on patches: 3D networks, 2D networks and custom ones, killed, resumed and timed."""

import itertools
from types import SimpleNamespace

import pytest

from common.trust import trusting
from data_prep.records.folder import Records
from tests.training.runs import (
    CUSTOM,
    SHORT,
    VOLUMES,
    assert_equal_arrays,
    assert_equal_runs,
    back_to,
    history,
    weights,
)
from training.optimizers import timed_rate
from training.run import Run

TINY = CUSTOM[CUSTOM.index("--model.name") + 1]


@pytest.fixture
def train(command, records):
    """`train(out, *options)`: train in this process, and expect that it works."""

    def run(out, *options):
        done = command("training.train", "--records", records, "--out", out, *options)
        assert done.status == 0, done.err
        return done

    return run


def test_a_training_of_volumes_that_is_killed_and_resumed_equals_an_uninterrupted_one(train, command, tmp_path):
    printed = train(tmp_path / "whole", *VOLUMES, "--epochs", 2).out
    killed = back_to(tmp_path / "whole", 1, tmp_path / "killed")
    done = command("training.train", "--resume", killed)
    assert done.status == 0, done.err
    assert "resuming after epoch 1" in done.out
    assert_equal_runs(tmp_path / "whole", killed)
    assert "patches in one pass" in printed
    assert "patches/s" in printed
    assert "waiting for data" in printed


def test_every_voxel_of_the_validation_cases_is_scored_while_training(volumes, records):
    """Tiles count what the records count: the accuracy is a ratio of whole numbers with that denominator."""
    opened = Records(records)
    voxels = sum(int(opened.cases[case].voxels.sum()) for case in opened.split["validation"])
    for row in history(volumes):
        hits = float(row["val_accuracy"]) * voxels
        assert hits == pytest.approx(round(hits), abs=1e-3)
        assert 0 <= float(row["val_mean_iou"]) <= 1
    assert Run(volumes).metadata["status"] == "finished"


def test_the_loaded_network_gives_one_levels_logits(volumes):
    run = Run(volumes)
    assert run.build_network().output["segmentation"].shape[-1] == 8
    assert run.load_network().output["segmentation"].shape[-1] == 4
    assert run.sliding_window().patch == (4, 8, 8)


def test_anybodys_network_of_volumes_is_trained_and_goes_on(train, command, tmp_path):
    options = (*CUSTOM, *SHORT, "--input.patch", "[4,8,8]", "--model.rank", 3, "--model.input_size", "[4,8,8]")
    train(tmp_path / "whole", *options, "--epochs", 2)
    train(tmp_path / "run", *options, "--epochs", 1)
    before = weights(tmp_path / "run" / "last.weights.h5")
    done = command("training.train", "--resume", tmp_path / "run", "--extend", 1, "--trust", TINY)
    assert done.status == 0, done.err
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(AssertionError):
        assert_equal_arrays(before, weights(tmp_path / "run" / "last.weights.h5"))


def test_a_network_of_one_size_learns_from_patches_with_neighbours_and_is_scored(train, command, records, tmp_path):
    patch = ("--input.patch", "[1,8,8]", "--model.input_size", "[8,8]", "--input.neighbours", 1)
    train(tmp_path / "run", *CUSTOM, *SHORT, *patch, "--epochs", 1)
    with trusting([TINY]):
        assert Run(tmp_path / "run").sliding_window().patch == (1, 8, 8)
    options = ("--run", tmp_path / "run", "--records", records, "--subset", "validation", "--trust", TINY)
    done = command("evaluation.score", *options)
    assert done.status == 0, done.err
    assert "1 patient, 8 slices" in done.out


def test_slices_of_another_size_than_the_network_takes_are_refused(command, records, tmp_path):
    size = ("--model.input_size", "[8,8]")
    done = command("training.train", "--records", records, "--out", tmp_path / "run", *CUSTOM, *size)
    assert done.status == 2
    assert "slices of 16 x 16, and --model.input_size takes 8 x 8; set --input.resize [8, 8]" in done.errors[0]


def test_a_timed_rate_follows_the_minutes_of_all_resumes(train, command, tmp_path, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 3.0 * next(ticks))  # each look at the clock takes three seconds
    monkeypatch.setattr("training.state.callbacks.time", clock)
    timed = ("--schedule.name", "timed", "--max_minutes", 2.0, "--steps_per_epoch", 2, "--epochs", 2)
    printed = train(tmp_path / "run", *CUSTOM, "--input.patch", "[1,16,16]", *timed).out
    assert "patches/s" in printed
    with trusting([TINY]):
        assert Run(tmp_path / "run").sliding_window().patch is None  # whole slices are predicted, and validated
    done = command("training.train", "--resume", tmp_path / "run", "--extend", 30, "--trust", TINY)
    assert done.status == 0, done.err
    assert "another epoch would pass --max_minutes 2" in done.out
    rows = history(tmp_path / "run")
    minutes = [0.0, *(float(row["minutes"]) for row in rows)]
    assert 2 < len(rows) < 32
    assert all(later > earlier for earlier, later in itertools.pairwise(minutes))
    for row, begun in zip(rows, minutes, strict=False):
        assert float(row["learning_rate"]) == pytest.approx(timed_rate(0.01, begun, 2.0), rel=1e-3, abs=1e-7)
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.01)
    assert float(rows[-1]["learning_rate"]) < 0.005
