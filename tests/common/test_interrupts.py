"""Interrupts before a command has begun: one line, whatever is being imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import interrupts

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import pathlib, time
pathlib.Path({begun!r}).touch()
try:
    time.sleep(60)
except BaseException:
    raise ImportError("broken off")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, *interrupts.TERMINATION])
@pytest.mark.parametrize("words", [["-m", "training.train"], ["glioskull.py", "train"]])
def test_an_interrupt_during_imports_is_one_line(tmp_path, number, words):
    begun = tmp_path / "begun"
    (tmp_path / "jsonargparse.py").write_text(SLOW.format(begun=str(begun)))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=-1, stderr=-1, text=True, env=environment) as process:
        while not begun.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", f"\n{interrupts.STOPPED}\n")


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["python", "-m", "training.train", "--out", "x"], True),
        (["python", "-X", "dev", "-m", "data_prep.check", "x"], True),
        (["/usr/bin/glioskull", "train"], True),
        (["python", "/usr/bin/glioskull", "train"], True),
        (["python", "-m", "pytest", "training"], False),
        (["python", "-c", "import common"], False),
        (["python", "notebook.py"], False),
        (["python"], False),
    ],
)
def test_only_a_process_of_a_command_takes_the_signals(words, runs):
    assert interrupts.runs_command(words) == runs


def test_these_tests_are_no_command():
    assert all(signal.getsignal(number) is not interrupts.end_at_once for number in (signal.SIGINT, *interrupts.TERMINATION))
