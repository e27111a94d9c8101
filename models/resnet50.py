"""ResNet50 (He et al., 2016) as a classifier of images, with weights of keras.applications or without."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import UserError
from common.files import checksum
from models import pretrained
from models.classifier import BACKBONE, IMAGENET, ClassifierConfig, scaled_pictures
from models.network import Intensity

if TYPE_CHECKING:
    import keras

IMAGENET_MEANS_BGR = (103.939, 116.779, 123.68)  # subtracted in the training of the ImageNet weights ("caffe" mode)


@dataclass
class ResNet50Config(ClassifierConfig):
    """A ResNet50 for classes of images."""

    name: str = "resnet50"
    """Which network: resnet50, efficientnet_lite0."""
    weights: str | None = None
    """Initial weights of the backbone: imagenet (downloaded by Keras), the path of a .h5, .weights.h5 or .keras file of a
    keras.applications.ResNet50, or null for random numbers."""

    def check_weights(self, weights: str) -> None:
        """Refuse what is neither imagenet nor the name of a weights file."""
        if weights != IMAGENET and not weights.endswith(pretrained.SUFFIXES):
            raise UserError(
                f"--model.weights: expected imagenet, null, or a file ending in .h5, .weights.h5 or .keras; received {weights}"
            )

    def weights_origin(self, weights: str) -> str:
        """Keras' weights, or a file with its checksum."""
        if weights == IMAGENET:
            return "ImageNet (keras.applications)"
        path = pretrained.weights_file(weights)
        return f"file {path.name} (crc32c {checksum(path)})"

    def backbone(self, channels: int) -> "keras.Model":
        """(N, H, W, channels), as ImageNet weights expect them -> (N, 2048) features."""
        import keras

        with warnings.catch_warnings():  # Keras warns of other channels than 1 or 3
            warnings.simplefilter("ignore", UserWarning)
            return keras.applications.ResNet50(
                include_top=False, weights=None, input_shape=(None, None, channels), pooling="avg", name=BACKBONE
            )

    def load_backbone(self, backbone: "keras.Model", weights: str, channels: int) -> None:
        """Put Keras' weights, or those of a file, into the backbone."""
        pretrained.load_backbone_weights(backbone, weights, channels)

    def preprocessing(self, channels: int, intensity: Intensity) -> "keras.Model":
        """Images as records hold them -> 0..255 less ImageNet's means, three channels as BGR."""
        return scaled_pictures(channels, intensity, IMAGENET_MEANS_BGR, bgr=True)
