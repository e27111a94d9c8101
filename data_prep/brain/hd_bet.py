"""HD-BET: network for brain extraction in MRI of brains with tumours, in Keras (Isensee et al., 2019, Human Brain Mapping 40).

A 3D UNet with five levels of residual blocks, instance normalisation and leaky ReLU. The name of a layer is its level, encoder1
to encoder5 and decoder4 to decoder1, an underscore and the name of its arrays in the published checkpoints, such as
encoder1_context1.conv1. Statistics of the normalisation are those of the image, in training and inference alike, so the running
ones of the checkpoints are not used; nor are the outputs of deep supervision.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from common.errors import UserError
from data_prep.brain.hd_bet_weights import ADVICE, read_weights

FILTERS = 21  # of the first level; each level has twice as many
LEVELS = 5
SMALLEST = 2 ** (LEVELS - 1)  # voxels of a side; sides are multiples of it
EPSILON = 1e-5
BODY_SLOPE, END_SLOPE = 0.01, 0.1  # of the leaky ReLU: in blocks; behind the encoder and in the last two convolutions
UNUSED = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)|loc[23]_seg\.weight")
ALONG = ("bdhwc,xd->bxhwc", "bdhwc,xh->bdxwc", "bdhwc,xw->bdhxc")  # products with a matrix along each axis of space


class Upsampling(keras.layers.Layer):
    """Trilinear upsampling by two along each axis of space, with aligned corners, as three products with a matrix."""

    def call(self, inputs: Any) -> Any:
        """Upsample (N, D, H, W, channels)."""
        features = inputs
        for axis, equation in enumerate(ALONG, start=1):
            matrix = upsampling_matrix(ops.shape(features)[axis])
            features = ops.einsum(equation, features, ops.cast(matrix, features.dtype))
        return features

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape with twice the length of each axis of space."""
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else 2 * side for side in sides), channels)


def upsampling_matrix(length: Any) -> Any:
    """Matrix (2 n, n) float32 of linear interpolation with aligned corners.

    Args:
        length: n, an integer; in graphs of TensorFlow with unknown sizes a scalar tensor.
    """
    length = float(length) if isinstance(length, int) else ops.cast(length, "float32")
    positions = ops.arange(0.0, 2 * length, 1.0, dtype="float32") * ((length - 1) / (2 * length - 1))
    return ops.relu(1 - ops.abs(positions[:, None] - ops.arange(0.0, length, 1.0, dtype="float32")[None]))


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a level.

    Attributes:
        level: such as encoder1; begins the names of the layers.
        dtype: dtype policy of the layers.
    """

    level: str
    dtype: str

    def _named(self, name: str) -> dict[str, str]:
        return {"dtype": self.dtype, "name": f"{self.level}_{name}"}

    def convolution(self, name: str, features: Any, filters: int, width: int = 3, bias: bool = True) -> Any:
        """Convolution that keeps the size."""
        return keras.layers.Conv3D(filters, width, padding="same", use_bias=bias, **self._named(name))(features)

    def downsampling(self, name: str, features: Any) -> Any:
        """Convolution of stride 2 that doubles the channels, padded by one voxel on both sides as in PyTorch."""
        padded = keras.layers.ZeroPadding3D(1, **self._named(f"{name}.padding"))(features)
        return keras.layers.Conv3D(2 * features.shape[-1], 3, 2, **self._named(name))(padded)

    def normalised(self, name: str, features: Any, slope: float = BODY_SLOPE) -> Any:
        """Instance normalisation and leaky ReLU."""
        features = keras.layers.GroupNormalization(-1, epsilon=EPSILON, **self._named(name))(features)
        return keras.layers.LeakyReLU(slope, **self._named(f"{name}.activation"))(features)

    def residual(self, name: str, features: Any) -> Any:
        """Two convolutions behind normalisations, added to their input."""
        filters = features.shape[-1]
        inner = self.convolution(f"{name}.conv1", self.normalised(f"{name}.bn_1", features), filters)
        inner = self.convolution(f"{name}.conv2", self.normalised(f"{name}.bn_2", inner), filters)
        return keras.layers.Add(**self._named(f"{name}.sum"))([inner, features])

    def upsampling(self, name: str, features: Any) -> Any:
        """Upsampling and convolution to half the channels."""
        filters = features.shape[-1] // 2
        features = Upsampling(**self._named(f"{name}.upsample"))(features)
        return self.normalised(f"{name}.bn", self.convolution(f"{name}.upsample_conv", features, filters))

    def localisation(self, name: str, features: Any) -> Any:
        """Convolution, then one of width 1 to half the channels."""
        filters = features.shape[-1]
        features = self.normalised(f"{name}.bn_1", self.convolution(f"{name}.conv1", features, filters))
        return self.normalised(f"{name}.bn_2", self.convolution(f"{name}.conv2", features, filters // 2, width=1))


def build_network(channels: int = 1, classes: int = 2, filters: int = FILTERS, dtype: str = "float32") -> keras.Model:
    """Build the network as published: images (N, D, H, W, channels) -> logits (N, D, H, W, classes) float32.

    Args:
        channels: of the input; one in the published networks.
        classes: of the output; background and brain in the published networks.
        filters: of the first level.
        dtype: dtype policy, such as float32 or mixed_bfloat16.

    Returns:
        Network for volumes of any size whose sides are multiples of 16, with random weights.
    """
    inputs = keras.Input((None, None, None, channels), name="image")
    features, _ = encode_and_decode(inputs, filters, dtype)
    logits = _Blocks("head", "float32").convolution("seg_layer", features, classes, width=1, bias=False)
    return keras.Model(inputs, logits, name="hd_bet")


def encode_and_decode(image: Any, filters: int, dtype: str) -> tuple[Any, Any]:
    """Features of encoder and decoder for an image.

    Args:
        image: (N, D, H, W, channels), sides multiples of 16.
        filters: of the first level; each level has twice as many.
        dtype: dtype policy of the layers.

    Returns:
        Features of the last decoder level (N, D, H, W, 2 * filters), and those of the encoder's last level, of a sixteenth of
        the sides.
    """
    encoder = [_Blocks(f"encoder{level}", dtype) for level in range(1, LEVELS + 1)]
    features = encoder[0].residual("context1", encoder[0].convolution("init_conv", image, filters))
    skips = []
    for level in range(1, LEVELS):
        skips.append(encoder[level - 1].normalised(f"down{level}.bn", features))
        down = encoder[level].downsampling(f"down{level}.downsample", skips[-1])
        features = encoder[level].residual(f"context{level + 1}", down)
    features = bottom = encoder[-1].normalised("bn_after_context5", features, END_SLOPE)
    for level in range(1, LEVELS):  # counted upwards in the checkpoints
        decoder = _Blocks(f"decoder{LEVELS - level}", dtype)
        joined = [skips.pop(), decoder.upsampling(f"up{level}", features)]
        features = keras.layers.Concatenate(dtype=dtype, name=f"join{LEVELS - level}")(joined)
        if skips:
            features = decoder.localisation(f"loc{level}", features)
    for name in ("end_conv_1", "end_conv_2"):
        features = decoder.normalised(f"{name}_bn", decoder.convolution(name, features, 2 * filters), END_SLOPE)
    return features, bottom


def assign_weights(network: keras.Model, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Assign the arrays of a checkpoint to the layers whose names end in theirs.

    Args:
        network: as of `build_network`, perhaps smaller.
        arrays: name -> array, kernels (filters, channels, depth, height, width) as in PyTorch.
        path: of the checkpoint, for errors.

    Raises:
        UserError: an array is missing, unknown or of another shape.
    """
    unknown = {name for name in arrays if not UNUSED.fullmatch(name)}
    for layer in network.layers:
        for variable, part in zip(layer.weights, ("weight", "bias"), strict=False):
            name = f"{layer.name.partition('_')[2]}.{part}"
            if name not in arrays:
                raise UserError(f"{path}: expected weights of HD-BET; received no {name}; {ADVICE}")
            array = arrays[name].transpose(2, 3, 4, 1, 0) if arrays[name].ndim == 5 else arrays[name]
            if array.shape != tuple(variable.shape):
                raise UserError(f"{path}: {name}: expected shape {tuple(variable.shape)}; received {array.shape}; {ADVICE}")
            variable.assign(array.astype(np.float32))
            unknown.discard(name)
    if unknown:
        raise UserError(f"{path}: expected weights of HD-BET; received {sorted(unknown)[0]} as well; {ADVICE}")


def load_network(number: int, dtype: str = "float32") -> keras.Model:
    """Load a published network, ready to predict.

    Args:
        number: 0 to 4.
        dtype: dtype policy.

    Raises:
        MissingPackage: the package with the weights is not installed.
        UserError: a file is missing or damaged.
    """
    path, arrays = read_weights(number)
    filters = len(arrays.get("init_conv.weight", range(FILTERS)))
    network = build_network(filters=filters, dtype=dtype)
    assign_weights(network, arrays, path)
    # XLA is needed by JAX; on processors TensorFlow's own kernels (oneDNN) are quicker than those of XLA.
    network.compile(jit_compile=keras.backend.backend() == "jax")
    if keras.backend.backend() == "tensorflow":
        # It traces a graph of the first size, and at the second one of any size, which rounds bfloat16 otherwise. Both are
        # taken here, so that the mask of a scan does not depend on the scans before it.
        for side in (SMALLEST, 2 * SMALLEST):
            network.predict_on_batch(np.zeros((1, side, side, side, 1), np.float32))
    return network
