"""Runs of a toy network that several files of tests look at."""

import shutil

import pytest

from tests.training.runs import EPOCHS, TOY


@pytest.fixture(scope="session")
def train(command, records):
    """`train(out, *options)`: train the toy network in this process; later options win."""

    def run(out, *options):
        return command("training.train", "--records", records, "--out", out, *TOY, *options)

    return run


@pytest.fixture(scope="session")
def whole(train, tmp_path_factory):
    """An uninterrupted run on TensorFlow; to be read only."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = train(out, "--epochs", EPOCHS)
    assert done.status == 0, done.err
    (out / "printed.txt").write_text(done.out)
    return out


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the uninterrupted run that a test may change."""
    return shutil.copytree(whole, tmp_path / "run")
