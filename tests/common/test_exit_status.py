"""Exit status: one line and 2 for a user's mistake, 130 for an interrupt, a traceback for a bug."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from common import cli
from common.errors import Problems, UserError


@dataclass
class NoOptions:
    """Do nothing."""


def raises(error):
    def main(config):
        raise error

    return main


class ResourceExhaustedError(Exception):
    """In the place of TensorFlow's."""


SMALLER = "take smaller patches, batches, scans or networks (model.filters of the config or run), or fewer --workers"


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (UserError("a.nii: empty"), 2, ["error: a.nii: empty"]),
        (Problems(["a: bad", "b: bad"], "2 of 3"), 2, ["error: a: bad", "error: b: bad", "error: 2 of 3"]),
        (MemoryError("for 3 GB"), 2, [f"error: too little memory (for 3 GB); {SMALLER}"]),
        (ResourceExhaustedError("OOM of [3,3]\nnode"), 2, [f"error: too little memory (OOM of [3,3]); {SMALLER}"]),
        (
            RuntimeError("Symlink loop from 'a'"),
            2,
            ["error: Symlink loop from 'a': expected a file or folder; received a link that leads back to itself; remove it"],
        ),
        (KeyboardInterrupt(), 130, ["stopped by the user; anything that was finished is kept"]),
    ],
)
def test_an_error_becomes_an_exit_status(error, status, lines, capsys):
    with pytest.raises(SystemExit) as end:
        cli.run(raises(error), NoOptions, [])
    assert end.value.code == status
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()) == ("", lines)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_another_exception_for_an_interrupt_is_the_interrupt(capsys):
    """As of a C extension whose import is broken off."""

    def main(config):
        try:
            signal.raise_signal(signal.SIGHUP)
        except KeyboardInterrupt:
            raise SystemError("initialization raised unreported exception") from None

    with pytest.raises(SystemExit) as end:
        cli.run(main, NoOptions, [])
    assert end.value.code == 130
    assert "stopped by the user" in capsys.readouterr().err


def test_run_leaves_a_bug_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(raises(ZeroDivisionError()), NoOptions, [])


def test_a_reader_that_goes_away_is_no_error():
    program = (
        "from common import cli\nfrom data_prep.sources import SourceConfig\n"
        "cli.run(lambda config: [print('x' * 999, flush=True) for _ in range(999)], SourceConfig, [])"
    )
    command = f'{sys.executable} -c "{program}" | head -c 1'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_in_one_line(capsys, number):
    def main(config):
        raise OSError(number, os.strerror(number), "records/x.tfrecord")

    with pytest.raises(SystemExit) as end:
        cli.run(main, NoOptions, [])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: records/x.tfrecord: {os.strerror(number)}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("flush", [True, False])
def test_an_output_on_a_full_disk_is_told_in_one_line(flush):
    """Whether the disk is met by a print or by the last flush."""
    imports = "from common import cli\nfrom data_prep.sources import SourceConfig\n"
    program = f"{imports}cli.run(lambda config: print(1, flush={flush}), SourceConfig, [])"
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-c", program]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")
