"""Search space of a sweep: its axes, the draws from them, and settings that cannot be searched."""

import optuna
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from evaluation.experiments.space import Range, SweepConfig, axes, draw


def test_axes_are_choices_or_ranges():
    found = axes({"model.depth": [2, 3], "model.l2": {"low": 1e-6, "high": 1e-2, "log": True}, "epochs": {"low": 1, "high": 5}})
    assert found == {
        "model.depth": [2, 3],
        "model.l2": Range(low=1e-6, high=1e-2, log=True),
        "epochs": Range(low=1, high=5),
    }
    assert isinstance(found["epochs"].low, int)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "--sweep.space: x: expected choices [a, b] or a range {low: 0, high: 1}; received 3"),
        ([], "--sweep.space: x: expected choices [a, b] or a range {low: 0, high: 1}; received []"),
        ({"low": 3}, "--sweep.space: x: missing key high"),
        ({"low": 3, "high": 2}, "expected low < high"),
        ({"low": 2, "high": 2}, "expected low < high"),
        ({"low": 0, "high": 2, "log": True}, "low > 0 where log is true"),
        ({"low": 1, "high": 2, "steps": 2}, "expected low, high, log, step; received steps"),
        ({"low": 1, "high": 2, "step": 0}, "expected a positive step"),
        ({"low": 0.1, "high": 2, "log": True, "step": 0.1}, "none where log is true"),
    ],
)
def test_an_axis_from_which_nothing_can_be_drawn_is_refused(given, said):
    with pytest.raises(UserError) as error:
        axes({"x": given})
    assert said in str(error.value)


def test_an_empty_space_is_refused():
    with pytest.raises(UserError, match=r"^--sweep\.space: expected options to search"):
        axes({})


def drawn(axis, count=60):
    """Values of an axis in many trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [draw(study.ask(), "x", axis) for _ in range(count)]


def test_whole_numbers_are_drawn_between_whole_numbers_both_included():
    values = drawn(Range(low=1, high=4))
    assert {type(value) for value in values} == {int}
    assert set(values) == {1, 2, 3, 4}
    assert set(drawn(Range(low=8, high=32, step=8))) == {8, 16, 24, 32}


def test_other_numbers_are_drawn_from_all_the_range_or_in_steps():
    values = drawn(Range(low=0, high=0.5))
    assert len(set(values)) == len(values)
    assert 0 <= min(values) < 0.1 < 0.4 < max(values) <= 0.5
    assert set(drawn(Range(low=0.0, high=0.5, step=0.25))) == {0.0, 0.25, 0.5}


def test_a_logarithmic_range_is_drawn_evenly_by_powers():
    values = drawn(Range(low=1e-6, high=1e-2, log=True))
    assert sum(value < 1e-4 for value in values) == pytest.approx(30, abs=12)


def test_choices_may_be_lists_and_null():
    choices = [None, [16, 16], "batch", 3]
    values = drawn(choices)
    assert all(choice in values for choice in choices)
    assert all(value in choices for value in values)


def test_a_trial_of_an_earlier_call_has_its_values_again():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    assert draw(trial, "x", [[1], [2], [3]]) == draw(trial, "x", [[1], [2], [3]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, "--sweep.trials: expected at least 1; received 0"),
        ({"seed": -1}, "--sweep.seed: expected at least 0"),
        ({"startup": -1}, "--sweep.startup: expected at least 0"),
        ({"warmup": -1}, "--sweep.warmup: expected at least 0"),
        ({"metric": "mean_iou"}, "--sweep.metric: expected one of val_loss, val_accuracy, val_mean_iou"),
        ({"metric": "val_dice_none"}, "received val_dice_none"),
        ({"metric": "val_loss"}, "--sweep.direction: the smaller val_loss the better; set minimize"),
    ],
)
def test_settings_that_cannot_be_searched_are_refused(records, changes, said):
    with pytest.raises(UserError) as error:
        SweepConfig(**({"train": {}, "space": {"x": [1]}} | changes)).check(Records(records))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "changes", [{}, {"metric": "val_dice_edema"}, {"metric": "val_loss", "direction": "minimize"}, {"startup": 0, "warmup": 0}]
)
def test_settings_that_can_be_searched_are_taken(records, changes):
    SweepConfig(**({"train": {}, "space": {"x": [1]}} | changes)).check(Records(records))
