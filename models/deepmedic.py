"""DeepMedic of any rank (Kamnitsas et al., 2017): convolutional pathways at several resolutions, without padding.

Every pathway is a chain of 3-wide valid convolutions around the same voxels: the first at full resolution, the others on every
f-th voxel of a larger context, whose features are repeated f times along each axis. All features are joined and classified by
1-wide convolutions. A voxel's logits are then a function of its context alone, so tiles of a volume, side by side, give exactly
the logits of the whole volume.

One input patch serves all pathways: the network crops and strides it. Outputs are smaller than the input by `margin` voxels on
each side. Sizes, parameters and block order are those of the published code (github.com/deepmedic/deepmedic, v0.5 to v0.8.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from data_prep.grid.geometry import Triple
from models.network import SegmenterConfig

if TYPE_CHECKING:
    import keras

PRELU = 0.01  # slope below 0 at the start of training, as published
TILE = 36  # voxels along an axis of a prediction's output, to the next multiple of the factors: memory against repeated context


@dataclass
class DeepMedicConfig(SegmenterConfig):
    """DeepMedic (Kamnitsas et al., 2017), 2D or 3D."""

    name: str = "deepmedic"
    """Which network: deepmedic."""
    rank: Literal[2, 3] = 3
    """3 for volumes, 2 for slices."""
    filters: list[int] = field(default_factory=lambda: [30, 30, 40, 40, 40, 40, 50, 50])
    """Filters of each 3-wide convolution of a pathway; all pathways have the same."""
    factors: list[int] = field(default_factory=lambda: [3])
    """Low-resolution pathways: one for each number f, on every f-th voxel. Empty: full resolution alone."""
    residual: list[int] = field(default_factory=list)
    """Convolutions of each pathway, counted from 1, to whose output the input of the convolution before is added (He et al.,
    2016); published since v0.5.4: [4, 6, 8]."""
    hidden: list[int] = field(default_factory=lambda: [150, 150])
    """Filters of the hidden classification layers."""
    hidden_width: Literal[1, 3] = 1
    """Width of the first hidden layer: 1, or 3 over a border that is mirrored, as published since v0.5.4; with 3 the logits at
    the borders of tiles differ from those of the whole volume."""
    hidden_residual: list[int] = field(default_factory=list)
    """Hidden layers, counted from 1, to whose output the input of the layer before is added; published since v0.5.4: [2]."""
    dropout: float = 0.5
    """Share of values that dropout sets to 0 before the second hidden layer, later ones and the logits."""
    momentum: float = 0.983
    """Of the moving statistics of batch normalisation; 1 - 1/60 stands for the published mean over the last 60 batches."""
    l1: float = 1e-6
    """L1 penalty on the kernels of the convolutions."""
    l2: float = 1e-4
    """L2 penalty on the kernels of the convolutions."""

    def check(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UserError: names the option, the expected and the received value.
        """
        expect_number("model.dropout", self.dropout, 0, 0.99)
        expect_number("model.momentum", self.momentum, 0, 1)
        expect_number("model.l1", self.l1, 0)
        expect_number("model.l2", self.l2, 0)
        for name, least in (("filters", 1), ("hidden", 1), ("factors", 2)):
            values = getattr(self, name)
            if any(value < least for value in values) or (name == "filters" and not values):
                raise UserError(f"--model.{name}: expected numbers of at least {least}; received {values}")
        for name, layers in (("residual", self.filters), ("hidden_residual", self.hidden)):
            values = getattr(self, name)
            if any(not 2 <= value <= len(layers) for value in values):
                raise UserError(f"--model.{name}: expected layers from 2 to {len(layers)}; received {values}")
        if len(set(self.factors)) < len(self.factors):
            raise UserError(f"--model.factors: expected different numbers; received {self.factors}")
        # The input of layer 2's shortcut: channels of the image, known when the network is built, and the joined features.
        joined = self.filters[-1] * (1 + len(self.factors))
        self._refuse_shrinking("residual", self.residual, [0, *self.filters])
        self._refuse_shrinking("hidden_residual", self.hidden_residual, [joined, *self.hidden])

    def _refuse_shrinking(self, option: str, residual: Sequence[int], counts: Sequence[int]) -> None:
        """Refuse residuals to fewer features than their input has, since the shortcut only adds features.

        Args:
            option: without `model.`.
            residual: numbers of layers.
            counts: features of the input of the first layer, then of the output of each layer.

        Raises:
            UserError: names the option and the layer.
        """
        for number in residual:
            entering, features = counts[number - 2], counts[number]
            if features < entering:
                raise UserError(
                    f"--model.{option}: expected at least the {entering} features of its shortcut in layer {number}; "
                    f"received {features}"
                )

    @property
    def margin(self) -> int:
        """Voxels along each axis, on both sides, by which the output is smaller than the input."""
        return max(self._context(factor) for factor in (1, *self.factors))

    @property
    def receptive_field(self) -> int:
        """Nominal receptive field of the pathways alone, in voxels along an axis (published: 51).

        Features of a low-resolution pathway are repeated, so the field of a voxel is not centred on it; a `hidden_width` of 3
        adds a voxel on each side.
        """
        return (1 + 2 * len(self.filters)) * max([1, *self.factors])

    @property
    def stride(self) -> int:
        """Divisor of the input's sides: none."""
        return 1

    def segment_sizes(self, output: int) -> list[int]:
        """Voxels along an axis that enter each pathway's first convolution, for an output size (published: 25 and 19 for 9)."""
        return [-(-output // factor) + 2 * len(self.filters) for factor in (1, *self.factors)]

    def prediction_patch(self, patch: Triple | None) -> Triple | None:
        """Slices, rows and columns of the input patches of prediction, whatever those of training.

        Tiles begin at multiples of all factors, so low-resolution pathways take the same voxels in each of them.
        """
        step = lcm(*self.factors) if self.factors else 1
        side = -(-TILE // step) * step + 2 * self.margin
        return (side, side, side) if self.rank == 3 else (1, side, side)

    @property
    def bottleneck(self) -> str:
        """Layer whose features stand for a whole image: the last one that all heads share, in which the pathways are joined."""
        if self.hidden:
            return f"hidden{len(self.hidden)}" + ("_sum" if len(self.hidden) in self.hidden_residual else "")
        last = len(self.filters)
        return "join" if self.factors else f"normal_{'sum' if last in self.residual else 'conv'}{last}"

    def assemble(self, channels: int, heads: dict[str, int], pooled: Sequence[str]) -> "keras.Model":
        """Make the network: patches larger than twice `margin` -> {head: logits} of their inner part.

        Args:
            channels: of the input.
            heads: name -> number of outputs, such as {"segmentation": 4}. All share everything but their last convolution.
            pooled: heads with one vector of logits for each patch, from the mean over the last features.

        Raises:
            UserError: a residual of layer 2 with fewer filters than there are channels.
        """
        import keras

        from models.layers import CropLike

        self._refuse_shrinking("residual", self.residual, [channels, *self.filters])
        inputs = keras.Input((*[None] * self.rank, channels), name="image")
        normal = self._pathway(inputs, 1, "normal")
        joined = [normal]
        for factor in self.factors:
            name = f"low{factor}"
            features = self._pathway(inputs, factor, name)
            features = self._layer("UpSampling", factor, name=f"{name}_repeat")(features)
            joined.append(CropLike(name=f"{name}_crop")([features, normal]))
        features = keras.layers.Concatenate(name="join")(joined) if len(joined) > 1 else normal
        features = self._hidden(features)
        outputs = {}
        for name, count in heads.items():
            if name in pooled:
                mean = self._layer("GlobalAveragePooling", name=f"{name}_pooling")(features)
                outputs[name] = keras.layers.Dense(count, dtype="float32", name=name)(mean)
            else:
                last = self._preactivated(features, f"{name}_pre", self.dropout if self.hidden else 0.0)
                outputs[name] = self._layer("Conv", count, 1, dtype="float32", name=name, **self._kernels())(last)
        return keras.Model(inputs, outputs, name=self.name)

    def _context(self, factor: int) -> int:
        """Voxels on each side of the output that a pathway needs: those of its valid convolutions, and the rest of a division.

        The low-resolution cell j is centred on the output voxels f j to f j + f - 1 that its features are repeated on; up to
        f - 1 more voxels at the end let an output size that f does not divide be covered by one more cell.
        """
        return len(self.filters) * factor - (factor - 1) // 2 + factor - 1

    def _pathway(self, inputs: Any, factor: int, name: str) -> Any:
        """Valid convolutions around the output's voxels, on every `factor`-th voxel of the input."""
        import keras

        from models.layers import ChannelBias

        cut = self.margin - self._context(factor)
        axis = slice(cut + factor - 1, -cut or None, factor)
        features = inputs[(slice(None), *[axis] * self.rank, slice(None))]
        features = ChannelBias(name=f"{name}_input_bias")(features)
        entered = []
        for number, count in enumerate(self.filters, start=1):
            entered.append(features)
            if number > 1:
                features = self._preactivated(features, f"{name}_pre{number}", 0.0)
            convolution = self._layer("Conv", count, 3, use_bias=False, name=f"{name}_conv{number}", **self._kernels())
            features = convolution(features)
            if number in self.residual:
                cropped = self._layer("Cropping", 2, name=f"{name}_shortcut{number}")(entered[-2])
                added = [features, self._with_features(cropped, count)]
                features = keras.layers.Add(name=f"{name}_sum{number}")(added)
        return features

    def _hidden(self, features: Any) -> Any:
        """Hidden classification layers: pre-activated convolutions that keep the size."""
        import keras

        entered = []
        for number, count in enumerate(self.hidden, start=1):
            entered.append(features)
            name = f"hidden{number}"
            features = self._preactivated(features, f"{name}_pre", self.dropout if number > 1 else 0.0)
            width = self.hidden_width if number == 1 else 1
            if width == 3:
                features = keras.ops.pad(features, [(0, 0), *[(1, 1)] * self.rank, (0, 0)], mode="symmetric")
            features = self._layer("Conv", count, width, use_bias=False, name=name, **self._kernels())(features)
            if number in self.hidden_residual:
                added = [features, self._with_features(entered[-2], count)]
                features = keras.layers.Add(name=f"{name}_sum")(added)
        return features

    def _preactivated(self, features: Any, name: str, dropout: float) -> Any:
        """Batch normalisation, PReLU and dropout, which stand before a convolution (He et al., 2016)."""
        import keras

        features = keras.layers.BatchNormalization(momentum=self.momentum, name=f"{name}_norm")(features)
        start = keras.initializers.Constant(PRELU)
        shared = list(range(1, self.rank + 1))
        features = keras.layers.PReLU(alpha_initializer=start, shared_axes=shared, name=f"{name}_prelu")(features)
        return keras.layers.Dropout(dropout, name=f"{name}_dropout")(features) if dropout else features

    def _with_features(self, features: Any, count: int) -> Any:
        """Features with zeros behind them up to a number of features that is not smaller."""
        import keras

        missing = count - features.shape[-1]
        return keras.ops.pad(features, [*[(0, 0)] * (self.rank + 1), (0, missing)]) if missing else features

    def _layer(self, kind: str, *arguments: Any, **named: Any) -> Any:
        """The layer of this rank: `Conv` is Conv2D or Conv3D."""
        import keras

        return getattr(keras.layers, f"{kind}{self.rank}D")(*arguments, **named)

    def _kernels(self) -> dict[str, Any]:
        import keras

        penalty = keras.regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None
        return {"kernel_initializer": "he_normal", "kernel_regularizer": penalty}
