import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import InvalidStateError
from pathlib import Path

import pytest

from common.errors import UserError
from common.processes import TERMINATION, _without_cancelled, command_signals, deferred_interrupts, run_command, worker_pool

OWNER = """
import sys, time
from common.processes import worker_pool
from tests.common.test_processes import own_id
if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*{future.result() for future in [pool.submit(own_id, 0.3) for _ in range(4)]}, flush=True)
        time.sleep(60)
"""

SLOW_TO_IMPORT = """
import sys, time
from pathlib import Path
from common.exit_status import exit_status
from common.processes import worker_pool
if __name__ != "__main__":  # a worker process imports this file
    Path(sys.argv[1]).touch()
    time.sleep(1)
if __name__ == "__main__":
    with exit_status(), worker_pool(2) as pool:
        list(pool.map(abs, range(4)))
        print("done")
"""

STOPPED_AT_ITS_START = """
import os, signal
from multiprocessing import util
from common.exit_status import exit_status
from common.processes import worker_pool
if __name__ == "__main__":
    spawn = util.spawnv_passfds
    def spawn_and_stop(*arguments):
        process = spawn(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return process
    with exit_status(), worker_pool(1) as pool:
        util.spawnv_passfds = spawn_and_stop
        print(pool.submit(abs, 1).result())
"""


def own_id(seconds):
    time.sleep(seconds)
    return os.getpid()


def shout(word):
    os.environ["SHOUTED"] = word


def shouted(_):
    return os.environ["SHOUTED"]


def alive(process):
    """Whether a process runs; one that has ended and was not yet collected does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_work_is_done_in_processes_that_were_prepared():
    with worker_pool(2, shout, "hey") as pool:
        assert list(pool.map(shouted, range(3))) == ["hey"] * 3
    assert "SHOUTED" not in os.environ


def test_a_worker_that_dies_is_told_in_one_line():
    with pytest.raises(UserError, match="a worker process died"), worker_pool(1) as pool:
        pool.submit(os._exit, 3).result()


def test_an_error_in_a_worker_comes_out():
    with pytest.raises(ZeroDivisionError), worker_pool(1) as pool:
        pool.submit(divmod, 1, 0).result()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")
def test_workers_end_when_their_owner_is_killed(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        workers = owner.stdout.readline().split()
        assert workers
        assert all(alive(worker) for worker in workers)
        owner.kill()
    deadline = time.monotonic() + 10
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)


def test_calls_that_are_cancelled_by_an_interrupt_print_no_traceback(monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: shown.append(arguments.exc_type))

    def fail(error):
        raise error

    with pytest.raises(KeyboardInterrupt), worker_pool(1):
        raise KeyboardInterrupt
    for error in (InvalidStateError(), ValueError()):  # afterwards all are shown again
        thread = threading.Thread(target=fail, args=(error,))
        thread.start()
        thread.join()
    assert shown == [InvalidStateError, ValueError]
    for error in (InvalidStateError(), KeyError()):
        _without_cancelled(
            lambda arguments: shown.append(arguments.exc_type), threading.ExceptHookArgs((type(error), error, None, None))
        )
    assert shown[2:] == [KeyError]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, getattr(signal, "SIGHUP", 1)])
def test_an_interrupt_during_the_imports_of_the_workers_is_one_line(tmp_path, number):
    script, begun = tmp_path / "slow.py", tmp_path / "begun"
    script.write_text(SLOW_TO_IMPORT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    words = [sys.executable, script, begun]
    with subprocess.Popen(words, stdout=-1, stderr=-1, text=True, env=environment, process_group=0) as owner:
        while not begun.exists() and owner.poll() is None:
            time.sleep(0.01)
        os.killpg(owner.pid, number)  # as a terminal does: this process and its workers
        output, errors = owner.communicate(timeout=60)
    assert (owner.returncode, output, errors) == (
        130,
        "",
        "\nstopping ...\nstopped by the user; anything that was finished is kept\n",
    )


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_a_termination_between_the_start_of_a_worker_and_its_data_is_one_line(tmp_path):
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED_AT_ITS_START)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "",
        "\nstopping ...\nstopped by the user; anything that was finished is kept\n",
    )


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
@pytest.mark.parametrize("command", ["data_prep.check", "training.train", "evaluation.predict"])
def test_a_command_that_is_stopped_before_its_first_import_is_one_line(tmp_path, command):
    with (tmp_path / "output").open("w+") as output:
        status = run_command(command, ["--help"], output, should_stop=lambda: True)
        output.seek(0)
        assert (status, output.read()) == (130, "\nstopped by the user; anything that was finished is kept\n")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []).isdisjoint({signal.SIGINT, *TERMINATION})


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_a_signal_is_an_interrupt_inside_a_command_alone_and_is_answered_at_once(capfd):
    numbers = (signal.SIGINT, *TERMINATION)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        with pytest.raises(KeyboardInterrupt), command_signals():
            signal.raise_signal(number)
        assert capfd.readouterr().err == "\nstopping ...\n"
    assert {number: signal.getsignal(number) for number in numbers} == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, *TERMINATION])
def test_an_interrupt_waits_for_the_end_of_what_cannot_be_broken_off(number, capfd):
    """Such as the import of TensorFlow."""
    done = []

    def interrupted_import():
        with deferred_interrupts():
            signal.raise_signal(number)
            done.append(1)

    with pytest.raises(KeyboardInterrupt), command_signals() as was_interrupted:
        interrupted_import()
    assert done == [1]
    assert was_interrupted()
    assert capfd.readouterr().err == "\nstopping ...\n"
    with command_signals() as was_interrupted, deferred_interrupts():
        assert not was_interrupted()


class Interrupted:
    """Object whose destructor is interrupted; Python swallows what a destructor raises."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def drop_and_wait():
    Interrupted()
    time.sleep(60)


def test_an_interrupt_in_a_destructor_is_not_lost(capfd):
    with pytest.raises(KeyboardInterrupt), command_signals():
        drop_and_wait()
    assert capfd.readouterr().err == "\nstopping ...\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_a_signal_that_is_ignored_stays_ignored():
    """As below nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with command_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_workers_and_commands_import_nothing_from_the_current_folder(tmp_path):
    """Modules of the names of Python's own, of packages and of ours lie there, as they may beside scans of somebody else."""
    for name in ("multiprocessing", "common", "data_prep", "numpy", "yaml"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"import os\nos.write(1, b'imported {name}')\nos._exit(7)\n")
    program = """
import sys
if len(sys.argv) > 1:  # not in a worker
    sys.path[0] = sys.argv.pop(1)
from common.processes import run_command, worker_pool
if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(abs, -3).result(), flush=True)
    sys.exit(run_command("data_prep.check", ["--source", "none"]))
"""
    (tmp_path / "program.py").write_text(program)
    words = [sys.executable, tmp_path / "program.py", Path(__file__).resolve().parents[2]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "3\n"), done.stderr
    assert "none: source not found" in done.stderr
