import math

import numpy as np
import pytest

from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.lesion_metrics import lesion_metrics
from common.metrics.lesion_rules import LESION_RULES
from tests.common.metrics.golden import SPACINGS, boxes, brats2026, masks_2026

TUMOUR, SMALL, FALSE = [5, 11, 5, 11, 5, 11], [30, 32, 30, 32, 30, 32], [40, 44, 5, 9, 5, 9]


def structure(truth, prediction, spacing=(1.0, 1.0, 1.0), name="ET"):
    masks = [boxes(listed).astype(np.uint8) for listed in (truth, prediction)]
    return LabelPair.count(*masks, 2, spacing).structure([1], name)


def values(pair, rule):
    return {name.partition("@")[0]: METRICS[name](pair) for name in METRICS if name.endswith(f"@{rule}")}


def test_values_of_2023():
    found = values(structure([TUMOUR, SMALL], [TUMOUR, FALSE]), "brats2023-met")
    assert found == pytest.approx(
        {
            "lesion_dice": 1 / 3,
            "lesion_hd95": 748 / 3,
            "lesion_nsd": 1 / 3,
            "lesion_f1": 0.5,
            "lesion_sensitivity": 0.5,
            "lesion_false": 1,
            "lesions_true": 2,
            "lesions_predicted": 2,
        }
    )


def test_values_by_size_of_2026():
    found = values(structure([TUMOUR, SMALL], [TUMOUR, FALSE]), "brats2026-mets")
    assert [found[name] for name in ("lesion_f1", "lesion_f1_large", "lesion_f1_small")] == pytest.approx([0.5, 2 / 3, 0])
    assert (found["lesion_dice"], found["lesion_hd95"]) == (0.5, 186.5)


@pytest.mark.parametrize(
    ("rule", "dice", "f1"), [("brats2023-met", 1, 1), ("brats2024-gli", 1, 1), ("brats2026-gli", math.nan, math.nan)]
)
def test_nothing_anywhere_is_perfect_or_has_no_value(rule, dice, f1):
    found = values(structure([], []), rule)
    assert (found["lesion_dice"], found["lesion_f1"]) == pytest.approx((dice, f1), nan_ok=True)
    assert math.isnan(found["lesion_sensitivity"])
    assert found["lesion_false"] == 0


def test_a_small_missed_lesion_alone_is_no_lesion_in_2023():
    assert values(structure([SMALL], []), "brats2023-gli")["lesion_dice"] == 1


def test_no_value_without_spacing_or_masks():
    masks = [boxes([TUMOUR]).astype(np.uint8)] * 2
    assert METRICS["lesion_dice@brats2023-met"](LabelPair.count(*masks, 2).structure([1])) is None
    assert (
        METRICS["lesion_dice@brats2023-met"](LabelPair(np.eye(2, dtype=np.int64), spacing_mm=(1, 1, 1)).structure([1])) is None
    )


@pytest.mark.parametrize("case", ["three_sizes_mixed", "split_two_pred_one_gt", "missed", "both_empty", "nested_classes"])
def test_the_official_variant_equals_the_leaderboard_and_the_right_one_need_not(case):
    row = brats2026()["results"]["mets"]["3x1x1"]["leaderboard"][case]
    truth, prediction = masks_2026("mets", case, "wt")
    masks = [mask.astype(np.uint8) for mask in (truth, prediction)]
    pair = LabelPair.count(*masks, 2, SPACINGS["3x1x1"]).structure([1], "WT")
    official, right = values(pair, "brats2026-mets-official"), values(pair, "brats2026-mets")
    names = {
        "lesion_dice": "lesionwise_dsc_mean_wt",
        "lesion_hd95": "lesionwise_hd95_mean_wt",
        "lesion_nsd": "lesionwise_nsd_mean_wt",
        "lesion_f1": "all_instance_f1_wt",
        "lesion_f1_large": "large_instance_f1_wt",
        "global_hd95": "global_hd95_wt",
        "global_nsd": "global_nsd_wt",
    }
    expected = {name: float(row[column]) for name, column in names.items()}
    assert {name: official[name] for name in names} == pytest.approx(expected, nan_ok=True, abs=1e-8)
    if case == "nested_classes":
        assert right["lesion_hd95"] != official["lesion_hd95"]


def test_names_carry_the_rule():
    for rule in LESION_RULES.values():
        assert all(metric.name.endswith(f"@{rule.name}") and not metric.by_default for metric in lesion_metrics(rule))
