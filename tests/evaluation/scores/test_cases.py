"""Scores of one case: lesions under a rule, and a case without usable prediction."""

import math

import numpy as np
import pytest

from common.metrics.catalogue import METRICS, chosen_metrics
from common.metrics.label_pair import LabelPair
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, scored_structures
from evaluation.scores.cases import CaseScores, mean_over, score_case
from evaluation.scores.lesions import rule_structures
from tests.common.metrics.golden import REGIONS, brats2026, rule_2026
from tests.common.metrics.test_lesion_metrics import COLUMNS

SCHEMA = LabelSchema.load("brats2023")
WT = scored_structures(SCHEMA)[0]


def volumes():
    """Truth with a large and a small tumour; the prediction has the large one, moved, and a false one."""
    truth, prediction = np.zeros((2, 24, 24, 24), np.uint8)
    truth[2:8, 2:8, 2:8], truth[14:16, 14:16, 14:16] = 3, 3
    prediction[3:9, 2:8, 2:8], prediction[20:23, 2:5, 2:5] = 3, 3
    return truth, prediction


def scored(truth, prediction, rules=("brats2023-met",), **how):
    pair = LabelPair.count(truth, prediction, 4, (1.0, 1.0, 1.0))
    return score_case(pair, SCHEMA, chosen_metrics(["nsd"], rules), **how)


def test_lesions_of_a_case_are_listed_with_their_values():
    found = scored(*volumes())
    listed = [lesion for lesion in found.lesions if lesion.structure == WT]
    assert [(each.true, each.matched, each.volume_mm3) for each in listed] == [
        *((True, True, 216), (True, False, 8), (False, False, 27)),
    ]
    assert [each.dice for each in listed] == pytest.approx([5 / 6, 0, 0])
    assert [each.hd95 for each in listed] == pytest.approx([1, 374, 374])
    assert found.values[WT, "lesion_dice@brats2023-met"] == pytest.approx(5 / 18)


def test_the_scores_of_a_rule_have_no_class_mean():
    found = scored(*volumes())
    assert (CLASS_MEAN, "nsd") in found.values
    assert not any(structure == CLASS_MEAN and "@" in name for structure, name in found.values)


@pytest.mark.parametrize("truth_has_tumour", [True, False])
def test_a_case_without_usable_prediction_counts_the_worst_values_whatever_truth_holds(truth_has_tumour):
    truth = volumes()[0] * truth_has_tumour
    found = scored(truth, np.zeros_like(truth), ("brats2023-met", "brats2024-met", "brats2026-mets"), missing=True)
    for (structure, name), value in found.values.items():
        worst = METRICS[name].worst
        if worst is not None:
            assert value == worst, (structure, name)
    assert found.values[WT, "lesion_hd95@brats2024-met"] == pytest.approx(math.hypot(24, 24, 24))
    assert found.values[WT, "true_ml"] == pytest.approx(0.224 * truth_has_tumour)
    for rule in ("brats2023-met", "brats2024-met", "brats2026-mets"):
        assert math.isnan(found.values[WT, f"lesion_false@{rule}"])  # 0 would be the best value
        assert found.values[WT, f"lesions_predicted@{rule}"] == 0
        assert found.values[WT, f"lesions_true@{rule}"] == 2 * truth_has_tumour


@pytest.mark.parametrize(
    ("config", "schema"),
    [("gli", "brats2024"), ("mets", "brats2024"), ("ped", "brats2024-ped"), ("MenRT", "brats2024-men-rt")],
)
def test_a_case_without_prediction_has_the_row_of_the_official_leaderboard(config, schema):
    loaded, rule = LabelSchema.load(schema), rule_2026(config, official=True)
    row = brats2026()["results"][config]["1x1x1"]["leaderboard"]["not_predicted.nii.gz"]
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[2:8, 2:8, 2:8] = 1
    pair = LabelPair.count(truth, np.zeros_like(truth), len(loaded.classes), (1.0, 1.0, 1.0))
    found = score_case(pair, loaded, chosen_metrics(rules=[rule.name]), missing=True)
    compared = 0
    for region, structure in rule_structures(rule, scored_structures(loaded)).items():
        for name, column in COLUMNS.items():
            if f"{column}_{region.lower()}" in row and name != "lesion_false":  # whose best value the official row has
                assert found.values[structure, f"{name}@{rule.name}"] == row[f"{column}_{region.lower()}"]
                compared += 1
        assert found.values[structure, "dice"] == row[f"global_dsc_{region.lower()}"] == 0
    assert compared == len(REGIONS[config]) * (9 if config == "mets" else 7)


def test_a_mean_over_cases_passes_over_those_without_a_value():
    key = (WT, "lesion_dice@brats2026-gli")
    cases = [CaseScores({key: value}, set()) for value in (0.5, math.nan, 1.0)]
    assert mean_over(cases, key) == 0.75
    assert math.isnan(mean_over(cases[1:2], key))
