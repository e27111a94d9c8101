"""A 2D network over a whole volume: resize, pad, mirror, run slice by slice in batches, and undo it all again."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from data_prep.resize import resize_image

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class View:
    """How slices are shown to a 2D network.

    Attributes:
        stride: rows and columns are zero-padded, evenly on both sides, to a multiple of this.
        neighbours: slices on each side that the network sees as further channels; edge slices are repeated.
        least_size: rows and columns are padded to at least this.
        resize: rows and columns to which slices are resized first; logits are resized back. None leaves them.
        flips: axes of the picture, of x and y, that are mirrored in turn; the logits of all mirrored views are averaged.
    """

    stride: int
    neighbours: int = 0
    least_size: tuple[int, int] = (0, 0)
    resize: tuple[int, int] | None = None
    flips: tuple[str, ...] = ()


def predict_slices(
    network: "keras.Model", image: np.ndarray, view: View, batch_size: int = 8
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Run a 2D network over every slice of a volume, a batch at a time.

    Args:
        network: images -> {head: logits}.
        image: (Z, H, W, C), as prepared.
        view: how the network sees it.
        batch_size: slices at once.

    Yields:
        the slices of a batch, and their logits {head: (n, H, W, classes)} float32, or (n, classes) of heads that tell one
        thing of a slice. Memory stays that of one batch.
    """
    slices = len(image)
    for start in range(0, slices, batch_size):
        # The last batch is filled up with repeats, so that the network is compiled for one shape.
        chosen = np.minimum(np.arange(start, start + batch_size), slices - 1)
        count = min(batch_size, slices - start)
        logits = _logits(network, with_neighbours(image, chosen, view.neighbours), view)
        yield slice(start, start + count), {head: values[:count] for head, values in logits.items()}


def _logits(network: "keras.Model", batch: np.ndarray, view: View) -> dict[str, np.ndarray]:
    """Logits of a batch (N, H, W, C) at its own pixels, averaged over the mirrored views."""
    height, width = batch.shape[1:3]
    seen = batch if view.resize is None else np.stack([resize_image(picture, view.resize) for picture in batch])
    rows, columns = (
        _padding(length, view.stride, least) for length, least in zip(seen.shape[1:3], view.least_size, strict=True)
    )
    inner = (slice(None), slice(rows[0], rows[0] + seen.shape[1]), slice(columns[0], columns[0] + seen.shape[2]))
    padded = np.pad(seen, ((0, 0), rows, columns, (0, 0))).astype(np.float32, copy=False)
    logits = _mirrored(network, padded, view.flips)
    return {
        head: values if values.ndim == 2 else _resized_back(values[inner], (height, width)) for head, values in logits.items()
    }


def _mirrored(network: "keras.Model", batch: np.ndarray, flips: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Logits averaged over every combination of mirrored axes, each mirrored back."""
    total: dict[str, np.ndarray] = {}
    ways = list(product(*[(1, -1) if axis in flips else (1,) for axis in ("y", "x")]))
    for y, x in ways:
        logits = network.predict_on_batch(np.ascontiguousarray(batch[:, ::y, ::x]))
        for head, values in logits.items():
            back = np.asarray(values)[:, ::y, ::x] if np.ndim(values) == 4 else np.asarray(values)
            total[head] = total[head] + back if head in total else back
    return {head: values / np.float32(len(ways)) for head, values in total.items()}


def _resized_back(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits (N, h, w, classes) at the pixels of the slices that were resized."""
    if logits.shape[1:3] == size:
        return logits
    return np.stack([resize_image(picture, size) for picture in logits])


def with_neighbours(image: np.ndarray, slices: np.ndarray, neighbours: int) -> np.ndarray:
    """Slices of a volume with their neighbours as further channels (2.5D).

    Args:
        image: (Z, H, W, C).
        slices: (n,) slice numbers.
        neighbours: on each side; beyond the volume the edge slice is repeated.

    Returns:
        (n, H, W, C * (2 * neighbours + 1)): all channels of the lowest neighbour first.
    """
    if neighbours == 0:
        return image[slices]
    steps = np.arange(-neighbours, neighbours + 1)
    numbers = np.clip(slices[:, None] + steps, 0, image.shape[0] - 1)
    stacked = np.moveaxis(image[numbers], 1, -2)
    return stacked.reshape(*stacked.shape[:-2], -1)


def _padding(length: int, stride: int, least: int) -> tuple[int, int]:
    """Zeros before and after an axis, to reach a multiple of `stride` of at least `least`."""
    missing = -(-max(length, least) // stride) * stride - length
    return missing // 2, missing - missing // 2
