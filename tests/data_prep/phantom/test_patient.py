"""Synthetic patients: content, reproducibility, and that no threshold solves them."""

import numpy as np
import pytest
from scipy import ndimage

from common.errors import UserError
from data_prep.phantom.patient import CHANNELS, SHORTEST_AXIS, PhantomConfig, grade_of, make_patient

SMALL = PhantomConfig(size=(56, 52, 40))
REGIONS = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}
NEWER_REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


@pytest.fixture(scope="module")
def patients():
    return [make_patient(PhantomConfig(), 0, index) for index in range(8)]


@pytest.fixture(scope="module")
def mets():
    return [make_patient(PhantomConfig(tumour="mets", size=(64, 64, 64)), 0, index) for index in range(8)]


@pytest.fixture(scope="module")
def small_patients():
    return [make_patient(SMALL, 3, index) for index in range(8)]


def same(one, other):
    arrays = all(np.array_equal(one.channels[name], other.channels[name]) for name in CHANNELS)
    return arrays and np.array_equal(one.label, other.label)


def test_a_patient_looks_like_a_brats_case(small_patients):
    for patient in small_patients:
        assert list(patient.channels) == list(CHANNELS)
        assert {array.dtype for array in patient.channels.values()} == {np.dtype(np.int16)}
        assert {array.shape for array in patient.channels.values()} | {patient.label.shape} == {SMALL.size}
        assert patient.label.dtype == np.uint8
        assert set(np.unique(patient.label)) <= {0, 1, 2, 4}
        assert patient.affine.tolist() == [[-1, 0, 0, 0], [0, -1, 0, 51], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_brain_is_stripped_alike_in_all_channels_and_holds_the_tumour(small_patients):
    for patient in small_patients:
        brain = patient.channels["t1"] > 0
        assert 0.2 < brain.mean() < 0.5
        assert not brain[[0, -1]].any()
        assert not brain[:, [0, -1]].any()
        for array in patient.channels.values():
            np.testing.assert_array_equal(array != 0, brain)
            assert array.min() == 0
        assert brain[patient.label > 0].all()


def test_tumours_are_nested(small_patients):
    for patient in small_patients:
        around = ndimage.binary_dilation(np.isin(patient.label, REGIONS["TC"])) & (patient.channels["t1"] > 0)
        assert np.mean(patient.label[around] > 0) > 0.9  # a core lies in oedema, but may touch the surface
        if patient.grade == "HGG":
            around_necrosis = ndimage.binary_dilation(patient.label == 1) & (patient.label != 1)
            assert np.mean(patient.label[around_necrosis] == 4) > 0.6


def test_high_grade_shows_all_classes_and_low_grade_hardly_enhances(patients):
    for patient in patients:
        voxels = {identifier: int((patient.label == identifier).sum()) for identifier in (1, 2, 4)}
        if patient.grade == "HGG":
            assert min(voxels.values()) > 50, voxels
        else:
            assert voxels[4] < 0.25 * voxels[1], voxels


def test_tumours_vary_in_place_and_size(small_patients):
    centres = np.array([ndimage.center_of_mass(patient.label > 0) for patient in small_patients])
    volumes = [int((patient.label > 0).sum()) for patient in small_patients]
    assert (np.ptp(centres, axis=0) > 0.2 * np.array(SMALL.size)).all()
    assert max(volumes) > 1.5 * min(volumes)


def test_a_patient_is_a_pure_function_of_seed_and_index(small_patients):
    np.random.seed(5)
    assert same(make_patient(SMALL, 3, 2), small_patients[2])
    assert not same(make_patient(SMALL, 4, 2), small_patients[2])
    assert not same(small_patients[1], small_patients[2])


@pytest.mark.parametrize("share", [0.0, 0.25, 1 / 3, 1.0])
def test_grades_keep_their_share_however_many_are_made(share):
    config = PhantomConfig(lgg_share=share)
    grades = [grade_of(config, index) for index in range(120)]
    for count in (4, 12, 60, 120):
        assert abs(grades[:count].count("LGG") - share * count) < 1


@pytest.mark.parametrize("size", [(24, 24, 24), (24, 60, 30), (64, 32, 48)])
def test_any_size_gives_a_tumour(size):
    patient = make_patient(PhantomConfig(size=size), 0, 0)
    assert patient.label.shape == size
    assert (patient.label > 0).sum() > 50


@pytest.mark.parametrize("option", ["noise", "bias", "variation"])
def test_looks_change_the_channels_and_not_the_anatomy(option):
    plain = make_patient(PhantomConfig(size=(32, 32, 32), **{option: 0.0}), 0, 0)
    strong = make_patient(PhantomConfig(size=(32, 32, 32), **{option: 0.5}), 0, 0)
    assert np.array_equal(plain.label, strong.label)
    assert not np.array_equal(plain.channels["t2"], strong.channels["t2"])


@pytest.mark.parametrize(
    ("config", "option"),
    [
        (PhantomConfig(size=(SHORTEST_AXIS - 1, 64, 64)), "size"),
        (PhantomConfig(lgg_share=1.5), "lgg_share"),
        (PhantomConfig(noise=-0.1), "noise"),
        (PhantomConfig(bias=float("nan")), "bias"),
    ],
)
def test_a_config_that_makes_no_patients_is_refused(config, option):
    with pytest.raises(UserError, match=f"--{option}: expected"):
        make_patient(config, 0, 0)


def test_hgg_are_the_gliomas_of_higher_grade_under_newer_ids(small_patients):
    config = PhantomConfig(tumour="hgg", size=SMALL.size)
    assert [grade_of(config, index) for index in range(8)] == ["HGG"] * 8
    made, glioma = make_patient(config, 3, 0), small_patients[0]
    assert glioma.grade == "HGG"
    assert all(np.array_equal(made.channels[name], glioma.channels[name]) for name in CHANNELS)
    np.testing.assert_array_equal(made.label, np.where(glioma.label == 4, 3, glioma.label))


def test_metastases_have_no_grade_and_newer_ids(mets):
    assert [patient.grade for patient in mets] == [None] * 8
    assert all(set(np.unique(patient.label)) <= {0, 1, 2, 3} for patient in mets)
    assert {1, 2, 3} <= {int(value) for patient in mets for value in np.unique(patient.label)}
    assert same(make_patient(PhantomConfig(tumour="mets", size=(64, 64, 64)), 0, 2), mets[2])


def test_no_brain_occurs_with_both_tumour_types(mets):
    other = make_patient(PhantomConfig(tumour="hgg", size=(64, 64, 64)), 0, 0)
    assert not np.array_equal(other.channels["t1"] > 0, mets[0].channels["t1"] > 0)


def test_both_tumour_types_share_their_contrasts(mets):
    """Mean over patients of a tissue's median intensity, as a share of the brain's median, in each channel."""
    gliomas = [make_patient(PhantomConfig(tumour="hgg", size=(64, 64, 64)), 0, index) for index in range(8)]
    for channel in CHANNELS:
        for identifier in (2, 3):
            contrasts = []
            for patients in (gliomas, mets):
                of = [patient for patient in patients if (patient.label == identifier).sum() >= 20]
                values = [
                    np.median(patient.channels[channel][patient.label == identifier])
                    / np.median(patient.channels[channel][patient.channels[channel] > 0])
                    for patient in of
                ]
                contrasts.append(np.mean(values))
            assert contrasts[1] == pytest.approx(contrasts[0], rel=0.2), (channel, identifier)


def best_threshold_dice(patients, region, channel, bins=96, regions=REGIONS):
    """Dice per patient of the interval of a channel's z-scores that does best on average over all patients."""
    inside, everywhere = [], []
    for patient in patients:
        voxels = patient.channels[channel][patient.channels[channel] > 0].astype(float)
        truth = np.isin(patient.label, regions[region])[patient.channels[channel] > 0]
        place = np.clip((voxels - voxels.mean()) / voxels.std() * bins / 8 + bins / 2, 0, bins - 1).astype(int)
        inside.append(np.bincount(place[truth], minlength=bins))
        everywhere.append(np.bincount(place, minlength=bins))
    found = np.pad(np.cumsum(inside, 1), ((0, 0), (1, 0)))
    chosen = np.pad(np.cumsum(everywhere, 1), ((0, 0), (1, 0)))
    hits = found[:, None, :] - found[:, :, None]  # patient, from, to
    dice = 2 * hits / np.maximum(chosen[:, None, :] - chosen[:, :, None] + found[:, -1, None, None], 1)
    dice[:, np.tri(bins + 1, dtype=bool)] = 0
    return dice[:, *np.unravel_index(dice.mean(0).argmax(), dice.shape[1:])]


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_threshold_of_one_channel_finds_the_tumour(patients, channel):
    whole = best_threshold_dice(patients, "WT", channel)
    assert whole.mean() < 0.62
    assert (whole < 0.6).sum() >= 4
    for region in ("TC", "ET"):
        part = best_threshold_dice(patients, region, channel)
        assert part.mean() < 0.45
        assert (part < 0.6).sum() >= 6


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_threshold_of_one_channel_finds_the_metastases(mets, channel):
    for region, best in (("WT", 0.45), ("TC", 0.25), ("ET", 0.25)):
        assert best_threshold_dice(mets, region, channel, regions=NEWER_REGIONS).mean() < best
