"""A twin of the 3D UNet in PyTorch, with the same weights: what the toolkit's speed and memory are compared with."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

EPSILON = 1e-3  # of Keras's normalisation layers
Weights = Mapping[str, Sequence[np.ndarray]]
"""Name of a layer -> its arrays, as Keras orders them."""


def build_twin(filters: int, depth: int, normalisation: str, channels: int, head: str, classes: int) -> Any:
    """The UNet of `models.unet` of rank 3, without its options: images (N, C, D, H, W) -> logits (N, classes, D, H, W).

    Layers have the names of the Keras layers, so that `load_twin` finds their weights.

    Args:
        filters, depth, normalisation: as of `UNetConfig`.
        channels: of the input.
        head: name of the last layer.
        classes: outputs of it.
    """
    import torch
    from torch import nn

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict()
            given = channels
            for level in range(depth + 1):
                width = filters * 2**level
                self._add_block(f"encoder{level + 1}" if level < depth else "bottom", given, width)
                given = width
            for level in range(depth):
                width = filters * 2**level
                self.layers[f"up{level + 1}"] = nn.ConvTranspose3d(2 * width, width, 2, stride=2)
                self._add_block(f"decoder{level + 1}", 2 * width, width)
            self.layers[head] = nn.Conv3d(filters, classes, 1)

        def _add_block(self, name: str, given: int, width: int) -> None:
            for number, inputs in ((1, given), (2, width)):
                self.layers[f"{name}_conv{number}"] = nn.Conv3d(inputs, width, 3, padding=1, bias=normalisation == "none")
                self.layers[f"{name}_norm{number}"] = _normalisation(normalisation, width)

        def _block(self, name: str, features: Any) -> Any:
            for number in (1, 2):
                features = self.layers[f"{name}_norm{number}"](self.layers[f"{name}_conv{number}"](features))
                features = nn.functional.relu(features, inplace=True)
            return features

        def forward(self, features: Any) -> Any:
            skips = []
            for level in range(depth):
                skips.append(self._block(f"encoder{level + 1}", features))
                features = nn.functional.max_pool3d(skips[-1], 2)
            features = self._block("bottom", features)
            for level in reversed(range(depth)):
                up = self.layers[f"up{level + 1}"](features)
                features = self._block(f"decoder{level + 1}", torch.cat([skips.pop(), up], 1))
            return self.layers[head](features)

    return Twin()


def load_twin(twin: Any, weights: Weights) -> None:
    """Give a twin the weights of a Keras network.

    Args:
        twin: from `build_twin`.
        weights: from `read_weights`, or `{layer.name: layer.get_weights() for layer in network.layers}`.
    """
    import torch

    for name, layer in twin.layers.items():
        state = list(layer.state_dict())  # weight, bias, and of batch normalisation mean, variance and a counter
        found = [torch.from_numpy(_turned(array)) for array in weights.get(name, [])]
        layer.load_state_dict(dict(zip(state, found, strict=False)), strict=False)
        if [key for key in state[len(found) :] if key != "num_batches_tracked"]:
            raise ValueError(f"{name}: expected {len(state)} arrays, found {len(found)}")


def write_weights(network: "keras.Model", path: Path) -> None:
    """Write a Keras network's weights, layer by layer, to an NPZ file."""
    np.savez(
        path, **{f"{layer.name}/{place}": array for layer in network.layers for place, array in enumerate(layer.get_weights())}
    )


def read_weights(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights that `write_weights` wrote."""
    with np.load(path) as arrays:
        layers = groupby(arrays.files, key=lambda name: name.split("/")[0])
        return {layer: [arrays[name] for name in names] for layer, names in layers}


def _normalisation(kind: str, width: int) -> Any:
    from torch import nn

    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm3d(width, eps=EPSILON, momentum=0.01)
    return nn.GroupNorm(width if kind == "instance" else max(width // 8, 1), width, eps=EPSILON)


def _turned(array: np.ndarray) -> np.ndarray:
    """A kernel (d, h, w, in, out) with its features in front and turned round; other arrays as they are."""
    return np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2)) if array.ndim == 5 else array
