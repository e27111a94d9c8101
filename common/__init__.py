"""Shared by all packages: command line, atomic files, processes, parallel map, metrics."""

from common import interrupts

interrupts.install()
