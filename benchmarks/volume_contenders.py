"""What `benchmarks.volumes` times: a training step and the prediction of a volume, here and in PyTorch and MONAI.

Each is made in a process of its own; frameworks are imported as it is made.
"""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.torch_unet import build_twin, load_twin, read_weights, write_weights
from common.errors import UserError
from common.hardware.devices import cores
from data_prep.grid.geometry import Triple
from models.unet import UNetConfig
from models.volume import SlidingWindow, patch_weight, predict_patches
from training.data.batches import SEGMENTATION
from training.objectives.losses import CrossEntropyConfig

RATE, ADAM_EPSILON = 1e-4, 1e-7  # the epsilon is Keras's
OVERLAP = 0.5


@dataclass(frozen=True)
class Setting:
    """What all contenders share.

    Attributes:
        model: the network, of rank 3 and without options that the twin lacks.
        precision: float32, or bfloat16 with float32 weights.
        patch: voxels of a window.
        volume: voxels of what is predicted.
        weights: file of the weights that all begin with.
        channels, classes: of images and logits.
    """

    model: UNetConfig
    precision: Literal["float32", "bfloat16"]
    patch: Triple
    volume: Triple
    weights: Path
    channels: int = 4
    classes: int = 4

    def image(self, *shape: int) -> np.ndarray:
        """Made intensities (..., C) float32."""
        return np.random.default_rng(0).standard_normal((*shape, self.channels), np.float32)

    def classes_of(self, *shape: int) -> np.ndarray:
        """Made classes, one a voxel."""
        return np.random.default_rng(1).integers(self.classes, size=shape)


class MadeWeights:
    """Writes the weights that all contenders begin with."""

    def __init__(self, setting: Setting) -> None:
        import_backend(setting)
        import keras

        keras.utils.set_random_seed(0)
        self._network = setting.model.build(setting.channels, {SEGMENTATION: setting.classes})
        write_weights(self._network, setting.weights)

    def repeat(self) -> None:
        """Nothing is timed."""

    def words(self) -> str:
        """What the network is."""
        return f"{self._network.count_params() / 1e6:.2f} M parameters"


class KerasStep:
    """The toolkit's training step: as `training.train` compiles it, loss from bit-packed targets.

    Args:
        setting: of all contenders.
        batch: windows.
        counts: whether the confusion matrix of training is counted too, which the peers do not.
    """

    def __init__(self, setting: Setting, batch: int, counts: bool) -> None:
        self._network = keras_network(setting, training=True)  # first of all, so that the backend is set up

        import keras

        from training.objectives.keras_objects import ConfusionMatrix

        names = [f"class_{number}" for number in range(setting.classes)]
        self._network.compile(
            optimizer=keras.optimizers.Adam(RATE, epsilon=ADAM_EPSILON),
            loss={SEGMENTATION: CrossEntropyConfig().build(setting.classes)},
            metrics={SEGMENTATION: [ConfusionMatrix(names)]} if counts else None,
        )
        self._image = setting.image(batch, *setting.patch)
        self._targets = {SEGMENTATION: (1 << setting.classes_of(batch, *setting.patch)).astype(np.uint8)}

    def repeat(self) -> float:
        """A step; its loss."""
        return float(self._network.train_on_batch(self._image, self._targets, return_dict=True)["loss"])

    def logits(self) -> np.ndarray:
        """Logits (D, H, W, classes) of the first window."""
        return np.asarray(self._network.predict_on_batch(self._image[:1])[SEGMENTATION])[0]


class TorchStep:
    """The same step in PyTorch.

    Args:
        setting: of all contenders.
        batch: windows.
        channels_last: whether images and weights lie in memory with the channels last.
    """

    def __init__(self, setting: Setting, batch: int, channels_last: bool) -> None:
        import torch

        self._setting = setting
        self._twin = torch_network(setting)
        self._image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(setting.image(batch, *setting.patch), -1, 1)))
        if channels_last:
            self._twin = self._twin.to(memory_format=torch.channels_last_3d)
            self._image = self._image.to(memory_format=torch.channels_last_3d)
        self._targets = torch.from_numpy(setting.classes_of(batch, *setting.patch))
        self._optimizer = torch.optim.Adam(self._twin.parameters(), RATE, eps=ADAM_EPSILON)

    def repeat(self) -> float:
        """A step; its loss."""
        from torch import nn

        self._twin.train()
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(self._setting):
            logits = self._twin(self._image)
        loss = nn.functional.cross_entropy(logits.float(), self._targets)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def logits(self) -> np.ndarray:
        """Logits (D, H, W, classes) of the first window."""
        import torch

        self._twin.eval()
        with torch.inference_mode(), autocast(self._setting):
            logits = self._twin(self._image[:1]).float()
        return np.moveaxis(logits[0].numpy(), 0, -1)


class KerasVolume:
    """The toolkit's prediction of a volume in overlapping windows, to a class per voxel.

    Args:
        setting: of all contenders.
        batch: windows at once.
    """

    def __init__(self, setting: Setting, batch: int) -> None:
        self._network = _Counting(keras_network(setting, training=False))
        self._image = setting.image(*setting.volume)
        self._sliding = SlidingWindow(setting.model.stride, setting.patch, OVERLAP)
        self._batch = batch

    def repeat(self) -> np.ndarray:
        """Classes of the volume's voxels."""
        labels = np.empty(self._image.shape[:3], np.uint8)
        for place, logits in self._parts():
            labels[place] = logits[SEGMENTATION].argmax(axis=-1)
        return labels

    def logits(self) -> tuple[np.ndarray, int]:
        """Blended logits (Z, H, W, classes), and how many windows they are from."""
        self._network.windows = 0
        logits = np.concatenate([logits[SEGMENTATION] for _, logits in self._parts()])
        return logits, self._network.windows

    def _parts(self) -> Any:
        return predict_patches(self._network, self._image, self._sliding, self._batch)


class MonaiVolume:
    """The same in MONAI: `sliding_window_inference` of the PyTorch network.

    Args:
        setting: of all contenders.
        batch: windows at once.
    """

    def __init__(self, setting: Setting, batch: int) -> None:
        # MONAI imports TensorFlow where it is installed, through TensorBoard; alone it would not, and takes less memory.
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
        import torch
        from monai.inferers import sliding_window_inference

        self._setting = setting
        self._infer = sliding_window_inference
        self._twin = torch_network(setting).eval()
        self._image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(setting.image(*setting.volume), -1, 0)))[None]
        self._batch = batch
        self._windows = 0

    def repeat(self) -> np.ndarray:
        """Classes of the volume's voxels."""
        import torch

        labels: np.ndarray = self._blended().argmax(dim=1)[0].to(torch.uint8).numpy()
        return labels

    def logits(self, our_weights: bool = False) -> tuple[np.ndarray, int]:
        """Blended logits (Z, H, W, classes), and how many windows they are from.

        Args:
            our_weights: blend by this toolkit's weights instead of MONAI's.
        """
        import torch

        self._windows = 0
        weights = torch.from_numpy(patch_weight(self._setting.patch))[None, None] if our_weights else None
        return np.moveaxis(self._blended(weights)[0].numpy(), 0, -1), self._windows

    def _blended(self, weights: Any = None) -> Any:
        import torch

        setting = self._setting
        with torch.inference_mode():
            return self._infer(
                self._image, setting.patch, self._batch, self._predicted, OVERLAP, mode="gaussian", roi_weight_map=weights
            )

    def _predicted(self, windows: Any) -> Any:
        self._windows += len(windows)
        with autocast(self._setting):
            return self._twin(windows).float()


class _Counting:
    """Network that counts the windows that it predicts."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.windows = 0

    def predict_on_batch(self, batch: np.ndarray) -> Any:
        """As of a Keras network."""
        self.windows += len(batch)
        return self._network.predict_on_batch(batch)


def keras_network(setting: Setting, training: bool) -> Any:
    """The network, the backend set up as it is for training or for prediction."""
    import_backend(setting)
    import keras

    if training and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    network = setting.model.build(setting.channels, {SEGMENTATION: setting.classes})
    for name, arrays in read_weights(setting.weights).items():
        network.get_layer(name).set_weights(arrays)
    return network


def import_backend(setting: Setting) -> None:
    """Load Keras and its backend as every command does, and set the precision.

    Raises:
        UserError: bfloat16 is chosen, and the processor would emulate it.
    """
    from common.hardware.backend import load_backend

    load_backend()
    import keras

    from common.hardware.devices import chosen_precision

    if setting.precision == "bfloat16" and chosen_precision("auto") != "mixed_bfloat16":
        raise UserError("--precision bfloat16: this processor does not multiply bfloat16; take float32")
    keras.config.set_dtype_policy("mixed_bfloat16" if setting.precision == "bfloat16" else "float32")


def torch_network(setting: Setting) -> Any:
    """The twin on all cores, with the weights that all begin with."""
    import torch

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    model = setting.model
    twin = build_twin(model.filters, model.depth, model.normalisation, setting.channels, SEGMENTATION, setting.classes)
    load_twin(twin, read_weights(setting.weights))
    return twin


def autocast(setting: Setting) -> AbstractContextManager[Any]:
    """PyTorch's mixed precision, where bfloat16 is chosen."""
    import torch

    context: AbstractContextManager[Any] = torch.autocast("cpu", torch.bfloat16, enabled=setting.precision == "bfloat16")
    return context
