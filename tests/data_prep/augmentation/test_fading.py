"""Lesion contrast: it falls by the stated share in all channels; what is far from a tumour, the outside and labels stay."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from data_prep.augmentation.apply import apply, apply_to_patch
from data_prep.augmentation.draw import AugmentConfig, draw
from tests.data_prep.augmentation.synthetic import OFF, SHAPE, scan

TISSUE, TUMOUR = np.array([0.5, 0.4, 0.6, 0.3]), np.array([0.8, 0.3, 0.9, 0.3])


def flat():
    """A head of one intensity per channel, with a square tumour of another one in some slices; the label."""
    image, label = np.zeros((6, 60, 50, 4), np.float32), np.ones((6, 60, 50), np.uint8)
    image[:, 5:55, 5:45] = TISSUE
    label[2:4, 20:40, 15:35] = 4
    image[label == 4] = TUMOUR
    return image, label


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_contrast_falls_by_the_share(share):
    image, label = flat()
    faded, kept = apply(replace(OFF, fade=share), image, label, unit_range=True)
    np.testing.assert_array_equal(kept, label)
    inside = np.stack([distance_transform_edt(picture == 4) > 6 for picture in label])
    np.testing.assert_allclose(faded[inside] - TISSUE, np.tile((1 - share) * (TUMOUR - TISSUE), (inside.sum(), 1)), atol=1e-3)
    far = np.stack([distance_transform_edt(picture != 4) > 6 for picture in label])
    np.testing.assert_array_equal(faded[far], image[far])
    assert not faded[~image.any(-1)].any()
    between = np.sort([TISSUE, TUMOUR], axis=0)
    head = image.any(-1)
    assert (faded[head] >= between[0] - 1e-6).all()
    assert (faded[head] <= between[1] + 1e-6).all()


def test_scans_without_tumour_or_without_tissue_around_it_stay():
    image, label = flat()
    for given in (np.ones_like(label), np.zeros_like(label), np.full_like(label, 2)):
        np.testing.assert_array_equal(apply(replace(OFF, fade=0.5), image, given, unit_range=True)[0], image)


def test_a_patch_as_large_as_the_volume_is_faded_alike():
    image, label = scan(np.float32)
    given = replace(OFF, fade=0.5, rotate_degrees=10.0)
    whole = apply(given, image, label, unit_range=False)[0]
    np.testing.assert_allclose(apply_to_patch(given, image, label, (0, 0, 0), SHAPE, unit_range=False)[0], whole, atol=1e-6)


def test_it_is_drawn_for_half_of_the_scans():
    drawn = [draw(AugmentConfig(fade=0.6), np.random.default_rng(seed)).fade for seed in range(300)]
    assert np.mean([share > 0 for share in drawn]) == pytest.approx(0.5, abs=0.1)
    assert 0.5 < max(drawn) <= 0.6
