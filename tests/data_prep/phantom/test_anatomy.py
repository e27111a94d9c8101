"""Healthy anatomy: tissues in their places, the same for the same numbers."""

import numpy as np
import pytest
from scipy import ndimage

from data_prep.phantom.anatomy import Tissue, anatomy, brain_radius, smooth_noise

SIZE = (64, 60, 56)


@pytest.fixture(scope="module")
def healthy():
    return anatomy(np.random.default_rng(2), SIZE)


def test_the_brain_is_one_solid_piece_of_the_stated_radius(healthy):
    brain, _ = healthy
    assert ndimage.label(brain)[1] == 1
    np.testing.assert_array_equal(ndimage.binary_fill_holes(brain), brain)
    assert 0.8 < (3 * brain.sum() / (4 * np.pi)) ** (1 / 3) / brain_radius(SIZE) < 1.2


def test_all_healthy_tissues_occur_and_no_tumour(healthy):
    brain, tissues = healthy
    assert set(np.unique(tissues[brain])) == {Tissue.CSF, Tissue.GREY, Tissue.WHITE, Tissue.SPOT, Tissue.VESSEL}
    shares = {tissue: float((tissues[brain] == tissue).mean()) for tissue in Tissue}
    assert shares[Tissue.WHITE] > 0.3
    assert shares[Tissue.GREY] > 0.15
    assert shares[Tissue.VESSEL] < 0.08


def test_grey_matter_lies_around_white_matter(healthy):
    brain, tissues = healthy
    depth = ndimage.distance_transform_edt(brain)
    assert depth[brain & (tissues == Tissue.GREY)].mean() < depth[brain & (tissues == Tissue.WHITE)].mean()


def test_the_same_numbers_give_the_same_anatomy(healthy):
    again = anatomy(np.random.default_rng(2), SIZE)
    other = anatomy(np.random.default_rng(3), SIZE)
    assert all(np.array_equal(one, two) for one, two in zip(again, healthy, strict=True))
    assert not np.array_equal(other[1], healthy[1])


@pytest.mark.parametrize("sigma", [0.8, 2.0, 7.0])
def test_smooth_noise_has_unit_variance_and_is_as_smooth_as_asked(sigma):
    noise = smooth_noise(np.random.default_rng(0), (60, 50, 40), sigma)
    assert noise.shape == (60, 50, 40)
    assert noise.dtype == np.float32
    assert abs(noise.std() - 1) < 0.25
    # Neighbours of a field smoothed by a Gaussian differ by 1 / (sqrt(2) sigma) standard deviations for small steps.
    assert np.diff(noise, axis=0).std() < 1.0 / sigma
