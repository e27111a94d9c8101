"""Tests of ids that may be of one patient."""

import pytest

from common.errors import UserError
from data_prep.leakage.names import alike_names, join_patients
from data_prep.scans.case import CaseFiles


def cases(*patients):
    return [CaseFiles(f"case {number}", patient, {}) for number, patient in enumerate(patients)]


@pytest.mark.parametrize(
    ("patients", "named"),
    [
        (["anna", "Anna", "berta"], "anna, Anna"),
        (["X_11", "X_21", "Y_11", "Z_11"], "X_11, X_21"),
        (["p7_t1", "p7_t2", "p8_t1"], "p7_t1, p7_t2"),
        (["UPENN-0004", "UPENN-0004_FU003d", "UPENN-0005"], "UPENN-0004, UPENN-0004_FU003d"),
        (["A-0001-000", "A-0001-001", "A-0002-000"], "A-0001-000, A-0001-001"),
        (["sub-3_ses-1", "sub-3_ses-2"], "sub-3_ses-1, sub-3_ses-2"),
    ],
)
def test_alike_ids_are_named_with_the_option_that_joins_them(patients, named):
    (line,) = alike_names(patients)
    assert set(line.split("patients ")[1].split(" differ")[0].split(" may")[0].split(", ")) == set(named.split(", "))
    pattern = line.split("--patient_pattern '")[1].removesuffix("'")
    joined = join_patients(cases(*patients), pattern)
    assert len({case.patient for case in joined}) == len(patients) - 1


@pytest.mark.parametrize(
    "patients",
    [
        [f"case_{number}" for number in range(5)],
        [f"BraTS2021_{number:05d}" for number in range(9)],
        ["Brats18_CBICA_ABM_1", "Brats18_TCIA01_378_1", "Brats18_TCIA02_370_1"],
        ["TCGA_CS_4941_19960909", "TCGA_CS_6666_20011109"],
        ["anna", "berta"],
        [f"{site}-{number:02d}" for site in ("leeds", "york") for number in range(8)],
    ],
)
def test_numbers_of_patients_are_no_time_points(patients):
    assert alike_names(patients) == []


def test_an_id_without_a_match_stays_as_it_is():
    joined = join_patients(cases("a_t1", "a_t2", "b"), r"(.+)_t\d")
    assert [case.patient for case in joined] == ["a", "a", "b"]
    assert [case.patient for case in join_patients(cases("a_t1"), None)] == ["a_t1"]


@pytest.mark.parametrize("pattern", ["(", "abc", "(x+)_y"])
def test_a_pattern_that_finds_no_patient_is_refused(pattern):
    with pytest.raises(UserError, match="--patient_pattern: expected a regular expression"):
        join_patients(cases("a_t1", "b_t1"), pattern)
