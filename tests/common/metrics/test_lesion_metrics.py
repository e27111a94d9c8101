import math

import numpy as np
import pytest

from common.metrics.borders import border_dice, border_distances
from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.lesion_metrics import lesion_metrics
from common.metrics.lesion_rules import LESION_RULES
from tests.common.metrics.golden import REGIONS, SPACINGS, boxes, brats2026, differences, masks_2026, rule_2026

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


COLUMNS = {
    "lesion_dice": "lesionwise_dsc_mean",
    "lesion_hd95": "lesionwise_hd95_mean",
    "lesion_nsd": "lesionwise_nsd_mean",
    "lesion_f1": "all_instance_f1",
    "lesion_sensitivity": "all_instance_rec",
    "lesion_false": "all_instance_fp",
    "lesion_f1_large": "large_instance_f1",
    "lesion_f1_small": "small_instance_f1",
    "global_hd95": "global_hd95",
    "global_nsd": "global_nsd",
}
"""Metric of the catalogue -> column of the challenge's leaderboard, of BraTS 2026."""


def pair_2026(config, spacing, case, region):
    masks = [mask.astype(np.uint8) for mask in masks_2026(config, case, region)]
    return LabelPair.count(*masks, 2, SPACINGS[spacing]).structure([1], region.upper())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("config", REGIONS)
def test_official_metrics_of_the_catalogue_equal_the_leaderboard(config, spacing):
    """All metrics of the rule, regions and cases of a task; an infinite HD95 of lesions is 373 here."""
    rule, wrong, compared = rule_2026(config, official=True), [], 0
    for case in brats2026()["cases"]:
        row = brats2026()["results"][config][spacing]["leaderboard"][case]
        for region in REGIONS[config]:
            pair = pair_2026(config, spacing, case, region)
            for name, column in COLUMNS.items():
                if f"{column}_{region}" in row:
                    expected = min(float(row[f"{column}_{region}"]), 373.0)
                    found = METRICS[f"{name}@{rule.name}"](pair)
                    wrong += differences({name: found}, {name: expected}, (case, region))
                    compared += 1
    assert not wrong
    assert compared == len(brats2026()["cases"]) * len(REGIONS[config]) * (10 if config == "mets" else 8)


def test_the_right_order_of_axes_gives_another_value_on_an_anisotropic_grid():
    pair = pair_2026("mets", "3x1x1", "nested_classes", "wt")
    assert values(pair, "brats2026-mets")["lesion_hd95"] != values(pair, "brats2026-mets-official")["lesion_hd95"]


def test_names_carry_the_rule():
    for rule in LESION_RULES.values():
        assert all(metric.name.endswith(f"@{rule.name}") and not metric.by_default for metric in lesion_metrics(rule))


@pytest.mark.parametrize("rule", ["brats2024-gli", "brats2024-men", "brats2024-men-rt", "brats2024-ped"])
def test_2024_has_the_nsd_at_half_a_millimetre_too(rule):
    pair = structure([TUMOUR], [[6, 12, 5, 11, 5, 11]])
    found = values(pair, rule)
    borders = border_distances(pair.masks.truth, pair.masks.prediction, (1.0, 1.0, 1.0))
    assert found["lesion_nsd_05mm"] == pytest.approx(border_dice(borders, 0.5))
    assert found["lesion_nsd"] == pytest.approx(border_dice(borders, 1.0))
    assert 0 < found["lesion_nsd_05mm"] < found["lesion_nsd"] == 1
    assert values(structure([TUMOUR], []), rule)["lesion_nsd_05mm"] == 0
