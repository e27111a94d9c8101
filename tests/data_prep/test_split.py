import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.configs import find_config
from common.errors import UserError
from data_prep.scans.case import CaseFiles
from data_prep.split import SUBSETS, SplitConfig, fold_names, make_folds, make_split, stratify_warning


def cases(count, scans=1, **attributes):
    """`scans` cases each of `count` patients; an attribute is a function of the patient's number."""
    return [
        CaseFiles(
            f"c{patient:04d}_{scan}", f"p{patient:04d}", {}, None, {name: value(patient) for name, value in attributes.items()}
        )
        for patient in range(count)
        for scan in range(scans)
    ]


def sizes(split):
    return tuple(len(split[name]) for name in SUBSETS)


def write(path, lists):
    path.write_text(json.dumps(lists) if path.suffix == ".json" else yaml.safe_dump(lists))
    return SplitConfig(file=path)


def test_484_patients_divide_as_in_the_paper():
    assert sizes(make_split(cases(484), SplitConfig())) == (338, 73, 73)


@pytest.mark.parametrize(("tumour", "expected"), [("hgg", (40, 6, 20)), ("mets", (9, 6, 20))])
def test_the_synthetic_tumour_types_divide_as_their_configs_say(tumour, expected):
    configs = [yaml.safe_load(find_config(f"braintumornet/{name}_{tumour}").read_text()) for name in ("phantom", "data")]
    fractions = tuple(configs[1]["split"]["fractions"])
    assert configs[0]["tumour"] == tumour
    assert sizes(make_split(cases(configs[0]["cases"]), SplitConfig(fractions=fractions))) == expected


@pytest.mark.parametrize(
    ("count", "fractions", "expected"),
    [
        (3, (0.7, 0.15, 0.15), (1, 1, 1)),
        (6, (0.7, 0.15, 0.15), (4, 1, 1)),
        (10, (0.8, 0.2, 0), (8, 2, 0)),
        (1, (1, 0, 0), (1, 0, 0)),
        (7, (1, 0, 0), (7, 0, 0)),
        (2, (0.5, 0, 0.5), (1, 0, 1)),
    ],
)
def test_every_subset_that_has_a_share_gets_a_patient(count, fractions, expected):
    assert sizes(make_split(cases(count), SplitConfig(fractions=fractions))) == expected


@settings(max_examples=60, deadline=None)
@given(
    scans=st.lists(st.integers(1, 3), min_size=4, max_size=40),
    grades=st.data(),
    seed=st.integers(0, 2**32),
    folds=st.integers(2, 4),
    stratify=st.booleans(),
)
def test_a_patient_never_stands_on_two_sides(scans, grades, seed, folds, stratify):
    given_cases = [
        CaseFiles(f"p{patient}_{number}", f"p{patient}", {}, None, {"grade": grade})
        for patient, count in enumerate(scans)
        for grade in [grades.draw(st.sampled_from("AB"))]
        for number in range(count)
    ]
    config = SplitConfig(seed=seed, folds=folds, stratify="grade" if stratify else None)
    split = make_split(given_cases, config)
    patient_of = {case.id: case.patient for case in given_cases}
    for sides in (split, *make_folds(given_cases, config)):
        listed = [case for ids in sides.values() for case in ids]
        assert sorted(listed) == sorted(patient_of)
        assert all(list(ids) == sorted(ids) for ids in sides.values())
        patients = [patient for ids in sides.values() for patient in {patient_of[case] for case in ids}]
        assert len(patients) == len(scans)


def test_the_seed_names_the_division():
    given_cases = cases(30)
    splits = [make_split(given_cases, SplitConfig(seed=seed)) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert make_split(given_cases[::-1], SplitConfig(seed=0)) == splits[0]


def test_stratified_subsets_have_the_same_shares():
    given_cases = cases(100, grade=lambda patient: "LGG" if patient < 25 else "HGG")
    grade = {case.id: case.attributes["grade"] for case in given_cases}
    config = SplitConfig(fractions=(0.6, 0.2, 0.2), stratify="grade", folds=5)
    split = make_split(given_cases, config)
    assert [Counter(grade[case] for case in split[name])["LGG"] for name in SUBSETS] == pytest.approx([15, 5, 5], abs=1)
    for fold in make_folds(given_cases, config):
        assert Counter(grade[case] for case in fold["validation"]) == {"LGG": 5, "HGG": 15}


def test_folds_validate_on_every_case_once():
    given_cases = cases(11, scans=2)
    folds = make_folds(given_cases, SplitConfig(folds=3))
    assert sorted(case for fold in folds for case in fold["validation"]) == sorted(case.id for case in given_cases)
    assert sorted(len(fold["validation"]) for fold in folds) == [6, 8, 8]
    assert make_folds(given_cases, SplitConfig()) == []


def test_a_group_makes_a_fold_of_each_value():
    given_cases = cases(7, scans=2, site=lambda patient: "CS" if patient < 3 else "AB")
    folds = make_folds(given_cases, SplitConfig(group="site"))
    site = {case.id: case.attributes["site"] for case in given_cases}
    assert [{site[case] for case in fold["validation"]} for fold in folds] == [{"AB"}, {"CS"}]
    assert all(sorted(fold["train"] + fold["validation"]) == sorted(site) for fold in folds)


def test_folds_are_named_by_the_groups_that_they_leave_out():
    folds = [["a", "b"], ["c"]]
    sites = {"a": {"grade": "2", "site": "CS"}, "b": {"grade": "3", "site": "CS"}, "c": {"grade": "2", "site": "DU"}}
    assert fold_names(folds, sites) == ["fold 0: CS", "fold 1: DU"]
    assert fold_names(folds, sites | {"b": {"site": "DU"}}) == ["fold 0", "fold 1"]
    assert fold_names(folds, sites | {"c": {}}) == ["fold 0", "fold 1"]
    assert fold_names(folds, {}) == ["fold 0", "fold 1"]


@pytest.mark.parametrize(
    ("settings", "site", "said"),
    [
        ({"folds": 2}, lambda patient: str(patient), "expected no --split.folds beside it; received 2"),
        ({}, lambda patient: "CS", "of at least two values; received CS for all; attributes: site"),
        ({}, lambda patient: "CS" if patient else "", "received 1 of 3 patients without it"),
    ],
)
def test_a_group_that_makes_no_folds_is_refused(settings, site, said):
    with pytest.raises(UserError, match=said):
        make_folds(cases(3, site=site), SplitConfig(group="site", **settings))


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_lists_of_patients_or_cases_are_taken(tmp_path, suffix):
    lists = {"train": ["p0000", "c0001_0"], "test": ["p0003"]}
    split = make_split(cases(5, scans=2), write(tmp_path / f"lists{suffix}", lists))
    assert split == {"train": ["c0000_0", "c0000_1", "c0001_0"], "validation": [], "test": ["c0003_0", "c0003_1"]}


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"train": ["p0000"], "test": ["p0009"]}, "'p0009' is no patient or case"),
        ({"train": ["p0000"], "test": ["p0000"]}, "p0000 stands in train and in test"),
        ({"train": ["c0000_0"], "validation": ["c0000_1"]}, "p0000 stands in train and in validation"),
        ({"test": ["p0000"]}, "expected lists"),
        ({"train": []}, "expected lists"),
        ({"train": ["p0000"], "dev": []}, "expected lists"),
        (["p0000"], "expected lists"),
        (None, "expected lists"),
    ],
)
def test_bad_lists_are_refused(tmp_path, lists, said):
    with pytest.raises(UserError, match=said) as error:
        make_split(cases(3, scans=2), write(tmp_path / "lists.yaml", lists))
    assert str(tmp_path / "lists.yaml") in str(error.value)


@pytest.mark.parametrize("lists", [{"train": "p0000"}, {"train": 3}, {"train": {"p0000": 1}, "test": 5}])
def test_what_is_no_list_is_refused(tmp_path, lists):
    with pytest.raises(UserError):
        make_split(cases(3), write(tmp_path / "lists.yaml", lists))


def test_a_missing_file_is_refused():
    with pytest.raises(UserError, match="split file not found"):
        make_split(cases(3), SplitConfig(file=Path("nowhere.yaml")))


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (0, 0.5, 0.5), (1.2, -0.2, 0), (float("nan"), 0, 0)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(UserError, match="three shares that sum to 1"):
        make_split(cases(10), SplitConfig(fractions=fractions))


def test_too_few_patients_are_refused():
    with pytest.raises(UserError, match=r"2 patients: too few .*\[1, 0, 0\]"):
        make_split(cases(2, scans=5), SplitConfig())


@pytest.mark.parametrize("folds", [1, -1, 6])
def test_a_number_of_folds_that_cannot_be_is_refused(folds):
    with pytest.raises(UserError, match=f"--split.folds: expected 0, or 2 to 5 .* received {folds}"):
        make_folds(cases(5), SplitConfig(folds=folds))


def test_patients_without_the_attribute_are_a_group_of_their_own():
    given_cases = cases(40, grade=lambda patient: "" if patient < 8 else "1" if patient < 20 else "2")
    grade = {case.id: case.attributes["grade"] for case in given_cases}
    config = SplitConfig(fractions=(0.5, 0.25, 0.25), stratify="grade", folds=4)
    split = make_split(given_cases, config)
    assert [Counter(grade[case] for case in split[name])[""] for name in SUBSETS] == [4, 2, 2]
    for fold in make_folds(given_cases, config):
        assert Counter(grade[case] for case in fold["validation"]) == {"": 2, "1": 3, "2": 5}


def test_patients_without_the_attribute_are_told_in_a_line():
    config = SplitConfig(stratify="grade")
    some = cases(6, scans=2, grade=lambda patient: "LGG" if patient > 1 else "")
    assert stratify_warning(some, config) == (
        "split.stratify: 2 of 6 patients have no 'grade', first p0000; they are spread evenly as a group of their own"
    )
    assert stratify_warning(some, SplitConfig()) is None
    assert stratify_warning(cases(6, grade=lambda patient: "LGG"), config) is None


def test_a_patient_has_the_attribute_of_any_of_its_cases():
    one, other = (CaseFiles(f"c{n}", "p", {}, None, {"grade": "2"} if n else {}) for n in (1, 0))
    assert stratify_warning([one, other], SplitConfig(stratify="grade")) is None


@pytest.mark.parametrize(("attributes", "known"), [({"grade": str}, "grade"), ({}, "none at all")])
def test_an_attribute_that_no_patient_has_is_refused(attributes, known):
    with pytest.raises(UserError, match=f"none of 6 patients has 'age'; their attributes: {known}"):
        make_split(cases(6, **attributes), SplitConfig(stratify="age"))


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="seed"):
        make_split(cases(6), SplitConfig(seed=-1))


def test_ids_in_a_file_are_text_and_keep_their_zeros(tmp_path):
    """YAML reads 0010 as the octal number 8, 010 as 8, 1_0 as 10 and 1e1 as a float: other patients would be chosen."""
    names = ["8", "10", "0010", "010", "1_0", "1e1", "2020-01-01", "null"]
    listed = [CaseFiles(name, name, {}) for name in names]
    file = tmp_path / "split.yaml"
    file.write_text("train: [0010, 1_0, 1e1, 2020-01-01, null]\nvalidation:\ntest: [010]\n")
    split = make_split(listed, SplitConfig(file=file))
    assert split == {"train": ["0010", "1_0", "1e1", "2020-01-01", "null"], "validation": [], "test": ["010"]}


def test_an_id_without_its_zeros_is_refused_with_the_right_one(tmp_path):
    config = write(tmp_path / "split.json", {"train": [7]})
    with pytest.raises(
        UserError, match=r"'7' is no patient .*; did you mean '007'\? Ids are text, and keep their zeros: quote"
    ):
        make_split([CaseFiles("007", "007", {})], config)
