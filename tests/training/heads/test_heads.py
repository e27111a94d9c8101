"""Heads: rebuilt from run.json, targets of examples, and losses that are exactly 0 where nothing is annotated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from data_prep.records.folder import Records
from models.unet import UNetConfig
from training.data.batches import LABEL
from training.heads import HEADS, head_from_metadata
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead
from training.objectives.losses import BceDiceConfig, FocalConfig

SCHEMA = LabelSchema.from_dict({"name": "two", "classes": {"background": 0, "tumour": 1}}, Path("two"))
GRADE = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})


@pytest.fixture(scope="module")
def opened(records):
    return Records(records)


@pytest.mark.parametrize(
    "head",
    [
        SegmentationHead("hgg", SCHEMA),
        GRADE,
        ClassificationHead("type", "code", {"a": ["1", "2"], "b": ["3"], "c": ["4"]}, slices_with_tumour=False),
    ],
)
def test_a_head_is_rebuilt_from_its_metadata(head):
    assert head.metadata()["kind"] in HEADS
    assert head_from_metadata(head.name, head.metadata(), "run.json") == head


def test_an_unknown_kind_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"run\.json: head h: expected a kind of segmentation, classification; received box"):
        head_from_metadata("h", {"kind": "box"}, "run.json")


def test_the_label_is_the_target_of_voxels(opened):
    head, label = SegmentationHead("hgg", SCHEMA), np.array([[1, 2]], np.uint8)
    assert head.read(opened, "case_0", True, True) is None
    assert head.augmented({LABEL: label}, annotates=True) is label
    assert not head.augmented({LABEL: label}, annotates=False).any()


@pytest.mark.parametrize(("tumour", "annotates", "expected"), [(True, True, 1.0), (False, True, -1.0), (True, False, -1.0)])
def test_a_class_index_is_minus_one_where_it_is_not_annotated(opened, tumour, annotates, expected):
    target = GRADE.read(opened, "case_0", tumour, annotates)
    assert (target.tolist(), target.dtype) == ([expected], np.float32)
    assert GRADE.unannotated(target).tolist() == [-1.0]


def test_a_phase_changes_numbers_of_the_loss():
    bits, logits = np.array([[[1, 2], [2, 2]]], np.uint8), np.zeros((1, 2, 2, 2), np.float32)
    head = SegmentationHead("hgg", SCHEMA, BceDiceConfig())
    assert float(head.loss({"bce": 0.0, "dice": 0.0}, [])(bits, logits)) == 0
    assert float(head.loss({}, [])(bits, logits)) > 0.5
    focal = SegmentationHead("hgg", SCHEMA, FocalConfig(gamma=0.0))
    assert float(focal.loss({}, [])(bits, logits)) == pytest.approx(np.log(2), rel=1e-6)


def test_the_headline_is_the_first_score_that_is_there():
    assert GRADE.headline({"val_auc": 0.25, "val_accuracy": 0.5}, "val_") == "AUC 0.250"
    assert GRADE.headline({"grade_accuracy": 0.5}, "grade_") == "accuracy 0.500"
    assert SegmentationHead("hgg", SCHEMA).headline({"loss": 1.0}, "") is None


@pytest.fixture(scope="module")
def two_heads():
    """A network with a head of voxels and one of images on one trunk, and its losses by head."""
    import keras

    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    heads = {"hgg": SegmentationHead("hgg", SCHEMA), "grade": GRADE}
    outputs = {name: head.outputs for name, head in heads.items()}
    network = UNetConfig(filters=2, depth=1).build(1, outputs, pooled=["grade"])
    losses = {"hgg": heads["hgg"].loss({}, []), "grade": replace(GRADE, balance=False).loss({}, [])}
    return network, losses


@pytest.mark.parametrize("absent", ["hgg", "grade"])
def test_an_unannotated_example_gives_exactly_no_gradient_to_the_head(two_heads, absent):
    import tensorflow as tf

    network, losses = two_heads
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    targets = {"hgg": np.full((3, 8, 8), 2, np.uint8), "grade": np.array([[0.0], [1.0], [1.0]], np.float32)}
    targets[absent] = {"hgg": np.zeros((3, 8, 8), np.uint8), "grade": np.full((3, 1), -1, np.float32)}[absent]
    with tf.GradientTape() as tape:
        outputs = network(images, training=True)
        values = {name: loss(targets[name], outputs[name]) for name, loss in losses.items()}
        total = values["hgg"] + values["grade"]
    weights = {variable.path: variable.value for variable in network.trainable_variables}
    gradients = dict(zip(weights, tape.gradient(total, list(weights.values())), strict=True))
    present = "hgg" if absent == "grade" else "grade"
    assert float(values[absent]) == 0.0
    assert float(values[present]) > 0
    for path, gradient in gradients.items():
        if path.startswith(f"{absent}/"):
            np.testing.assert_array_equal(np.asarray(gradient), 0.0)
        if path.startswith(f"{present}/"):
            assert np.abs(np.asarray(gradient)).max() > 0


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
