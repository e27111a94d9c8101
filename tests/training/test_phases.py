"""Phases of a training: their lengths, and what each is trained with."""

import re
from dataclasses import replace

import pytest

from common.errors import UserError
from training.config import ClassifyConfig, TrainConfig
from training.objectives.losses import BceDiceConfig, FocalConfig
from training.optimizers import OptimizerConfig, ScheduleConfig
from training.phases import PhaseConfig, check_warmup, extended, resolved_phases

TUNED = PhaseConfig(epochs=3, optimizer={"learning_rate": 1e-5}, loss={"dice": 2.5})


def config(**changes):
    return TrainConfig(**({"epochs": 4, "phases": [PhaseConfig(), TUNED], "loss": BceDiceConfig(bce=0.5, dice=1.5)} | changes))


def test_without_phases_there_is_one():
    (phase,) = resolved_phases(config(phases=[], patience=7))
    assert (phase.number, phase.epochs, phase.loss, phase.freeze, phase.patience) == (1, 4, {}, (), 7)
    assert (phase.optimizer, phase.schedule) == (OptimizerConfig(), ScheduleConfig())


def test_a_phase_says_only_what_differs():
    given = config(optimizer=OptimizerConfig(name="adamw", learning_rate=0.1), patience=5)
    first, second = resolved_phases(given)
    assert [(phase.number, phase.epochs) for phase in (first, second)] == [(1, 4), (2, 3)]
    assert (first.optimizer.learning_rate, second.optimizer.learning_rate) == (0.1, 1e-5)
    assert second.optimizer.name == "adamw"
    assert (first.loss, second.loss) == ({}, {"dice": 2.5})
    assert (first.patience, second.patience) == (5, 5)
    assert given.total_epochs == 7


def test_a_phase_may_have_its_own_schedule_patience_and_frozen_layers():
    phase = PhaseConfig(name="head", schedule={"name": "cosine", "warmup_epochs": 1}, patience=2, freeze=["encoder", "bottom"])
    (found,) = resolved_phases(config(phases=[phase], patience=5))
    assert found.schedule == ScheduleConfig(name="cosine", warmup_epochs=1.0)
    assert (found.name, found.patience, found.freeze, found.restart_from) == ("head", 2, ("encoder", "bottom"), "best")


def test_steps_are_as_good_a_length_as_epochs():
    given = config(phases=[], steps=5000, validate_every=250)
    assert (given.total_epochs, given.epoch_steps) == (20, 250)
    given = config(phases=[PhaseConfig(steps=500), PhaseConfig(epochs=3), PhaseConfig()], steps=1000, validate_every=250)
    assert [phase.epochs for phase in resolved_phases(given)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("warmup", "option", "steps"), [({"warmup_epochs": 3}, "warmup_epochs", 30), ({"warmup_steps": 40}, "warmup_steps", 40)]
)
def test_a_warmup_as_long_as_its_phase_is_refused(warmup, option, steps):
    second = PhaseConfig(epochs=3, schedule={"name": "cosine", **warmup})
    said = f"--schedule.{option}: expected fewer than the 30 steps of phase 2; received {steps} steps of warm-up"
    with pytest.raises(UserError, match=re.escape(said)):
        check_warmup(resolved_phases(config(phases=[PhaseConfig(), second])), 10)
    check_warmup(resolved_phases(config(phases=[PhaseConfig(), replace(second, epochs=5)])), 10)


def test_more_epochs_go_to_the_last_phase():
    assert [phase.epochs for phase in resolved_phases(extended(config(), 2))] == [4, 5]
    assert extended(config(phases=[]), 2).epochs == 6
    longer = extended(config(phases=[], steps=500, validate_every=250), 2)
    assert (longer.steps, longer.total_epochs) == (1000, 4)
    longer = extended(config(phases=[PhaseConfig(steps=500)], validate_every=250), 1)
    assert (longer.phases[0].epochs, longer.phases[0].steps) == (3, None)
    assert extended(config(), 0) == config()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (config(phases=[PhaseConfig(loss={"alpha": 2.0})]), "bce, dice, smooth; received alpha"),
        (config(loss=FocalConfig()), "loss focal has the numbers gamma; received dice"),
        (config(monitor="loss"), "--monitor: loss compares nothing where a phase changes it"),
        (config(phases=[PhaseConfig(epochs=-1)]), "phases: phase 1: epochs"),
        (config(phases=[PhaseConfig(), PhaseConfig(epochs=0)]), "phases: phase 2: epochs"),
        (config(phases=[PhaseConfig(epochs=1, optimizer={"learning_rate": -0.1})]), "phase 1: optimizer.learning_rate"),
        (config(phases=[PhaseConfig(optimizer={"rate": 0.1})]), "phase 1: optimizer: expected settings of name, learning_rate"),
        (config(phases=[PhaseConfig(optimizer={"learning_rate": "fast"})]), "learning_rate: expected a number; received fast"),
        (config(phases=[PhaseConfig(patience=0)]), "phase 1: patience"),
        (config(phases=[PhaseConfig(patience=1)], validate=False), "--patience: waits for a better validation score"),
        (config(phases=[PhaseConfig(epochs=1, steps=250)], validate_every=250), "expected epochs or steps; received both"),
        (config(phases=[PhaseConfig(steps=300)], validate_every=250), "multiple of --validate_every 250; received 300"),
        (config(phases=[], steps=300), "--steps: needs --validate_every"),
        (config(phases=[], steps=0, validate_every=250), "--steps"),
        (config(phases=[], validate_every=5, steps_per_epoch=5), "--validate_every: is the length of an epoch"),
        (ClassifyConfig(phases=[TUNED]), "--phases: loss: classifiers have one loss without numbers"),
    ],
)
def test_phases_that_cannot_be_trained_are_refused(given, said):
    with pytest.raises(UserError) as error:
        given.check()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("monitor", ["mean_iou", "mean_dice", "accuracy"])
def test_a_phase_with_another_loss_is_taken(monitor):
    config(monitor=monitor).check()


def test_a_term_can_be_switched_off_in_a_phase():
    config(phases=[PhaseConfig(epochs=1, loss={"bce": 0.0})]).check()
