import subprocess
import sys

import numpy as np

from common.hardware import memory
from common.hardware.memory import MEGABYTE, available_memory, peak_memory, resident_memory
from tests.training.runs import ROOT

HOLDING = """
import numpy as np
from common.hardware.memory import peak_memory, resident_memory
before, now = peak_memory(), resident_memory()
held = np.ones(50 * 2**20, np.uint8)
print(before, peak_memory() - before, resident_memory() - now)
"""


def test_the_memory_of_a_process_is_its_own_and_grows_with_what_it_holds():
    held = np.ones(300 * MEGABYTE, np.uint8)
    done = subprocess.run([sys.executable, "-c", HOLDING], cwd=ROOT, capture_output=True, text=True, check=True)
    before, peak, now = (int(word) / MEGABYTE for word in done.stdout.split())
    assert 5 < before < 300 < held.size
    assert 40 < peak < 60
    assert 40 < now < 60


def test_without_proc_the_memory_is_that_of_the_resource_module(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert 5 * MEGABYTE < resident_memory() == peak_memory()


def test_the_available_memory_is_that_of_the_machine_or_less_in_a_control_group(tmp_path):
    machine = available_memory(tmp_path)
    assert machine > 10 * MEGABYTE
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(tmp_path) > 10 * MEGABYTE
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(tmp_path) == 4000
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 100\n")
    assert available_memory(tmp_path) == 4100
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("3000")  # version 1
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1000")
    assert available_memory(tmp_path) == 2000
