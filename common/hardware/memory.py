"""Memory of this process, in bytes: resident now, and at its highest."""

import resource
import sys
from pathlib import Path

MEGABYTE = 2**20
STATUS = Path("/proc/self/status")  # Linux alone


def peak_memory() -> int:
    """Largest resident memory of this process so far."""
    return _memory_of("VmHWM")


def resident_memory() -> int:
    """Resident memory of this process now; the largest so far where the system does not have it."""
    return _memory_of("VmRSS")


def _memory_of(entry: str) -> int:
    """Entry of /proc/self/status; where there is none, the largest of the resource module.

    That one is no choice on Linux, because it starts with the memory of the process that started this one.
    """
    if STATUS.is_file():
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
