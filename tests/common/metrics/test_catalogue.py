"""The metric catalogue: values against masks, the absent rule, directions, and what is printed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import UserError
from common.metrics.catalogue import METRICS, MISSED_MM, absent_rule, chosen_metrics, expect_metric
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Scale

SHAPE = (3, 4, 5)
SPACING = (1.0, 2.0, 3.0)
DEFAULT = [metric.name for metric in chosen_metrics()]
classes = arrays(np.uint8, SHAPE, elements=st.integers(0, 1))


def value(name, truth, prediction, spacing=SPACING):
    return METRICS[name](LabelPair.count(truth, prediction, 2, spacing).structure([1]))


@settings(max_examples=50, deadline=None)
@given(classes, classes)
def test_metrics_of_counts_are_those_of_the_masks(truth, prediction):
    t, p, both = (np.count_nonzero(mask) for mask in (truth, prediction, truth & prediction))
    assert value("true_ml", truth, prediction) == pytest.approx(t * 0.006)
    assert value("predicted_ml", truth, prediction) == pytest.approx(p * 0.006)
    if t and p:
        assert value("dice", truth, prediction) == 2 * both / (t + p)
        assert value("iou", truth, prediction) == both / (t + p - both)
        assert value("sensitivity", truth, prediction) == both / t
        assert value("precision", truth, prediction) == both / p


@pytest.mark.parametrize(
    ("truth", "prediction", "ratio", "hd95"),
    [(0, 0, 1.0, 0.0), (0, 1, 0.0, MISSED_MM), (1, 0, 0.0, MISSED_MM), (1, 1, 1.0, 0.0)],
    ids=["absent in both", "false", "missed", "equal"],
)
def test_the_absent_rule_of_every_metric(truth, prediction, ratio, hd95):
    given = np.full(SHAPE, truth, np.uint8), np.full(SHAPE, prediction, np.uint8)
    assert {value(name, *given) for name in ("dice", "iou", "sensitivity", "precision")} == {ratio}
    assert value("hd95", *given) == hd95
    assert value("true_ml", *given) == pytest.approx(truth * math.prod(SHAPE) * 0.006)


def test_a_missed_structure_costs_more_than_the_diagonal_of_a_scan():
    assert math.hypot(240, 240, 155) < MISSED_MM == METRICS["hd95"].worst


def test_hd95_is_in_millimetres_of_an_anisotropic_grid():
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    truth[4, 4, 4] = prediction[4, 4, 6] = 1
    assert value("hd95", truth, prediction) == pytest.approx(6)
    assert value("hd95", truth, prediction, (1.0, 2.0, 5.0)) == pytest.approx(10)


def test_what_cannot_be_known_is_none():
    truth = np.ones(SHAPE, np.uint8)
    assert {name for name in DEFAULT if value(name, truth, truth, None) is None} == {"hd95", "true_ml", "predicted_ml"}
    counts = LabelPair(np.eye(2, dtype=np.int64), spacing_mm=SPACING).structure([1])
    assert {name for name in DEFAULT if METRICS[name](counts) is None} == {"hd95"}


def test_voxels_that_are_not_annotated_count_nowhere():
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    truth[4, 4, 4] = prediction[4, 4, 4] = prediction[0, 0, 0] = 1
    assert value("hd95", truth, prediction) > 0
    truth[0, 0, 0] = 255
    assert {name: value(name, truth, prediction) for name in ("hd95", "dice")} == {"hd95": 0.0, "dice": 1.0}


def test_directions():
    dice, hd95, volume = (METRICS[name] for name in ("dice", "hd95", "true_ml"))
    assert (dice.arrow_label, hd95.arrow_label, volume.arrow_label) == ("Dice ↑", "HD95 (mm) ↓", "true volume (ml)")
    assert (dice.best([0.1, 0.9]), hd95.best([0.1, 0.9])) == (0.9, 0.1)
    assert (dice.change(0.1), hd95.change(0.1), hd95.change(-0.1), volume.change(0.1)) == ("better", "worse", "better", "")
    assert (dice.change(0.0004), hd95.change(0.004)) == ("equal", "equal")
    scores = {"a": 1.0, "b": 0.0, "c": 0.0}
    assert dice.worst_first(scores) == ["b", "c", "a"]
    assert hd95.worst_first(scores) == ["a", "b", "c"]
    assert [metric.judged for metric in (dice, hd95, volume)] == [True, True, False]


def test_values_are_printed_with_their_decimals():
    assert METRICS["dice"].text(0.85, 0.7, 1.0) == "0.850 [0.700, 1.000]"
    assert METRICS["hd95"].text(-2, -3, 1, signed=True) == "-2.00 [-3.00, +1.00]"
    assert Scale(name="auc", heading="AUC").text(0.5, None, 0.7) == "0.500"


def test_the_absent_rule_in_words():
    text = absent_rule(chosen_metrics())
    assert "Dice, IoU, sensitivity, precision: 1 and 0; HD95: 0 mm and 374 mm." in text
    assert "volume" not in text


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_every_entry_is_whole(metric):
    assert METRICS[metric.name] is metric
    assert metric.definition
    assert metric.limits[0] < metric.limits[1]
    if metric.rule is None:
        assert (metric.both_absent is None) == (metric.worst is None)
    if metric.worst is not None:
        assert metric.limits[0] <= metric.worst <= metric.limits[1]
    if metric.worst is not None and metric.both_absent is not None:
        assert metric.best([metric.worst, metric.both_absent]) == metric.both_absent
    facts = metric.facts()
    assert {"definition", "unit", "both_absent", "one_absent", "better"} <= facts.keys()


def test_definitions_of_hd95_differ_in_what_a_satellite_counts():
    truth, prediction = np.zeros((2, 24, 24, 24), np.uint8)
    truth[4:14, 4:14, 4:14] = prediction[4:14, 4:14, 4:14] = prediction[20:23, 20:23, 20:23] = 1
    found = [value(name, truth, prediction, (1.0, 1.0, 1.0)) for name in ("hd95", "hd95_max_voxel", "hd95_pooled", "nsd")]
    assert found[2] == 0 < found[0]
    assert 0.8 < found[3] < 1
    assert value("hd95_pooled", truth, np.zeros_like(truth)) == MISSED_MM


def test_the_metrics_that_are_chosen():
    assert DEFAULT == ["dice", "iou", "sensitivity", "precision", "hd95", "true_ml", "predicted_ml"]
    named = [metric.name for metric in chosen_metrics(["nsd"], ["brats2023-met"])]
    assert named[: len(DEFAULT) + 2] == [*DEFAULT, "nsd", "lesion_dice@brats2023-met"]
    assert all(name.endswith("@brats2023-met") for name in named[len(DEFAULT) + 1 :])


@pytest.mark.parametrize(
    ("names", "rules", "message"),
    [
        (
            ["lesion_dice"],
            [],
            r"^--metrics: expected a metric of docs/metrics\.md; received lesion_dice; did you mean lesion_dice@",
        ),
        (["lesion_dice@brats2023-mets"], [], "did you mean lesion_dice@brats2023-met"),
        (["volume"], [], "received volume; they are dice, iou, .*, and by lesion rule such as lesion_dice@brats2023-met$"),
        (
            [],
            ["brats2022-gli"],
            r"--lesions: expected lesion rules of docs/metrics\.md; received brats2022-gli; did you mean brats20",
        ),
        ([], ["gliomas"], "received gliomas; they are brats2023-gli, "),
    ],
)
def test_unknown_metrics_and_rules_are_refused(names, rules, message):
    with pytest.raises(UserError, match=message):
        chosen_metrics(names, rules)


def test_a_metric_that_is_searched_for_has_a_direction():
    assert expect_metric("metric", "hd95", judged=True) is METRICS["hd95"]
    with pytest.raises(UserError, match="--metric: expected a metric with a direction; received true_ml"):
        expect_metric("metric", "true_ml", judged=True)
