"""Networks, and their inference on whole volumes. Keras alone: no records or patients here, and no files but weights."""

from common.choices import IMPORT_PATH

MODELS = {
    "unet": "models.unet:UNetConfig",
    "encoder_unet": "models.encoder_unet:EncoderUNetConfig",
    "deepmedic": "models.deepmedic:DeepMedicConfig",
    "hd_bet": "models.hd_bet:HDBETConfig",
    IMPORT_PATH: "models.custom:CustomConfig",
}
"""Name -> config of every network; a config's `build` makes it. Any import path is a name of the last one."""

CLASSIFIERS = {
    "resnet50": "models.resnet50:ResNet50Config",
    "efficientnet_lite0": "models.efficientnet:EfficientNetLite0Config",
}
"""Name -> config of every network that classifies images."""
