import math
from dataclasses import replace

import numpy as np
import pytest

from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair

SPACING = (1.0, 1.0, 1.0)


def pair(truth, prediction, spacing=SPACING):
    volumes = [np.zeros((8, 8, 8), np.uint8) for _ in range(2)]
    volumes[0][:truth, :4, :4], volumes[1][:prediction, :4, :4] = 1, 1
    return LabelPair.count(*volumes, 2, spacing).structure([1])


def test_nan_is_refused_but_where_a_rule_may_give_no_value():
    broken = replace(METRICS["dice"], compute=lambda _: math.nan)
    with pytest.raises(ValueError, match="a value of dice"):
        broken(pair(4, 3))
    assert math.isnan(replace(broken, may_lack_value=True)(pair(4, 3)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("dice", (0, 1)), ("hd95", (374, 0)), ("lesion_hd95@brats2026-gli", (373, 0)), ("lesion_f1@brats2023-met", (0, 1))],
)
def test_range_of_an_interval(name, expected):
    assert METRICS[name].interval_range([0.5, 1, math.nan]) == expected


@pytest.mark.parametrize("name", ["true_ml", "lesion_hd95@brats2024-met", "lesion_false@brats2023-met"])
def test_no_range_without_a_worst_value(name):
    assert METRICS[name].interval_range([0.5]) is None


def test_a_value_beyond_the_worst_one_leaves_no_range():
    assert METRICS["hd95"].interval_range([1, 400]) is None


def test_worst_value_of_a_case_without_prediction():
    assert METRICS["dice"].worst_in(pair(4, 0)) == 0
    assert METRICS["hd95"].worst_in(pair(4, 0)) == 374
    assert METRICS["true_ml"].worst_in(pair(4, 0)) is None
    assert METRICS["lesion_hd95@brats2024-met"].worst_in(pair(4, 0)) == pytest.approx(math.hypot(8, 8, 8))


def test_facts_hold_the_rule_and_its_version():
    assert METRICS["dice"].facts()["lesion_rule"] is None
    facts = METRICS["lesion_dice@brats2026-mets"].facts()
    assert facts["lesion_rule"]["version"] == "brats-evaluation 0.0.10"
    assert facts["both_absent"] is None


def test_nothing_is_printed_as_less_than_nothing():
    assert METRICS["dice"].text(-0.0001, -0.0004, 0.0002, signed=True) == "+0.000 [+0.000, +0.000]"
    assert METRICS["dice"].text(-0.0006) == "-0.001"
    assert METRICS["hd95"].text(float("nan")) == "nan"
