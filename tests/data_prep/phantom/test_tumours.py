"""Tumours of synthetic patients: number, sizes, places and parts of gliomas and metastases."""

import numpy as np
import pytest
from scipy import ndimage

from data_prep.phantom.anatomy import Tissue, anatomy, brain_radius
from data_prep.phantom.tumours import (
    EDEMA,
    ENHANCING,
    LARGEST_RADIUS,
    MEDIAN_RADIUS,
    MOST_METASTASES,
    NECROSIS,
    glioma,
    metastases,
)

SIZE = (64, 64, 64)
TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def drawn():
    """(brain, tissues, label of metastases) of 24 patients who share four brains."""
    healthy = [anatomy(np.random.default_rng(seed), SIZE) for seed in range(4)]
    return [(*healthy[seed % 4], metastases(np.random.default_rng([seed, 9]), *healthy[seed % 4][::-1])) for seed in range(24)]


def cores(label):
    """Components of enhancing and necrotic voxels: array of numbers, their count."""
    return ndimage.label(np.isin(label, (ENHANCING, NECROSIS)), TOUCHING)


def volumes(drawn):
    return np.concatenate([np.bincount(cores(label)[0].ravel())[1:] for _, _, label in drawn])


def test_patients_have_one_to_twelve_metastases_mostly_few(drawn):
    counts = [cores(label)[1] for _, _, label in drawn]
    assert min(counts) >= 1
    assert max(counts) <= MOST_METASTASES
    assert 2 <= np.median(counts) <= 5
    assert len(set(counts)) >= 5


def test_volumes_are_those_of_a_log_normal_radius(drawn):
    unit, sizes = brain_radius(SIZE), volumes(drawn)
    assert sizes.max() < 2 * 4 / 3 * np.pi * (LARGEST_RADIUS * unit) ** 3
    assert np.median(sizes) == pytest.approx(4 / 3 * np.pi * (MEDIAN_RADIUS * unit) ** 3, rel=0.6)
    logarithms = np.log(sizes)
    assert 0.7 < logarithms.std() < 1.4  # three times RADIUS_SPREAD, less what is cut off at the smallest radius
    assert abs(((logarithms - logarithms.mean()) ** 3).mean() / logarithms.std() ** 3) < 1


def test_metastases_lie_below_the_cortex_and_in_the_brain(drawn):
    for brain, tissues, label in drawn:
        assert brain[label > 0].all()
        near = ndimage.binary_dilation(brain & (tissues == Tissue.GREY), iterations=3)
        numbers, count = cores(label)
        centres = np.rint(ndimage.center_of_mass(numbers > 0, numbers, range(1, count + 1))).astype(int)
        assert np.mean([near[tuple(centre)] for centre in centres]) > 0.9


def test_necrosis_is_inside_enhancing_tumour(drawn):
    necrotic = 0
    for _, _, label in drawn:
        numbers, count = cores(label)
        around = ndimage.binary_dilation(label == NECROSIS) & (label != NECROSIS)
        if around.any():
            assert np.mean(label[around] == ENHANCING) > 0.9
        necrotic += sum((label[numbers == number] == NECROSIS).any() for number in range(1, count + 1))
        assert all((label[numbers == number] == ENHANCING).any() for number in range(1, count + 1))
    total = sum(cores(label)[1] for _, _, label in drawn)
    assert 0.2 < necrotic / total < 0.8


def test_oedema_has_any_extent_and_spares_grey_matter(drawn):
    ratios, in_grey, grey = [], [], []
    for brain, tissues, label in drawn:
        ratios.append((label == EDEMA).sum() / np.isin(label, (ENHANCING, NECROSIS)).sum())
        if (label == EDEMA).sum() > 200:
            around = ndimage.binary_dilation(label > 0, iterations=3) & brain
            in_grey.append(np.mean(tissues[label == EDEMA] == Tissue.GREY))
            grey.append(np.mean(tissues[around] == Tissue.GREY))
    assert min(ratios) < 1
    assert max(ratios) > 5
    assert np.mean(in_grey) < 0.8 * np.mean(grey)


@pytest.mark.parametrize("seed", range(4))
def test_a_glioma_is_larger_than_all_metastases_of_a_patient(drawn, seed):
    brain, tissues, label = drawn[seed]
    large = glioma(np.random.default_rng(seed), tissues, brain, "HGG")
    assert (large > 0).sum() > 2 * np.isin(label, (ENHANCING, NECROSIS)).sum()
    assert cores(large)[1] <= 3


@pytest.mark.parametrize("size", [(24, 24, 24), (24, 60, 30)])
def test_small_volumes_have_metastases_too(size):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        brain, tissues = anatomy(rng, size)
        assert (metastases(rng, tissues, brain) == ENHANCING).any()
