"""Settings that cannot be trained with are refused, in one line, before anything is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UserError
from data_prep.augmentation.draw import AugmentConfig
from models.custom import CustomConfig
from models.deepmedic import DeepMedicConfig
from models.unet import UNetConfig
from training.config import ClassifyConfig, RecordsConfig, TrainConfig
from training.data.batches import InputConfig
from training.heads.classification import TargetConfig
from training.heads.config import HeadConfig
from training.optimizers import ScheduleConfig
from training.phases import PhaseConfig

TINY = "tests.models.custom_networks:tiny"
VOLUME = UNetConfig(rank=3, depth=2)
TAKES_ONE = CustomConfig(name=TINY, stride=2, input_size=[16, 16])


def refused(config, words):
    with pytest.raises(UserError, match=words) as caught:
        config.check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "patch", "words"),
    [
        (VOLUME, None, r"--input\.patch: a network of rank 3 takes patches of several slices.*received None"),
        (VOLUME, (1, 8, 8), r"--input\.patch: a network of rank 3 .*received \[1, 8, 8\]"),
        (UNetConfig(), (8, 8, 8), r"--input\.patch: a network of rank 2 takes one slice.*received \[8, 8, 8\]"),
        (VOLUME, (8, 8, 10), r"--input\.patch: expected sides that are multiples of 4; received \[8, 8, 10\]"),
        (VOLUME, (6, 8, 8), r"--input\.patch: expected sides that are multiples of 4; received \[6, 8, 8\]"),
        (UNetConfig(depth=3), (1, 8, 12), r"--input\.patch: expected sides that are multiples of 8; received \[8, 12\]"),
        (TAKES_ONE, (1, 8, 8), r"--input\.patch: the network takes \[1, 16, 16\] alone; received \[1, 8, 8\]"),
        (VOLUME, (0, 8, 8), r"input\.patch"),
        (replace(TAKES_ONE, margin=3), (1, 18, 18), r"--input\.patch: the network takes \[1, 16, 16\] alone; received"),
        (DeepMedicConfig(), (14, 14, 14), r"sides of more than 50, such as \[59, 59, 59\], .*received \[14, 14, 14\]"),
        (DeepMedicConfig(rank=2), None, r"such as \[1, 59, 59\], .*received None"),
    ],
)
def test_patches_that_do_not_fit_the_network(model, patch, words):
    refused(TrainConfig(model=model, input=InputConfig(patch=patch)), words)


@pytest.mark.parametrize(
    ("model", "patch"),
    [(VOLUME, (4, 8, 16)), (UNetConfig(), (1, 8, 16)), (UNetConfig(), None), (TAKES_ONE, (1, 16, 16)), (TAKES_ONE, None)],
)
def test_patches_that_fit(model, patch):
    TrainConfig(model=model, input=InputConfig(patch=patch)).check()


@pytest.mark.parametrize("changes", [{"size": (8, 8)}, {"resize": (8, 8)}, {"drop_empty": True}])
def test_what_shapes_slices_does_not_go_with_patches(changes):
    refused(TrainConfig(input=InputConfig(patch=(1, 8, 8), **changes)), rf"--input\.{next(iter(changes))}: shapes whole slices")


def test_neighbours_belong_to_2d_networks():
    refused(TrainConfig(model=VOLUME, input=InputConfig(patch=(4, 8, 8), neighbours=1)), r"--input\.neighbours: belongs to 2D")
    TrainConfig(input=InputConfig(patch=(1, 8, 8), neighbours=1)).check()


def test_slices_are_not_changed_as_volumes():
    augment = AugmentConfig(rank=3, probability=0.5)
    refused(TrainConfig(augment=augment), r"--augment\.rank: 3 changes volumes")
    TrainConfig(augment=augment, input=InputConfig(patch=(1, 8, 8))).check()
    refused(
        TrainConfig(augment=replace(augment, probability=None), input=InputConfig(patch=(1, 8, 8))), r"--augment\.rank: does"
    )


def test_patches_are_not_divided_by_slice():
    refused(TrainConfig(split="slice", input=InputConfig(patch=(1, 8, 8))), "--split slice: divides slices")


def test_classifiers_see_whole_slices():
    refused(ClassifyConfig(input=InputConfig(patch=(1, 32, 32))), "classifiers take whole slices")
    refused(ClassifyConfig(augment=AugmentConfig(rank=3, probability=0.5)), "classifiers take whole slices")


def test_a_timed_schedule_needs_a_time():
    config = TrainConfig(schedule=ScheduleConfig(name="timed"))
    refused(config, r"--schedule\.name timed: falls as --max_minutes run out; set that too")
    replace(config, max_minutes=20).check()


def test_a_timed_schedule_leaves_no_time_for_fine_tuning():
    timed = TrainConfig(schedule=ScheduleConfig(name="timed"), max_minutes=20, monitor="mean_dice")
    two = [PhaseConfig(), PhaseConfig(epochs=1)]
    refused(replace(timed, phases=two), r"--phases: --schedule\.name timed takes all")
    refused(
        replace(timed, max_minutes=None, schedule=ScheduleConfig(), phases=[PhaseConfig(schedule={"name": "timed"})]),
        "set that too",
    )


def test_patience_waits_for_a_validation():
    refused(TrainConfig(patience=3, validate=False), "--patience: waits for a better validation score")
    TrainConfig(patience=3).check()


def test_several_folders_need_shares_above_zero():
    refused(
        TrainConfig(records=[RecordsConfig(Path("a")), RecordsConfig(Path("b"), share=0.0)]),
        "records: b: share: expected more than 0",
    )
    refused(
        TrainConfig(records=[Path("a"), RecordsConfig(Path("b"), share=0.2)]),
        "a share for every folder, or for none; received none for a",
    )


def test_folders_are_given_as_paths_or_with_their_shares():
    given = TrainConfig(records=[Path("a"), RecordsConfig(Path("b"), 0.2, ["segmentation"])])
    assert given.sources == [RecordsConfig(Path("a"), None, None), RecordsConfig(Path("b"), 0.2, ["segmentation"])]
    assert TrainConfig(records=Path("a")).sources == [RecordsConfig(Path("a"))]
    assert TrainConfig().sources == []


TWO = {"hgg": HeadConfig(), "mets": HeadConfig()}


@pytest.mark.parametrize("name", ["a/b", "3d", "", "a b", "_x", "gehirn-tumor"])
def test_a_name_of_a_head_that_is_no_word_is_refused(name):
    refused(TrainConfig(heads={name: HeadConfig()}), f"--heads: expected names of letters, digits and '_', .*received '{name}'")


@pytest.mark.parametrize("name", ["chosen", "val", "val_x", "loss"])
def test_a_name_of_a_head_with_another_meaning_is_refused(name):
    refused(TrainConfig(heads=TWO | {name: HeadConfig()}), f"--heads: {name}: is the .*; choose another name")


def test_the_name_of_the_label_is_free_for_segmentation_alone():
    TrainConfig(heads={"segmentation": HeadConfig(), "mets": HeadConfig()}).check()
    heads = {"segmentation": HeadConfig(kind="classification"), "x": HeadConfig()}
    refused(TrainConfig(heads=heads), "--heads: segmentation: is the name of the label")


@pytest.mark.parametrize("changes", [{"target": TargetConfig("age")}, {"slices": "all"}, {"balance": False}])
def test_settings_of_classification_are_refused_for_segmentation(changes):
    name = next(iter(changes))
    refused(TrainConfig(heads={"x": HeadConfig(**changes)}), f"--heads: x: {name}: belongs to kind classification")
    TrainConfig(heads={"x": HeadConfig(kind="classification", **changes)}).check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": {}}, "weighs the losses of several --heads; received 1"),
        ({"loss_weights": {"hgg": 2.0}}, "learns the weights that --loss_weights gives"),
        ({"monitor": "loss"}, "--monitor loss: compares nothing"),
        ({"monitor": "hgg_loss"}, "--monitor hgg_loss: compares nothing"),
    ],
)
def test_learnt_weights_of_losses_need_heads_and_another_monitor(changes, words):
    learnt = TrainConfig(heads=TWO, loss_weighting="uncertainty", monitor="mean_dice")
    learnt.check()
    refused(replace(learnt, **changes), words)
    replace(learnt, loss_weighting="fixed", **changes).check()
