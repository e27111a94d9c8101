"""Random erasing: an ellipsoid about the tumour or anywhere in the brain, dark, of the stated size; labels stay."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.augmentation.apply import apply, apply_to_patch
from data_prep.augmentation.draw import AugmentConfig, draw
from tests.data_prep.augmentation.synthetic import OFF, SHAPE, scan

CYST = replace(OFF, erase=(0.1, 0.2, 0.25), erase_tumour=True, erase_at=0.5, erase_levels=(0.0, 0.5, 1.0, 0.2))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_an_ellipsoid_of_one_level_per_channel_is_erased_and_the_label_stays(dtype):
    image, label = scan(dtype)
    erased, kept = apply(CYST, image, label, unit_range=True)
    np.testing.assert_array_equal(kept, label)
    changed = (erased != image).any(-1)
    assert changed.sum() == pytest.approx(4 / 3 * np.pi * 2 * 8 * 9, rel=0.2)  # half axes of 0.1 x 20, 0.2 x 40, 0.25 x 36
    values = erased[changed].astype(np.float64)
    assert not values.std(0).any()
    inside = image[image.any(-1)].astype(np.float64)
    black = np.maximum(inside.mean(0) - 3 * inside.std(0), image.min())
    np.testing.assert_allclose(values[0], black + np.array(CYST.erase_levels) * (inside.mean(0) - black), rtol=0.02, atol=0.01)


def test_it_lies_about_a_voxel_of_the_tumour_or_of_the_brain_and_never_outside():
    image, label = scan(np.float32)
    tumour = (label > 1) & image.any(-1)
    for at in (0.0, 0.3, 0.999):
        small = replace(CYST, erase=(0.01, 0.01, 0.01), erase_at=at)
        assert tumour[(apply(small, image, label, unit_range=False)[0] != image).any(-1)].any()
        anywhere = replace(CYST, erase_tumour=False, erase_at=at)
        changed = (apply(anywhere, image, label, unit_range=False)[0] != image).any(-1)
        assert changed.any()
        assert image.any(-1)[changed].all()
    healthy = np.ones_like(label)
    assert (apply(CYST, image, healthy, unit_range=False)[0] != image).any()


def test_a_patch_as_large_as_the_volume_is_erased_alike_and_an_empty_one_is_left():
    image, label = scan(np.float32)
    whole = apply(CYST, image, label, unit_range=False)[0]
    np.testing.assert_allclose(apply_to_patch(CYST, image, label, (0, 0, 0), SHAPE, unit_range=False)[0], whole, atol=1e-6)
    nothing = np.zeros_like(image)
    assert not apply(CYST, nothing, np.zeros_like(label), unit_range=False)[0].any()


def test_half_of_them_are_drawn_in_the_tumour():
    drawn = [draw(AugmentConfig(erase=0.2, probability=1.0), np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([each.erase_tumour for each in drawn]) == pytest.approx(0.5, abs=0.1)
    assert max(max(each.erase) for each in drawn) <= 0.2
