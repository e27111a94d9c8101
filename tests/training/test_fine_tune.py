"""Training in two phases: what the second one begins with, and that stopped anywhere and resumed equals uninterrupted."""

import json

import numpy as np
import pytest

from tests.training.runs import TOY, assert_equal_arrays, assert_equal_runs, back_to, finished_after, history, weights
from training.phases import resolved_phases
from training.run import Run
from training.state import checkpoint

RATE, TUNED_RATE = 0.01, 0.002
EPOCHS, TUNED = 2, 2
OPTIONS = ("--steps_per_epoch", 4, "--epochs", EPOCHS, "--schedule.name", "exponential", "--loss.name", "bce_dice")
HALVED = ("--schedule.decay", 0.5)


FIRST = {"name": "training", "freeze": ["encoder", "bottom"]}


def phases(epochs=TUNED, rate=TUNED_RATE, loss=None, first=FIRST):
    """Options of two phases, the first of --epochs epochs."""
    second = {"epochs": epochs, "optimizer": {"learning_rate": rate}, "loss": {"dice": 3.0} if loss is None else loss}
    return ("--phases", json.dumps([first, second | {"name": "fine-tuning"}]))


@pytest.fixture(scope="module", autouse=True)
def kept():
    """The states of all epochs are kept, so that a run can be killed after any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "KEPT", 9)
        yield


@pytest.fixture(scope="module")
def tune(command, records, whole):
    """`tune(out, *options)`: train the toy network in two phases, from a trained one; later options win."""
    before = ("--init_from", whole)

    def run(out, *options):
        done = command(
            *("training.train", "--records", records, "--out", out, *TOY, *OPTIONS, *HALVED, *phases(), *before), *options
        )
        assert done.status == 0, done.err
        return done

    return run


@pytest.fixture(scope="module")
def tuned(tune, tmp_path_factory):
    """An uninterrupted run of two epochs and two of fine-tuning; to be read only."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    done = tune(out)
    (out / "printed.txt").write_text(done.out)
    return out


def resume(command, out, *options):
    done = command("training.train", "--resume", out, *options)
    assert done.status == 0, done.err
    return done


def test_the_history_tells_the_phases_and_their_rates(tuned):
    """A falling rate falls within each phase."""
    rows = history(tuned)
    assert [row["phase"] for row in rows] == ["1", "1", "2", "2"]
    found = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(found, [RATE, RATE / 2, TUNED_RATE, TUNED_RATE / 2], rtol=1e-6)
    assert Run(tuned).metadata["status"] == "finished"
    assert Run(tuned).metadata["epoch"] == 4


def test_the_command_says_when_fine_tuning_begins(tuned):
    lines = (tuned / "printed.txt").read_text().splitlines()
    place = lines.index("phase 2 (fine-tuning): 2 epochs, learning rate 0.002")
    assert lines[place - 1].startswith("epoch 2/4")
    assert lines[place + 1].startswith("epoch 3/4")


def test_frozen_layers_keep_the_weights_and_statistics_that_they_began_with(tuned, whole):
    """Bit for bit in the first phase; in the second all layers are trained."""
    run = Run(tuned)
    later = (run.weights_before_last_phase, tuned / "last.weights.h5")
    networks = (Run(whole).load_network(), *(run.load_network(path) for path in later))
    frozen = 0
    for variables in zip(*(network.weights for network in networks), strict=True):
        path, (given, first, second) = variables[0].path, map(np.array, variables)
        if path.startswith(("encoder", "bottom")):
            np.testing.assert_array_equal(given, first)
            frozen += "moving" in path
        else:
            assert (given != first).any()
        assert (first != second).any()
    assert frozen == 8


def test_the_weights_before_fine_tuning_are_those_that_the_first_phase_would_have_left(tuned, tune, tmp_path):
    tune(tmp_path / "run", "--phases", json.dumps([FIRST]))
    first = Run(tmp_path / "run")
    assert first.weights_before_last_phase is None
    assert_equal_arrays(weights(Run(tuned).weights_before_last_phase), weights(first.weights))
    for row, other in zip(history(tuned), history(tmp_path / "run"), strict=False):
        assert {**row, "minutes": ""} == {**other, "minutes": ""}
    network = Run(tuned).load_network(Run(tuned).weights_before_last_phase)
    assert np.isfinite(network.predict_on_batch(np.zeros((1, 16, 16, 4), np.float32))["segmentation"]).all()


def test_killed_in_the_first_phase_and_resumed_equals_uninterrupted(tuned, command, tmp_path):
    out = back_to(tuned, 1, tmp_path / "run")
    (out / "before_phase2.weights.h5").rename(out / "best.weights.h5")  # of the first phase, as before fine-tuning
    assert "resuming after epoch 1" in resume(command, out).out
    assert_equal_runs(tuned, out)
    assert_equal_arrays(weights(Run(tuned).weights_before_last_phase), weights(Run(out).weights_before_last_phase))


def test_killed_between_the_phases_and_resumed_equals_uninterrupted(tuned, command, tmp_path):
    out = back_to(tuned, EPOCHS, tmp_path / "run")
    (out / "before_phase2.weights.h5").rename(out / "best.weights.h5")  # as it was before fine-tuning
    assert "resuming after epoch 2" in resume(command, out).out
    assert_equal_runs(tuned, out)
    assert_equal_arrays(weights(Run(tuned).weights_before_last_phase), weights(Run(out).weights_before_last_phase))


def test_killed_in_the_second_phase_and_resumed_equals_uninterrupted(tuned, command, tmp_path):
    out = back_to(tuned, EPOCHS + 1, tmp_path / "run")
    assert "resuming after epoch 3" in resume(command, out).out
    assert_equal_runs(tuned, out)
    assert_equal_arrays(weights(Run(tuned).weights_before_last_phase), weights(Run(out).weights_before_last_phase))


def test_extending_lengthens_the_last_phase(tuned, command, tmp_path):
    """A run whose second phase was to have one epoch becomes the run that was to have two."""
    out = finished_after(tuned, EPOCHS + 1, tmp_path / "run", phases=[{"epochs": EPOCHS}, {"epochs": TUNED - 1}])
    assert [phase.epochs for phase in resolved_phases(Run(out).config)] == [EPOCHS, TUNED - 1]
    assert "done after 3 epochs; add more with --extend N" in resume(command, out).out
    resume(command, out, "--extend", 1)
    assert [phase.epochs for phase in resolved_phases(Run(out).config)] == [EPOCHS, TUNED]
    assert_equal_runs(tuned, out)


def test_time_that_ends_with_the_first_phase_ends_the_training(tune, tmp_path):
    tune(tmp_path / "run", "--epochs", 1, "--max_minutes", 0.001)
    assert (Run(tmp_path / "run").metadata["status"], Run(tmp_path / "run").metadata["epoch"]) == ("stopped", 1)


def test_fine_tuning_begins_with_the_weights_that_are_kept_and_has_its_own_loss(tune, tmp_path):
    # The first phase is best at its first epoch; with a rate of 0 the last weights are those that fine-tuning began with.
    worse = ("--optimizer.learning_rate", 3.0, "--model.normalisation", "none", "--model.dropout", 0, "--epochs", 3)
    tune(tmp_path / "run", *worse, *phases(1, rate=0, loss={"bce": 0, "dice": 0}, first={}), "--init_from", "null")
    run, rows = Run(tmp_path / "run"), history(tmp_path / "run")
    best = run.metadata["best_epoch"]
    if best >= 3:
        pytest.fail("choose another rate")
    assert_equal_arrays(weights(run.weights_before_last_phase), weights(run.path / "last.weights.h5"))
    assert rows[3]["val_mean_iou"] == rows[best - 1]["val_mean_iou"]
    assert rows[2]["val_loss"] != rows[best - 1]["val_loss"]
    assert float(rows[best - 1]["val_loss"]) > 0.1
    assert [float(rows[3][name]) for name in ("loss", "val_loss")] == [0, 0]
