"""Bias field of MR images: a random smooth factor of intensities, as of receiving coils (Sled et al., 1998)."""

from itertools import product

import numpy as np

from data_prep.grid.geometry import Triple

WAVES = 3  # cosines of 0, 1 and 2 half periods along each axis


def bias_field(seed: int, rank: int, size: Triple, first_slice: int = 0, slices: int | None = None) -> np.ndarray:
    """Logarithm of a random bias field, of mean 0 and standard deviation 1 over fields and a patch: low cosine waves.

    Args:
        seed: names the field.
        rank: 2: the same field in all slices; 3: a field of the volume.
        size: shape of the patch (z, y, x), over which the waves run.
        first_slice: of the block that is wanted.
        slices: number of the block's slices; None: the patch's.

    Returns:
        (z, y, x) float32; of rank 2 one slice.
    """
    count = 1 if rank == 2 else size[0] if slices is None else slices
    ends = (WAVES if rank == 3 else 1, WAVES, WAVES)
    weights = np.random.default_rng(seed).standard_normal(ends)
    weights[0, 0, 0] = 0  # a factor of the whole image is brightness
    variance = [0.5 ** np.count_nonzero(waves) for waves in product(*map(range, ends))]
    weights /= np.sqrt((weights.ravel() ** 2 * variance).sum())
    starts, lengths = (first_slice if rank == 3 else 0, 0, 0), (count, *size[1:])
    z, y, x = (
        np.cos(np.pi * np.outer((start + np.arange(length) + 0.5) / whole, np.arange(end)))
        for start, length, whole, end in zip(starts, lengths, size, ends, strict=True)
    )
    return np.einsum("abc,za,yb,xc->zyx", weights, z, y, x, optimize=True).astype(np.float32)
