import pytest
from scipy.spatial.transform import Rotation

from benchmarks import registration, round_trip
from benchmarks.registration import RegistrationBenchmarkConfig
from benchmarks.round_trip import RoundTripConfig
from common import cli
from data_prep.alignment import registration as grid
from tests.scans import Scan, write_table
from tests.synthetic_heads import centred, head, tumour

SHAPE = (46, 56, 50)


@pytest.fixture
def heads(tmp_path):
    affine = centred((2.0, 2.0, 2.0), SHAPE)
    images = {name: head(affine, SHAPE, name).array for name in ("T1", "T2")}
    return write_table(tmp_path, [Scan("anna", images, tumour(affine, SHAPE), affine)])


def test_known_displacements_are_recovered_and_printed(heads, capsys, monkeypatch):
    monkeypatch.setattr(grid, "LEVELS_MM", (8.0, 4.0, 2.0))
    monkeypatch.setattr(grid, "STEPS_MM", (2.0, 1.0, 0.5))
    options = ["--source", str(heads), "--pairs", "T1:T1", "--kinds", "rigid", "--displacements", "2"]
    cli.run(registration.main, RegistrationBenchmarkConfig, options)
    lines = capsys.readouterr().out.splitlines()
    moved, mean = lines[1].split()[3:5]
    assert float(mean) < 1 < float(moved)
    assert lines[3].endswith("2 of 2 below 1 mm in every voxel of the tumour")
    with pytest.raises(SystemExit):
        cli.run(registration.main, RegistrationBenchmarkConfig, [*options[:2], "--pairs", "T1:T3"])
    assert "error: --pairs: expected FIXED:MOVING of T1, T2; received T1:T3" in capsys.readouterr().err


def test_displacements_keep_to_their_bounds(rng):
    config = RegistrationBenchmarkConfig(source=None)
    for _ in range(20):
        found = registration.random_transform(config, "rigid", rng)
        assert Rotation.from_matrix(found[:3, :3]).magnitude() <= 0.35
        assert (found[:3, 3] ** 2).sum() <= 400


def test_the_round_trip_of_an_annotation_is_printed(heads, capsys):
    cli.run(round_trip.main, RoundTripConfig, ["--source", str(heads), "--spacings_mm", "2"])
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["nearest", "gaussian", "probabilities"]
    assert all(float(row.split()[4]) > 0.7 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cases", "0"), "--cases: expected at least 1; received 0"),
        (("--spacings_mm", "1", "0"), "--spacings_mm: expected more than 0; received 0"),
    ],
)
def test_numbers_of_the_round_trip_are_checked(heads, capsys, options, message):
    with pytest.raises(SystemExit):
        cli.run(round_trip.main, RoundTripConfig, ["--source", str(heads), *options])
    assert message in capsys.readouterr().err
