"""Fixtures of the evaluation commands."""

import pytest

from tests.conftest import write_source
from tests.evaluation.features.runs import run_of

CASE = "case_4"


@pytest.fixture
def predict(command, trained, source, tmp_path):
    """`predict(*options)`: segment one case with the tiny run, without a picture; later options win."""
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{CASE}\n")

    def run(*options, out=tmp_path / "out"):
        base = ("--runs", trained, "--source", source, "--out", out, "--cases", ids, "--overlays", "false")
        return command("evaluation.predict", *base, *options)

    return run


@pytest.fixture(scope="session")
def graded(command, tmp_path_factory):
    """Source and records of eight patients, four of each grade, in two folds; to be read only."""
    folder = tmp_path_factory.mktemp("graded")
    source = write_source(folder / "source", 8)
    split = ("--split.folds", 2, "--split.fractions", "[1,0,0]", "--split.stratify", "grade")
    small = ("--prepare.size", "[8,16,16]", "--workers", "1")
    done = command("data_prep.make_records", "--source", source, "--out", folder / "records", *split, *small)
    assert done.status == 0, done.err
    return source, folder / "records"


@pytest.fixture(scope="session")
def validated(graded, trained, tmp_path_factory):
    """Folder like that of a cross-validation over the two folds of `graded`; to be read only."""
    folder = tmp_path_factory.mktemp("cv")
    for fold in (0, 1):
        run_of(trained, folder / f"fold{fold}", graded[1], fold)
    return folder


@pytest.fixture(scope="session")
def predictions(trained, source, command, tmp_path_factory):
    """Predictions of a tiny run of all its five patients, with their scores; to be read only."""
    out = tmp_path_factory.mktemp("predictions") / "tiny"
    done = command("evaluation.predict", "--runs", trained, "--source", source, "--overlays", "false", "--out", out)
    assert done.status == 0, done.err
    assert command("evaluation.score", "--predictions", out, "--source", source).status == 0
    return out


@pytest.fixture
def viewer_module(monkeypatch):
    """A module of four words in the place of NiiVue, which is an optional package."""
    monkeypatch.setattr("evaluation.report.niivue_module", lambda: "export{Niivue,NVImage,SLICE_TYPE}")
