"""Campaign of full disks: every writer of files, and whole commands, on a disk without space and under a limit of file sizes.

An error is one line that names the file, with exit status 2. Nothing half written is left, and once there is space the same
command ends as if nothing had happened. The disk is a small one in memory where this process may mount it (root on Linux); else
its part is left out. The limit is that of the system for a process (RLIMIT_FSIZE).
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.files import is_temporary
from tests.campaigns import writers
from tests.campaigns.contents import contents, differences
from tests.campaigns.subjects import SUBJECTS as COMMANDS
from tests.campaigns.subjects import WRITING, Inputs
from tests.training.runs import ROOT, environment

COUNT = 3
WAYS = ("disk", "limit")
SUBJECTS = {"writers": None} | COMMANDS | WRITING
PAGE = 4096
SPACE = 256 << 20  # bytes of a disk that is large enough
SAID = ("No space left on device", "File too large", "the disk has", "no space", "full")


def run(bounds):
    """Disturb each subject both ways, at random sizes; a line for each fault."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="full_disk_") as folder, mounted(Path(folder) / "disk") as resize:
        inputs = Inputs(folder)
        for name in bounds.subjects(SUBJECTS):
            if bounds.is_over:
                break
            out = Path(folder) / "disk" / "out"
            found = all_writers(out, resize) if name == "writers" else Tries(name, inputs, out, resize).all(bounds)
            faults += [f"{name}: {line}" for line in found]
            print(f"{name}: {len(found)} faults", flush=True)
    return faults


@contextmanager
def mounted(place):
    """Disk in memory at a folder; yields a function that changes its size, or None where it cannot be mounted."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def limited(size):
    """Limit of this process on the size of files, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def filled(folder, resize):
    """Disk of a folder without a free page."""
    ballast = folder.parent / "ballast"
    resize(64 * PAGE)
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * PAGE):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()
        resize(SPACE)


def all_writers(out, resize):
    """Try every writer both ways; a line for each fault."""
    faults = []
    for name, write in writers.WRITERS.items():
        for way in WAYS if resize is not None else ("limit",):
            out.mkdir(parents=True)
            found = _disturbed_writer(write, out, filled(out, resize) if way == "disk" else limited(1))
            faults += [f"{name} ({way}): {line}" for line in found]
            shutil.rmtree(out)
    return faults


def _disturbed_writer(write, out, disturbance):
    """Faults of a writer that meets a full disk, and then none."""
    path, lines = None, []
    prepared = write(out)
    with disturbance:
        try:
            prepared.write()
            lines.append("no error")
        except OSError as error:
            path = error.filename
        except BaseException as error:
            lines.append(f"raises {type(error).__name__}: {error}")
    if not lines and (path is None or Path(path) not in prepared.paths):
        lines.append(f"names {path}")
    left = [each for each in out.rglob("*") if each.is_file()]
    lines += [f"leaves {each}" for each in left if each not in prepared.given]
    prepared.write()
    return lines + [f"{each}: was not written" for each in prepared.paths if not each.is_file()]


class Tries:
    """Tries of one command.

    Args:
        name: of the subject.
        inputs: of its command.
        out: to write into, on the disk.
        resize: of the disk, or None.
    """

    def __init__(self, name, inputs, out, resize):
        self.name, self.inputs, self.out, self.resize = name, inputs, out, resize
        self.subject = SUBJECTS[name]

    def all(self, bounds):
        """Run the command undisturbed, then disturbed; a line for each fault."""
        done = self._call(False)
        if done.returncode:
            return [f"status {done.returncode} undisturbed: {done.stdout}"]
        expected = contents(self.out, self.subject.ignored)
        sizes = [path.stat().st_size for path in self.out.rglob("*") if path.is_file()]
        shutil.rmtree(self.out)
        faults = []
        for number in range(bounds.count or COUNT):
            for way in WAYS if self.resize is not None else ("limit",):
                rng = np.random.default_rng([bounds.seed, number, *self.name.encode(), *way.encode()])
                found = self._disturbed(way, sizes, rng, expected)
                print(f"  {self.name} {number} {self.told}: {found or 'ok'}", flush=True)
                faults += [f"{self.told}: {line}" for line in found]
        return faults

    def _disturbed(self, way, sizes, rng, expected):
        """Faults of a call that meets a full disk or a limit, and of the one that follows."""
        if way == "disk":
            pages = sum(-(-size // PAGE) for size in sizes) + len(sizes) // 8
            size = PAGE * int(rng.integers(4, max(pages, 6)))
            self.resize(size)
            done = self._call(False)
            self.resize(SPACE)
        else:
            size = int(rng.choice([size for size in sizes if size > 1])) - 1
            done = self._call(False, size)
        self.told = f"{way} of {size} bytes, status {done.returncode}"
        lines = [f"traceback: {done.stdout[-3000:]}"] if "Traceback" in done.stdout else []
        errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
        if done.returncode not in (0, 2):
            lines.append(f"status {done.returncode}: {done.stdout[-1500:]}")
        if done.returncode == 2 and not any(str(self.out) in line and any(word in line for word in SAID) for line in errors):
            lines.append(f"no error names a file and the reason: {errors}")
        if len(errors) > 1 and self.name not in ("study", "cross_validation"):
            lines.append(f"several lines: {errors}")
        lines += [f"{path}: temporary" for path in self.out.rglob("*") if is_temporary(path)]
        again = self._call(True)
        if again.returncode:
            lines.append(f"status {again.returncode} with space: {again.stdout[-1500:]}")
        else:
            lines += differences(expected, contents(self.out, self.subject.ignored))
        shutil.rmtree(self.out, ignore_errors=True)
        return lines

    def _call(self, again, limit=None):
        """Run the command in a process of its own; its output and errors are one text."""
        words = [sys.executable, "-m", *self.subject.call(self.inputs, self.out, again)]

        def restrict():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            words,
            cwd=ROOT,
            env=environment("tensorflow"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            preexec_fn=restrict,
        )
