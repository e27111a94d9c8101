"""Data-parallel training on several devices of this machine (TensorFlow's MirroredStrategy)."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


class Distribution:
    """Devices of one training; made once, because each strategy object mirrors its own variables.

    All GPUs that TensorFlow lists, or its logical CPUs where there are several (`tf.config.set_logical_device_configuration`).
    With another backend, or one device, nothing is distributed.

    Attributes:
        devices: how many work together.
    """

    def __init__(self) -> None:
        import keras

        self._strategy: Any = None
        self.devices = 1
        if keras.backend.backend() != "tensorflow":
            return
        import tensorflow as tf

        names = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
        if len(names) > 1:
            self._strategy = tf.distribute.MirroredStrategy(names)
            self.devices = len(names)

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which a network's variables are made, compiled and loaded."""
        if self._strategy is None:
            return nullcontext()
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope
