"""The runner of experiments: commands in child processes, what is started, resumed and skipped, and a study that is killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import yaml

from common import processes
from common.files import lock, write_json
from evaluation.experiments import runner
from evaluation.experiments.runner import Training, call, last_error, train, training_failure
from tests.common.test_processes import alive
from tests.training.runs import ROOT, TOY, environment, history
from training.run_facts import FORMAT

SLEEPER = """\
import signal, sys, time
import common
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
    assert last_error(log) == f"{tmp_path / 'second'}: source not found; expected a folder of scans or a CSV table"


def test_the_failure_of_a_command_that_broke_is_its_last_line(tmp_path):
    assert call("no.such.module", [], tmp_path / "log") == 1
    assert "No module named 'no'" in last_error(tmp_path / "log")


def test_a_command_without_output_has_a_failure_too(tmp_path):
    (tmp_path / "log").write_text("$ python -m before\nerror: of before\n$ python -m silent\n")
    assert last_error(tmp_path / "log") == "no output"


def test_a_command_is_interrupted_once_it_is_enough(sleeper):
    log, awake = sleeper
    assert call("sleeper", [], log, awake) == 130
    assert "interrupted" in log.read_text()


def test_after_an_interrupt_the_same_command_is_offered(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "run_command", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call("training.train", [], tmp_path / "log")
    assert capsys.readouterr().out == "the same command, given again, goes on with what is left\n"


def test_a_command_that_does_not_react_is_killed(sleeper, monkeypatch):
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


@pytest.fixture
def calls(monkeypatch):
    """Commands that the runner would have called."""
    found = []
    monkeypatch.setattr(runner, "call", lambda command, arguments, *_: found.append((command, arguments)) or 0)
    return found


def a_run(folder, **facts):
    folder.mkdir()
    write_json(folder / "run.json", {"format": FORMAT} | facts)
    return folder


def test_a_run_is_started_resumed_or_skipped(tmp_path, calls):
    new = tmp_path / "new"
    stopped, finished = a_run(tmp_path / "stopped", ended=None), a_run(tmp_path / "finished", ended="epochs")
    for folder in (new, stopped, finished):
        assert train(Training(folder, "training.classify", ["--config", "c.yaml"])) == 0
    assert calls == [
        ("training.classify", ["--config", "c.yaml", "--out", new]),
        ("training.classify", ["--resume", stopped]),
    ]


def test_a_run_that_is_enough_before_its_resume_is_not_resumed(tmp_path, calls):
    folder = a_run(tmp_path / "run", ended=None)
    assert train(Training(folder, "training.train", []), lambda: True) == 0
    assert not calls


def test_a_folder_that_another_process_holds_is_waited_for(tmp_path, calls, monkeypatch, capsys):
    folder, held = a_run(tmp_path / "run", ended=None), ExitStack()
    held.enter_context(lock(folder))
    monkeypatch.setattr(runner.time, "sleep", lambda seconds: held.close())
    assert train(Training(folder, "training.train", [])) == 0
    assert "a training still writes here; waiting for its end" in capsys.readouterr().out
    assert calls == [("training.train", ["--resume", folder])]


@pytest.mark.parametrize(
    ("status", "ended", "words"),
    [(0, "epochs", None), (2, "loss", "its training diverged before; delete"), (9, None, "status 9")],
)
def test_a_run_that_cannot_be_used_has_a_reason(tmp_path, status, ended, words):
    reason = training_failure(Training(a_run(tmp_path / "run", ended=ended), "training.train", []), status)
    assert reason is None if words is None else words in reason


PARENT = """\
from dataclasses import dataclass
from pathlib import Path
from common import cli
from evaluation.experiments.runner import call

@dataclass
class Config:
    \"\"\"Calls another command.\"\"\"
    log: Path
    \"\"\"Its output.\"\"\"

if __name__ == "__main__":
    cli.run(lambda config: call("obedient", [], config.log), Config)
"""
OBEDIENT = """\
import os, time
from dataclasses import dataclass
from common import cli, processes

processes.POLL_SECONDS = 0.02

@dataclass
class Config:
    \"\"\"Sleeps.\"\"\"

def main(config):
    print("awake", os.getpid(), flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise

if __name__ == "__main__":
    cli.run(main, Config)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_child_is_interrupted_when_its_parent_ends(tmp_path, number):
    """Fault 15: a parent that is interrupted, terminated, hung up or killed leaves no orphan; the child ends as by Ctrl-C."""
    (tmp_path / "obedient.py").write_text(OBEDIENT)
    (tmp_path / "parent.py").write_text(PARENT)
    log = tmp_path / "log"
    paths = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    with subprocess.Popen([sys.executable, tmp_path / "parent.py", "--log", log], env=os.environ | paths) as parent:
        wait_until(lambda: log.is_file() and "awake" in log.read_text())
        parent.send_signal(getattr(signal, number))
    wait_until(lambda: "stopped by the user" in log.read_text())
    child = int(log.read_text().split("awake")[1].split()[0])
    wait_until(lambda: not alive(child))
    assert "interrupted" in log.read_text()
    assert parent.returncode == (-signal.SIGKILL if number == "SIGKILL" else 130)


def wait_until(true, seconds=20):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(arguments):
    program = [sys.executable, "-m", "evaluation.study", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(program, cwd=ROOT, env=environment("tensorflow"), **pipes)


def wait_for(process, run, epochs):
    while process.poll() is None and not ((run / "history.csv").is_file() and len(history(run)) >= epochs):
        time.sleep(0.01)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on(records, command, tmp_path, monkeypatch):
    """A kill leaves the training behind, which is interrupted: the study waits for it and has lost nothing.

    What the second study calls runs in this process, which saves two starts of Python and TensorFlow.
    """
    out, epochs = tmp_path / "out", 16
    options = dict(zip([word[2:] for word in TOY[::2]], TOY[1::2], strict=True)) | {"epochs": epochs}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"runs": [{"name": "a", "train": {}, "options": options}]}))
    arguments = ("--config", tmp_path / "study.yaml", "--records", records, "--out", out)
    run = out / "runs" / "a"
    with started(arguments) as process:
        wait_for(process, run, 2)
        process.kill()
    monkeypatch.setattr(runner, "call", lambda name, words, *_: command(name, *words).status)
    done = command("evaluation.study", *arguments)
    assert done.status == 0, done.err
    assert "stopped by the user; anything that was finished is kept" in (out / "logs" / "runs" / "a.log").read_text()
    assert [int(row["epoch"]) for row in history(run)] == list(range(1, epochs + 1))
    assert (run / "scores_test" / "scores.json").is_file()
