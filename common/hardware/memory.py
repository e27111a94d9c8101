"""Memory in bytes: of this process, resident now and at its highest, and what is available to it."""

import os
import resource
import sys
from pathlib import Path

MEGABYTE = 2**20
GIGABYTE = 1e9  # as printed, of disks too
STATUS = Path("/proc/self/status")  # Linux alone
MACHINE = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current", "memory.stat"), ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"))
"""Files of a control group, versions 2 and 1: limit, use, and what of that is given back where it is short."""


def peak_memory() -> int:
    """Largest resident memory of this process so far."""
    return _memory_of("VmHWM")


def resident_memory() -> int:
    """Resident memory of this process now; the largest so far where the system does not have it."""
    return _memory_of("VmRSS")


def available_memory(groups: Path = GROUPS) -> int:
    """Memory that this process can still take: of the machine, or of its control group, such as a container's, if that is less.

    Args:
        groups: where the control group of this process is mounted.
    """
    if MACHINE.is_file():
        lines = MACHINE.read_text(encoding="utf-8").splitlines()
        free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), sys.maxsize)
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # such as macOS: all that the machine has
    for folder in (groups, groups / "memory"):
        for names in LIMITS:
            limit, used, statistics = (_text_of(folder / name) for name in names)
            if limit.isdigit() and used.isdigit():
                entries = dict(line.split() for line in statistics.splitlines() if len(line.split()) == 2)
                free = min(free, int(limit) - int(used) + int(entries.get("inactive_file", 0)))
    return max(free, 0)


def _text_of(file: Path) -> str:
    """Content of a file of the kernel; empty where there is none."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _memory_of(entry: str) -> int:
    """Entry of /proc/self/status; where there is none, the largest of the resource module.

    That one is no choice on Linux, because it starts with the memory of the process that started this one.
    """
    if STATUS.is_file():
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
