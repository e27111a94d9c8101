"""Targets by head, and sources that are mapped and joined."""

import numpy as np

from data_prep.records.folder import Records
from training.data.targets import FolderTargets, Joined, Mapped
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead

GRADE = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})


def test_joined_sources_follow_one_another():
    joined = Joined([[1, 2], [3], [4, 5, 6]])
    assert len(joined) == 6
    assert [joined[index] for index in range(6)] == [1, 2, 3, 4, 5, 6]


def test_a_mapped_source_is_mapped_as_it_is_read():
    mapped = Mapped([1, 2], lambda value: value * 10)
    assert (len(mapped), mapped[1]) == (2, 20)


def test_labels_are_read_where_a_head_needs_them(records):
    opened = Records(records)
    alone = FolderTargets(opened, {"grade": GRADE}, frozenset({"grade"}))
    assert list(alone.read("case_0", lambda: True, lambda: 1 / 0)) == ["grade"]
    assert (alone.final, alone.tumour_only) == (None, True)
    heads = {"hgg": SegmentationHead("hgg", opened.schema), "grade": GRADE}
    both = FolderTargets(opened, heads, frozenset({"hgg"}))
    assert not both.tumour_only
    label = np.ones((2, 2), np.uint8)
    _, targets = both.final((None, both.read("case_0", lambda: True, lambda: label)))
    assert targets["hgg"] is label
    assert targets["grade"].tolist() == [-1.0]


def test_cases_without_a_target_are_left_out(records):
    opened = Records(records)
    other = ClassificationHead("site", "site", {"a": ["1"], "b": ["2"]})
    cases = list(opened.cases)
    assert FolderTargets(opened, {"site": other}, frozenset({"site"})).cases(cases) == []
    assert FolderTargets(opened, {"site": other, "grade": GRADE}, frozenset({"site", "grade"})).cases(cases) == cases
