"""Augmentation of volumes: turned, tilted and bent as a whole."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.augmentation.apply import Augmentation, AugmentConfig, apply, case_rng, draw
from tests.data_prep.augmentation.pictures import EVERYTHING, OFF, scan

VOLUME = AugmentConfig(
    rank=3, probability=1.0, flips=["x", "y", "z"], tilt_degrees=20.0, elastic=1.5, elastic_sigma=4.0, crop=0.1, noise=0.02
)


def test_a_volume_is_changed_alike_in_all_channels_and_its_annotation():
    _, label = scan(np.float32)
    image = np.repeat(label[..., None], 4, -1).astype(np.float32) / 8
    geometry = replace(VOLUME, brightness=0, contrast=0, gamma=0, noise=0)
    for copy in range(3):
        augmentation = draw(geometry, case_rng(0, "a", copy))
        new_image, new_label = apply(augmentation, image, label, unit_range=True, spacing_mm=(2.0, 1.0, 1.0))
        for channel in range(1, 4):
            np.testing.assert_array_equal(new_image[..., channel], new_image[..., 0])
        whole = np.isin(new_image[..., 0], np.array([1, 2, 4, 8], np.float32) / 8) & (new_label > 0)
        np.testing.assert_array_equal(8 * new_image[..., 0][whole], new_label[whole])
        assert whole.mean() > 0.2
        assert not np.array_equal(new_label, label)


def test_a_volume_is_turned_out_of_its_slices_and_a_picture_is_not():
    image, label = scan(np.float32)
    image[:10], label[:10] = 0, 0  # nothing in the lower half
    for rank, tilt in ((2, (0.0, 0.0)), (3, (30.0, 0.0))):
        turned = replace(OFF, rank=rank, tilt_degrees=tilt, rotate_degrees=10.0)
        found = apply(turned, image, label, unit_range=True)[1]
        assert found[:10].any() == (rank == 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_a_volumes_augmentation_is_replayed_from_json_and_keeps_dtypes(dtype):
    image, label = scan(dtype)
    before = image.copy()
    augmentation = draw(VOLUME, case_rng(3, "a", 1))
    assert augmentation.rank == 3
    assert augmentation.tilt_degrees[0] != augmentation.tilt_degrees[1] != 0
    again = Augmentation.from_dict(json.loads(json.dumps(asdict(augmentation))))
    assert again == augmentation
    one, other = (apply(each, image, label, unit_range=True, spacing_mm=(2.0, 1.0, 1.0)) for each in (augmentation, again))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert (one[0].dtype, one[0].shape, one[1].dtype, one[1].shape) == (dtype, image.shape, np.uint8, label.shape)
    np.testing.assert_array_equal(image, before)


def test_augmentations_from_before_there_were_volumes_are_of_pictures():
    values = asdict(replace(OFF, rotate_degrees=5.0))
    del values["rank"], values["tilt_degrees"]
    assert Augmentation.from_dict(values) == replace(OFF, rotate_degrees=5.0)


def test_volumes_are_the_same_among_threads():
    image, label = scan()
    augmentations = [draw(VOLUME, case_rng(0, "a", copy)) for copy in range(4)]
    expected = [apply(augmentation, image, label, unit_range=True) for augmentation in augmentations]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda a: apply(a, image, label, unit_range=True), augmentations))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("flips", [("z",), ("z", "y", "x")])
def test_flips_of_volumes_are_exact(dtype, flips):
    image, label = scan(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    new_image, new_label = apply(replace(OFF, rank=3, flips=flips), image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, np.flip(image, axes))
    np.testing.assert_array_equal(new_label, np.flip(label, axes))


def test_volumes_draw_what_pictures_draw_and_tilts_besides():
    picture = draw(EVERYTHING, case_rng(0, "a", 1))
    volume = draw(replace(EVERYTHING, rank=3, tilt_degrees=20.0), case_rng(0, "a", 1))
    assert all(0 < abs(degrees) <= 20 for degrees in volume.tilt_degrees)
    assert replace(volume, rank=2, tilt_degrees=(0.0, 0.0)) == picture


def test_pictures_are_not_tilted():
    with pytest.raises(UserError, match=r"augment\.tilt_degrees: turns volumes, so it needs --augment\.rank 3"):
        AugmentConfig(tilt_degrees=10.0)
