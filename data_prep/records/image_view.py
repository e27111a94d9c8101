"""Network input: stored intensities -> the numbers and channels that a network is given.

Records store float16, or uint8 where 0..255 stand for 0..1. `network_input` is the one place where network input is
scaled: slices, patches, tiles and whole volumes of records pass through it (`ImageView`), and so do scans that are prepared for
prediction. Stored copies are augmented before, in float32 (`data_prep.grid.sampling.to_float`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def network_input(image: np.ndarray) -> np.ndarray:
    """Scaled intensities of an image in its stored dtype.

    Args:
        image: any shape; uint8 (0..255 stand for 0..1), or floats, which are returned as they are.

    Returns:
        float16 of 0..1 for uint8, so that records of both dtypes make equal batches; else `image` itself.
    """
    return (image / np.float32(255)).astype(np.float16) if image.dtype == np.uint8 else image


class ImageView:
    """Lazy view of a stored volume: chosen channels, scaled for networks as they are read.

    It is indexed like the array (Z, H, W, C) that it stands for, and only the indexed voxels are read.

    Args:
        stored: (Z, H, W, C) float16 or uint8, such as a memory-mapped shard.
        channels: positions of the chosen channels in `stored`, in their order.
    """

    def __init__(self, stored: np.ndarray, channels: Sequence[int]) -> None:
        self._stored = stored
        self._channels = list(channels)
        self.shape: tuple[int, ...] = (*stored.shape[:3], len(self._channels))
        self.dtype = np.dtype(np.float16)
        self.ndim = 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """The part that a NumPy index names, a new array."""
        place = key if isinstance(key, tuple) else (key,)
        part: np.ndarray
        if len(place) > 3 or any(each is Ellipsis or each is None for each in place):
            part = np.asarray(self)[key]
            return part
        part = self._stored[place]
        if self._channels != list(range(self._stored.shape[3])):
            part = part[..., self._channels]
        return network_input(part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The whole volume in memory."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)
