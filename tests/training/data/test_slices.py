"""Slices that are resized, augmented as they are read, or divided without regard to patients."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_prep.augmentation.draw import AugmentConfig
from data_prep.grid.resize import resize_image, resize_label
from data_prep.records.folder import Records
from tests.training.runs import assert_equal
from training.config import TrainConfig
from training.data.batches import CLASSIFICATION, SEGMENTATION, InputConfig, training_batches
from training.data.slices import OnlineAugmentation, by_slice, divided, slice_split, training_slices, whole_slices
from training.data.targets import FolderTargets
from training.heads.classification import ClassificationHead

EVERYTHING = AugmentConfig(probability=0.8, elastic_sigma=3.0, crop=0.2, fill=0.3, fill_from=1)
GEOMETRY = AugmentConfig(probability=0.8, elastic=0, brightness=0, contrast=0, gamma=0, noise=0)
STILL = AugmentConfig(probability=0)
PARTS = 3


@pytest.fixture(scope="module")
def opened(records):
    return Records(records)


@pytest.fixture(scope="module")
def stored_as_uint8(source, command, tmp_path_factory):
    """Records whose intensities are bytes."""
    out = tmp_path_factory.mktemp("uint8") / "records"
    options = ("--prepare.size", "[8,16,16]", "--prepare.dtype", "uint8", "--split.fractions", "[1,0,0]", "--workers", 1)
    assert command("data_prep.make_records", "--source", source, "--out", out, *options).status == 0
    return Records(out)


def tumour_grade(opened):
    """Targets of a classification head of slices with tumour."""
    head = ClassificationHead(CLASSIFICATION, "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    return FolderTargets(opened, {CLASSIFICATION: head}, frozenset({CLASSIFICATION}))


def sources(opened, config=None):
    return training_slices(opened, opened.split["train"], config or InputConfig())


def batches(opened, augment, start=0, count=6, seed=0, **settings):
    config = InputConfig(batch_size=4, **settings)
    changed = OnlineAugmentation(augment, config.neighbours, unit_range=True)
    iterator = iter(training_batches(sources(opened, config), config, seed, start, changed))
    return [(image, labels[SEGMENTATION]) for image, labels in (next(iterator) for _ in range(count))]


def test_training_sees_image_and_label_resized(opened):
    plain, small = (sources(opened, InputConfig(resize=resize))[0] for resize in (None, (8, 12)))
    assert len(plain) == len(small)
    for place in (3, 20, 30):
        (image, labels), (seen, targets) = plain[place], small[place]
        np.testing.assert_array_equal(seen, resize_image(image, (8, 12)))
        np.testing.assert_array_equal(targets[SEGMENTATION], resize_label(labels[SEGMENTATION], (8, 12)))
        assert seen.dtype == np.float32


def test_validation_sees_the_image_resized_and_keeps_the_label(opened):
    cases = opened.split["validation"]
    plain, small = (whole_slices(opened, cases, InputConfig(resize=resize)) for resize in (None, (8, 12)))
    np.testing.assert_array_equal(small[4][0], resize_image(plain[4][0], (8, 12)))
    np.testing.assert_array_equal(small[4][1][SEGMENTATION], plain[4][1][SEGMENTATION])


def test_size_comes_before_resize(opened):
    image, labels = sources(opened, InputConfig(size=(8, 20), resize=(4, 10)))[0][3]
    (plain, _) = sources(opened, InputConfig(size=(8, 20)))[0][3]
    np.testing.assert_array_equal(image, resize_image(plain, (4, 10)))
    assert labels[SEGMENTATION].shape == (4, 10)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_augmentation_is_the_same_with_any_number_of_threads(opened, threads):
    assert_equal(batches(opened, EVERYTHING, threads=threads), batches(opened, EVERYTHING, threads=2))


def test_augmentation_is_a_function_of_seed_and_step(opened):
    whole = batches(opened, EVERYTHING, count=20)
    for start in (1, 7, 13):  # within the first and the second pass of 12 steps
        assert_equal(batches(opened, EVERYTHING, start=start, count=4), whole[start : start + 4])
    other = batches(opened, EVERYTHING, count=20, seed=1)
    assert any((left[0] != right[0]).any() for left, right in zip(whole, other, strict=True))


def test_augmentation_is_drawn_anew_in_each_pass(opened):
    images = [image for image, _ in batches(opened, EVERYTHING, count=24)]
    first, second = (
        {picture.tobytes() for image in part for picture in image if picture.any()} for part in (images[:12], images[12:])
    )
    assert len(first & second) < len(first) / 4


def test_without_a_change_augmentation_changes_nothing(opened):
    config = InputConfig(batch_size=4)
    iterator = iter(training_batches(sources(opened), config, 0, 0))
    plain = [(image, labels[SEGMENTATION]) for image, labels in (next(iterator) for _ in range(6))]
    assert_equal(batches(opened, STILL), plain)


def test_image_and_label_move_together(opened):
    changed = OnlineAugmentation(GEOMETRY, 0, unit_range=True)
    label = opened.shard("case_0").label[3]
    image = np.repeat((label > 1)[..., None], 4, axis=-1).astype(np.float32)
    moved = 0
    for seed in range(8):
        picture, targets = changed((image, {SEGMENTATION: label}), np.random.default_rng(seed))
        found = targets[SEGMENTATION]
        sure = found > 0  # what a rotation turned in from outside is not annotated
        agree = (picture[..., 0] > 0.5) == (found > 1)
        assert agree[sure].mean() > 0.9  # the picture is interpolated, the label is not
        moved += bool((found != label).any())
    assert moved >= 4


def test_neighbours_are_changed_like_their_slice(opened):
    image = opened.shard("case_0").image[3]
    label = {SEGMENTATION: opened.shard("case_0").label[3]}
    config = replace(EVERYTHING, noise=0.0, brightness=0.0, contrast=0.0)
    three = np.concatenate([image] * 3, axis=-1)
    picture, _ = OnlineAugmentation(config, 1, unit_range=True)((three, label), np.random.default_rng(3))
    np.testing.assert_array_equal(picture[..., :4], picture[..., 4:8])
    alone, _ = OnlineAugmentation(config, 0, unit_range=True)((image, label), np.random.default_rng(3))
    np.testing.assert_array_equal(picture[..., :4], alone)


def test_fill_puts_one_channel_in_the_place_of_others(opened):
    image = opened.shard("case_0").image[3]
    label = {SEGMENTATION: opened.shard("case_0").label[3]}
    always = OnlineAugmentation(replace(STILL, fill=1.0, fill_from=2), 0, unit_range=True)
    picture, targets = always((image, label), np.random.default_rng(0))
    np.testing.assert_array_equal(picture, np.repeat(image[..., 2:3], 4, axis=-1))
    np.testing.assert_array_equal(targets[SEGMENTATION], label[SEGMENTATION])
    sometimes = OnlineAugmentation(replace(STILL, fill=0.3, fill_from=2), 0, unit_range=True)
    pictures = [sometimes((image, label), np.random.default_rng(seed))[0] for seed in range(200)]
    filled = np.mean([(picture[..., 0] == image[..., 2]).all() for picture in pictures])
    assert filled == pytest.approx(0.3, abs=0.1)


def test_a_class_passes_augmentation_as_it_is(opened):
    (source,) = training_slices(opened, ["case_0"], InputConfig(), tumour_grade(opened))
    image, labels = source[3]
    picture, targets = OnlineAugmentation(EVERYTHING, 0, unit_range=True)((image, labels), np.random.default_rng(1))
    assert (picture.shape, picture.dtype) == (image.shape, image.dtype)
    assert (targets[CLASSIFICATION].tolist(), targets[CLASSIFICATION].dtype) == ([1.0], np.float32)


def test_bytes_that_are_resized_keep_their_range_in_augmentation(stored_as_uint8):
    config = InputConfig(resize=(8, 8))
    image, labels = training_slices(stored_as_uint8, ["case_0"], config)[0][3]
    contrast = replace(STILL, probability=1.0, flips=[], rotate_degrees=0, scale=0, elastic=0, gamma=0, noise=0)
    picture, _ = OnlineAugmentation(contrast, 0, unit_range=True)((image, labels), np.random.default_rng(0))
    assert picture.max() > image.max() / 2


def slices_of(source):
    """(case, slice) of each row."""
    return [(source.items[item][0], int(number)) for item, number in source.rows]


def test_parts_of_a_slice_split_are_disjoint_and_cover_all(opened):
    whole = sources(opened)
    validated = []
    for part in range(PARTS):
        (train,), (validation,) = slice_split(whole, PARTS, part, seed=0)
        assert len(train) + len(validation) == len(whole[0])
        # Copies go with their slice: no augmented picture of a validation slice is trained on.
        assert set(slices_of(train)).isdisjoint(slices_of(validation))
        assert {case for case, _ in slices_of(train)} == {case for case, _ in slices_of(validation)}
        validated += sorted(set(slices_of(validation)))
    assert sorted(validated) == sorted(set(slices_of(whole[0])))


def test_a_slices_part_depends_on_case_and_seed_alone(opened):
    one = whole_slices(opened, ["case_1"], InputConfig())
    several = whole_slices(opened, ["case_3", "case_1", "case_0"], InputConfig())
    tumour = whole_slices(opened, ["case_1"], InputConfig(), tumour_grade(opened))
    found = {}
    for name, source in (("one", one), ("several", several), ("tumour", tumour)):
        _, (part,) = slice_split([source], PARTS, 1, seed=4)
        found[name] = {number for case, number in slices_of(part) if case == "case_1"}
    assert found["one"] == found["several"]
    assert found["tumour"] == {number for number in found["one"] if opened.cases["case_1"].tumour_slices[number]}
    other = {number for _, number in slices_of(slice_split([one], PARTS, 1, seed=5)[1][0])}
    assert other != found["one"]


def test_a_training_by_slices_takes_all_patients_but_those_for_test(opened):
    config = TrainConfig(split="slice", seed=2)
    train, validation = divided(opened, config)
    assert train == validation == sorted(set(opened.cases) - set(opened.split["test"]))
    given = training_slices(opened, train, config.input)
    (trained,), validated = by_slice(opened, config, given, whole_slices(opened, validation, config.input))
    assert set(slices_of(trained)).isdisjoint(slices_of(validated))
    assert set(slices_of(trained)) | set(slices_of(validated)) == set(slices_of(given[0]))
    assert all(copy == 0 for _, copy in validated.items)
    folds = [
        by_slice(opened, replace(config, fold=fold), given, whole_slices(opened, validation, config.input)) for fold in (0, 1)
    ]
    assert set(slices_of(folds[0][1])).isdisjoint(slices_of(folds[1][1]))


def test_a_training_by_patients_keeps_them_apart(opened):
    config = TrainConfig()
    train, validation = divided(opened, config)
    assert set(train).isdisjoint(validation)
    given, whole = sources(opened), whole_slices(opened, validation, config.input)
    assert by_slice(opened, config, given, whole) == (given, whole)


def test_without_folds_a_slice_split_deals_five_parts(records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((copy / "dataset.json").read_text())
    manifest["folds"] = []
    (copy / "dataset.json").write_text(json.dumps(manifest))
    opened, config = Records(copy), TrainConfig(split="slice")
    whole = whole_slices(opened, ["case_0", "case_1"], config.input)
    _, validated = by_slice(opened, config, sources(opened), whole)
    assert len(validated) == 2 * 2  # of 8 slices of a case, places 0 and 5
