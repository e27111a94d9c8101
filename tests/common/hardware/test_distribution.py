"""Trainings on two logical devices: one strategy, the loss of one device, and an exact resume."""

import json
import os
import subprocess
import sys

import pytest

from tests.training.runs import ROOT, TOY, assert_equal_runs, history

TWO_DEVICES = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from common import cli
from training.train import TrainConfig, main
from tests.training.runs import back_to
whole, resumed = json.loads(sys.argv[1])
main(cli.parse(TrainConfig, whole))
back_to(sys.argv[2], 1, resumed[1])
main(cli.parse(TrainConfig, resumed))
"""
SHORT = ("--steps_per_epoch", 3, "--schedule.name", "constant", "--optimizer.name", "sgd", "--model.dropout", 0)
SAME = ("--model.normalisation", "instance", "--input.drop_empty", "true")


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """Runs on two logical CPUs: `whole`, and `part`, a copy as it was when it was killed after its first epoch, resumed."""
    folder = tmp_path_factory.mktemp("two")
    common = ["--records", records, *TOY, *SHORT, *SAME]
    calls = [[*common, "--out", folder / "whole", "--epochs", 2], ["--resume", folder / "part"]]
    arguments = json.dumps([[str(word) for word in words] for words in calls])
    settings = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = [sys.executable, "-c", TWO_DEVICES, arguments, str(folder / "whole")]
    done = subprocess.run(program, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_a_resumed_training_on_two_devices_equals_an_uninterrupted_one(runs):
    assert_equal_runs(runs / "whole", runs / "part")


def test_two_devices_share_the_batches_of_one(runs, command, records, tmp_path):
    """The loss is the mean over the devices: with plain SGD a sum would show in the loss and in the step."""
    done = command("training.train", "--records", records, "--out", tmp_path / "run", *TOY, *SHORT, *SAME, "--epochs", 2)
    assert done.status == 0, done.err
    for row, other in zip(history(tmp_path / "run"), history(runs / "whole"), strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=0.02)
        assert float(row["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=0.02)
