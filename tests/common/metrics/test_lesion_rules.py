import json

import pytest

from common.metrics.lesion_rules import LESION_RULES

TASKS = {
    2023: {"gli", "ssa", "ped", "men", "met"},
    2024: {"gli", "met", "men", "men-rt", "ped", "ssa"},
    2026: {f"{task}{suffix}" for task in ("gli", "mets", "ped", "menrt") for suffix in ("", "-official")},
}


def test_rules_by_year_and_task():
    assert set(LESION_RULES) == {f"brats{year}-{task}" for year, tasks in TASKS.items() for task in tasks}


@pytest.mark.parametrize(
    ("name", "dilation", "threshold"),
    [
        ("brats2023-gli", 3, 50),
        ("brats2023-ssa", 3, 50),
        ("brats2023-ped", 3, 50),
        ("brats2023-men", 1, 50),
        ("brats2023-met", 1, 2),
        ("brats2024-gli", 3, 20),
        ("brats2024-met", 1, 2),
        ("brats2024-men", 1, 50),
        ("brats2024-men-rt", 1, 50),
        ("brats2024-ped", 5, 10),
        ("brats2024-ssa", 3, 50),
        ("brats2026-mets", 0, 20),
        ("brats2026-gli", 0, 0),
    ],
)
def test_dilation_and_threshold(name, dilation, threshold):
    assert (LESION_RULES[name].dilation, LESION_RULES[name].threshold_mm3) == (dilation, threshold)


@pytest.mark.parametrize("name", LESION_RULES)
def test_a_rule_is_written_with_its_version(name):
    rule = LESION_RULES[name]
    facts = json.loads(json.dumps(rule.facts(), allow_nan=False))
    assert facts["version"] == rule.version
    assert facts["version"] in rule.title
    assert facts["connectivity"] == 26


def test_exceptions_belong_to_a_region():
    rule = LESION_RULES["brats2024-gli"]
    assert [
        (each.dilation, each.threshold_mm3)
        for each in map(rule.of_region, ("WT", "ET", "netc", "RC", "SNFH", "resection cavity"))
    ] == [
        *((3, 20), (3, 10), (5, 20), (5, 20), (3, 20), (5, 20)),
    ]


def test_a_threshold_is_inclusive_or_not():
    assert not LESION_RULES["brats2023-gli"].counts(50)
    assert LESION_RULES["brats2023-gli"].counts(50.5)
    assert LESION_RULES["brats2026-mets"].counts(20)
    assert not LESION_RULES["brats2026-mets"].counts(19.5)


def test_lesions_of_any_size_are_detected_where_a_rule_divides_sizes():
    assert not LESION_RULES["brats2023-met"].detects(2)
    assert LESION_RULES["brats2023-met"].detects(3)
    assert LESION_RULES["brats2026-mets"].detects(1)


def test_a_rule_of_2024_names_its_file_and_the_commit_where_it_is_known():
    assert LESION_RULES["brats2024-men-rt"].version == "BraTS-2024-Metrics, metrics_MEN_RT.py at 9e8879a"
    assert LESION_RULES["brats2024-gli"].version == "BraTS-2024-Metrics, metrics_GLI.py at 9e8879a"
    assert LESION_RULES["brats2024-met"].version == "BraTS-2024-Metrics, metrics_MET.py of 2024"
    assert LESION_RULES["brats2023-met"].version == "BraTS-2023-Metrics, metrics.py"


def test_tolerances_have_names():
    assert LESION_RULES["brats2024-gli"].tolerances_mm == {"nsd": 1.0, "nsd_05mm": 0.5}
    assert LESION_RULES["brats2023-gli"].tolerances_mm == {"nsd": 1.0}
    assert LESION_RULES["brats2026-gli"].tolerances_mm == {"nsd": None}
