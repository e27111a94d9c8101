"""Heads: rebuilt from run.json, and losses that are exactly 0 where nothing is annotated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from models.unet import UNetConfig
from training.heads import HEADS, head_from_metadata
from training.heads.base import monitored_score, monitored_words
from training.heads.classification import ClassificationHead
from training.heads.segmentation import SegmentationHead

SCHEMA = LabelSchema.from_dict({"name": "two", "classes": {"background": 0, "tumour": 1}}, Path("two"))
GRADE = ClassificationHead("grade", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})


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


def test_the_headline_is_the_first_score_that_is_there():
    assert GRADE.headline({"val_auc": 0.25, "val_accuracy": 0.5}, "val_") == "AUC 0.250"
    assert GRADE.headline({"grade_accuracy": 0.5}, "grade_") == "accuracy 0.500"
    assert SegmentationHead("hgg", SCHEMA).headline({"loss": 1.0}, "") is None


def test_the_headline_is_the_monitored_score_where_the_head_has_it():
    row = {"val_mean_iou": 0.25, "val_mean_dice": 0.5}
    head = SegmentationHead("hgg", SCHEMA)
    assert head.headline(row, "val_", "mean_dice") == "mean Dice with background 0.500"
    assert head.headline(row, "val_", "auc") == head.headline(row, "val_") == "mean IoU with background 0.250"


def test_the_mean_over_the_foreground_comes_first():
    head = SegmentationHead("hgg", SCHEMA)
    row = {f"dice_{name.replace(' ', '_').replace('-', '_')}": 0.25 * place for place, name in enumerate(head.class_names)}
    mean = sum(0.25 * place for place in range(1, len(row))) / (len(row) - 1)
    assert (
        head.headline(row | {"mean_iou": 0.9}, "") == f"mean Dice without background {mean:.3f}, mean IoU with background 0.900"
    )
    assert head.headline(row, "") == f"mean Dice without background {mean:.3f}"


@pytest.mark.parametrize(
    ("heads", "monitor", "score", "words"),
    [
        (["hgg"], "mean_iou", (None, "mean_iou"), "mean IoU with background"),
        (["hgg", "mets"], "mean_dice", (None, "mean_dice"), "mean Dice with background, mean of heads"),
        (["hgg", "mets"], "mets_mean_dice", ("mets", "mean_dice"), "mets mean Dice with background"),
        (["hgg", "mets"], "loss", (None, "loss"), "loss"),
        (["mean", "mets"], "mean_dice", (None, "mean_dice"), "mean Dice with background, mean of heads"),
    ],
)
def test_the_monitored_score_has_a_head_and_words(heads, monitor, score, words):
    heads = {name: SegmentationHead(name, SCHEMA) for name in heads}
    assert monitored_score(monitor, heads) == score
    assert monitored_words(monitor, heads) == words


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
