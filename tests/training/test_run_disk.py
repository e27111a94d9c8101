import shutil
from collections import namedtuple

import keras
import pytest

from common.errors import UserError
from training.run_disk import check_disk, run_bytes

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(10, use_bias=False)(inputs))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_weights_states_and_those_of_phases_are_counted(model):
    assert run_bytes(model, 2) - run_bytes(model, 1) == 4 * 20
    assert run_bytes(model, 1) >= 4 * (2 * 20 + 3 * (20 + 2 * 20))  # Adam has two numbers for each weight, and a few others


def test_a_full_disk_is_refused_before_the_first_step(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10))
    with pytest.raises(UserError, match=r"expected 0.00 GB of disk for the run; received 0.00 GB free"):
        check_disk(model, tmp_path, 1)
    (tmp_path / "state.npz").write_bytes(bytes(10_000))
    check_disk(model, tmp_path, 1)
    assert capsys.readouterr().out.startswith("disk: about 0.00 GB for the run, 0 GB free")
