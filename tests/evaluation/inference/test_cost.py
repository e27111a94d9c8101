"""The cost of prediction: what is measured, and that one slow case does not change it."""

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from common.hardware.memory import MEGABYTE
from evaluation.inference import cost
from evaluation.inference.cost import CostMeter


def test_the_seconds_are_the_median_so_that_the_first_case_may_compile():
    meter = CostMeter()
    for pause in (0.2, 0.0, 0.0):
        with meter.case():
            time.sleep(pause)
    assert meter.facts([])["seconds_per_case"] < 0.1


def test_a_case_that_fails_is_not_measured():
    meter = CostMeter()
    with pytest.raises(ValueError, match="damaged"), meter.case():
        raise ValueError("damaged")
    assert meter.facts([])["seconds_per_case"] == 0


def test_parameters_are_those_of_all_networks_that_can_be_trained():
    network = SimpleNamespace(trainable_weights=[np.zeros((3, 4)), np.zeros(5)])
    assert CostMeter().facts([network, network, SimpleNamespace()])["trainable_parameters"] == 34


def test_memory_before_the_meter_was_made_does_not_count(monkeypatch):
    monkeypatch.setattr(cost, "resident_memory", lambda: 700 * MEGABYTE)
    meter = CostMeter()
    monkeypatch.setattr(cost, "peak_memory", lambda: int(950.25 * MEGABYTE))
    facts = meter.facts([])
    assert (facts["prediction_memory_mb"], facts["peak_memory_mb"]) == (250.2, 950.2)


def predicted(meter, folder, count, seconds=0.0):
    """Predict some cases: a file of 1,000 bytes each."""
    for number in range(count):
        with meter.case():
            time.sleep(seconds)
        (folder / f"{number}.nii.gz").write_bytes(bytes(1000))


def test_the_cost_of_all_cases_is_expected_once_after_the_second(tmp_path):
    meter = CostMeter()
    assert meter.forecast(10, tmp_path) == ""
    predicted(meter, tmp_path, 1)
    assert meter.forecast(10, tmp_path) == ""
    predicted(meter, tmp_path, 1)
    line = meter.forecast(10, tmp_path)
    assert line.startswith("expected from the first two cases: about 0.0 min for 10 cases, ")
    assert "GB of memory, 0.00 GB of disk (" in line
    assert meter.forecast(2, tmp_path) == ""
    predicted(meter, tmp_path, 1)
    assert meter.forecast(10, tmp_path) == ""


def test_the_first_case_counts_once_and_the_second_for_all_others(monkeypatch, tmp_path):
    meter = CostMeter()
    meter._seconds = [30.0, 6.0]
    assert "about 1.6 min for 12 cases" in meter.forecast(12, tmp_path)  # 36 s, and 10 times 6 s


def test_files_of_an_earlier_call_do_not_count(monkeypatch, tmp_path):
    old = tmp_path / "old.nii.gz"
    old.write_bytes(bytes(10**6))
    os.utime(old, (0, 0))
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100_000))
    meter = CostMeter()
    meter._begun -= 5  # file systems round times
    predicted(meter, tmp_path, 2)
    assert meter.forecast(50, tmp_path)  # 48 more cases of 1,000 bytes, not of half a million


def test_cases_for_which_the_disk_has_no_room_are_refused(monkeypatch, tmp_path):
    usage = SimpleNamespace(free=2500)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda folder: usage)
    meter = CostMeter()
    predicted(meter, tmp_path, 2)
    assert meter.forecast(4, tmp_path)
    with pytest.raises(UserError, match=r"expected 0.0 GB of disk for 3 more cases; received 0.0 GB free; the same command"):
        meter.forecast(5, tmp_path)
