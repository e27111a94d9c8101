"""Weights files of a network, `.weights.h5`, without the optimizer's state, which the exact state holds.

Weights that are not finite are refused on loading, and the checksums of files are compared with those that the run stores.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import google_crc32c
import keras

from common.errors import UserError
from common.files import write_bytes
from common.packed_arrays import check_hdf5
from models.outputs import refuse_not_finite
from training.run import Run


class _WeightsInMemory(BytesIO):
    """HDF5 file in memory; Keras looks at the ending of its name."""

    def __str__(self) -> str:
        return "memory.weights.h5"


def save_weights(model: keras.Model, run: Run, names: Sequence[str]) -> None:
    """Write a network's weights, whole or not at all, from memory: HDF5 crashes on a full disk.

    Their checksum is stored before, beside that of the file before: whatever a kill leaves, it is expected.

    Args:
        model: the network.
        run: the folder.
        names: of the files, which are equal.
    """
    memory = _WeightsInMemory()
    _not_compiled(model).save_weights(memory)
    content = memory.getbuffer()
    run.expect_weights(names, f"{google_crc32c.value(bytes(content)):08x}")
    for name in names:
        write_bytes(run.path / name, content)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a network's weights; its optimizer stays as it is.

    Raises:
        UserError: the file is damaged, or does not fit the network; or a weight is not finite.
    """
    check_hdf5(path, "weights")
    try:
        _not_compiled(model).load_weights(path)
    except Exception as error:  # what Keras and HDF5 make of a damaged file
        raise UserError(f"{path}: weights do not fit the network ({' '.join(str(error).split())[:200]})") from None
    refuse_not_finite(model, path)


def _not_compiled(model: keras.Model) -> keras.Model:
    """The same layers in a network without an optimizer, of one name: equal weights are equal files."""
    return keras.Model(model.inputs, model.output, name="network")
