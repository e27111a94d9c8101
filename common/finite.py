"""Finite numbers: whether all values of arrays are, and the error where a network's are not."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from common.errors import UserError


class NotFinite(UserError):
    """Numbers that are NaN or infinite, of which nothing can be made."""


def is_finite(array: Any) -> bool:
    """True where no value of an array of any shape and dtype is NaN or infinite.

    A sum over NaN or infinity is not finite, so a finite sum, which takes no memory, is enough for most arrays.
    """
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(float(np.sum(array, dtype=np.float32))) or bool(np.isfinite(array.astype(np.float32)).all())


def first_not_finite(arrays: Iterable[tuple[str, Any]]) -> str | None:
    """Name of the first of some named arrays that holds NaN or infinity; None where all are finite."""
    return next((name for name, array in arrays if not is_finite(array)), None)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put what is worked on, such as a run or a case, in front of the line of a `NotFinite` error."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{what}: {error}") from None
