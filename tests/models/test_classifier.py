"""Parts that all classifiers of images share: ranges of intensities, numbers of the head, the inflated stem."""

import numpy as np
import pytest

from common.errors import UserError
from models.classifier import inflate, scaled_pictures
from models.efficientnet import EfficientNetLite0Config
from models.resnet50 import ResNet50Config

CLASSIFIERS = [ResNet50Config, EfficientNetLite0Config]


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(("field", "value"), [("dense", 0), ("dropout", 1.0), ("momentum", 2), ("weights", "other")])
def test_settings_that_make_no_network_are_refused(kind, field, value):
    with pytest.raises(UserError, match=f"--model.{field}"):
        kind(**{field: value}).check()
    kind(weights="imagenet").check()


def scaled(values, intensity, means=(100.0, 110.0, 120.0), deviation=1.0):
    given = np.array(values, np.float32).reshape(1, 1, -1, 1)
    return np.asarray(scaled_pictures(1, intensity, means, deviation)(given)).ravel() * deviation + np.mean(means)


def test_zscores_are_clipped_and_zero_stays_the_middle():
    expected = [0, 0, 127.5, 191.25, 255, 255]
    np.testing.assert_allclose(scaled([-10, -3, 0, 1.5, 3, 10], "zscore"), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("intensity", "white"), [("minmax", 1), ("median", 3)])
def test_zero_is_black_where_intensities_are_not_negative(intensity, white):
    np.testing.assert_allclose(scaled([0, white], intensity, deviation=128.0), [0, 255], atol=1e-4)


def test_three_channels_have_a_mean_each_in_the_order_of_the_output():
    given = np.array([0.0, 0.5, 1.0], np.float32).reshape(1, 1, 1, 3)
    found = [np.asarray(scaled_pictures(3, "minmax", (1, 2, 3), 2.0, bgr)(given)).ravel() for bgr in (False, True)]
    np.testing.assert_allclose(found[0], [-0.5, (127.5 - 2) / 2, 126], rtol=1e-6)
    np.testing.assert_allclose(found[1], [127, (127.5 - 2) / 2, -1.5], rtol=1e-6)


def test_an_inflated_kernel_answers_to_grey_as_before():
    kernel = np.random.default_rng(0).standard_normal((7, 7, 3, 5)).astype(np.float32)
    assert inflate(kernel, 3) is kernel
    for channels in (1, 2, 4, 12):
        inflated = inflate(kernel, channels)
        assert inflated.dtype == np.float32
        np.testing.assert_allclose(inflated.sum(axis=2), kernel.sum(axis=2), rtol=1e-4, atol=1e-5)
