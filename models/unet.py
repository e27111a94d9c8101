"""UNet of any rank (Ronneberger et al., 2015; Cicek et al., 2016): one builder for 2D and 3D.

Per level two 3-wide convolutions with ReLU, then pooling by 2; back up by 2-wide up-convolutions, joined with the encoder's
features of the same level; a 1-wide convolution per head gives its logits.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import expect_number

if TYPE_CHECKING:
    import keras


@dataclass
class UNetConfig:
    """A UNet, 2D or 3D."""

    name: str = "unet"
    """Which network: unet."""
    rank: Literal[2, 3] = 2
    """2 for slices, 3 for volumes."""
    filters: int = 32
    """Filters of the first level; each level below has twice as many."""
    depth: int = 3
    """Levels of pooling."""
    dropout: float = 0.0
    """Share of feature maps that spatial dropout (Tompson et al., 2015) drops between a block's two convolutions."""
    normalisation: Literal["none", "batch", "instance", "group"] = "batch"
    """After each 3-wide convolution: none, batch, instance or group (of 8) normalisation."""
    momentum: float = 0.99
    """Of the moving statistics of batch normalisation; trainings of a few hundred steps want 0.9."""
    l2: float = 0.0
    """L2 penalty on the kernels of the convolutions."""

    def check(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UserError: says which, and what was expected.
        """
        expect_number("model.filters", self.filters, 1)
        expect_number("model.depth", self.depth, 1)
        expect_number("model.dropout", self.dropout, 0, 0.99)
        expect_number("model.momentum", self.momentum, 0, 1)
        expect_number("model.l2", self.l2, 0)

    @property
    def stride(self) -> int:
        """What the sides of the input must be a multiple of."""
        return 2**self.depth

    def build(self, channels: int, heads: dict[str, int]) -> "keras.Model":
        """Make the network: images of any size that is a multiple of `stride` -> {head: logits}.

        Args:
            channels: of the input.
            heads: name -> number of outputs, such as {"segmentation": 4}.
        """
        import keras

        inputs = keras.Input((*[None] * self.rank, channels), name="image")
        features, skips = inputs, []
        for level in range(self.depth):
            features = self._block(features, level, f"encoder{level + 1}")
            skips.append(features)
            features = self._layer("MaxPooling", 2, name=f"pool{level + 1}")(features)
        features = self._block(features, self.depth, "bottom")
        for level in reversed(range(self.depth)):
            filters = self.filters * 2**level
            up = self._layer("Conv{}DTranspose", filters, 2, strides=2, name=f"up{level + 1}", **self._kernels())
            features = keras.layers.Concatenate(name=f"join{level + 1}")([skips[level], up(features)])
            features = self._block(features, level, f"decoder{level + 1}")
        # Logits stay float32 under mixed precision: a loss of rounded logits is a rounded loss.
        outputs = {name: self._layer("Conv", count, 1, dtype="float32", name=name)(features) for name, count in heads.items()}
        return keras.Model(inputs, outputs, name=self.name)

    def _block(self, features: Any, level: int, name: str) -> Any:
        """Two convolutions, each followed by normalisation and ReLU, spatial dropout between them."""
        import keras

        filters = self.filters * 2**level
        for number in (1, 2):
            convolution = self._layer(
                "Conv",
                filters,
                3,
                padding="same",
                use_bias=self.normalisation == "none",
                name=f"{name}_conv{number}",
                **self._kernels(),
            )
            features = convolution(features)
            if self.normalisation != "none":
                features = self._normalisation(filters, f"{name}_norm{number}")(features)
            features = keras.layers.ReLU(name=f"{name}_relu{number}")(features)
            if number == 1 and self.dropout:
                features = self._layer("SpatialDropout", self.dropout, name=f"{name}_dropout")(features)
        return features

    def _normalisation(self, filters: int, name: str) -> Any:
        import keras

        if self.normalisation == "batch":
            return keras.layers.BatchNormalization(momentum=self.momentum, name=name)
        groups = -1 if self.normalisation == "instance" else max(filters // 8, 1)
        return keras.layers.GroupNormalization(groups, name=name)

    def _layer(self, kind: str, *arguments: Any, **named: Any) -> Any:
        """The layer of this rank: `Conv` is Conv2D or Conv3D, `Conv{}DTranspose` Conv2DTranspose or Conv3DTranspose."""
        import keras

        name = kind.format(self.rank) if "{}" in kind else f"{kind}{self.rank}D"
        return getattr(keras.layers, name)(*arguments, **named)

    def _kernels(self) -> dict[str, Any]:
        import keras

        return {
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None,
        }
