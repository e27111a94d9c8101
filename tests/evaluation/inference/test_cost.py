"""The cost of prediction: what is measured, and that one slow case does not change it."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.inference import cost
from evaluation.inference.cost import CostMeter, peak_mb, resident_mb


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


def test_the_peak_memory_grows_with_what_was_held():
    before = CostMeter().facts([])["peak_memory_mb"]
    held = np.ones(int((before + 50) * 2**20), np.uint8)
    assert CostMeter().facts([])["peak_memory_mb"] > before + 40
    assert held[-1] == 1


def test_parameters_are_those_of_all_networks_that_can_be_trained():
    network = SimpleNamespace(trainable_weights=[np.zeros((3, 4)), np.zeros(5)])
    assert CostMeter().facts([network, network, SimpleNamespace()])["trainable_parameters"] == 34


def test_memory_before_the_meter_was_made_does_not_count(monkeypatch):
    monkeypatch.setattr(cost, "resident_mb", lambda: 700.0)
    meter = CostMeter()
    monkeypatch.setattr(cost, "peak_mb", lambda: 950.25)
    facts = meter.facts([])
    assert (facts["prediction_memory_mb"], facts["peak_memory_mb"]) == (250.2, 950.2)


def test_the_memory_now_is_at_most_the_peak():
    assert 5 < resident_mb() <= peak_mb() * 1.01
