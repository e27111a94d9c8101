"""Whole slices of records for training and validation: views of memory-mapped shards."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.errors import UserError
from data_prep.grid.geometry import crop_or_pad
from data_prep.grid.neighbours import with_neighbours
from data_prep.grid.resize import resize_image, resize_label
from data_prep.records.folder import Item, Records
from training.data.batches import LABEL, Example, InputConfig
from training.data.targets import FolderTargets


class Slices:
    """Source of slices of some cases, by index, as Grain expects it.

    Args:
        records: open records.
        items: (case, copy) of each shard.
        rows: (n, 2) int, index into `items` and slice number of each example.
        config: neighbours, size and resize are used.
        resize_labels: whether labels are resized too, as in training; labels that are scored keep the records' pixels.
        targets: of the examples; None: the label alone, by `LABEL`.
    """

    def __init__(
        self,
        records: Records,
        items: Sequence[Item],
        rows: np.ndarray,
        config: InputConfig,
        resize_labels: bool = False,
        targets: FolderTargets | None = None,
    ) -> None:
        self.items = items
        self.rows = rows
        self._records = records
        self._config = config
        self._resize_labels = resize_labels
        self._targets = targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        """One example: image (H, W, C) float16 (float32 if resized), and its targets: a label (H, W) bit-packed, and others."""
        item, number = self.rows[index]
        case, copy = self.items[item]
        shard = self._records.shard(case, copy)
        image = self._fitted(with_neighbours(shard.image, np.array([number]), self._config.neighbours)[0])
        if self._config.resize is not None:
            image = resize_image(image, self._config.resize)

        def label() -> np.ndarray:
            fitted = self._fitted(shard.label[number])
            if self._config.resize is None or not self._resize_labels:
                return fitted
            return resize_label(fitted, self._config.resize)

        if self._targets is None:
            return image, {LABEL: label()}
        return image, self._targets.read(case, lambda: bool((shard.label[number] > 1).any()), label)

    def only(self, keep: Callable[[str, int], np.ndarray]) -> "Slices":
        """Some of the slices.

        Args:
            keep: (case, number of its slices) -> bool (slices,).
        """
        kept = [keep(case, len(self._records.cases[case].voxels)) for case, _ in self.items]
        chosen = np.array([kept[item][number] for item, number in self.rows], bool)
        rows = self.rows[chosen]
        return Slices(self._records, self.items, rows, self._config, self._resize_labels, self._targets)

    def case_counts(self, tumour_only: bool) -> Mapping[str, int]:
        """Case id -> number of slices, all or those with tumour alone; copies count as their original."""
        counts: Counter[str] = Counter()
        tumour = [self._records.cases[case].tumour_slices for case, _ in self.items]
        for item, number in self.rows:
            counts[self.items[item][0]] += int(not tumour_only or tumour[item][number])
        return counts

    def _fitted(self, array: np.ndarray) -> np.ndarray:
        return array if self._config.size is None else crop_or_pad(array, self._config.size)


def training_slices(
    records: Records, cases: Sequence[str], config: InputConfig, targets: FolderTargets | None = None
) -> list[Slices]:
    """Training slices of some cases and their augmented copies.

    Args:
        records: open records.
        cases: ids of the training cases.
        config: tumour_share, drop_empty and copies choose slices.
        targets: of the examples, see `Slices`.

    Returns:
        one source; or with a `tumour_share` between 0 and 1 two, the slices with tumour first.
    """
    items = records.items_of(cases, config.copies)
    facts = [records.case(case, copy) for case, copy in items]
    rows = np.concatenate([_rows(index, len(fact.voxels)) for index, fact in enumerate(facts)])
    tumour = np.concatenate([fact.tumour_slices for fact in facts])
    if config.drop_empty:
        brain = np.concatenate([fact.brain > 0 for fact in facts])
        rows, tumour = rows[brain], tumour[brain]
    share = config.tumour_share
    groups = [rows] if share is None else [rows[tumour]] * (share > 0) + [rows[~tumour]] * (share < 1)
    if not all(len(group) for group in groups):
        raise UserError(f"{records.path}: no slices to train on (with tumour {tumour.sum()}, without {(~tumour).sum()})")
    return [Slices(records, items, group, config, resize_labels=True, targets=targets) for group in groups]


def whole_slices(records: Records, cases: Sequence[str], config: InputConfig, targets: FolderTargets | None = None) -> Slices:
    """Every slice of some cases, in order, for validation and scores; those with tumour alone if no others are annotated."""
    rows = np.concatenate([_rows(index, len(records.cases[case].voxels)) for index, case in enumerate(cases)])
    if targets is not None and targets.tumour_only:
        rows = rows[np.concatenate([records.cases[case].tumour_slices for case in cases])]
    return Slices(records, [(case, 0) for case in cases], rows, config, targets=targets)


def padded_size(sizes: Iterable[tuple[int, ...]], stride: int) -> tuple[int, int]:
    """Rows and columns of the least input that holds slices of these sizes: multiples of a network's stride."""
    rows, columns = (-(-max(sides) // stride) * stride for sides in zip(*sizes, strict=True))
    return rows, columns


def padded_input(records: Records, cases: Sequence[str], config: InputConfig, stride: int) -> InputConfig:
    """Zero padding: input with a size that holds every slice of some cases, at least the size that it has.

    Args:
        records: open records.
        cases: ids.
        config: of the training.
        stride: of the network, which halves slices as they are; slices that are resized need no multiple of it.
    """
    sizes = [records.cases[case].shape[1:] for case in cases] + ([] if config.size is None else [config.size])
    return replace(config, size=padded_size(sizes, 1 if config.resize else stride))


def check_sizes(records: Records, cases: Sequence[str], config: InputConfig, stride: int) -> tuple[int, int]:
    """Refuse slices of different sizes, or of a size that the network cannot halve often enough.

    Returns:
        rows and columns of the network's input.

    Raises:
        UserError: sizes differ, or the network cannot halve them.
    """
    sizes = {records.cases[case].shape[1:] for case in cases}
    if config.size is None and len(sizes) > 1:
        raise UserError(
            f"{records.path}: slices differ in size ({sorted(sizes)[:3]}, ...); "
            f"set --input.size, such as {list(padded_size(sizes, stride))}"
        )
    height, width = config.resize or config.size or sizes.pop()
    if height % stride or width % stride:
        option = "resize" if config.resize else "size"
        raise UserError(
            f"{records.path}: slices of {height} x {width} do not fit a network that halves them to 1/{stride}; "
            f"set --input.{option} to multiples of {stride}, such as {list(padded_size([(height, width)], stride))}; a network "
            "of your own may need less, which --model.stride says"
        )
    return height, width


def _rows(index: int, slices: int) -> np.ndarray:
    """(slices, 2): index of a shard and number of each of its slices."""
    return np.stack([np.full(slices, index), np.arange(slices)], axis=1)
