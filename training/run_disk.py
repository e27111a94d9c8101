"""Disk space of a run: its weights files and exact states, told before the first step."""

import shutil
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.hardware.memory import GIGABYTE

if TYPE_CHECKING:
    import keras

FLOAT = 4
STATES = 3  # of the last two epochs, and the one that is written
WEIGHTS = 2  # of the best and the last epoch


def run_bytes(model: "keras.Model", phases: int) -> int:
    """Bytes of a run's weights and states, the largest that it has at any time.

    Args:
        model: compiled.
        phases: of the training; the weights that each but the first begins with are kept.
    """
    weights, optimizer = (sum(prod(each.shape) for each in some) for some in (model.variables, model.optimizer.variables))
    return FLOAT * ((WEIGHTS + phases - 1) * weights + STATES * (weights + optimizer))


def check_disk(model: "keras.Model", folder: Path, phases: int) -> None:
    """Print the disk space that a run takes, and refuse one that has none.

    Args:
        model, phases: as of `run_bytes`.
        folder: of the run.

    Raises:
        UserError: the disk has less.
    """
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    need, free = run_bytes(model, phases), shutil.disk_usage(folder).free
    if need > free + held:  # of a run that is resumed most is there already
        raise UserError(
            f"{folder}: expected {need / GIGABYTE:.2f} GB of disk for the run; received {free / GIGABYTE:.2f} GB free"
        )
    print(f"disk: about {need / GIGABYTE:.2f} GB for the run, {free / GIGABYTE:.0f} GB free")
