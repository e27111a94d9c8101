"""Weights files: the network's arrays alone, and an optimizer that stays as it is."""

import errno
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from common.files import checksum
from common.finite import NotFinite
from training.state.weights import load_weights, save_weights


def compiled(seed):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="b")(keras.layers.Dense(3, name="a")(inputs)))
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(np.ones((2, 4)), np.zeros((2, 1)))
    return model


def made_run(folder):
    """In the place of a run: its folder, and the checksums that it is to expect."""
    expected = {}
    return SimpleNamespace(path=folder, expect_weights=lambda names, crc: expected.update(dict.fromkeys(names, crc))), expected


def test_weights_come_back_and_the_optimizer_stays(tmp_path):
    import h5py

    first, second = compiled(0), compiled(1)
    path = tmp_path / "last.weights.h5"
    run, expected = made_run(tmp_path)
    save_weights(first, run, ["last.weights.h5"])
    assert expected == {"last.weights.h5": checksum(path)}
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


def test_equal_weights_are_equal_files_whatever_networks_were_made_before(tmp_path):
    import keras

    model = compiled(0)
    checksums = []
    for name in ("a.weights.h5", "b.weights.h5"):
        run, expected = made_run(tmp_path)
        save_weights(model, run, [name])
        checksums += expected.values()
        keras.Model(model.inputs, model.output)
    assert checksums[0] == checksums[1]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    """HDF5 ends the process by a segmentation fault when it runs out of space, so it writes to memory."""
    path = tmp_path / "last.weights.h5"

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        save_weights(compiled(0), made_run(tmp_path)[0], ["last.weights.h5"])
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_file_and_name(tmp_path, value):
    model = compiled(0)
    model.get_layer("b").bias.assign([value])
    save_weights(model, made_run(tmp_path)[0], ["last.weights.h5"])
    with pytest.raises(NotFinite, match=r"last\.weights\.h5: b/bias is not finite"):
        load_weights(compiled(1), tmp_path / "last.weights.h5")
