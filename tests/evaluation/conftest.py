"""Fixtures of the evaluation commands."""

import pytest

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
