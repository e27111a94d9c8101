import pytest

from data_prep.categories import category, class_counts, known_attributes, normalised_classes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((word, "") for word in ("", " ", "NaN", "n/a", "NA", "None", "null", "#N/A", None)),
        *((number, "2") for number in ("2", "2.0", " 2 ", "02", "+2.00", "2.")),
        *(("100", "100"), ("0.50", "0.5"), ("-1.0", "-1"), ("-0.0", "0"), ("000", "0")),
        *(("II", "II"), ("1e3", "1e3"), ("2.0.1", "2.0.1"), ("inf", "inf"), ("2 years", "2 years")),
        ("123456789012345678", "123456789012345678"),
    ],
)
def test_missing_is_missing_and_numbers_are_numbers(text, expected):
    assert category(text) == expected
    assert category(expected) == expected


def test_attributes_and_classes_are_compared_alike():
    assert known_attributes({"grade": "3.0", "mgmt": "NaN"}) == {"grade": "3"}
    assert normalised_classes({"low": ["2.0", "1"], "high": ["3"]}) == {"low": ["2", "1"], "high": ["3"]}


def test_counts_name_every_class_and_those_without():
    line = class_counts("grade", {"a": "II", "b": "III", "c": "II", "d": ""})
    assert line == "grade: II 2 patients, III 1 patient; without: 1 patient"
