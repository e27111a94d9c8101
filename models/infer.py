"""A 2D network over a whole volume: pad, run slice by slice in batches, and cut the padding off again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def predict_slices(
    network: "keras.Model",
    image: np.ndarray,
    *,
    stride: int,
    neighbours: int = 0,
    least_size: tuple[int, int] = (0, 0),
    batch_size: int = 8,
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Run a 2D network over every slice of a volume, a batch at a time.

    Args:
        network: images -> {head: logits}.
        image: (Z, H, W, C), as prepared.
        stride: rows and columns are zero-padded, evenly on both sides, to a multiple of this.
        neighbours: slices on each side that the network sees as further channels; edge slices are repeated.
        least_size: rows and columns are padded to at least this.
        batch_size: slices at once.

    Yields:
        the slices of a batch, and their logits {head: (n, H, W, classes)} float32. Memory stays that of one batch.
    """
    slices, height, width, _ = image.shape
    rows, columns = (_padding(length, stride, least) for length, least in zip((height, width), least_size, strict=True))
    for start in range(0, slices, batch_size):
        chosen = np.arange(start, min(start + batch_size, slices))
        # The last batch is filled up with repeats, so that the network is compiled for one shape.
        filled = np.minimum(np.arange(start, start + batch_size), slices - 1)
        batch = np.pad(with_neighbours(image, filled, neighbours), ((0, 0), rows, columns, (0, 0)))
        logits = network.predict_on_batch(batch.astype(np.float32, copy=False))
        inner = (slice(len(chosen)), slice(rows[0], rows[0] + height), slice(columns[0], columns[0] + width))
        yield slice(start, start + len(chosen)), {head: np.asarray(values)[inner] for head, values in logits.items()}


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
