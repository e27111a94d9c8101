import math

import numpy as np
import pytest

from common.errors import UserError
from training.state.checkpoint import Progress, load_state, save_state


def compiled(filters=3, optimizer="adam", dropout=0.3):
    """A small network with all that a state must hold: normalisation statistics, dropout seeds, optimizer slots."""
    import keras

    layers = [keras.Input((4,)), keras.layers.Dense(filters), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    if dropout:
        layers.insert(2, keras.layers.Dropout(dropout))
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def train(model, steps=3, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        model.train_on_batch(rng.normal(size=(8, 4)), rng.normal(size=(8, 1)))
    return model


def arrays(model):
    return [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]


def progress(epoch=1):
    return Progress(epoch, 0.5, 1, 2.25, [{"epoch": number + 1, "loss": 0.1} for number in range(epoch)])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_state_comes_back_bit_for_bit(tmp_path, optimizer):
    model = train(compiled(optimizer=optimizer))
    save_state(tmp_path, model, progress())
    other = compiled(optimizer=optimizer)
    assert load_state(tmp_path, other) == progress()
    for saved, loaded in zip(arrays(model), arrays(other), strict=True):
        assert saved.dtype == loaded.dtype
        np.testing.assert_array_equal(saved, loaded)
    for one in (model, other):
        train(one, seed=1)
    for continued, resumed in zip(arrays(model), arrays(other), strict=True):
        np.testing.assert_array_equal(continued, resumed)


def test_the_state_of_a_dropout_is_kept(tmp_path):
    model = train(compiled())
    seeds = [variable for variable in model.variables if "seed" in variable.path]
    assert seeds
    save_state(tmp_path, model, progress())
    other = compiled()
    load_state(tmp_path, other)
    found = [variable for variable in other.variables if "seed" in variable.path]
    np.testing.assert_array_equal(np.asarray(seeds[0]), np.asarray(found[0]))


def test_without_a_state_training_begins(tmp_path):
    model = compiled()
    before = arrays(model)
    assert load_state(tmp_path / "state", model) == Progress()
    for left, right in zip(before, arrays(model), strict=False):
        np.testing.assert_array_equal(left, right)


def test_a_model_that_was_not_trained_can_be_saved(tmp_path):
    save_state(tmp_path, compiled(), Progress())
    assert load_state(tmp_path, compiled()) == Progress()


def test_the_last_two_epochs_stay(tmp_path):
    model = compiled()
    for epoch in (8, 9, 10, 11):
        save_state(tmp_path, model, progress(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_00010.npz", "epoch_00011.npz"]
    assert load_state(tmp_path, model).epoch == 11


def test_numbers_that_are_none_are_kept(tmp_path):
    history = [{"epoch": 1, "loss": math.nan, "val_loss": math.inf}]
    save_state(tmp_path, compiled(), Progress(1, None, None, 0.5, history))
    back = load_state(tmp_path, compiled())
    assert (back.best, back.best_epoch) == (None, None)
    assert math.isnan(back.history[0]["loss"])
    assert back.history[0]["val_loss"] == math.inf


@pytest.mark.parametrize("other", [{"filters": 4}, {"optimizer": "sgd"}, {"dropout": 0.0}])
def test_the_state_of_another_network_is_refused(tmp_path, other):
    path = save_state(tmp_path, compiled(), progress())
    with pytest.raises(UserError, match="expected a state of the network's"):
        load_state(tmp_path, compiled(**other))
    assert path.exists()


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-200], lambda whole: b"no zip" + whole])
def test_a_damaged_state_is_refused_in_one_line(tmp_path, damage):
    path = save_state(tmp_path, compiled(), progress())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="delete it to go on from the one before") as error:
        load_state(tmp_path, compiled())
    assert "\n" not in str(error.value)


def test_a_flipped_byte_in_a_state_is_found(tmp_path):
    path = save_state(tmp_path, compiled(filters=64), progress())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        load_state(tmp_path, compiled(filters=64))


def test_a_failure_while_writing_leaves_the_state_before(tmp_path, monkeypatch):
    model = compiled()
    save_state(tmp_path, model, progress(1))

    def fail(*arguments, **named):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space"):
        save_state(tmp_path, model, progress(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_00001.npz"]
    assert load_state(tmp_path, model).epoch == 1


@pytest.mark.parametrize(
    ("minutes", "limit", "used"),
    [(9.0, None, False), (0.0, 1.0, False), (8.0, 10.0, False), (8.1, 10.0, True), (12.0, 10.0, True)],
)
def test_minutes_are_used_where_another_epoch_would_pass_them(minutes, limit, used):
    assert Progress(epoch=4 if minutes else 0, minutes=minutes).has_used(limit) is used
