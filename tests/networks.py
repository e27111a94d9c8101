"""A tiny classifier for tests of commands: the parts of the ResNet50 by the same names, and one convolution for a backbone."""

from dataclasses import dataclass

from models import CLASSIFIERS
from models.classifier import BACKBONE, PREPROCESSING
from models.resnet50 import ResNet50Config

TINY = "tiny"
CLASSIFIERS.setdefault(TINY, f"{__name__}:TinyClassifierConfig")


@dataclass
class TinyClassifierConfig(ResNet50Config):
    """A classifier of one convolution, with the options of the ResNet50."""

    name: str = TINY
    """Which network: tiny."""
    dense: int = 8
    """Neurons of the layer between the backbone and the logits."""

    def build(self, channels, heads, pooled=(), intensity="minmax", load_pretrained=True):
        """images (N, H, W, channels) of any size -> {head: logits (N, outputs) float32}."""
        import keras
        from keras import layers

        shape = (None, None, channels)
        preprocessing = keras.Sequential([keras.Input(shape), layers.Rescaling(1.0, dtype="float32")], name=PREPROCESSING)
        images = keras.Input(shape)
        features = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(images)
        features = layers.BatchNormalization(momentum=self.momentum)(features)
        backbone = keras.Model(images, layers.GlobalAveragePooling2D()(features), name=BACKBONE)
        inputs = keras.Input(shape, name="image")
        pooled = backbone(preprocessing(inputs))
        outputs = {}
        for head, count in heads.items():
            hidden = layers.Dense(self.dense, name=f"{head}_dense")(pooled)
            hidden = layers.Dropout(self.dropout)(layers.ReLU()(hidden))
            outputs[head] = layers.Dense(count, dtype="float32", name=head)(hidden)
        return keras.Model(inputs, outputs, name=self.name)
