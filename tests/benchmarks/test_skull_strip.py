from contextlib import contextmanager

import pytest

from benchmarks import skull_strip
from benchmarks.skull_strip import SkullStripBenchmarkConfig
from common import cli
from tests.checkpoints import install_hd_bet, legacy_bytes, threshold_arrays
from tests.scans import Scan, write_table
from tests.synthetic_heads import centred, head, tumour

SHAPE = (20, 24, 12)
AFFINE = centred((4.0, 4.0, 7.0), SHAPE)


class InThisProcess:
    """Stand-in for a worker of a process of its own."""

    def __init__(self, make):
        self.made = make()

    def ask(self, method, *arguments):
        return getattr(self.made, method)(*arguments)

    def run(self, function):
        return function()


@contextmanager
def in_this_process(makes):
    yield {name: InThisProcess(make) for name, make in makes.items()}


def test_settings_are_compared_and_cases_listed(tmp_path, monkeypatch, capsys):
    package = install_hd_bet(tmp_path / "site", [legacy_bytes(threshold_arrays(1))])
    monkeypatch.setattr(skull_strip, "workers", in_this_process)
    monkeypatch.syspath_prepend(str(package))
    images = {"T1": head(AFFINE, SHAPE).array}
    source = write_table(tmp_path / "scans", [Scan(name, images, tumour(AFFINE, SHAPE), AFFINE) for name in "abc"])
    options = ["--source", str(source), "--cases", "2", "--backends", "tensorflow"]
    cli.run(skull_strip.main, SkullStripBenchmarkConfig, options)
    first, second = capsys.readouterr().out.split("\n\n")
    rows = [line.split() for line in first.splitlines()]
    assert [row[0] for row in rows[1:]] == ["a", "c"]
    assert all(float(row[-1]) > 0.5 for row in rows[1:])
    rows = [line.split() for line in second.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["tensorflow", "float32"], ["tensorflow", "bfloat16"]]
    assert rows[2][-1] == "1.0000"
    assert float(rows[3][-1]) > 0.98


@pytest.mark.parametrize(("option", "value"), [("--backends", "torch"), ("--cases", "0"), ("--channel", "T3")])
def test_wrong_options_are_one_line(option, value, tmp_path, capsys):
    images = {"T1": head(AFFINE, SHAPE).array}
    source = write_table(tmp_path, [Scan("a", images, None, AFFINE)])
    with pytest.raises(SystemExit):
        cli.run(skull_strip.main, SkullStripBenchmarkConfig, ["--source", str(source), option, value])
    assert capsys.readouterr().err.startswith(f"error: {option}: expected ")
