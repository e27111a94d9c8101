"""UNet of any rank (Ronneberger et al., 2015; Cicek et al., 2016): one builder for 2D and 3D.

Per level two 3-wide convolutions with ReLU, then pooling by 2; back up by 2-wide up-convolutions, joined with the encoder's
features of the same level; a 1-wide convolution per head gives its logits. Residual blocks, attention gates and deep
supervision are options of the one network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from models.network import Intensity, SegmenterConfig

if TYPE_CHECKING:
    import keras

LEVELS = "_levels"  # ends the name of the layer that puts a head's supervised levels one behind the other


def without_levels(network: "keras.Model") -> "keras.Model":
    """A network with the same weights that gives each head's logits alone, without those of supervised levels below."""
    import keras

    names = {layer.name for layer in network.layers}
    if not any(name + LEVELS in names for name in network.output):
        return network
    return keras.Model(network.input, {name: network.get_layer(name).output for name in network.output}, name=network.name)


@dataclass
class UNetConfig(SegmenterConfig):
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
    """Of the moving statistics of batch normalisation; 0.9 suits trainings of a few hundred steps."""
    l2: float = 0.0
    """L2 penalty on the kernels of the convolutions."""
    widths: list[int] | None = None
    """Filters of each level and of the bottom, `depth` + 1 numbers; null: `filters`, twice as many at each level."""
    residual: bool = False
    """Add each block's input to its output (He et al., 2016; Milletari et al., 2016), through a 1-wide convolution where their
    numbers of features differ."""
    attention: bool = False
    """Attention gates (Oktay et al., 2018): features from the level below weigh the encoder's features, voxel by voxel."""
    deep_supervision: int = 0
    """Levels below the first whose logits, enlarged, are supervised too while training, each half as much as the one above
    (Dou et al., 2017; Isensee et al., 2021); prediction does without them."""

    def check(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UserError: a number out of its range.
        """
        expect_number("model.filters", self.filters, 1)
        expect_number("model.depth", self.depth, 1)
        expect_number("model.dropout", self.dropout, 0, 0.99)
        expect_number("model.momentum", self.momentum, 0, 1)
        expect_number("model.l2", self.l2, 0)
        expect_number("model.deep_supervision", self.deep_supervision, 0, self.depth - 1)
        count, meaning = self._widths_of
        if self.widths is not None and (len(self.widths) != count or min(self.widths) < 1):
            raise UserError(f"--model.widths: expected {count} numbers of filters ({meaning}); received {self.widths}")

    @property
    def bottleneck(self) -> str:
        """Layer whose features stand for a whole image: the last one of the bottom."""
        return "bottom_relu2"

    @property
    def stride(self) -> int:
        """Divisor of the input's sides."""
        return 2**self.depth

    def assemble(
        self, channels: int, heads: dict[str, int], pooled: Sequence[str], intensity: Intensity = "minmax"
    ) -> "keras.Model":
        """Make the network: images of any size that is a multiple of `stride` -> {head: logits}.

        Args:
            channels: of the input.
            heads: name -> number of outputs, such as {"segmentation": 4}.
            pooled: heads with one vector of logits for each image, from the mean over the bottom's features (Lin et al., 2014).
            intensity: how intensities are scaled, for encoders that were trained on pictures.

        Returns:
            the network; under deep supervision a head's logits are followed by those of the levels below, along the last axis,
            and `without_levels` takes these off again.
        """
        import keras

        inputs, levels = keras.Input((*[None] * self.rank, channels), name="image"), []
        skips, bottom = self._encode(inputs, intensity)
        features = bottom
        for level in reversed(range(self.depth)):
            filters = self._filters(level)
            up = self._layer("Conv{}DTranspose", filters, 2, strides=2, name=f"up{level + 1}", **self._kernels())(features)
            skip = self._gate(skips[level], up, filters, f"gate{level + 1}") if self.attention else skips[level]
            features = keras.layers.Concatenate(name=f"join{level + 1}")([skip, up])
            features = self._block(features, level, f"decoder{level + 1}")
            levels.append(features)
        levels = levels[::-1]
        outputs = {name: self._logits(levels, name, count) for name, count in heads.items() if name not in pooled}
        for name in pooled:
            mean = self._layer("GlobalAveragePooling", name=f"{name}_pooling")(bottom)
            outputs[name] = keras.layers.Dense(heads[name], dtype="float32", name=name)(mean)
        return keras.Model(inputs, outputs, name=self.name)

    def _encode(self, inputs: Any, intensity: Intensity) -> tuple[list[Any], Any]:
        """Features of each level from the first to the last, and those of the bottom."""
        features, skips = inputs, []
        for level in range(self.depth):
            features = self._block(features, level, f"encoder{level + 1}")
            skips.append(features)
            features = self._layer("MaxPooling", 2, name=f"pool{level + 1}")(features)
        return skips, self._block(features, self.depth, "bottom")

    @property
    def _widths_of(self) -> tuple[int, str]:
        """Length of `widths`, and what it is the number of."""
        return self.depth + 1, "depth + 1"

    def _filters(self, level: int) -> int:
        return self.filters * 2**level if self.widths is None else self.widths[level]

    def _logits(self, levels: list[Any], name: str, count: int) -> Any:
        """A head's logits; those of supervised levels enlarged and behind them."""
        import keras

        # Logits stay float32 under mixed precision: a loss of rounded logits is a rounded loss.
        found = [self._layer("Conv", count, 1, dtype="float32", name=name)(levels[0])]
        for level in range(1, self.deep_supervision + 1):
            small = self._layer("Conv", count, 1, dtype="float32", name=f"{name}_level{level + 1}")(levels[level])
            found.append(self._layer("UpSampling", 2**level, dtype="float32", name=f"{name}_enlarged{level + 1}")(small))
        return keras.layers.Concatenate(dtype="float32", name=f"{name}{LEVELS}")(found) if len(found) > 1 else found[0]

    def _gate(self, skip: Any, signal: Any, filters: int, name: str) -> Any:
        """An encoder's features, weighed by 0..1 at each place."""
        import keras

        inner = max(filters // 2, 1)
        inputs = [
            self._layer("Conv", inner, 1, name=f"{name}_{part}", **self._kernels())(given)
            for part, given in (("skip", skip), ("signal", signal))
        ]
        both = keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_sum")(inputs))
        weight = self._layer("Conv", 1, 1, activation="sigmoid", name=f"{name}_weight", **self._kernels())(both)
        return keras.layers.Multiply(name=name)([skip, weight])

    def _block(self, features: Any, level: int, name: str) -> Any:
        """Two convolutions, each followed by normalisation and ReLU, spatial dropout between them."""
        import keras

        filters, given = self._filters(level), features
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
            if number == 2 and self.residual:
                features = keras.layers.Add(name=f"{name}_sum")([features, self._shortcut(given, filters, name)])
            features = keras.layers.ReLU(name=f"{name}_relu{number}")(features)
            if number == 1 and self.dropout:
                features = self._layer("SpatialDropout", self.dropout, name=f"{name}_dropout")(features)
        return features

    def _shortcut(self, features: Any, filters: int, name: str) -> Any:
        """A block's input with as many features as its output has."""
        if features.shape[-1] == filters:
            return features
        return self._layer("Conv", filters, 1, name=f"{name}_shortcut", **self._kernels())(features)

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
