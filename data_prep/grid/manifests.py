"""Schema of grids in manifests: geometry and resampling, as `dataclasses.asdict` writes them."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from common.manifests import Fields, Flag, ListOf, Maybe, Number, Whole, WrongValueError

LONGEST_AXIS, MOST_VOXELS = 1 << 15, 1 << 32


@dataclass(frozen=True)
class Shape:
    """Shape of a volume: three lengths, whose product is bounded."""

    def check(self, value: Any, key: str) -> list[int]:
        """The lengths."""
        shape = ListOf(Whole(1, LONGEST_AXIS), 3, 3).check(value, key)
        if prod(shape) > MOST_VOXELS:
            raise WrongValueError(key, f"a volume of at most {MOST_VOXELS} voxels", value)
        return shape


@dataclass(frozen=True)
class Axes:
    """Permutation of the three axes."""

    def check(self, value: Any, key: str) -> list[int]:
        """The axes."""
        axes = ListOf(Whole(0, 2), 3, 3).check(value, key)
        if len(set(axes)) < 3:
            raise WrongValueError(key, "three different axes", value)
        return axes


@dataclass(frozen=True)
class Affine:
    """Affine matrix, (4, 4), that can be inverted."""

    def check(self, value: Any, key: str) -> list[list[float]]:
        """The rows."""
        rows = ListOf(ListOf(Number(-1e9, 1e9), 4, 4), 4, 4).check(value, key)
        if rows[3] != [0, 0, 0, 1] or np.linalg.matrix_rank(np.array(rows, float)) < 4:
            raise WrongValueError(key, "an affine matrix that can be inverted", value)
        return rows


GEOMETRY = Fields(
    {
        "shape": Shape(),
        "affine": Maybe(Affine()),
        "axes": Axes(),
        "flips": ListOf(Flag(), 3, 3),
        "start": ListOf(Whole(-LONGEST_AXIS, LONGEST_AXIS), 3, 3),
        "size": Shape(),
    }
)
RESAMPLING = Fields(
    {"shape": Shape(), "affine": Affine(), "target_shape": Shape(), "target_affine": Affine(), "transform": Affine()}
)
