"""Weights files: the network's arrays alone, and an optimizer that stays as it is."""

import errno
import os
import warnings

import numpy as np
import pytest

from training.state.weights import load_weights, save_weights


def compiled(seed):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="b")(keras.layers.Dense(3, name="a")(inputs)))
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(np.ones((2, 4)), np.zeros((2, 1)))
    return model


def test_weights_come_back_and_the_optimizer_stays(tmp_path):
    import h5py

    first, second = compiled(0), compiled(1)
    path = tmp_path / "last.weights.h5"
    save_weights(first, path)
    with h5py.File(path) as file:
        assert "optimizer" not in file
    slots = [np.array(variable) for variable in second.optimizer.variables]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_weights(second, path)
    for saved, loaded in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    for before, after in zip(slots, second.optimizer.variables, strict=True):
        np.testing.assert_array_equal(before, np.array(after))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["last.weights.h5"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    """HDF5 ends the process by a segmentation fault when it runs out of space, so it writes to memory."""
    path = tmp_path / "last.weights.h5"

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        save_weights(compiled(0), path)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())
