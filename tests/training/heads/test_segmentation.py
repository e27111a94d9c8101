"""Segmentation head: its targets, and its loss in a phase."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from training.data.batches import LABEL
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead
from training.objectives.losses import BceDiceConfig, FocalConfig

SCHEMA = LabelSchema.from_dict({"name": "two", "classes": {"background": 0, "tumour": 1}}, Path("two"))
GRADE = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})


def test_the_label_is_the_target_of_voxels(opened):
    head, label = SegmentationHead("hgg", SCHEMA), np.array([[1, 2]], np.uint8)
    assert head.read(opened, "case_0", True, True) is None
    assert head.augmented({LABEL: label}, annotates=True) is label
    assert not head.augmented({LABEL: label}, annotates=False).any()


def test_a_phase_changes_numbers_of_the_loss():
    bits, logits = np.array([[[1, 2], [2, 2]]], np.uint8), np.zeros((1, 2, 2, 2), np.float32)
    head = SegmentationHead("hgg", SCHEMA, BceDiceConfig())
    assert float(head.loss({"bce": 0.0, "dice": 0.0}, [])(bits, logits)) == 0
    assert float(head.loss({}, [])(bits, logits)) > 0.5
    focal = SegmentationHead("hgg", SCHEMA, FocalConfig(gamma=0.0))
    assert float(focal.loss({}, [])(bits, logits)) == pytest.approx(np.log(2), rel=1e-6)
