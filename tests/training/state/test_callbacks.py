"""End of an epoch: files, best score, patience, and what ends a training. Epochs are called by hand, not trained."""

import csv
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from common import progress as progress_lines
from data_prep.labels import LabelSchema
from tests.training.runs import weights
from training.config import TrainConfig
from training.data.stopwatch import StopWatch
from training.divergence import Diverged
from training.heads import SegmentationHead
from training.optimizers import ScheduleConfig
from training.phases import PhaseConfig, resolved_phases
from training.state import callbacks
from training.state.callbacks import EpochKeeper
from training.state.checkpoint import Progress, load_state

HEADS = {"segmentation": SegmentationHead("segmentation", LabelSchema.load("binary"))}


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def clock(monkeypatch):
    """Clock of the keeper; `clock.minutes` is the time."""
    clock = SimpleNamespace(minutes=0.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: 60 * clock.minutes))
    return clock


@pytest.fixture
def train(model, clock, tmp_path):
    """`train(config, scores, progress, phase)`: epochs of a minute with these values of the monitor; the keeper afterwards."""

    def epochs(config, scores, progress=None, phase=0, loss=0.5, minutes=None):
        progress, phases = progress or Progress(), resolved_phases(config)
        run = SimpleNamespace(path=tmp_path, expect_weights=lambda names, checksum: None)
        keeper = EpochKeeper(run, config, HEADS, progress, phases, phases[phase], 8, StopWatch())
        keeper.set_model(model)
        keeper.set_params({"steps": 2})
        model.stop_training = False
        for number, score in enumerate(scores):
            assert not model.stop_training
            model.set_weights([np.full(array.shape, progress.epoch + 1) for array in model.get_weights()])
            first = progress.epoch
            keeper.on_epoch_begin(first)
            for batch in range(2):
                keeper.on_train_batch_end(batch)
            keeper.on_test_begin()
            clock.minutes += minutes[number] if minutes else 1
            keeper.on_test_end()
            keeper.on_epoch_end(first, {"loss": loss, "val_loss": 1.0, f"val_{config.monitor}": score})
        return keeper, progress

    return epochs


def config(**changes):
    return TrainConfig(**({"epochs": 9, "monitor": "mean_iou"} | changes))


def test_the_best_score_and_its_epoch_are_kept_with_the_weights(train, tmp_path):
    keeper, progress = train(config(), [0.4, 0.6, math.nan, 0.5])
    assert (progress.best, progress.best_epoch, progress.waited, progress.epoch) == (0.6, 2, 2, 4)
    assert keeper.ended is None
    for name, epoch in (("best", 2), ("last", 4)):
        arrays = weights(tmp_path / f"{name}.weights.h5")
        assert arrays
        assert {float(value) for array in arrays.values() for value in array.ravel()} == {epoch}


def test_files_of_an_epoch_hold_its_progress(train, model, tmp_path):
    _, progress = train(config(), [0.4, 0.6])
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["phase"], row["val_mean_iou"]) for row in rows] == [("1", "1", "0.4"), ("2", "1", "0.6")]
    assert [float(row["minutes"]) for row in rows] == [1, 2]
    assert load_state(tmp_path / "state", model) == progress


@pytest.mark.parametrize(("monitor", "best"), [("loss", 1), ("mean_iou", 2)])
def test_a_smaller_loss_and_a_larger_score_are_better(train, monitor, best):
    _, progress = train(config(monitor=monitor), [0.4, 0.6])
    assert progress.best_epoch == best


def test_a_resumed_training_compares_with_the_best_score_before(train):
    before = Progress(epoch=3, best=0.7, best_epoch=2, phase_epoch=3, waited=1)
    _, progress = train(config(patience=9), [0.69], before)
    assert (progress.best, progress.best_epoch, progress.waited) == (0.7, 2, 2)


def test_patience_ends_the_training_in_its_last_phase(train, model, capsys):
    keeper, progress = train(config(patience=2), [0.5, 0.4, 0.5])
    assert (keeper.ended, model.stop_training, progress.epoch) == ("patience", True, 3)
    assert "stopped: no better validation mean_iou for 2 epochs" in capsys.readouterr().out


def test_patience_of_a_phase_ends_that_phase_alone(train, model, capsys):
    phases = [PhaseConfig(epochs=5, patience=1), PhaseConfig(epochs=5, patience=3)]
    keeper, progress = train(config(phases=phases), [0.5, 0.4])
    assert (keeper.ended, model.stop_training) == (None, True)
    assert "phase 1 ended: no better validation mean_iou for 1 epoch\n" in capsys.readouterr().out
    progress.begin_phase(2)
    keeper, progress = train(config(phases=phases), [0.4, 0.3, 0.2], progress, phase=1)
    assert (keeper.ended, progress.epoch, progress.best_epoch) == ("patience", 5, 1)
    assert [row["phase"] for row in progress.history] == [1, 1, 2, 2, 2]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_an_epoch_whose_loss_is_not_finite_leaves_the_files_of_the_one_before(train, model, tmp_path, loss):
    _, progress = train(config(monitor="mean_iou"), [0.4])
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "history.csv"}
    with pytest.raises(Diverged, match=rf"^in epoch 2 \(loss {loss}\)$"):
        train(config(monitor="mean_iou"), [1.0], progress, loss=loss)
    after = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "history.csv"}
    assert after == before
    assert (progress.epoch, progress.best, progress.best_epoch, len(progress.history)) == (1, 0.4, 1, 1)
    with (tmp_path / "history.csv").open(newline="") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["0.5", str(loss)]


@pytest.mark.parametrize("where", ["weight", "optimizer"])
def test_a_variable_that_is_not_finite_is_never_saved_whatever_the_score(train, model, tmp_path, monkeypatch, where):
    _, progress = train(config(), [0.4])
    variable = model.weights[0] if where == "weight" else model.optimizer.variables[1]  # the first counts the steps
    values = np.array(variable)
    monkeypatch.setattr(model, "set_weights", lambda arrays: variable.assign(np.full_like(values, np.nan)))
    with pytest.raises(Diverged, match=r"^in epoch 2 \(.* is no longer finite\)$"):
        train(config(), [0.9], progress)
    variable.assign(values)
    assert (progress.best, progress.best_epoch) == (0.4, 1)
    assert not (tmp_path / "state" / "epoch_00002.npz").exists()
    for array in weights(tmp_path / "best.weights.h5").values():
        assert np.isfinite(array).all()


def test_a_training_ends_before_it_would_pass_its_minutes(train, model, capsys):
    keeper, progress = train(config(max_minutes=3.5), [0.1, 0.2, 0.3])
    assert (keeper.ended, model.stop_training, progress.minutes) == ("max_minutes", True, 3)
    printed = capsys.readouterr().out
    assert "stopped: another epoch would pass --max_minutes 3.5" in printed
    assert "about 1.5 min left" in printed.splitlines()[1]  # 7 epochs of a minute, but for max_minutes


def test_the_line_of_an_epoch_counts_all_phases(train, capsys):
    train(config(phases=[PhaseConfig(epochs=2), PhaseConfig(epochs=3)]), [0.25])
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("epoch 1/5: loss 0.5000")
    assert "validation loss 1.0000" in line
    assert "(best)" in line
    assert line.endswith("about 4.0 min left")


def times_left(printed):
    return [line.rpartition("; about ")[2] for line in printed.splitlines() if line.startswith("epoch ")]


def test_the_time_left_is_that_of_the_mean_epoch_of_this_process(train, capsys):
    before = Progress(epoch=2, phase_epoch=2, minutes=100.0)
    train(config(epochs=6), [0.1, 0.2, 0.3], before, minutes=[4, 1, 1])
    assert times_left(capsys.readouterr().out) == ["12.0 min left", "5.0 min left", "2.0 min left"]


def test_no_time_is_left_where_a_training_ends(train, capsys):
    train(config(epochs=2), [0.1, 0.2])
    last = capsys.readouterr().out.splitlines()[1]
    assert last.endswith("% of the time waiting for data")
    train(config(epochs=1000, max_minutes=1.5), [0.1])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("epoch 1/1000")
    assert first.endswith("% of the time waiting for data")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 10}, "time: about 20 min for 10 epochs of 20 steps of 6 s, validation not counted"),
        ({"epochs": 10, "validate": False}, "time: about 20 min for 10 epochs of 20 steps of 6 s"),
        ({"epochs": 10, "max_minutes": 5.0}, "time: 5 min (--max_minutes), about 50 steps of 6 s"),
        (
            {"epochs": 10, "max_minutes": 0.5},
            "time: 30 s (--max_minutes), about 5 steps of 6 s; an epoch has 20, and the first is never cut: shorten it by "
            "--steps_per_epoch",
        ),
        (
            {"epochs": 10, "max_minutes": 10.0, "schedule": ScheduleConfig(name="timed")},
            "time: 10 min (--max_minutes), about 100 steps of 6 s; the learning rate falls from epoch to epoch: "
            "--steps_per_epoch 10 makes 10 of them",
        ),
    ],
)
def test_the_time_of_a_training_is_expected_from_its_first_steps(model, clock, tmp_path, capsys, options, expected):
    settings, progress = config(**options), Progress()
    run = SimpleNamespace(path=tmp_path, expect_weights=lambda names, checksum: None)
    keeper = EpochKeeper(
        run, settings, HEADS, progress, resolved_phases(settings), resolved_phases(settings)[0], 8, StopWatch()
    )
    keeper.set_model(model)
    keeper.set_params({"steps": 20})
    for epoch in range(2):
        keeper.on_epoch_begin(epoch)
        clock.minutes += 1  # the network is compiled
        for batch in range(10):
            keeper.on_train_batch_end(batch)
            clock.minutes += 0.1
        progress.epoch += 1
    assert capsys.readouterr().out.splitlines() == [expected]


def test_a_log_file_says_how_far_a_long_epoch_is(model, clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress_lines, "time", callbacks.time)
    settings = config(epochs=2)
    run = SimpleNamespace(path=tmp_path, expect_weights=lambda names, checksum: None)
    phases = resolved_phases(settings)
    keeper = EpochKeeper(run, settings, HEADS, Progress(), phases, phases[0], 8, StopWatch())
    keeper.set_model(model)
    keeper.set_params({"steps": 8})
    keeper.on_epoch_begin(0)
    for batch in range(8):
        clock.minutes += 0.6
        keeper.on_train_batch_end(batch)
    lines = [f"epoch 1/2: {done} of 8 steps, about {left} min left" for done, left in ((2, 3.6), (4, 2.4), (6, 1.2))]
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(("limit", "ended"), [(2.1, None), (2.0, "max_minutes")])
def test_the_time_of_compiling_is_not_that_of_the_next_epoch(model, clock, tmp_path, limit, ended):
    settings = config(max_minutes=limit, validate=False)
    run = SimpleNamespace(path=tmp_path, expect_weights=lambda names, checksum: None)
    keeper = EpochKeeper(run, settings, HEADS, Progress(), (phases := resolved_phases(settings)), phases[0], 8, StopWatch())
    keeper.set_model(model)
    keeper.set_params({"steps": 11})
    keeper.on_epoch_begin(0)
    clock.minutes += 1  # the network is compiled, and trains a step
    for batch in range(11):
        keeper.on_train_batch_end(batch)
        clock.minutes += 0.05 if batch < 10 else 0
    keeper.on_epoch_end(0, {"loss": 0.5})
    assert keeper.ended == ended  # eleven steps more are 0.55 minutes
