"""Stem of a network: the weights for each channel of the image, and these weights for other channels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def stem_variables(network: "keras.Model") -> list[Any]:
    """Variables with an axis of the image's channels: kernels (..., channels, filters) and biases of channels (channels,).

    The image reaches their layers as it is, or by way of layers that keep its channels: cropping, padding, scaling, a bias.

    Args:
        network: of one image; models inside it are searched where they take as many channels.
    """
    image = network.inputs[0]
    channels, reached, found = image.shape[-1], {id(image)}, []
    for operation in network.operations:
        if hasattr(operation, "operations"):  # a model
            if operation.inputs[0].shape[-1] == channels:
                found += stem_variables(operation)
        elif not isinstance(operation.input, list) and id(operation.input) in reached:
            weights = getattr(operation, "weights", [])
            kernels = [variable for variable in weights if len(variable.shape) > 1]
            found += [variable for variable in kernels or weights if variable.shape[-2:][0] == channels]
            if not kernels and operation.output.shape[-1] == channels:
                reached.add(id(operation.output))
    return found


def match_channels(weights: np.ndarray, old: Sequence[str], new: Sequence[str]) -> np.ndarray | None:
    """Weights of a layer of the stem for other channels, matched by name without regard to letter case.

    A channel that was there before takes its own part of the weights, a new one the mean over the old parts. A kernel is then
    scaled by the old number of channels over the new one, so that channels of equal pictures give the response that they gave
    before (as Carreira and Zisserman, 2017, inflate in time); biases and statistics of channels are not.

    Args:
        weights: kernel (..., channels, filters), or (channels,).
        old, new: names of the channels.

    Returns:
        The weights for the new channels; None where these are not weights of the old ones.
    """
    axis = -2 if weights.ndim > 1 else -1
    parts = np.moveaxis(weights, axis, 0)
    if len(parts) != len(old):
        return None
    by_name, mean = dict(zip(map(str.casefold, old), parts, strict=True)), parts.mean(axis=0)
    matched = np.moveaxis(np.stack([by_name.get(name.casefold(), mean) for name in new]), 0, axis)
    return (matched * (len(old) / len(new)) if weights.ndim > 1 else matched).astype(weights.dtype)
