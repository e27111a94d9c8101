"""Layers: channel bias, crop to another tensor's size."""

from typing import Any

import keras
from keras import ops


class ChannelBias(keras.layers.Layer):
    """Bias of each channel, 0 at the start of training."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the variable (channels,)."""
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Add the bias to (N, ..., channels)."""
        return inputs + ops.cast(self.bias, inputs.dtype)


class CropLike(keras.layers.Layer):
    """Crop of the first input, at the end of each axis of space, to the size of the second."""

    def call(self, inputs: list[Any]) -> Any:
        """Crop (N, ..., channels)."""
        features, like = inputs
        return features[tuple(slice(None, length) for length in [*ops.shape(like)[:-1], features.shape[-1]])]

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Shape of the second input with the channels of the first."""
        features, like = input_shape
        return (*like[:-1], features[-1])
