"""Inference on a whole volume: slice by slice, or in overlapping patches that are blended.

What is resized, padded or mirrored for the network is undone again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from data_prep.grid.geometry import AXES, Triple, cut_patch
from data_prep.grid.neighbours import with_neighbours
from data_prep.grid.resize import resize_image
from models.outputs import predict_batch

if TYPE_CHECKING:
    import keras

FLOOR = 0.1  # least weight of a patch's voxels along an axis, so that of a corner of a volume is a thousandth of the middle's
LEAST_WEIGHT = 1e-6  # of a patch without foreground, for heads of whole patches
SliceLogits = tuple[slice, dict[str, np.ndarray]]
"""Some slices of a volume, and their logits by head."""


@dataclass(frozen=True)
class SlidingWindow:
    """Sliding-window inference: how the input of a network is cut from a volume.

    Attributes:
        stride: rows and columns of whole slices are zero-padded, evenly on both sides, to a multiple of this.
        patch: slices, rows and columns of the patches of a 3D network; with a single slice those of a 2D network that takes one
            size alone. None: whole slices.
        overlap: share of a patch's sides that neighbouring patches share, at least.
        neighbours: slices on each side that a 2D network takes as further channels; edge slices are repeated.
        least_size: rows and columns are padded to at least this.
        resize: rows and columns to which slices are resized first; logits are resized back. None leaves them.
        flips: axes, of x, y and for 3D networks z, that are mirrored in turn; the logits of all mirrored inputs are averaged.
        margin: voxels on each side by which the outputs of a network without padding are smaller than its patches. Its outputs
            lie side by side, whatever `overlap` is.
    """

    stride: int
    patch: Triple | None = None
    overlap: float = 0.5
    neighbours: int = 0
    least_size: tuple[int, int] = (0, 0)
    resize: tuple[int, int] | None = None
    flips: tuple[str, ...] = ()
    margin: int = 0


def predict_volume(network: "keras.Model", image: np.ndarray, sliding: SlidingWindow, batch_size: int) -> Iterator[SliceLogits]:
    """Run a network over a whole volume, a part of its slices after the other.

    Args:
        network: images -> {head: logits}.
        image: (Z, H, W, C), as prepared.
        sliding: how its input is cut from the volume.
        batch_size: slices or patches at once.

    Yields:
        slices, and their logits {head: (n, H, W, classes)} float32; all slices in order, each once.

    Raises:
        NotFinite: logits that are NaN or infinite.
    """
    predict = predict_slices if sliding.patch is None else predict_tiles if sliding.margin else predict_patches
    yield from predict(network, image, sliding, batch_size)


def predict_tiles(
    network: "keras.Model", image: np.ndarray, sliding: SlidingWindow, batch_size: int = 1
) -> Iterator[SliceLogits]:
    """Run a network without padding over a volume in tiles side by side; equal to one run over the whole volume, zero-padded.

    Args:
        network: patches -> {head: logits}, smaller by the margin on each side.
        image: (Z, H, W, C); what a patch holds beyond the volume is 0.
        sliding: patch, margin, neighbours and flips are used.
        batch_size: patches at once.

    Yields:
        as `predict_volume`, a row of tiles after the other.
    """
    if sliding.patch is None:
        raise ValueError("expected a sliding window with a patch")
    margins = (0 if sliding.patch[0] == 1 else sliding.margin, sliding.margin, sliding.margin)
    depth, height, width = (side - 2 * margin for side, margin in zip(sliding.patch, margins, strict=True))
    corners = list(product(range(0, image.shape[1], height), range(0, image.shape[2], width)))
    pooled = _PooledLogits(image.shape[0])
    for z in range(0, image.shape[0], depth):
        part = slice(z, min(z + depth, image.shape[0]))
        row: dict[str, np.ndarray] = {}
        for first in range(0, len(corners), batch_size):
            chosen = corners[first : first + batch_size]
            starts = [(z - margins[0], y - margins[1], x - margins[2]) for y, x in chosen]
            logits = _mirrored(network, cut_patches(image, starts, sliding), sliding.flips)
            for head, values in pooled.add(logits, [part] * len(starts)).items():
                if head not in row:
                    row[head] = np.empty((part.stop - z, *image.shape[1:3], values.shape[-1]), np.float32)
                tiles = values.reshape(-1, depth, height, width, values.shape[-1])
                for (y, x), tile in zip(chosen, tiles, strict=True):
                    target = row[head][:, y : y + height, x : x + width]
                    target[...] = tile[: target.shape[0], : target.shape[1], : target.shape[2]]
        yield part, row | pooled.of(part)


def predict_patches(
    network: "keras.Model", image: np.ndarray, sliding: SlidingWindow, batch_size: int = 1
) -> Iterator[SliceLogits]:
    """Run a network over overlapping patches and blend their logits, weighed by a Gaussian that has a floor.

    Sums are kept in float32 for one patch's slices only, because slices are done with when the next row of patches lies above
    them: memory is that of `patch[0]` slices, however many the volume has.

    Args:
        network: patches -> {head: logits}.
        image: (Z, H, W, C); shorter axes than the patch's are zero-padded evenly.
        sliding: patch, overlap, neighbours and flips are used.
        batch_size: patches at once.

    Yields:
        as `predict_volume`.
    """
    if sliding.patch is None:
        raise ValueError("expected a sliding window with a patch")
    shape = (image.shape[0], image.shape[1], image.shape[2])
    overlaps = (0.0 if sliding.patch[0] == 1 else sliding.overlap, sliding.overlap, sliding.overlap)
    starts = [_starts(*axis) for axis in zip(shape, sliding.patch, overlaps, strict=True)]
    blend, pooled = _Blend(shape, sliding.patch, starts), _PooledLogits(shape[0])
    for z in starts[0]:
        if z > blend.base:
            part, logits = blend.finished(z)
            yield part, logits | pooled.of(part)
        corners = [(z, y, x) for y, x in product(starts[1], starts[2])]
        for first in range(0, len(corners), batch_size):
            chosen = corners[first : first + batch_size]
            logits = _mirrored(network, cut_patches(image, chosen, sliding), sliding.flips)
            rows = [slice(max(z, 0), min(z + sliding.patch[0], shape[0]))] * len(chosen)
            blend.add(pooled.add(logits, rows), chosen)
    part, logits = blend.finished(blend.base + sliding.patch[0])
    yield part, logits | pooled.of(part)


class _PooledLogits:
    """Mean logits of pooled heads for every slice of a volume, over the patches that hold the slice.

    Patches are weighed by their mean foreground probability in the network's segmentation heads, because a patch without tumour
    has no class; without such heads all weigh alike.

    Args:
        slices: of the volume.
    """

    def __init__(self, slices: int) -> None:
        self._slices = slices
        self._sums: dict[str, np.ndarray] = {}
        self._weights = np.zeros((slices, 1))

    def add(self, logits: dict[str, np.ndarray], rows: list[slice]) -> dict[str, np.ndarray]:
        """Add the pooled heads of patches' {head: logits}, with each patch's slices; returns the other heads."""
        voxels = {head: values for head, values in logits.items() if values.ndim > 2}
        if len(voxels) < len(logits):
            foreground = [_mean_foreground(values) for values in voxels.values()] or [np.ones(len(rows))]
            weights = np.max(foreground, axis=0) + LEAST_WEIGHT
            for part, weight in zip(rows, weights, strict=True):
                self._weights[part] += weight
            for head in logits.keys() - voxels.keys():
                total = self._sums.setdefault(head, np.zeros((self._slices, logits[head].shape[-1])))
                for part, weight, values in zip(rows, weights, logits[head], strict=True):
                    total[part] += weight * values
        return voxels

    def of(self, part: slice) -> dict[str, np.ndarray]:
        """Mean logits {head: (n, outputs)} float32 of some slices."""
        return {head: (total[part] / self._weights[part]).astype(np.float32) for head, total in self._sums.items()}


def _mean_foreground(logits: np.ndarray) -> np.ndarray:
    """Mean foreground probability (n,) of patches' logits (n, ..., classes), the background's first."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probability = powers[..., 1:].sum(axis=-1) / powers.sum(axis=-1)
    return probability.reshape(len(logits), -1).mean(axis=1)


class _Blend:
    """Weighed sums of the logits of overlapping patches, kept for one patch's slices.

    Args:
        shape: of the volume (Z, H, W).
        patch: of the patches (d, h, w).
        starts: where patches begin along each axis.

    Attributes:
        base: first slice of the sums.
    """

    def __init__(self, shape: Triple, patch: Triple, starts: list[list[int]]) -> None:
        bells = [bell(length) for length in patch]
        self._weight = patch_weight(patch)[..., None]
        self._norms = [_norm(*axis) for axis in zip(shape, starts, bells, strict=True)]
        self._shape, self._patch = shape, patch
        self._sums: dict[str, np.ndarray] = {}
        self.base = starts[0][0]

    def add(self, logits: dict[str, np.ndarray], corners: list[Triple]) -> None:
        """Add patches' logits {head: (n, [d,] h, w, classes)}; all patches begin at the slice `base`."""
        for head, values in logits.items():
            outputs = values.shape[-1]
            if head not in self._sums:
                self._sums[head] = np.zeros((self._patch[0], *self._shape[1:], outputs), np.float32)
            for (_, y, x), patch in zip(corners, values.reshape(-1, *self._patch, outputs), strict=True):
                rows = slice(max(y, 0), min(y + patch.shape[1], self._shape[1]))
                columns = slice(max(x, 0), min(x + patch.shape[2], self._shape[2]))
                inside = (self._weight * patch)[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
                self._sums[head][:, rows, columns] += inside

    def finished(self, end: int) -> SliceLogits:
        """The blended logits of the slices from `base` to `end`, which becomes the new `base`."""
        part = slice(max(self.base, 0), min(end, self._shape[0]))
        rows = slice(part.start - self.base, part.stop - self.base)
        norm = (self._norms[0][part, None, None] * self._norms[1][:, None] * self._norms[2])[..., None]
        logits = {head: total[rows] / norm for head, total in self._sums.items()}
        kept = self._patch[0] - (end - self.base)
        for total in self._sums.values():
            total[:kept] = total[end - self.base :].copy()
            total[kept:] = 0
        self.base = end
        return part, logits


def _starts(length: int, patch: int, overlap: float) -> list[int]:
    """Starts of patches along an axis: evenly, sharing `overlap` of their length at least; a longer one is centred."""
    if patch >= length:
        return [(length - patch) // 2]
    step = max(patch * (1 - overlap), 1)
    count = math.ceil((length - patch) / step) + 1
    return [round(start) for start in np.linspace(0, length - patch, count)]


def patch_weight(patch: Triple) -> np.ndarray:
    """Weight of each voxel of a patch where patches overlap: (d, h, w) float32."""
    z, y, x = (bell(length) for length in patch)
    return z[:, None, None] * y[:, None] * x


def bell(length: int) -> np.ndarray:
    """A Gaussian over a patch's axis (sigma an eighth of it), its highest value 1 and its floor `FLOOR`; float32."""
    deviations = (np.arange(length) - (length - 1) / 2) / (length / 8)
    return np.maximum(np.exp(-(deviations**2) / 2), FLOOR).astype(np.float32)


def _norm(length: int, starts: list[int], bell: np.ndarray) -> np.ndarray:
    """Sum of the patches' weights along an axis; the weights are products of the axes', so their sums are too."""
    total = np.zeros(length, np.float32)
    for start in starts:
        low, high = max(start, 0), min(start + len(bell), length)
        total[low:high] += bell[low - start : high - start]
    return total


def cut_patches(image: np.ndarray, corners: list[Triple], sliding: SlidingWindow) -> np.ndarray:
    """Patches (n, d, h, w, C) float32 as a 3D network takes them, or (n, h, w, C) of single slices with their neighbours."""
    depth, height, width = sliding.patch or (1, 1, 1)
    if depth > 1:
        return np.stack([cut_patch(image, corner, (depth, height, width)) for corner in corners]).astype(np.float32)
    slices = [with_neighbours(image, np.array([z]), sliding.neighbours)[0] for z, _, _ in corners]
    cut = [cut_patch(picture, (y, x), (height, width)) for picture, (_, y, x) in zip(slices, corners, strict=True)]
    return np.stack(cut).astype(np.float32)


def predict_slices(
    network: "keras.Model", image: np.ndarray, sliding: SlidingWindow, batch_size: int = 8
) -> Iterator[SliceLogits]:
    """Run a 2D network over every slice of a volume, a batch at a time.

    Args:
        network: images -> {head: logits}.
        image: (Z, H, W, C), as prepared.
        sliding: how its input is cut from the volume.
        batch_size: slices at once.

    Yields:
        the slices of a batch, and their logits {head: (n, H, W, classes)} float32, or (n, classes) of heads with
        one vector for a slice. Memory stays that of one batch.
    """
    slices = len(image)
    for start in range(0, slices, batch_size):
        # The last batch is filled up with repeats, so that the network is compiled for one shape.
        chosen = np.minimum(np.arange(start, start + batch_size), slices - 1)
        count = min(batch_size, slices - start)
        logits = _logits(network, with_neighbours(image, chosen, sliding.neighbours), sliding)
        yield slice(start, start + count), {head: values[:count] for head, values in logits.items()}


def _logits(network: "keras.Model", batch: np.ndarray, sliding: SlidingWindow) -> dict[str, np.ndarray]:
    """Logits of a batch (N, H, W, C) at its own pixels, averaged over the mirrored inputs."""
    height, width = batch.shape[1:3]
    resized = batch if sliding.resize is None else np.stack([resize_image(picture, sliding.resize) for picture in batch])
    rows, columns = (
        padding(length, sliding.stride, least) for length, least in zip(resized.shape[1:3], sliding.least_size, strict=True)
    )
    inner = (slice(None), slice(rows[0], rows[0] + resized.shape[1]), slice(columns[0], columns[0] + resized.shape[2]))
    padded = np.pad(resized, ((0, 0), rows, columns, (0, 0))).astype(np.float32, copy=False)
    logits = _mirrored(network, padded, sliding.flips)
    return {
        head: values if values.ndim == 2 else _resized_back(values[inner], (height, width)) for head, values in logits.items()
    }


def _mirrored(network: "keras.Model", batch: np.ndarray, flips: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Logits averaged over every combination of mirrored axes, each mirrored back."""
    total: dict[str, np.ndarray] = {}
    axes = AXES[-(batch.ndim - 2) :]
    ways = list(product(*[(1, -1) if axis in flips else (1,) for axis in axes]))
    for way in ways:
        mirror = (slice(None), *(slice(None, None, step) for step in way))
        logits = predict_batch(network, np.ascontiguousarray(batch[mirror]))
        for head, values in logits.items():
            back = np.asarray(values)[mirror] if np.ndim(values) == batch.ndim else np.asarray(values)
            total[head] = total[head] + back if head in total else back
    return total if len(ways) == 1 else {head: values / np.float32(len(ways)) for head, values in total.items()}


def _resized_back(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits (N, h, w, classes) at the pixels of the slices that were resized."""
    if logits.shape[1:3] == size:
        return logits
    return np.stack([resize_image(picture, size) for picture in logits])


def padding(length: int, stride: int, least: int) -> tuple[int, int]:
    """Zeros before and after an axis, to reach a multiple of `stride` of at least `least`."""
    missing = -(-max(length, least) // stride) * stride - length
    return missing // 2, missing - missing // 2
