"""The processes of a study: their words, their end, and a study that is interrupted, killed and called again."""

import signal
import subprocess
import sys
import time

import pytest
import yaml

from common import processes
from evaluation.experiments.runs import Epochs, call, failure
from tests.training.runs import ROOT, TOY, environment, history
from training.config import TrainConfig
from training.run import Run

SLEEPER = """\
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN if "deaf" in sys.argv else signal.default_int_handler)
print("awake", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""


@pytest.fixture
def sleeper(tmp_path, monkeypatch):
    """A command that sleeps until it is interrupted, and a log that says when it is awake."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.02)
    log = tmp_path / "logs" / "sleeper.log"
    return log, lambda: log.is_file() and "awake" in log.read_text()


def test_the_failure_of_a_command_is_in_its_log(tmp_path):
    log = tmp_path / "logs" / "check.log"
    for name in ("first", "second"):
        assert call("data_prep.check", ["--source", tmp_path / name], log) == 2
    assert "first" in log.read_text()
    assert failure(log) == f"{tmp_path / 'second'}: source not found; expected a folder of scans or a CSV table"


def test_the_failure_of_a_command_that_broke_is_its_last_line(tmp_path):
    assert call("no.such.module", [], tmp_path / "log") == 1
    assert "No module named 'no'" in failure(tmp_path / "log")


def test_a_command_that_says_nothing_has_a_failure_too(tmp_path):
    (tmp_path / "log").write_text("$ python -m before\nerror: of before\n$ python -m silent\n")
    assert failure(tmp_path / "log") == "it said nothing"


def test_a_command_is_interrupted_once_it_is_enough(sleeper):
    log, awake = sleeper
    assert call("sleeper", [], log, awake) == 130
    assert "interrupted" in log.read_text()


def test_a_command_that_does_not_listen_is_killed(sleeper, monkeypatch):
    log, awake = sleeper
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.1)
    assert call("sleeper", ["deaf"], log, awake) == -signal.SIGKILL


def test_a_mistake_while_a_command_runs_ends_it(sleeper):
    log, awake = sleeper

    def broken():
        if awake():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        call("sleeper", [], log, broken)
    assert "interrupted" in log.read_text()


def test_epochs_are_told_once_and_asked_about_from_the_first(tmp_path, capsys):
    heading = "epoch,minutes,loss,val_mean_iou\n"
    rows = ["1,0.5,0.9,0.1\n", "2,1.0,0.8,0.2\n", "3,2.5,0.7,0.3\n"]
    (tmp_path / "history.csv").write_text(heading + rows[0])
    asked = []
    epochs = Epochs(tmp_path, TrainConfig(epochs=5, max_minutes=4), lambda row: asked.append(row["epoch"]) or row["epoch"] == 3)
    (tmp_path / "history.csv").write_text(heading + "".join(rows[:2]))
    assert not epochs()
    assert not epochs()
    (tmp_path / "history.csv").write_text(heading + "".join(rows))
    assert epochs()
    assert epochs()
    assert asked == [1, 2, 3]
    assert capsys.readouterr().out.splitlines() == [
        "  epoch 2/5: loss 0.8000, validation mean_iou 0.2000; about 1.5 min left",
        "  epoch 3/5: loss 0.7000, validation mean_iou 0.3000; about 1.5 min left",
    ]


def started(arguments):
    program = [sys.executable, "-m", "evaluation.study", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(program, cwd=ROOT, env=environment("tensorflow"), **pipes)


def wait_for(process, run, epochs):
    while process.poll() is None and not ((run / "history.csv").is_file() and len(history(run)) >= epochs):
        time.sleep(0.01)


@pytest.mark.slow
def test_a_study_that_is_interrupted_and_killed_goes_on(records, command, tmp_path):
    """Ctrl-C, then a kill that leaves the training behind: the study waits for it and has lost nothing."""
    out, epochs = tmp_path / "out", 16
    options = dict(zip([word[2:] for word in TOY[::2]], TOY[1::2], strict=True)) | {"epochs": epochs}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"runs": [{"name": "a", "train": {}, "options": options}]}))
    arguments = ("--config", tmp_path / "study.yaml", "--records", records, "--out", out)
    run = out / "runs" / "a"
    with started(arguments) as process:
        wait_for(process, run, 2)
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert "stopped by the user; what was finished is kept" in printed
    stopped = len(history(run))
    assert Run(run).facts["status"] == "stopped"
    with started(arguments) as process:
        wait_for(process, run, stopped + 1)
        process.kill()
    done = command("evaluation.study", *arguments)
    assert done.status == 0, done.err
    assert [int(row["epoch"]) for row in history(run)] == list(range(1, epochs + 1))
    assert (run / "scores_test" / "scores.json").is_file()
