"""Weights files of a network, `.weights.h5`, without the optimizer's state, which the exact state holds."""

import errno
import math
import os
import shutil
from pathlib import Path

import keras

from common.files import atomic

HEADERS_BYTES = 1 << 20  # of a weights file, at most, beside 4 bytes a number


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a network's weights, whole or not at all.

    Raises:
        OSError: no space left. It is looked for before, because HDF5 crashes on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = sum(math.prod(variable.shape) for variable in model.weights)
    if shutil.disk_usage(path.parent).free < HEADERS_BYTES + 4 * numbers:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    with atomic(path) as temporary:
        _not_compiled(model).save_weights(temporary)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a network's weights; its optimizer stays as it is."""
    _not_compiled(model).load_weights(path)


def _not_compiled(model: keras.Model) -> keras.Model:
    """The same layers in a network without an optimizer."""
    return keras.Model(model.inputs, model.output)
