"""A short part of the campaign of kills, with a seed: the builder; and that it finds faults."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns import kills
from tests.campaigns.campaign import Bounds
from tests.campaigns.contents import contents, differences

CHANGED = "history.csv: differs, 0, loss: expected {}, received {}"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")


@pytest.mark.slow
def test_a_command_that_is_stopped_goes_on_as_if_nothing_had_happened():
    assert kills.run(Bounds(only="builder", count=1, seed=4)) == []


def test_contents_differ_where_more_than_times_does(tmp_path):
    for name, minutes, loss in (("a", 1, 0.5), ("b", 2, 0.5), ("c", 1, 0.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.csv").write_text(f"minutes,loss\n{minutes},{loss}\n")
        (tmp_path / name / "predictions.json").write_text(f'{{"cost": {minutes}}}')
    (tmp_path / "c" / "extra.png").touch()
    first, second, third = (contents(tmp_path / name) for name in "abc")
    assert differences(first, second) == []
    assert differences(first, third) == ["extra.png: is extra", CHANGED.format("0.5", "0.25")]
    assert differences(third, first) == ["extra.png: lacks", CHANGED.format("0.25", "0.5")]


def test_processes_that_are_left_are_found():
    inner = "subprocess.Popen([sys.executable, '-c', 'input()'], process_group=0)"
    program = f"import subprocess, sys; {inner}; print(1, flush=True)"
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "1\n"
        process.wait()
        assert len(kills.members(process.pid)) == 1
    assert kills.members(-1) == []
