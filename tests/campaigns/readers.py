"""Campaign of readers: seeded mutations of a valid file of each kind, each of which must be refused in one line or be read.

A traceback, five seconds of computing, a gigabyte of memory or a crash of the process is a fault.
"""

import dataclasses
import errno
import hashlib
import multiprocessing
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.exit_status import OUTSIDE_OUR_HANDS
from tests.campaigns.mutations import mutations_of
from tests.campaigns.reader_subjects import SUBJECTS as KNOWN

SUBJECTS = tuple(KNOWN)
COUNT = 280
SECONDS, MEMORY = 5, 1 << 30
SILENCE = 300  # seconds without an outcome, after which a process is taken to hang in a library
REFUSED, EQUAL, OTHER = "refused", "equal", "other content"


class TooSlowError(BaseException):
    """More computing than one file may take; no handler of errors catches it."""


def run(bounds):
    """Make the files, try all subjects, print a table, and return a line for each kind of fault."""
    from tests.campaigns.reader_files import make_files

    outcomes, faults = {}, Counter()
    with tempfile.TemporaryDirectory(prefix="readers_") as folder:
        base = Path(folder) / "files"
        base.mkdir()
        make_files(base)
        for name in bounds.subjects(SUBJECTS):
            if bounds.is_over:
                break
            outcomes[name] = try_subject(name, base, bounds)
            print(line(name, outcomes[name]), flush=True)
            faults.update((name, text) for _, outcome, text in outcomes[name] if outcome == "fault")
    everything = [each for found in outcomes.values() for each in found]
    print(line("all", everything))
    accepted = Counter(mutation for mutation, outcome, _ in everything if outcome == OTHER)
    print("other content by mutation: " + ", ".join(f"{name} {count}" for name, count in accepted.most_common()))
    return [f"{name}: {count} x {text}" for (name, text), count in faults.most_common()]


def line(name, found):
    """Row of the table."""
    counts = Counter(outcome for _, outcome, _ in found)
    numbers = "  ".join(f"{outcome} {counts[outcome]:>5}" for outcome in (REFUSED, EQUAL, OTHER, "fault"))
    return f"{name:<18} {len(found):>5} inputs  {numbers}"


def try_subject(name, base, bounds):
    """Outcomes of a subject's mutations, in processes of their own: mutation, outcome, and text of a fault."""
    count, found = bounds.count or COUNT, []
    context = multiprocessing.get_context("spawn")
    while len(found) < count and not bounds.is_over:
        mine, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(name, base, bounds.seed, len(found), count, theirs))
        worker.start()
        theirs.close()
        before = len(found)
        try:
            while len(found) < count and mine.poll(SILENCE):
                found.append(mine.recv())
            ended = "" if len(found) == count else f"no outcome for {SILENCE} seconds"
        except EOFError:
            ended = "the process crashed"
        worker.kill() if ended else worker.join()
        worker.join()
        if ended:
            found.append(("unknown", "fault", f"{ended}, status {worker.exitcode}, input {len(found)}"))
            if len(found) - before < 2 and before:
                break
    return found


def work(name, base, seed, first, count, connection):
    """Send the outcomes of a subject's mutations from `first` on, with bounds on computing and memory."""
    subject = KNOWN[name]
    with tempfile.TemporaryDirectory(prefix="reader_") as folder:
        copy = Path(folder) / "files"
        shutil.copytree(base, copy)
        path = copy / subject.file
        whole = path.read_bytes()
        right = digest(subject.read(path))
        bound_memory()
        signal.signal(signal.SIGPROF, too_slow)
        mutations = mutations_of(path.name)
        for number in range(first, count):
            rng = np.random.default_rng([seed, SUBJECTS.index(name), number])
            mutate = mutations[int(rng.integers(len(mutations)))]
            path.write_bytes(mutated(mutate, rng, whole))
            connection.send((mutate.__name__, *outcome(subject.read, path, right)))


def mutated(mutate, rng, whole):
    """Changed content; the same as before where a mutation cannot be written."""
    try:
        return mutate(rng, whole)
    except (ValueError, UnicodeError, TypeError):
        return whole


def outcome(read, path, right):
    """What a reader makes of a file: refused, equal, other content, or a fault with its text."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        found = digest(read(path))
    except UserError as error:
        return (REFUSED, "") if str(error) else ("fault", "an empty message")
    except OSError as error:
        known = error.errno in {*OUTSIDE_OUR_HANDS, errno.ENAMETOOLONG}
        return (REFUSED, "") if known else ("fault", where(error))
    except TooSlowError as error:
        return "fault", f"more than {SECONDS} seconds: {where(error)}"
    except MemoryError as error:
        return "fault", f"more than {MEMORY} bytes: {where(error)}"
    except BaseException as error:
        return "fault", where(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return (EQUAL if found == right else OTHER), ""


def too_slow(number, frame):
    """End what has taken too long."""
    raise TooSlowError


def where(error):
    """Type and text of an error, and the line of our own code that raised it."""
    root = str(Path(__file__).resolve().parents[2])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    frames = [frame for frame in frames if "/tests/" not in frame.filename] or frames
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place} ({' '.join(str(error).split())[:60]})"


def bound_memory():
    """Let this process take a gigabyte more than now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def digest(value):
    """Checksum of what a reader returned, equal for equal content."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()


def _add(found, value):
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes() if value.dtype.kind != "O" else repr(value).encode())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            _add(found, getattr(value, item.name))
    elif isinstance(value, dict):
        for key, item in value.items():
            found.update(repr(key).encode())
            _add(found, item)
    elif isinstance(value, list | tuple | set | frozenset):
        found.update(f"[{len(value)}".encode())
        for item in value:
            _add(found, item)
    else:
        text = repr(value)
        found.update(b"object" if " at 0x" in text else text.encode(errors="backslashreplace"))
