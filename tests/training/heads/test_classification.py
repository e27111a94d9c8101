"""Classification head: its targets, its loss and its scores, annotated or not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from training.heads.classification import ClassificationHead

SCHEMA = LabelSchema.from_dict({"name": "two", "classes": {"background": 0, "tumour": 1}}, Path("two"))
GRADE = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})


@pytest.mark.parametrize(("tumour", "annotates", "expected"), [(True, True, 1.0), (False, True, -1.0), (True, False, -1.0)])
def test_a_class_index_is_minus_one_where_it_is_not_annotated(opened, tumour, annotates, expected):
    target = GRADE.read(opened, "case_0", tumour, annotates)
    assert (target.tolist(), target.dtype) == ([expected], np.float32)
    assert GRADE.unannotated(target).tolist() == [-1.0]


def test_unannotated_examples_do_not_change_loss_and_scores_of_the_others():
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(6, 1)).astype(np.float32), np.array([[0], [1], [1], [0], [1], [0]], np.float32)
    mixed, absent = np.concatenate([target, np.full((4, 1), -1, np.float32)]), rng.normal(size=(4, 1)).astype(np.float32)
    loss = ClassificationHead("grade", "grade", GRADE.classes, balance=False).loss({}, [])
    both = np.concatenate([logits, absent])
    assert float(loss(mixed, both)) == pytest.approx(float(loss(target, logits)), rel=1e-6)
    for alone, among in zip(GRADE.metrics(""), GRADE.metrics(""), strict=True):
        alone.update_state(target, logits)
        among.update_state(mixed, both)
        assert float(among.result()) == pytest.approx(float(alone.result()), rel=1e-6)


def test_values_of_classes_are_compared_as_numbers_and_their_patients_are_listed(opened):
    head = ClassificationHead("grade", "grade", {"low": ["2.0"], "high": ["3"]})
    facts = dict.fromkeys(opened.cases)
    for value, case in zip(("2", "3", "", "2"), facts, strict=False):
        facts[case] = replace(opened.cases[case], attributes={"grade": value} if value else {})
    records = SimpleNamespace(cases={case: each for case, each in facts.items() if each is not None}, path=Path("r"))
    assert list(head.indices(records).values()) == [0, 1, 0]
    line = head.description([records], [list(records.cases)])
    assert line == "training patients by grade: high 1 patient, low 2 patients; without: 1 patient"
