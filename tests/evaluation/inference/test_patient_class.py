"""A patient's class from slices: which of them are looked at, and the table of all cases."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.scans.case import CaseFiles
from evaluation.inference.patient_class import ClassifiedCase, classify_patient, write_classes
from training.heads.classification import ClassificationHead

TOLD = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]], np.float32)
FILES = CaseFiles("case_7", "patient_7", {}, attributes={"grade": "LGG", "age": "40"})


def classifiers(slices="tumour", attribute="grade"):
    classes = {"HGG": ["HGG"], "LGG": ["LGG"]}
    target = ClassificationHead("classification", attribute, classes, slices_with_tumour=slices == "tumour")
    return SimpleNamespace(target=target, probabilities=lambda image: TOLD[: len(image)])


def classes(*tumour, fill=1):
    found = np.zeros((4, 3, 3), np.uint8)
    found[list(tumour), 1, 1] = fill
    return found


IMAGE = np.zeros((4, 3, 3, 1), np.float16)


@pytest.mark.parametrize(
    ("slices", "voxels", "chosen"),
    [
        ("tumour", classes(1, 2), [1, 2]),
        ("tumour", classes(3, fill=3), [3]),
        ("tumour", classes(), [0, 1, 2, 3]),  # no tumour was seen
        ("tumour", classes(1, fill=255), [0, 1, 2, 3]),  # not annotated is no tumour
        ("tumour", None, [0, 1, 2, 3]),  # nothing is known
        ("all", classes(1, 2), [0, 1, 2, 3]),
    ],
)
def test_the_slices_that_the_classifier_was_trained_on_are_looked_at(slices, voxels, chosen):
    row = classify_patient(FILES, classifiers(slices), IMAGE, voxels)
    np.testing.assert_allclose(row.probabilities, TOLD[chosen].mean(axis=0), rtol=1e-6)
    assert (row.slices, row.case, row.patient, row.attribute) == (len(chosen), "case_7", "patient_7", "LGG")


def test_an_attribute_that_the_source_does_not_tell_is_empty():
    assert classify_patient(FILES, classifiers(attribute="code"), IMAGE, None).attribute == ""


def test_the_table_has_a_row_per_case(tmp_path):
    rows = [
        ClassifiedCase("a", "p", "LGG", 3, np.array([0.25, 0.75])),
        ClassifiedCase("b, c", "q", "", 1, np.array([0.5, 0.5])),
    ]
    path = write_classes(tmp_path, classifiers().target, "random initialisation", rows)
    assert path == tmp_path / "classes.csv"
    assert list(csv.reader(path.read_text().splitlines())) == [
        ["case", "patient", "grade", "predicted", "probability HGG", "probability LGG", "slices", "backbone"],
        ["a", "p", "LGG", "LGG", "0.250000", "0.750000", "3", "random initialisation"],
        ["b, c", "q", "", "HGG", "0.500000", "0.500000", "1", "random initialisation"],
    ]
