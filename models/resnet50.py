"""ResNet50 (He et al., 2016) classifier of images: a backbone, trained on ImageNet or not, and a small head.

images -> preprocessing -> backbone -> for each head: dense, batch normalisation, ReLU, dropout, dense -> logits. The paper on
lower-grade glioma trains the head on frozen features first (`freeze: [backbone]` in a phase) and then fine-tunes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from common.files import checksum
from data_prep.grid.geometry import Triple
from models import pretrained

if TYPE_CHECKING:
    import keras

Intensity = Literal["minmax", "zscore", "median"]
BACKBONE, PREPROCESSING = "backbone", "preprocessing"
WHITE = 255.0
RANGES: dict[str, tuple[float, float]] = {"minmax": (0.0, 1.0), "zscore": (-3.0, 3.0), "median": (0.0, 3.0)}
"""Scaling of a record's intensities -> (black, white); values beyond them are clipped."""
IMAGENET_MEANS_BGR = (103.939, 116.779, 123.68)  # subtracted in the training of the ImageNet weights ("caffe" mode)


@dataclass
class ResNet50Config:
    """A ResNet50 for classes of images."""

    name: str = "resnet50"
    """Which network: resnet50."""
    weights: str | None = None
    """Initial weights of the backbone: imagenet (downloaded by Keras), the path of a .h5, .weights.h5 or .keras file of a
    keras.applications.ResNet50, or null for random numbers."""
    dense: int = 256
    """Neurons of the layer between the backbone and the logits."""
    dropout: float = 0.5
    """Share of these neurons that dropout leaves out."""
    momentum: float = 0.9
    """Of the moving statistics of those batch normalisations that train."""

    def check(self) -> None:
        """Refuse what makes no network.

        Raises:
            UserError: a number out of its range, or a name that no weights file can have.
        """
        expect_number("model.dense", self.dense, 1)
        expect_number("model.dropout", self.dropout, 0, 0.99)
        expect_number("model.momentum", self.momentum, 0, 1)
        if self.weights not in (None, pretrained.IMAGENET) and not self.weights.endswith(pretrained.SUFFIXES):
            raise UserError(
                "--model.weights: expected imagenet, null, or a file ending in .h5, .weights.h5 or .keras; "
                f"received {self.weights}"
            )

    @property
    def stride(self) -> int:
        """Divisor of the input's sides, 1: any size will do, convolutions pad and features are averaged."""
        return 1

    @property
    def margin(self) -> int:
        """Voxels on each side without output: none."""
        return 0

    def prediction_patch(self, patch: Triple | None) -> Triple | None:
        """Slices, rows and columns of the patches of prediction: None, whole slices."""
        return None

    def origin(self) -> str:
        """Source of the backbone's weights, for tables.

        Raises:
            UserError: `weights` names a file that is not there.
        """
        if self.weights is None:
            return "random initialisation"
        if self.weights == pretrained.IMAGENET:
            return "ImageNet (keras.applications)"
        path = pretrained.weights_file(self.weights)
        return f"file {path.name} (crc32c {checksum(path)})"

    def fixed_layers(self, network: "keras.Model") -> list[Any]:
        """Layers that never train: batch normalisations of a pretrained backbone, statistics and scales.

        They run as in inference, because the small batches of a fine-tuning would overwrite statistics of a million images.
        With random weights everything trains: frozen statistics (mean 0, variance 1) would be none at all.
        """
        return [] if self.weights is None else _batch_norms(network.get_layer(BACKBONE))

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
            channels: of the input; three are taken as red, green and blue, for other numbers the stem is inflated
                (`pretrained.inflate`).
            heads: name -> number of outputs, such as {"grade": 1}.
            pooled: heads with one vector of logits for each image; here they all are.
            intensity: how the records' intensities are scaled (`PrepareConfig.intensity`).
            load_pretrained: load what `weights` names; False where a run's own weights are loaded next, so that prediction does
                without the file.

        Raises:
            UserError: the weights cannot be loaded.
        """
        import keras

        inputs = keras.Input((None, None, channels), name="image")
        backbone = self._backbone(channels)
        if self.weights is not None and load_pretrained:
            pretrained.load_backbone_weights(backbone, self.weights, channels)
        features = backbone(_preprocessing(channels, intensity)(inputs))
        outputs = {head: self._head(features, head, count) for head, count in heads.items()}
        return keras.Model(inputs, outputs, name=self.name)

    def _backbone(self, channels: int) -> "keras.Model":
        """(N, H, W, channels), as ImageNet weights expect them -> (N, 2048) features."""
        import keras

        with warnings.catch_warnings():  # Keras warns of other channels than 1 or 3
            warnings.simplefilter("ignore", UserWarning)
            backbone = keras.applications.ResNet50(
                include_top=False, weights=None, input_shape=(None, None, channels), pooling="avg", name=BACKBONE
            )
        for layer in _batch_norms(backbone):
            layer.momentum = self.momentum
        return backbone

    def _head(self, features: Any, head: str, outputs: int) -> Any:
        from keras import layers

        # Batch normalisation has a shift of its own, so the layer before it needs no bias.
        hidden = layers.Dense(self.dense, use_bias=False, kernel_initializer="he_normal", name=f"{head}_dense")(features)
        hidden = layers.BatchNormalization(momentum=self.momentum, name=f"{head}_norm")(hidden)
        hidden = layers.ReLU(name=f"{head}_relu")(hidden)
        hidden = layers.Dropout(self.dropout, name=f"{head}_dropout")(hidden)
        # Logits stay float32 under mixed precision: a loss of rounded logits is a rounded loss.
        return layers.Dense(outputs, dtype="float32", name=head)(hidden)


def _preprocessing(channels: int, intensity: Intensity) -> "keras.Model":
    """(N, H, W, channels) as records hold them -> clipped, 0..255, less ImageNet's means, three channels as BGR; float32.

    Zero, what lies outside the head, becomes what zero is on the scale of `RANGES`: black, or middle grey for z-scores. Other
    numbers of channels than three have the mean of the three means subtracted from each.
    """
    import keras

    low, high = RANGES[intensity]
    scale = WHITE / (high - low)
    means = IMAGENET_MEANS_BGR if channels == len(IMAGENET_MEANS_BGR) else [sum(IMAGENET_MEANS_BGR) / 3] * channels
    inputs = keras.Input((None, None, channels), name="intensities")
    pictures = keras.ops.clip(inputs, low, high)
    if channels == len(IMAGENET_MEANS_BGR):
        pictures = keras.ops.flip(pictures, axis=-1)
    offsets = [-low * scale - mean for mean in means]
    pictures = keras.layers.Rescaling(scale, offsets, dtype="float32", name="caffe_mode")(pictures)
    return keras.Model(inputs, pictures, name=PREPROCESSING)


def _batch_norms(backbone: "keras.Model") -> list[Any]:
    import keras

    return [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
