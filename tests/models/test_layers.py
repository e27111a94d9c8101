"""Keras layers of our own: their arithmetic, shapes and dtypes."""

import keras
import numpy as np
import pytest

from models.layers import ChannelBias, CropLike


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (2, 4, 4, 4, 3)])
def test_a_bias_per_channel_begins_at_zero_and_is_trained(shape):
    layer, image = ChannelBias(), np.ones(shape, np.float32)
    np.testing.assert_array_equal(np.asarray(layer(image)), image)
    layer.bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(np.asarray(layer(image))[0].reshape(-1, 3)[0], [2, 3, 4])
    assert [weight.shape for weight in layer.trainable_weights] == [(3,)]


def test_a_crop_takes_the_beginning_of_each_axis_and_keeps_the_channels():
    features, like = np.random.default_rng(0).random((1, 6, 5, 2), np.float32), np.zeros((1, 4, 5, 7), np.float32)
    np.testing.assert_array_equal(np.asarray(CropLike()([features, like])), features[:, :4])


def test_the_crop_of_a_network_has_the_size_of_the_second_input():
    features, like = keras.Input((None, None, 2)), keras.Input((None, None, 7))
    assert CropLike()([features, like]).shape == (None, None, None, 2)
