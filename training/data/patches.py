"""Patches of records, drawn at random positions while training: parts of volumes or of slices, and augmented.

A patch is read from the memory-mapped shard where it is needed, so it touches its own pages alone, and one that is rotated or
deformed has real voxels at its border. Validation counts every voxel once, in tiles.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from common.errors import UserError
from data_prep.augmentation.apply import apply_to_patch
from data_prep.augmentation.draw import Augmentation, AugmentConfig, draw
from data_prep.augmentation.intensity import BrainStatistics, brain_statistics
from data_prep.grid.geometry import Triple, cut_patch
from data_prep.records.folder import CaseRecord, Item, Records
from data_prep.records.shard import Shard
from training.data.batches import LABEL, Example, InputConfig
from training.data.targets import FolderTargets

SMALL = 128  # voxels; a patch of such a side may be larger than its cases, which are padded


class PatchIndex:
    """Source of (shard, foreground flag), one element per patch; larger volumes come up more often.

    An element is (index of the shard in `items`, 1 for a patch around tumour).

    Args:
        items: case and copy of each shard.
        counts: patches of each that make one pass.
        tumour: whether patches are drawn around tumour.
    """

    def __init__(self, items: Sequence[Item], counts: Sequence[int], tumour: bool) -> None:
        self.items = items
        self._rows = np.repeat(np.arange(len(items)), counts)
        self._tumour = tumour

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array([self._rows[index], self._tumour])

    def case_counts(self, tumour_only: bool) -> Mapping[str, int]:
        """Case id -> number of patches, all or those around tumour alone."""
        counts: Counter[str] = Counter()
        for row in self._rows if self._tumour or not tumour_only else ():
            counts[self.items[int(row)][0]] += 1
        return counts


class PatchSampler:
    """Random map that draws a patch's position and augmentation, and reads the patch.

    Args:
        records: open records.
        items: case and copy of each shard, as in `PatchIndex`.
        config: patch and neighbours are used.
        augment: possible changes.
        targets: of the examples; None: the label alone.
        margin: voxels on each side of a patch that have no target.
    """

    def __init__(
        self,
        records: Records,
        items: Sequence[Item],
        config: InputConfig,
        augment: AugmentConfig,
        targets: FolderTargets | None = None,
        margin: int = 0,
    ) -> None:
        if config.patch is None:
            raise ValueError("expected an input config with a patch")
        self._records = records
        self._items = items
        self._facts = {(case, copy): records.case(case, copy) for case, copy in items}
        self._config = config
        self._targets = targets
        depth, height, width = config.patch
        self._size: Triple = (depth + 2 * config.neighbours, height, width)
        self._margins = patch_margins(config.patch, margin)
        self._inner = inner_size(config.patch, margin)
        self._augment = augment
        self._unit_range = records.preparation.unit_range
        self._statistics: dict[Item, BrainStatistics] = {}

    def __call__(self, element: np.ndarray, rng: np.random.Generator) -> Example:
        """A patch: image (D, H, W, C) float32, or (H, W, C) of a patch one slice deep, and its targets."""
        return self.patch(element, *self.drawn(element, rng))

    def drawn(self, element: np.ndarray, rng: np.random.Generator) -> tuple[Triple, Augmentation]:
        """First voxel of a patch, its lowest neighbour's where it has neighbours, and its augmentation."""
        item = self._items[int(element[0])]
        shard = self._records.shard(*item)
        start = self._start(self._facts[item], shard, bool(element[1]), rng)
        return start, draw(self._augment, rng, shard.image.shape[-1])

    def patch(self, element: np.ndarray, start: Triple, augmentation: Augmentation) -> Example:
        """The patch that begins at a voxel, augmented, as `__call__` gives it."""
        item = self._items[int(element[0])]
        image, label = self._read(item, start, augmentation)
        return as_example(image, without_margins(label, self._margins), self._config, item[0], self._targets)

    def _start(self, facts: CaseRecord, shard: Shard, tumour: bool, rng: np.random.Generator) -> Triple:
        """First voxel of a patch: anywhere in the volume, or with a drawn voxel of tumour in its middle half.

        Voxels with a target lie inside the volume, where it is not smaller than they are.
        """
        shape, size = np.array(shard.label.shape), np.array(self._inner)
        if tumour:
            voxel = np.array(_tumour_voxel(facts.voxels, shard.label, rng))
            start = voxel - size // 2 + np.rint(rng.uniform(-0.25, 0.25, 3) * (size - 1)).astype(int)
        else:
            start = np.floor(rng.random(3) * shape).astype(int) - size // 2
        room = shape - size
        start = np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2) - np.array(self._margins)
        return int(start[0]) - self._config.neighbours, int(start[1]), int(start[2])

    def _read(self, item: Item, start: Triple, augmentation: Augmentation) -> tuple[np.ndarray, np.ndarray]:
        """Augmented patch: (D, H, W, C) float32 and (D, H, W) uint8."""
        shard = self._records.shard(*item)
        return apply_to_patch(
            augmentation,
            shard.image,
            shard.label,
            start,
            self._size,
            unit_range=self._unit_range,
            spacing_mm=self._facts[item].geometry.spacing_mm,
            statistics=lambda: self._brain_statistics(item),
            repeat_edge=self._config.neighbours > 0,
        )

    def _brain_statistics(self, item: Item) -> BrainStatistics:
        """Brain statistics of a case's whole volume, measured once."""
        if item not in self._statistics:
            self._statistics[item] = brain_statistics(self._records.shard(*item).image)
        return self._statistics[item]


class TileSpan(NamedTuple):
    """Span of a tile along an axis: its first voxel in the volume, and the range of its own voxels that count."""

    start: int
    low: int
    high: int


class Tiles:
    """Source of every voxel of some cases once, in patches; beyond a volume they are empty and not annotated.

    Patches lie inside a volume that is larger than they are. Where two overlap, a voxel is annotated in the one of whose border
    it is farther. With margins they lie side by side, so that they equal the whole volume exactly.

    Args:
        records: open records.
        cases: their ids.
        config: patch and neighbours are used.
        targets: of the examples; None: the label alone.
        margin: voxels on each side of a patch that have no target; they overlap those of the patches beside it.
    """

    def __init__(
        self,
        records: Records,
        cases: Sequence[str],
        config: InputConfig,
        targets: FolderTargets | None = None,
        margin: int = 0,
    ) -> None:
        if config.patch is None:
            raise ValueError("expected an input config with a patch")
        self._records = records
        self._cases = cases
        self._config = config
        self._targets = targets
        self._margins = patch_margins(config.patch, margin)
        self._size = inner_size(config.patch, margin)
        self.rows = [(index, spans) for index, case in enumerate(cases) for spans in self._spans(case)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        case, spans = self._cases[self.rows[index][0]], self.rows[index][1]
        z, y, x = (span.start for span in spans)
        shard, around = self._records.shard(case), self._config.neighbours
        start, size = (z - around, y, x), (self._size[0] + 2 * around, *self._size[1:])
        label = np.ascontiguousarray(_cut(shard.label, start, size, self._config))
        ranges = [(low + more, high + more) for (_, low, high), more in zip(spans, (around, 0, 0), strict=True)]
        counted = tuple(slice(*each) for each in ranges)
        label, whole = np.zeros_like(label), label
        label[counted] = whole[counted]
        first, second, third = self._margins
        start = (start[0] - first, start[1] - second, start[2] - third)
        size = (size[0] + 2 * first, size[1] + 2 * second, size[2] + 2 * third)
        image = _cut(shard.image, start, size, self._config).astype(np.float32)
        return as_example(image, label, self._config, case, self._targets)

    def _spans(self, case: str) -> list[tuple[TileSpan, ...]]:
        """Spans along z, y and x of each tile of a case."""
        shape = self._records.cases[case].shape
        axes = zip(shape, self._size, strict=True)
        return list(product(*(tile_spans(length, side, any(self._margins)) for length, side in axes)))


def tile_spans(length: int, side: int, side_by_side: bool) -> list[TileSpan]:
    """Tiles that cover an axis, as few as possible.

    Args:
        length: of the axis.
        side: of a tile.
        side_by_side: whether they may not overlap; else they lie inside the axis, unless it is shorter than a tile.
    """
    number = ceil(length / side)
    if side_by_side or number == 1:
        # What sticks out does so evenly on both sides, as in training and prediction of volumes smaller than a patch.
        first = (length - number * side) // 2
        return [TileSpan(start, 0, side) for start in range(first, length, side)]
    starts = [round(start) for start in np.linspace(0, length - side, number)]
    cuts = [(one + side + other) // 2 for one, other in pairwise(starts)]  # the middles of the overlaps
    return [
        TileSpan(start, low - start, high - start) for start, low, high in zip(starts, [0, *cuts], [*cuts, length], strict=True)
    ]


def training_patches(records: Records, cases: Sequence[str], config: InputConfig, margin: int = 0) -> list[PatchIndex]:
    """Training patches of some cases and their augmented copies.

    Args:
        records: open records.
        cases: ids of the training cases.
        config: patch, tumour_share and copies are used.
        margin: voxels on each side of a patch that have no target.

    Returns:
        one source; or with a `tumour_share` between 0 and 1 two, the patches around tumour first.

    Raises:
        UserError: `tumour_share` is above 0, and no case has tumour; or patches are far larger than all cases.
    """
    items = records.items_of(cases, config.copies)
    size = inner_size(config.patch or (1, 1, 1), margin)
    voxels, largest = prod(size), np.max([records.cases[case].shape for case in cases], axis=0)
    if any(side > max(2 * length, SMALL) for side, length in zip(size, largest, strict=True)):
        shape = " x ".join(map(str, largest))
        raise UserError(
            f"--input.patch: expected sides of at most twice the largest case, {shape}; received {list(config.patch or ())}"
        )
    passes = [max(ceil(prod(records.cases[case].shape) / voxels), 1) for case, _ in items]
    share = config.tumour_share or 0.0
    sources = []
    if share > 0:
        tumour = [records.case(case, copy).tumour_slices.any() for case, copy in items]
        counts = [ceil(patches * share) * int(any_) for patches, any_ in zip(passes, tumour, strict=True)]
        sources.append(PatchIndex(items, counts, tumour=True))
    if share < 1:
        sources.append(PatchIndex(items, [ceil(patches * (1 - share)) for patches in passes], tumour=False))
    if not all(len(each) for each in sources):
        raise UserError(f"{records.path}: no training case has tumour; set --input.tumour_share 0")
    return sources


def patch_margins(patch: Triple, margin: int) -> Triple:
    """Voxels without a target on each side of a patch, along (z, y, x); along z none in patches of one slice."""
    return (0 if patch[0] == 1 else margin, margin, margin)


def inner_size(patch: Triple, margin: int) -> Triple:
    """Shape of the part of a patch that has a target."""
    z, y, x = (side - 2 * each for side, each in zip(patch, patch_margins(patch, margin), strict=True))
    return (z, y, x)


def without_margins(label: np.ndarray, margins: Triple) -> np.ndarray:
    """Label of a patch without its margins, contiguous."""
    inner = label[tuple(slice(each, length - each) for each, length in zip(margins, label.shape, strict=True))]
    return np.ascontiguousarray(inner)


def as_example(
    image: np.ndarray, label: np.ndarray, config: InputConfig, case: str = "", targets: FolderTargets | None = None
) -> Example:
    """Example of a patch (D, H, W, C): one slice deep it becomes a picture (H, W, C), its neighbours as further channels."""
    if config.patch is not None and config.patch[0] == 1:
        height, width = image.shape[1:3]
        image, label = np.moveaxis(image, 0, 2).reshape(height, width, -1), label[config.neighbours]
    if targets is None:
        return image, {LABEL: label}
    return image, targets.read(case, lambda: bool((label > 1).any()), lambda: label)


def _cut(volume: np.ndarray, start: Triple, size: Triple, config: InputConfig) -> np.ndarray:
    """A patch of a volume; neighbours beyond the volume repeat its edge, as in `data_prep.grid.neighbours.with_neighbours`."""
    if config.neighbours == 0:
        return cut_patch(volume, start, size)
    numbers = np.clip(np.arange(start[0], start[0] + size[0]), 0, len(volume) - 1)
    return cut_patch(volume[numbers], (0, start[1], start[2]), size)


def _tumour_voxel(voxels: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Triple:
    """A voxel of tumour (z, y, x): first a class that the case has, then any voxel of it."""
    present = np.flatnonzero(voxels[:, 1:].sum(axis=0)) + 1
    wanted = int(rng.choice(present))
    counts = voxels[:, wanted]
    z = int(rng.choice(len(counts), p=counts / counts.sum()))
    y, x = np.nonzero(label[z] == 1 << wanted)
    chosen = int(rng.integers(len(y)))
    return z, int(y[chosen]), int(x[chosen])
