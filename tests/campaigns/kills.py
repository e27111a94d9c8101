"""Campaign of kills: commands are stopped at random moments and given again; in the end all is as if nothing had happened.

Half of the moments are drawn from the time that the command takes, half from the changes of files that it makes: most of the
time of a short command goes into its imports. After a signal that can be handled no output has a traceback and no run is
"running"; no process is left, and nothing temporary.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from common.files import is_temporary
from tests.campaigns.contents import contents, differences
from tests.campaigns.subjects import SUBJECTS, Inputs
from tests.training.runs import ROOT, environment
from training.run import Run

COUNT = 20
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
MOST_STOPS = 4  # of one try, one after the other
PATIENCE = 90.0  # seconds after which a process that was stopped, and its children, must have ended
POLL = 0.005


def run(bounds):
    """Stop each subject at random moments, and go on; a line for each fault."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="kills_") as folder:
        inputs = Inputs(folder)
        for name in bounds.subjects(SUBJECTS):
            tries = Tries(name, inputs, Path(folder) / name, bounds.seed)
            faults += tries.uninterrupted()
            for number in range(bounds.count or COUNT):
                if bounds.is_over:
                    break
                found = tries.disturbed(number)
                print(f"  {name} {number}: {tries.told}{'' if not found else f': {found}'}", flush=True)
                faults += found
            print(f"{name}: {tries.kills} kills in {tries.ended} tries, {len(faults)} faults so far", flush=True)
    return faults


class Tries:
    """Tries to disturb one subject.

    Args:
        name: of the subject.
        inputs: of its command.
        folder: to work in.
        seed: of the random numbers, with the name and the number of a try.

    Attributes:
        kills: signals that reached a command.
        ended: tries that came to their end.
        told: the signals of the last try and their moments.
    """

    def __init__(self, name, inputs, folder, seed):
        self.name, self.inputs, self.seed = name, inputs, seed
        self.subject = SUBJECTS[name]
        folder.mkdir()
        self.out = folder / "out"
        self.kills = self.ended = 0
        self.told = ""

    def uninterrupted(self):
        """Run the command once as it is, for its time and its output."""
        started = time.monotonic()
        process = Disturbed(self.subject.call(self.inputs, self.out), self.out)
        process.wait_for(lambda: False)
        self.seconds, self.changes = time.monotonic() - started, process.changes
        self.expected = contents(self.out, self.subject.ignored)
        shutil.rmtree(self.out)
        return [f"{self.name}: status {process.status} undisturbed: {process.output}"] if process.status else []

    def disturbed(self, number):
        """Stop the command at random moments and give it again until it ends; a line for each fault."""
        rng = np.random.default_rng([self.seed, number, *self.name.encode()])
        faults, told, stops = [], [], rng.integers(1, MOST_STOPS + 1)
        for call in range(stops + 1):
            process = Disturbed(self.subject.call(self.inputs, self.out, again=call > 0), self.out)
            if call < stops:
                how = str(rng.choice(SIGNALS))
                moment, reached = self._moment(rng, process, 1 / (1 + call))
                sent = process.wait_for(reached, how)
                told.append(f"{how if sent else 'ended before'} {moment}")
                self.kills += sent
                faults += process.faults(how if sent else None)
                if sent:
                    continue
            process.wait_for(lambda: False)
            faults += process.faults(None)
            break
        faults += differences(self.expected, contents(self.out, self.subject.ignored)) if not faults else []
        faults += [f"{path}: temporary" for path in self.out.rglob("*") if is_temporary(path)]
        self.told = ", ".join(told)
        self.ended += 1
        shutil.rmtree(self.out, ignore_errors=True)
        return [f"{self.name} {number} ({self.told}): {line}" for line in faults]

    def _moment(self, rng, process, share):
        """A moment in words, and a function that is true once it is reached.

        Args:
            rng: random numbers.
            process: that is stopped.
            share: of the undisturbed command that is left, about: a call that goes on is shorter.
        """
        if rng.integers(2):
            seconds = rng.uniform(0, share * self.seconds)
            return f"after {seconds:.2f} s", lambda: time.monotonic() - process.started >= seconds
        change = int(rng.integers(1, max(int(share * self.changes), 2)))
        return f"after change {change} of {self.changes}", lambda: process.changes >= change


class Disturbed:
    """Process of a command, in a session of its own, that may be sent a signal.

    Args:
        call: module and command line.
        out: folder that it writes into, whose changes are counted.

    Attributes:
        changes: files that were seen to appear or change.
        status: of its end.
        output: what it and its children printed.
    """

    def __init__(self, call, out):
        self.out, self.changes, self._seen = out, 0, self._files(out)
        self._printed = tempfile.TemporaryFile("w+")  # noqa: SIM115
        words = [sys.executable, "-m", *call]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment("tensorflow"),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
            start_new_session=True,
        )
        self.status, self.output = None, ""

    def wait_for(self, reached, how=None):
        """Wait until a moment is reached, then send a signal; True where it was sent, False where the command ended before."""
        while self.process.poll() is None and not reached():
            files = self._files(self.out)
            self.changes += sum(self._seen.get(path) != state for path, state in files.items())
            self._seen = files
            time.sleep(POLL)
        sent = how is not None and self.process.poll() is None
        if sent and how in ("SIGINT", "SIGHUP"):  # as a terminal does: the process and its workers
            os.killpg(self.process.pid, getattr(signal, how))
        elif sent:
            self.process.send_signal(getattr(signal, how))
        try:
            self.status = self.process.wait(PATIENCE if sent else None)
        except subprocess.TimeoutExpired:
            self.status = "none: it goes on"
        return sent

    def faults(self, how):
        """Lines for what is wrong after the end, by a signal or None."""
        deadline = time.monotonic() + PATIENCE
        while (left := members(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in left:
            os.kill(process, signal.SIGKILL)
        self._printed.seek(0)
        self.output = self._printed.read()
        lines = [f"process {process} is left" for process in left]
        logs = "".join(path.read_text() for path in self.out.glob("logs/**/*.log"))
        if "Traceback" in self.output + logs:
            lines.append(f"traceback: {(self.output + logs)[-3000:]}")
        # -15 and the like: a signal before the interpreter has come to the first import
        allowed = {None: (0,), "SIGKILL": (-signal.SIGKILL,)}.get(how, (0, 130, -getattr(signal, how or "SIGINT")))
        if self.status not in allowed:
            lines.append(f"status {self.status} after {how}: {self.output[-1500:]}")
        if how not in (None, "SIGKILL"):
            runs = [path.parent for path in self.out.rglob("run.json")]
            lines += [f"{each}: is still running" for each in runs if Run(each).metadata["status"] == "running"]
        return lines

    @staticmethod
    def _files(out):
        """Path -> time of change of each file in the output."""
        found = {}
        for parent, _, names in os.walk(out):
            for name in names:
                with suppress(OSError):  # renamed meanwhile
                    found[f"{parent}/{name}"] = Path(parent, name).stat().st_mtime_ns
        return found


def members(session):
    """Ids of the processes of a session that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of) == session and state != "Z":
            found.append(int(folder.name))
    return found
