"""Classifier of images: a backbone, trained on ImageNet or not, and a small head.

images -> preprocessing -> backbone -> for each head: dense, batch normalisation, ReLU, dropout, dense -> logits. A subclass of
`ClassifierConfig` brings the backbone, its weights and its preprocessing. The paper on lower-grade glioma trains the head on
frozen features first (`freeze: [backbone]` in a phase) and then fine-tunes.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import expect_number
from models.network import Intensity, NetworkConfig
from models.stem import match_channels

if TYPE_CHECKING:
    import keras

BACKBONE, PREPROCESSING = "backbone", "preprocessing"
IMAGENET = "imagenet"
RGB = 3
WHITE = 255.0
RANGES: dict[str, tuple[float, float]] = {"minmax": (0.0, 1.0), "zscore": (-3.0, 3.0), "median": (0.0, 3.0)}
"""Scaling of a record's intensities -> (black, white); values beyond them are clipped."""


@dataclass
class ClassifierConfig(NetworkConfig):
    """A classifier of images: what its networks share."""

    name: str = ""
    """Which network."""
    weights: str | None = None
    """Initial weights of the backbone, or null for random numbers."""
    dense: int = 256
    """Neurons of the layer between the backbone and the logits."""
    dropout: float = 0.5
    """Share of these neurons that dropout leaves out."""
    momentum: float = 0.9
    """Of the moving statistics of those batch normalisations that train."""

    def check(self) -> None:
        """Refuse what makes no network.

        Raises:
            UserError: a number out of its range, or weights that the network cannot have.
        """
        expect_number("model.dense", self.dense, 1)
        expect_number("model.dropout", self.dropout, 0, 0.99)
        expect_number("model.momentum", self.momentum, 0, 1)
        if self.weights is not None:
            self.check_weights(self.weights)

    @property
    def rank(self) -> int:
        """2: the network takes slices."""
        return 2

    @property
    def stride(self) -> int:
        """Divisor of the input's sides, 1: any size will do, convolutions pad and features are averaged."""
        return 1

    def origin(self) -> str:
        """Source of the backbone's weights, for tables.

        Raises:
            UserError: `weights` names what is not there.
        """
        return "random initialisation" if self.weights is None else self.weights_origin(self.weights)

    def fixed_layers(self, network: "keras.Model") -> list[Any]:
        """Layers that never train: batch normalisations of a pretrained backbone, statistics and scales.

        They run as in inference, because the small batches of a fine-tuning would overwrite statistics of a million images.
        With random weights everything trains: frozen statistics (mean 0, variance 1) would be none at all.
        """
        return [] if self.weights is None else batch_norms(network.get_layer(BACKBONE))

    def build(
        self,
        channels: int,
        heads: dict[str, int],
        pooled: Sequence[str] = (),
        intensity: Intensity = "minmax",
        load_pretrained: bool = True,
    ) -> "keras.Model":
        """Make the network: images (N, H, W, channels) of any size -> {head: logits (N, outputs) float32}.

        Args:
            channels: of the input; three are taken as red, green and blue, for other numbers the stem is inflated (`inflate`).
            heads, intensity, load_pretrained: as of `NetworkConfig.build`; the weights that may be loaded are `weights`.
            pooled: not used; all heads have one vector of logits for each image.

        Raises:
            UserError: the weights cannot be loaded.
        """
        import keras

        inputs = keras.Input((None, None, channels), name="image")
        backbone = self.backbone(channels)
        for layer in batch_norms(backbone):
            layer.momentum = self.momentum
        if self.weights is not None and load_pretrained:
            self.load_backbone(backbone, self.weights, channels)
        features = backbone(self.preprocessing(channels, intensity)(inputs))
        outputs = {head: self._head(features, head, count) for head, count in heads.items()}
        return keras.Model(inputs, outputs, name=self.name)

    @abstractmethod
    def check_weights(self, weights: str) -> None:
        """Refuse a value of `weights` that no weights can have, before anything is read."""

    @abstractmethod
    def weights_origin(self, weights: str) -> str:
        """Source of weights that were trained elsewhere, in words."""

    @abstractmethod
    def backbone(self, channels: int) -> "keras.Model":
        """Network named `BACKBONE`: preprocessed images -> features (N, K); its last layer is global average pooling."""

    @abstractmethod
    def load_backbone(self, backbone: "keras.Model", weights: str, channels: int) -> None:
        """Put pretrained weights into the backbone."""

    @abstractmethod
    def preprocessing(self, channels: int, intensity: Intensity) -> "keras.Model":
        """Network named `PREPROCESSING`: images as records hold them -> images as the backbone's weights expect them."""

    def _head(self, features: Any, head: str, outputs: int) -> Any:
        from keras import layers

        # Batch normalisation has a shift of its own, so the layer before it needs no bias.
        hidden = layers.Dense(self.dense, use_bias=False, kernel_initializer="he_normal", name=f"{head}_dense")(features)
        hidden = layers.BatchNormalization(momentum=self.momentum, name=f"{head}_norm")(hidden)
        hidden = layers.ReLU(name=f"{head}_relu")(hidden)
        hidden = layers.Dropout(self.dropout, name=f"{head}_dropout")(hidden)
        # Logits stay float32 under mixed precision: a loss of rounded logits is a rounded loss.
        return layers.Dense(outputs, dtype="float32", name=head)(hidden)


def scaled_pictures(
    channels: int, intensity: Intensity, means: Sequence[float], deviation: float = 1.0, bgr: bool = False
) -> "keras.Model":
    """(N, H, W, channels) as records hold them -> clipped, 0..255, less means, divided by a deviation; float32.

    Zero, what lies outside the head, becomes what zero is on the scale of `RANGES`: black, or middle grey for z-scores.

    Args:
        channels: of the images.
        intensity: how the records' intensities are scaled.
        means: of the three colours, on the scale 0..255, in the order of the output; other numbers of channels than three have
            the mean of the means subtracted from each.
        deviation: of all colours.
        bgr: the order of three channels is reversed.
    """
    import keras

    scale, offsets = linear_scaling(intensity, means if channels == RGB else [sum(means) / RGB] * channels, deviation)
    inputs = keras.Input((None, None, channels), name="intensities")
    pictures = keras.ops.clip(inputs, *RANGES[intensity])
    if bgr and channels == RGB:
        pictures = keras.ops.flip(pictures, axis=-1)
    pictures = keras.layers.Rescaling(scale, offsets, dtype="float32", name="scaled")(pictures)
    return keras.Model(inputs, pictures, name=PREPROCESSING)


def linear_scaling(intensity: Intensity, means: Sequence[float], deviation: float) -> tuple[float, list[float]]:
    """Scale and offsets of the input of pretrained weights: intensities of `RANGES` on 0..255, less means, by a deviation."""
    low, high = RANGES[intensity]
    scale = WHITE / (high - low)
    return scale / deviation, [(-low * scale - mean) / deviation for mean in means]


def inflate(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The stem's kernel for another number of input channels (as Carreira and Zisserman, 2017, inflate in time).

    Args:
        kernel: (rows, columns, 3, filters), of RGB images.
        channels: wanted. With 3 the kernel stays as it is; otherwise each channel gets the mean over RGB times 3 / channels, so
            that equal channels give the response that a grey picture gave.

    Returns:
        (rows, columns, channels, filters), of the same dtype.
    """
    inflated = match_channels(kernel, ["red", "green", "blue"], [f"channel {number}" for number in range(channels)])
    return kernel if channels == RGB or inflated is None else inflated


def batch_norms(backbone: "keras.Model") -> list[Any]:
    """Batch normalisations of a network, in order."""
    import keras

    return [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
