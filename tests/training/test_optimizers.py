import math

import numpy as np
import pytest

from training.optimizers import OptimizerConfig, ScheduleConfig, build_optimizer

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


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_each_optimizer_goes_by_its_name(name, kind):
    built = build_optimizer(OptimizerConfig(name=name, clip_norm=1.5, weight_decay=0.03), ScheduleConfig(), STEPS, 4)
    assert type(built).__name__ == kind
    assert built.global_clipnorm == 1.5
    assert built.weight_decay == (0.03 if name == "adamw" else None)
    if name == "sgd":
        assert (built.momentum, built.nesterov) == (0.99, True)
