import math
import re

import numpy as np
import pytest

from common.errors import UserError
from training.optimizers import OptimizerConfig, ScheduleConfig, build_optimizer, timed_rate
from training.state.checkpoint import Progress, load_state, save_state

STEPS = 7


def rates(schedule, epochs=4, optimizer=None):
    """The learning rate of each step."""
    import keras

    built = build_optimizer(optimizer or OptimizerConfig(), schedule, STEPS, epochs)
    found = []
    for step in range(epochs * STEPS):
        built.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(built.learning_rate)))
    return np.array(found)


def test_the_papers_rate_falls_by_0_985_with_each_epoch():
    expected = np.repeat(5e-4 * 0.985 ** np.arange(4), STEPS)
    np.testing.assert_allclose(rates(ScheduleConfig()), expected, rtol=1e-6)


def test_a_constant_rate_stays():
    np.testing.assert_allclose(rates(ScheduleConfig(name="constant")), 5e-4, rtol=1e-6)


def test_cosine_falls_to_zero_at_the_last_step():
    found = rates(ScheduleConfig(name="cosine"))
    expected = [5e-4 * 0.5 * (1 + math.cos(math.pi * step / (4 * STEPS))) for step in range(4 * STEPS)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_cosine_rises_first_where_it_warms_up():
    found = rates(ScheduleConfig(name="cosine", warmup_epochs=1))
    np.testing.assert_allclose(found[: STEPS + 1], 5e-4 * np.arange(STEPS + 1) / STEPS, rtol=1e-4, atol=1e-9)
    assert (np.diff(found[STEPS:]) < 0).all()
    assert found[-1] < 0.02 * 5e-4


def cosine(steps, warmup, rate=1.0):
    """Rate of each step by the formula, in float64."""
    done = np.arange(steps)
    fall = 0.5 * (1 + np.cos(np.pi * (done - warmup) / (steps - warmup)))
    return rate * np.where(done < warmup, done / max(warmup, 1), fall)


def steps_of(model, count):
    """Train a model of one weight, by SGD on a loss of gradient 1, and give the change of its weight in each step."""
    weight, changes = model.trainable_variables[0], []
    for _ in range(count):
        before = float(weight.numpy().item())
        model.optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        changes.append(before - float(weight.numpy().item()))
        weight.assign(np.zeros((1, 1)))  # else a small step is lost in a large weight
    return changes


@pytest.mark.parametrize(("warmup", "epochs"), [(None, 5), (25, 2), (25, 6)])
def test_every_step_of_a_cosine_is_made_with_the_rate_of_the_formula_after_a_resume_too(warmup, epochs, tmp_path):
    import keras

    def compiled():
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
        schedule = ScheduleConfig(name="cosine", warmup_steps=warmup)
        optimizer = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0.0)
        model.compile(build_optimizer(optimizer, schedule, 10, 8), "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    first = compiled()
    expected, done = cosine(80, warmup or 0), 10 * epochs
    np.testing.assert_allclose(steps_of(first, done), expected[:done], atol=2e-7)
    save_state(tmp_path, first, Progress(epoch=epochs))
    resumed = compiled()
    load_state(tmp_path, resumed)
    np.testing.assert_allclose(steps_of(resumed, 80 - done), expected[done:], atol=2e-7)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"warmup_steps": -1}, "--schedule.warmup_steps: expected at least 0; received -1"),
        (
            {"warmup_steps": 10, "warmup_epochs": 1.0},
            "--schedule.warmup_steps: expected steps or epochs of warm-up; received both",
        ),
        ({"warmup_steps": 10, "name": "step", "milestones": [1]}, "--schedule.warmup_steps: belongs to the schedule cosine"),
        ({"warmup_epochs": 2.0, "name": "constant"}, "--schedule.warmup_epochs: belongs to the schedule cosine; received 2.0"),
    ],
)
def test_a_warmup_that_makes_no_schedule_is_refused(settings, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        ScheduleConfig(**{"name": "cosine"} | settings).check()


def test_weight_decay_is_decoupled_and_of_all_weights():
    import keras

    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, bias_initializer="ones"), keras.layers.BatchNormalization()]
    )
    variables = model.trainable_variables
    optimizer = build_optimizer(OptimizerConfig(name="adamw", weight_decay=0.1), ScheduleConfig(name="cosine"), STEPS, 4)
    before = [variable.numpy() for variable in variables]
    for _ in range(STEPS):
        optimizer.apply([np.zeros(variable.shape, np.float32) for variable in variables], variables)
    factor = np.prod(1 - 0.1 * cosine(4 * STEPS, 0, 5e-4)[:STEPS])
    assert len(variables) == 4
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_each_optimizer_goes_by_its_name(name, kind):
    built = build_optimizer(OptimizerConfig(name=name, clip_norm=1.5, weight_decay=0.03), ScheduleConfig(), STEPS, 4)
    assert type(built).__name__ == kind
    assert built.global_clipnorm == 1.5
    assert built.weight_decay == (0.03 if name == "adamw" else None)
    if name == "sgd":
        assert (built.momentum, built.nesterov) == (0.99, True)


def test_steps_change_the_rate_after_their_epochs():
    found = rates(ScheduleConfig(name="step", decay=0.5, milestones=[1, 3]))
    np.testing.assert_allclose(found, 5e-4 * np.repeat([1, 0.5, 0.5, 0.25], STEPS), rtol=1e-6)


@pytest.mark.parametrize("milestones", [[], [2, 1], [0], [-3], [1, 1], [1, 3, 2]])
def test_milestones_that_do_not_rise_from_1_are_refused(milestones):
    with pytest.raises(UserError, match=r"--schedule\.milestones: expected rising numbers of epochs from 1") as caught:
        ScheduleConfig(name="step", milestones=milestones).check()
    assert str(caught.value).endswith(f"received {milestones}")
    ScheduleConfig(name="step", milestones=[1, 2, 7]).check()


def test_milestones_belong_to_the_schedule_step():
    with pytest.raises(UserError, match=r"--schedule\.milestones: belong to the schedule step; received \[3\] with cosine"):
        ScheduleConfig(name="cosine", milestones=[3]).check()


@pytest.mark.parametrize("rate", [-1e-3, 1e39])
def test_a_rate_that_float32_does_not_hold_is_refused(rate):
    with pytest.raises(UserError, match=r"--optimizer\.learning_rate: expected 0 to 1e\+38; received"):
        OptimizerConfig(learning_rate=rate).check()


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
@pytest.mark.parametrize("momentum", [-0.5, 1.0, 1.5])
def test_a_momentum_beyond_0_to_1_is_refused(name, momentum):
    with pytest.raises(UserError, match=rf"--optimizer\.momentum: expected 0 to 0\.999; received {momentum}"):
        OptimizerConfig(name=name, momentum=momentum).check()
    OptimizerConfig(name=name, momentum=0.9).check()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_momentum_of_an_optimizer_without_one_is_refused(name):
    with pytest.raises(UserError, match=rf"--optimizer\.momentum: belongs to sgd and rmsprop; received 0\.9 with {name}"):
        OptimizerConfig(name=name, momentum=0.9).check()


@pytest.mark.parametrize(("momentum", "expected"), [(None, 0.6), (0.3, 0.3)])
def test_rmsprop_has_the_momentum_of_deepmedic(momentum, expected):
    built = build_optimizer(OptimizerConfig(name="rmsprop", momentum=momentum), ScheduleConfig(), STEPS, 4)
    assert (type(built).__name__, built.rho, built.momentum, built.epsilon) == ("NesterovRMSprop", 0.9, expected, 1e-4)


def test_a_timed_rate_falls_to_zero_as_the_minutes_run_out():
    found = [timed_rate(1e-3, minutes, 20.0) for minutes in (0, 5, 10, 15, 20)]
    np.testing.assert_allclose(found, 1e-3 * 0.5 * (1 + np.cos(np.pi * np.array([0, 0.25, 0.5, 0.75, 1.0]))), atol=1e-12)
    assert (found[0], found[2], found[-1]) == (1e-3, pytest.approx(5e-4), pytest.approx(0, abs=1e-12))
    assert timed_rate(1e-3, 19.9, 20.0) < 1e-3 / 10_000
    assert timed_rate(1e-3, 25.0, 20.0) == found[-1]  # the last epoch may end late


def test_a_timed_optimizer_begins_with_the_rate_that_is_then_set():
    np.testing.assert_allclose(rates(ScheduleConfig(name="timed")), 5e-4, rtol=1e-6)
    built = build_optimizer(OptimizerConfig(), ScheduleConfig(name="timed"), STEPS, 4)
    built.learning_rate = 1e-4
    assert float(built.learning_rate) == pytest.approx(1e-4)
