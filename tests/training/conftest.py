"""Records and trainings that the tests of training share."""

import pytest

from data_prep.records.folder import Records
from tests.training.runs import SHORT, TOY


@pytest.fixture(scope="session")
def opened(records):
    """The small records, opened."""
    return Records(records)


@pytest.fixture(scope="session")
def stored_as_uint8(source, command, tmp_path_factory):
    """Records whose intensities are bytes, opened."""
    out = tmp_path_factory.mktemp("uint8") / "records"
    options = ("--prepare.size", "[8,16,16]", "--prepare.dtype", "uint8", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", source, "--out", out, *options).status == 0
    return Records(out)


@pytest.fixture
def toy(command, records):
    """`toy(out, *options)`: train a toy network, and expect that it works."""

    def run(out, *options):
        done = command("training.train", "--records", records, "--out", out, *TOY, *SHORT, *options)
        assert done.status == 0, done.err
        return done

    return run
