"""Runs of a toy network that several files of tests look at."""

import shutil

import pytest

from data_prep.records.folder import Records
from tests.scans import scan, write_brats
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


@pytest.fixture(scope="session")
def uneven(command, tmp_path_factory):
    """Records without a crop: volumes of 8 x 9 x 10 and 5 x 7 x 12 voxels; to be read only."""
    folder = tmp_path_factory.mktemp("uneven")
    write_brats(folder / "source", [scan("a", shape=(10, 9, 8)), scan("b", shape=(12, 7, 5))])
    options = ("--prepare.crop=null", "--prepare.size=null", "--split.fractions", "[1,0,0]", "--workers", 1)
    done = command("data_prep.make_records", "--source", folder / "source", "--out", folder / "records", *options)
    assert done.status == 0, done.err
    return Records(folder / "records")
