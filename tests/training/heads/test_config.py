"""Heads by config: several on one network, and the gradients that each gets."""

import numpy as np
import pytest

from common.errors import UserError
from models.deepmedic import DeepMedicConfig
from models.unet import UNetConfig
from training.config import RecordsConfig, TrainConfig
from training.data.batches import InputConfig
from training.data.mixture import open_mixture, open_records
from training.heads.classification import ClassificationHead
from training.heads.config import HeadConfig
from training.heads.segmentation import SegmentationHead

TWO = {"hgg": HeadConfig(), "mets": HeadConfig()}
DEEPMEDIC = DeepMedicConfig(filters=[2, 3], factors=[2], hidden=[4], l1=0, l2=0, dropout=0)
DEFAULT = DeepMedicConfig(filters=[2, 3], factors=[2], hidden=[4])  # with weight decay and dropout


def heads_of(settings):
    return settings.make_heads(open_records(settings))


def test_without_heads_there_is_one_for_segmentation(records):
    assert list(heads_of(TrainConfig(records=records))) == ["segmentation"]


def test_each_head_has_the_classes_of_the_folders_that_annotate_it(records):
    settings = TrainConfig(records=[RecordsConfig(records, heads=["hgg"]), RecordsConfig(records, heads=["mets"])], heads=TWO)
    heads = heads_of(settings)
    assert list(heads) == ["hgg", "mets"]
    assert all(isinstance(head, SegmentationHead) and head.outputs == 4 for head in heads.values())


def test_a_segmentation_and_a_classification_head_go_together(records):
    made = heads_of(TrainConfig(records=records, heads={"voxels": HeadConfig(), "grade": HeadConfig(kind="classification")}))
    assert isinstance(made["grade"], ClassificationHead)
    assert isinstance(made["voxels"], SegmentationHead)


def test_a_head_without_records_is_refused(records):
    with pytest.raises(UserError, match="received hgg, so no folder annotates mets"):
        heads_of(TrainConfig(records=[RecordsConfig(records, heads=["hgg"])], heads=TWO))


@pytest.mark.parametrize("model", [UNetConfig(filters=2, depth=1), DEEPMEDIC, DEFAULT], ids=["unet", "deepmedic", "default"])
@pytest.mark.parametrize("batch_of", ["hgg", "mets"])
def test_a_case_gives_no_gradient_to_the_other_head(records, model, batch_of):
    """Exactly zero from the losses; weight decay, which belongs to no case, is no part of them."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    volumes = model.rank == 3
    given = InputConfig(batch_size=4, patch=(2 * model.margin + 2,) * 3 if volumes else None)
    entries = [RecordsConfig(records, heads=[name]) for name in TWO]
    settings = TrainConfig(records=entries, heads=TWO, model=model, input=given)
    opened = open_records(settings)
    heads = settings.make_heads(opened)
    data = open_mixture(settings, opened, heads)
    alone = data.folders[list(TWO).index(batch_of)]
    image, targets = next(iter(type(data)([alone], 1).training_batches(settings, 0)))
    other = next(name for name in TWO if name != batch_of)
    assert not targets[other].any()
    network = model.build(image.shape[-1], {name: head.outputs for name, head in heads.items()})
    losses = {name: head.loss({}, []) for name, head in heads.items()}
    with tf.GradientTape() as tape:
        logits = network(image, training=True)
        total = sum(losses[name](targets[name], logits[name]) for name in heads)
    gradients = tape.gradient(total, network.trainable_variables)
    reached = {"own": False, "shared": False}
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        moved = gradient is not None and bool(np.any(gradient))
        if variable.path.startswith(other):
            assert not moved, variable.path
        else:
            reached["own" if variable.path.startswith(batch_of) else "shared"] |= moved
    assert all(reached.values())
