"""The cost of prediction: what is measured, and that one slow case does not change it."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

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
