"""Slices that are resized as they are read."""

import numpy as np
import pytest

from data_prep.grid.resize import resize_image, resize_label
from tests.training.runs import training_sources
from training.data.batches import SEGMENTATION, InputConfig
from training.data.slices import padded_input, whole_slices


def test_training_sees_image_and_label_resized(opened):
    plain, small = (training_sources(opened, InputConfig(resize=resize))[0] for resize in (None, (8, 12)))
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
    image, labels = training_sources(opened, InputConfig(size=(8, 20), resize=(4, 10)))[0][3]
    (plain, _) = training_sources(opened, InputConfig(size=(8, 20)))[0][3]
    np.testing.assert_array_equal(image, resize_image(plain, (4, 10)))
    assert labels[SEGMENTATION].shape == (4, 10)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (32, 32)),
        ({"resize": (8, 8)}, (16, 16)),
        ({"size": (8, 8)}, (32, 32)),
        ({"size": (8, 40)}, (32, 64)),
        ({"size": (20, 16), "resize": (8, 8)}, (20, 16)),
    ],
)
def test_slices_are_padded_so_that_none_is_cut(opened, given, size):
    assert opened.cases[opened.split["validation"][0]].shape[1:] == (16, 16)
    assert padded_input(opened, opened.split["validation"], InputConfig(**given), 32) == InputConfig(**{**given, "size": size})
