"""Weights files of a network, `.weights.h5`, without the optimizer's state, which the exact state holds."""

from io import BytesIO
from pathlib import Path

import keras

from common.errors import UserError
from common.files import write_bytes
from common.packed_arrays import check_hdf5


class _WeightsInMemory(BytesIO):
    """HDF5 file in memory; Keras looks at the ending of its name."""

    def __str__(self) -> str:
        return "memory.weights.h5"


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a network's weights, whole or not at all, from memory: HDF5 crashes on a full disk."""
    memory = _WeightsInMemory()
    _not_compiled(model).save_weights(memory)
    write_bytes(path, memory.getbuffer())


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a network's weights; its optimizer stays as it is.

    Raises:
        UserError: the file is damaged, or does not fit the network.
    """
    check_hdf5(path, "weights")
    try:
        _not_compiled(model).load_weights(path)
    except Exception as error:  # what Keras and HDF5 make of a damaged file
        raise UserError(f"{path}: weights do not fit the network ({' '.join(str(error).split())[:200]})") from None


def _not_compiled(model: keras.Model) -> keras.Model:
    """The same layers in a network without an optimizer."""
    return keras.Model(model.inputs, model.output)
