"""Structures that a lesion rule is computed for, and the lesions of a case."""

import numpy as np
import pytest

from common.errors import UserError
from common.metrics.catalogue import METRICS, chosen_metrics
from common.metrics.label_pair import LabelPair
from common.metrics.lesion_rules import LESION_RULES
from data_prep.labels import LabelSchema
from data_prep.structures import Structure, scored_structures
from evaluation.scores.cases import score_case
from evaluation.scores.lesions import check_rules, lesion_scores, missing_regions, rule_structures


def ranked(rule, schema):
    structures = scored_structures(LabelSchema.load(schema))
    return {name: (each.kind, each.name) for name, each in rule_structures(LESION_RULES[rule], structures).items()}


def test_regions_of_a_rule_are_found_by_name_or_by_that_of_their_class():
    regions = {name: ("region", name) for name in ("WT", "TC", "ET", "RC")}
    classes = {"NETC": ("class", "non-enhancing tumor"), "SNFH": ("class", "edema")}
    assert ranked("brats2024-gli", "brats2024") == ranked("brats2026-gli", "brats2024") == regions | classes
    del regions["RC"]
    assert ranked("brats2023-met", "brats2024") == regions
    assert missing_regions(LESION_RULES["brats2024-met"], scored_structures(LabelSchema.load("brats2023"))) == ["RC"]


@pytest.mark.parametrize("rule", ["brats2024-ped", "brats2026-ped"])
def test_the_pediatric_schema_has_all_regions_of_its_rules(rule):
    found = ranked(rule, "brats2024-ped")
    assert set(found) == set(LESION_RULES[rule].regions)
    assert (found["CC"], found["ED"]) == (("class", "cystic component"), ("class", "edema"))
    assert LabelSchema.load("brats2024-ped").classes["cystic component"] == (3,)


@pytest.mark.parametrize("rule", ["brats2024-men-rt", "brats2026-menrt"])
def test_the_radiotherapy_schema_has_the_target(rule):
    assert ranked(rule, "brats2024-men-rt") == {"GTV": ("region", "GTV")}


def test_a_single_class_is_the_whole_tumour():
    assert ranked("brats2023-met", "binary") == {"WT": ("region", "tumor")}
    assert ranked("brats2024-men-rt", "binary") == {"GTV": ("region", "tumor")}


def test_necrosis_of_its_own_makes_the_non_enhancing_tumour_less_than_netc():
    assert set(ranked("brats2024-gli", "brats2012-2015")) == {"WT", "TC", "ET", "SNFH"}


def test_a_rule_none_of_whose_regions_a_schema_has_is_refused():
    with pytest.raises(
        UserError, match="--lesions brats2024-men-rt: expected one of the regions GTV; received schema brats2023"
    ):
        check_rules(["brats2023-met", "brats2024-men-rt"], LabelSchema.load("brats2023"))
    check_rules(["brats2023-met"], LabelSchema.load("brats2023"))


@pytest.mark.parametrize("gap", [5, 8, 12])
def test_the_dilation_of_a_region_is_that_of_its_class_in_a_shipped_schema(gap):
    """Lesions of NETC up to 10 voxels apart are one, by a dilation of 5; those of WT and SNFH up to 6, by 3."""
    schema = LabelSchema.load("brats2024")
    for name, most_apart in (("non-enhancing tumor", 10), ("edema", 6)):
        truth = np.zeros((40, 12, 12), np.uint8)
        truth[4:8, 4:8, 4:8] = truth[8 + gap : 12 + gap, 4:8, 4:8] = schema.class_names.index(name)
        pair = LabelPair.count(truth, truth, 5, (1.0, 1.0, 1.0))
        found = score_case(pair, schema, chosen_metrics(rules=["brats2024-gli"]))
        counts = {
            structure.name: value for (structure, metric), value in found.values.items() if metric.startswith("lesions_true")
        }
        assert counts[name] == (1 if gap <= most_apart else 2)
        assert counts["WT"] == (1 if gap <= 6 else 2)


def test_lesions_of_one_structure_equal_those_of_the_comparison():
    truth, prediction = np.zeros((2, 24, 24, 24), np.uint8)
    truth[2:8, 2:8, 2:8], truth[14:16, 14:16, 14:16] = 1, 1
    prediction[3:9, 2:8, 2:8], prediction[20:23, 2:5, 2:5] = 1, 1
    wt = Structure("region", "WT", (1,))
    pair = LabelPair.count(truth, prediction, 2, (1.0, 1.0, 1.0)).structure(wt.members, wt.name)
    found = lesion_scores(pair, wt, "brats2026-gli")
    assert [(each.true, each.matched, each.volume_mm3) for each in found] == [
        *((True, True, 216), (True, False, 8), (False, False, 27)),
    ]
    assert METRICS["lesion_f1@brats2026-gli"](pair) == 0.5
