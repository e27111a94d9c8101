"""Tests of the thumbnails of heads."""

import numpy as np
import pytest

from data_prep.leakage.thumbnail import CELLS, correlations, thumbnail
from data_prep.phantom.patient import PhantomConfig, make_patient

SIZE = (44, 44, 28)


@pytest.fixture(scope="module")
def heads():
    """FLAIR images of three synthetic patients."""
    return [make_patient(PhantomConfig(size=SIZE), 0, number).channels["flair"] for number in range(3)]


def alike(one, other):
    return correlations(np.stack([[thumbnail(one)], [thumbnail(other)]]))[0, 1]


def noisy(image):
    return image + np.random.default_rng(0).normal(0, 0.1 * np.percentile(image[image > 0], 95), image.shape)


CHANGES = {
    "rescaled": lambda image: image * 0.37 + 12,
    "mirrored": lambda image: image[::-1],
    "axes swapped": lambda image: image.transpose(2, 0, 1)[:, ::-1],
    "shifted": lambda image: np.roll(image, (2, -2, 1), (0, 1, 2)),
    "noise everywhere": noisy,
    "cropped": lambda image: image[4:-4, 6:-3, 3:],
    "other voxels": lambda image: image[::2, ::2],
    "all": lambda image: noisy(image)[::-1, 4:-4].transpose(1, 0, 2) * 3,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_head_is_the_same_head(heads, change):
    assert alike(heads[0], CHANGES[change](heads[0])) > 0.75


def test_heads_of_different_patients_differ(heads):
    table = correlations(np.stack([[thumbnail(head)] for head in heads]))
    assert np.array_equal(table, table.T)
    assert np.diag(table).tolist() == [1, 1, 1]
    assert table[np.triu_indices(3, 1)].max() < 0.5


def test_a_thumbnail_is_normalised_contents(heads):
    small = thumbnail(heads[0])
    assert small.shape == (CELLS,) * 3
    assert small.dtype == np.float32
    assert abs(small.sum()) < 1e-3
    assert (small**2).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("image", [np.zeros((20, 20, 20)), np.full((20, 20, 20), 7), np.ones((30, 30, 8))])
def test_an_image_without_contents_has_none(image):
    assert thumbnail(image) is None


def test_a_head_of_one_value_has_none():
    image = np.zeros((20, 20, 20))
    image[4:-4, 4:-4, 4:-4] = 5
    assert thumbnail(image) is None


def test_heads_are_compared_by_the_channels_that_both_have(heads):
    first, second = thumbnail(heads[0]), thumbnail(heads[1])
    none = np.zeros_like(first)
    table = correlations(np.stack([[first, second], [first, none], [none, first], [first, second]]))
    assert table[0, 1] == pytest.approx(1, abs=1e-4)
    assert table[0, 3] == pytest.approx(1, abs=1e-4)
    assert table[1, 2] == 0
    assert table[0, 2] < 0.5
