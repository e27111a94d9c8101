"""Tables of lesions by volume."""

import math

import pytest

from data_prep.structures import Structure
from evaluation.scores.lesions import LesionScores
from evaluation.scores.patients import PatientScores
from evaluation.tables.lesions import format_lesions, lesion_structures, volume_groups

WT, EDEMA, ET = Structure("region", "WT", (1, 2)), Structure("class", "edema", (1,)), Structure("region", "ET", (2,))


def lesion(volume, dice=0.0, true=True, counted=True, structure=WT, rule="brats2023-met"):
    return LesionScores(structure, rule, true, counted, volume, dice > 0, dice, 1.0, 1.0)


MADE = [lesion(5.0), lesion(20.0, 0.5), lesion(99.0), lesion(5000.0, 0.9), lesion(1.0, counted=False), lesion(30.0, true=False)]


def test_lesions_are_grouped_by_volume():
    groups = volume_groups(MADE)
    assert [(group.title, len(group.dice), group.found, group.false_positives) for group in groups] == [
        ("0 to 20", 1, 0, 0),
        ("20 to 100", 2, 1, 1),
        ("100 to 1000", 0, 0, 0),
        ("1000 to 10000", 1, 1, 0),
        ("10000 or more", 0, 0, 0),
    ]
    assert [group.sensitivity for group in groups] == pytest.approx([0, 0.5, math.nan, 1, math.nan], nan_ok=True)


def test_structures_are_in_the_order_of_the_schema():
    assert lesion_structures([*MADE, lesion(1.0, structure=EDEMA), *MADE], [EDEMA, WT, ET]) == [EDEMA, WT]
    stored = Structure("region", "WT")  # read from per_lesion.csv, which has no classes of a region
    assert lesion_structures([lesion(1.0, structure=EDEMA), lesion(1.0, structure=stored)], [WT, EDEMA]) == [stored, EDEMA]


def test_the_table_has_a_row_for_each_group_with_lesions_of_each_rule():
    lesions = [("p", "c", each) for each in (*MADE, lesion(50.0, 1.0, rule="brats2026-mets"))]
    lines = format_lesions(PatientScores([WT], ["p"], [1], {}, {}, lesions)).splitlines()
    assert [line for line in lines if line.startswith("Lesions by volume")] == [
        "Lesions by volume, BraTS 2023 MET (BraTS-2023-Metrics, metrics.py); 1 patient",
        "Lesions by volume, BraTS 2026 mets (brats-evaluation 0.0.10); 1 patient",
    ]
    rows = [line.removeprefix("WT (region)").split() for line in lines if line.startswith("WT (region)")]
    assert [row[:3] for row in rows] == [
        *(["0", "to", "20"], ["20", "to", "100"], ["1000", "to", "10000"]),
        ["20", "to", "100"],
    ]
    assert rows[1] == ["20", "to", "100", "2", "1", "0.500", "0.250", "0.500", "1"]
    assert max(map(len, lines)) <= 110


def test_without_lesions_there_is_no_table():
    assert format_lesions(PatientScores([WT], ["p"], [1], {}, {})) == ""


def test_cases_without_usable_prediction_are_in_the_heading():
    scores = PatientScores([WT], ["p"], [1], {}, {}, [("p", "c", each) for each in MADE], {"d": "d.nii.gz: missing prediction"})
    assert "1 patient; false positives leave out 1 case without usable prediction" in " ".join(format_lesions(scores).split())
