import sys

import keras
import numpy as np

from training.loggers.tensorboard import tensorboard


def test_the_logs_of_a_training_are_written(tmp_path):
    (logger,) = tensorboard(tmp_path / "logs")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[logger], verbose=0)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_without_tensorflow_there_are_no_logs_but_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert tensorboard(tmp_path / "logs") == []
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: TensorBoard logs need TensorFlow, which is not installed")
    assert not (tmp_path / "logs").exists()
