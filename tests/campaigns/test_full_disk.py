"""A short part of the campaign of full disks: every writer; and that it finds faults."""

import sys

import pytest

from tests.campaigns import full_disk, writers
from tests.campaigns.campaign import Bounds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' limits and disks in memory")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_costs_nothing_once_there_is_space():
    assert full_disk.run(Bounds(only="writers", count=1, seed=1)) == []


def unsafe(path):
    """Writes in place, as no writer of ours does."""
    with path.open("wb", buffering=0) as file:
        file.write(b"x")
        if file.write(bytes(9999)) < 9999:
            file.write(bytes(9999))


def test_a_writer_that_leaves_half_a_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "WRITERS", {"unsafe": writers.of("a.bin", unsafe)})
    assert full_disk.all_writers(tmp_path / "out", None) == [
        "unsafe (limit): names None",
        f"unsafe (limit): leaves {tmp_path / 'out' / 'a.bin'}",
    ]
