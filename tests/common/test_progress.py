import io
import sys
from types import SimpleNamespace

import pytest

from common import progress as module
from common.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Clock of the lines; `clock.seconds` is the time."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def work(clock, total, seconds, title="building records"):
    with progress(total, title, "case") as bar:
        for _ in range(total):
            clock.seconds += seconds
            bar.update()


def test_a_log_gets_a_line_for_each_tenth_at_most(clock, capsys):
    work(clock, 200, 6.0)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == ""
    assert len(lines) == 9
    assert lines[0] == "building records: 20 of 200 cases, about 18.0 min left"
    assert lines[-1] == "building records: 180 of 200 cases, about 2.0 min left"
    assert "\r" not in printed.err


def test_few_long_pieces_get_a_line_each_and_quick_work_none(clock, capsys):
    work(clock, 3, 60.0, "checking")
    expected = ["checking: 1 of 3 cases, about 2.0 min left", "checking: 2 of 3 cases, about 1.0 min left"]
    assert capsys.readouterr().err.splitlines() == expected
    work(clock, 200, 0.01)
    work(clock, 0, 1.0)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(clock, 3, 60.0, "checking")
    assert "checking: 100%" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_without_a_title_nothing_is_printed(clock, monkeypatch, capsys):
    work(clock, 3, 60.0, None)
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(clock, 3, 60.0, None)
    assert terminal.getvalue() == ""
