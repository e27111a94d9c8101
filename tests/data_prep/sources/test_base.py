"""Checks and helpers that all layouts share."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import Problems, UserError
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources.base import choose_channels, id_problem, refuse, sorted_cases

ROOT = Path("root")


def case(name, path):
    return CaseFiles(name, name, {"t1": ImageRef(Path(path))})


def test_channels_come_in_the_order_asked_for():
    assert choose_channels(["t1", "t2"], None, ROOT) == ["t1", "t2"]
    assert choose_channels(["t1", "t2"], ["t2", "t1"], ROOT) == ["t2", "t1"]


@pytest.mark.parametrize("wanted", [["t3"], [], ["t1", "t1"]])
def test_channels_that_are_unknown_or_double_are_refused(wanted):
    with pytest.raises(UserError, match="--channels: expected different ones of t1, t2"):
        choose_channels(["t1", "t2"], wanted, ROOT)


def test_cases_are_sorted_and_double_ids_listed():
    assert [found.id for found in sorted_cases([case("b", "1"), case("a", "2")], ROOT)] == ["a", "b"]
    with pytest.raises(Problems) as error:
        sorted_cases([case("b", "1"), case("a", "2"), case("b", "3")], ROOT)
    assert error.value.lines == ["1: duplicate case id b, which also stands in 3; rename or remove one"]
    with pytest.raises(UserError, match="no cases found"):
        sorted_cases([], ROOT)


def test_one_problem_is_an_error_and_several_are_a_list():
    refuse([], case("a", "1"))
    with pytest.raises(UserError, match=r"^one$"):
        refuse(["one"], case("a", "1"))
    with pytest.raises(Problems, match="case a: cannot be read"):
        refuse(["one", "two"], case("a", "1"))


@pytest.mark.parametrize(
    "names", [["../x"], ["T1/post", "t2"], [".t1"], ["label"], ["t1", "Brain"], ["patient_id"], ["t1", "T1"]]
)
def test_channels_whose_files_would_be_others_are_refused(tmp_path, names):
    with pytest.raises(UserError, match=r"channel .*: expected a name for files, other than label, brain, case_id, patient_id"):
        choose_channels(names, None, tmp_path)
    assert choose_channels(["T1 KM", "t1.2", "Fälle"], None, tmp_path) == ["T1 KM", "t1.2", "Fälle"]


@pytest.mark.parametrize(
    "identifier", ["BraTS-GLI-00005-000", "Müller 2", "患者7", "Mu\u0308ller", "v1.2", "copy1", "a.copy", "é" * 100]
)
def test_letters_of_any_alphabet_make_an_id(identifier):
    assert id_problem(identifier) is None


@pytest.mark.parametrize(
    "identifier",
    ["", ".a", "a.", " a", "a ", "a/b", "a\\b", "a\nb", "a\x1b[31mb", "a:b", "=1+1", "a*", "é" * 101, "b\udcff", "a\u202eb"],
)
def test_other_characters_and_long_ids_are_refused(identifier):
    problem = id_problem(identifier)
    assert problem is not None
    assert "expected a name for files: 1 to 200 bytes" in problem
    assert problem.isprintable()
    assert problem.encode()


@pytest.mark.parametrize("identifier", ["a.copy1", "a.COPY12", "a_probabilities", "scores", "Overlays", "cases.csv"])
def test_names_of_other_files_are_no_ids(identifier):
    assert "names files of the toolkit beside those of cases; rename it" in id_problem(identifier)
    with pytest.raises(Problems, match="cannot be used"):
        sorted_cases([case(identifier, "1")], ROOT)


def test_ids_differ_beyond_letter_case_and_accents_in_two_spellings():
    for one, other in (("Anna", "anna"), ("M\u00fcller", "Mu\u0308ller")):
        with pytest.raises(Problems, match="differ in letter case, which also stands in 2"):
            sorted_cases([case(one, "1"), case(other, "2")], ROOT)


def test_attributes_of_every_layout_are_categories():
    (found,) = sorted_cases([replace(case("a", "1"), attributes={"grade": "2.0", "mgmt": "NaN"})], ROOT)
    assert found.attributes == {"grade": "2"}
