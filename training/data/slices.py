"""Whole slices of records as training sees them: views of memory-mapped shards, divided by patient or by slice."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError
from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import AugmentConfig, case_rng, draw
from data_prep.grid.resize import resize_image, resize_label
from data_prep.records.folder import Records
from models.volume import with_neighbours
from training.data.batches import CATEGORY, SEGMENTATION, Example, InputConfig

if TYPE_CHECKING:
    from training.config import TrainingConfig

SLICE_PARTS = 5  # into which slices are dealt where the records have no folds


class Slices:
    """Random access to the slices of some cases: what Grain calls a source.

    Args:
        records: open records.
        items: (case, copy) of each shard.
        rows: (n, 2) int, place in `items` and slice number of each example.
        config: neighbours, size and resize are used.
        resize_labels: whether labels are resized too, as training wants; what is scored keeps the records' pixels.
        categories: case -> class index; examples then tell their case's category instead of their voxels' classes.
    """

    def __init__(
        self,
        records: Records,
        items: Sequence[tuple[str, int]],
        rows: np.ndarray,
        config: InputConfig,
        resize_labels: bool = False,
        categories: dict[str, int] | None = None,
    ) -> None:
        self.items = items
        self.rows = rows
        self._records = records
        self._config = config
        self._resize_labels = resize_labels
        self._categories = categories

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        """One example: image (H, W, C) in the stored dtype (float32 if resized), and its targets by head.

        `segmentation` is a label (H, W) bit-packed, `category` (1,) float32, the class index.
        """
        item, number = self.rows[index]
        case, copy = self.items[item]
        shard = self._records.shard(case, copy)
        image = self._fitted(with_neighbours(shard.image, np.array([number]), self._config.neighbours)[0])
        if self._config.resize is not None:
            image = resize_image(image, self._config.resize)
        if self._categories is not None:
            return image, {CATEGORY: np.array([self._categories[case]], np.float32)}
        label = self._fitted(shard.label[number])
        if self._config.resize is not None and self._resize_labels:
            label = resize_label(label, self._config.resize)
        return image, {SEGMENTATION: label}

    def only(self, keep: Callable[[str, int], np.ndarray]) -> "Slices":
        """Some of the slices.

        Args:
            keep: (case, number of its slices) -> bool (slices,).
        """
        kept = [keep(case, len(self._records.cases[case].voxels)) for case, _ in self.items]
        chosen = np.array([kept[item][number] for item, number in self.rows], bool)
        rows = self.rows[chosen]
        return Slices(self._records, self.items, rows, self._config, self._resize_labels, self._categories)

    def _fitted(self, array: np.ndarray) -> np.ndarray:
        return array if self._config.size is None else fit(array, self._config.size)


def slice_split(sources: Sequence[Slices], parts: int, part: int, seed: int) -> tuple[list[Slices], list[Slices]]:
    """Divide slices without regard to patients, as some papers did: (sources of all other parts, sources of one part).

    Args:
        sources: to be divided.
        parts: into how many parts the slices of each case are dealt.
        part: the one to validate on.
        seed: of the dealing.
    """

    def place(case: str, slices: int) -> np.ndarray:
        return case_rng(seed, case, 0).permutation(slices) % parts

    train = [source.only(lambda case, slices: place(case, slices) != part) for source in sources]
    validation = [source.only(lambda case, slices: place(case, slices) == part) for source in sources]
    return train, validation


def divided(records: Records, config: "TrainingConfig") -> tuple[list[str], list[str]]:
    """Training and validation cases: those of the records, or of a fold; with `split: slice` all of them on both sides."""
    train, validation = records.subset("train", config.fold), records.subset("validation", config.fold)
    if config.split == "slice":
        train = validation = sorted({*train, *validation})
    return train, validation


def by_slice(
    records: Records, config: "TrainingConfig", sources: list[Slices], whole: Slices | None
) -> tuple[list[Slices], Slices | None]:
    """With `split: slice`, training and validation slices that are divided without regard to patients; else what is given."""
    if config.split == "patient" or whole is None:
        return sources, whole
    parts, part = len(records.folds) or SLICE_PARTS, config.fold or 0
    return slice_split(sources, parts, part, config.seed)[0], slice_split([whole], parts, part, config.seed)[1][0]


def training_slices(
    records: Records, cases: Sequence[str], config: InputConfig, categories: dict[str, int] | None = None
) -> list[Slices]:
    """The training examples of some cases and their augmented copies.

    Args:
        records: open records.
        cases: ids of the training cases.
        config: tumour_share, drop_empty and copies choose slices.
        categories: case -> class index, for a classifier.

    Returns:
        one source; or with a `tumour_share` between 0 and 1 two, the slices with tumour first.
    """
    items = [(case, copy) for case in cases for copy in range((records.copies_of(case) if config.copies else 0) + 1)]
    facts = [records.cases[case] if copy == 0 else records.case(case, copy) for case, copy in items]
    rows = np.concatenate([_rows(place, len(fact.voxels)) for place, fact in enumerate(facts)])
    tumour = np.concatenate([fact.voxels[:, 1:].any(axis=1) for fact in facts])
    if config.drop_empty:
        brain = np.concatenate([fact.brain > 0 for fact in facts])
        rows, tumour = rows[brain], tumour[brain]
    share = config.tumour_share
    groups = [rows] if share is None else [rows[tumour]] * (share > 0) + [rows[~tumour]] * (share < 1)
    if not all(len(group) for group in groups):
        raise UserError(f"{records.path}: no slices to train on (with tumour {tumour.sum()}, without {(~tumour).sum()})")
    return [Slices(records, items, group, config, resize_labels=True, categories=categories) for group in groups]


def whole_slices(
    records: Records,
    cases: Sequence[str],
    config: InputConfig,
    categories: dict[str, int] | None = None,
    tumour_only: bool = False,
) -> Slices:
    """Every slice of some cases, in order (or those with tumour alone): what is validated and scored."""
    rows = np.concatenate([_rows(place, len(records.cases[case].voxels)) for place, case in enumerate(cases)])
    if tumour_only:
        rows = rows[np.concatenate([records.cases[case].voxels[:, 1:].any(axis=1) for case in cases])]
    return Slices(records, [(case, 0) for case in cases], rows, config, categories=categories)


def fit(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut or zero-pad the first two axes of an array to `size`, evenly around the middle."""
    for axis, wanted in enumerate(size):
        length = array.shape[axis]
        start = max(length - wanted, 0) // 2
        array = np.moveaxis(np.moveaxis(array, axis, 0)[start : start + min(length, wanted)], 0, axis)
        before = max(wanted - length, 0) // 2
        pads = [(0, 0)] * array.ndim
        pads[axis] = (before, max(wanted - length, 0) - before)
        array = np.pad(array, pads)
    return array


def check_sizes(records: Records, cases: Sequence[str], config: InputConfig, stride: int) -> tuple[int, int]:
    """Refuse slices of different sizes, or of one that the network cannot halve often enough.

    Returns:
        rows and columns that the network sees.

    Raises:
        UserError: says which, and what to set.
    """
    sizes = {(fact.layout["height"], fact.layout["width"]) for fact in (records.cases[case] for case in cases)}
    if config.size is None and len(sizes) > 1:
        raise UserError(
            f"{records.path}: slices differ in size ({sorted(sizes)[:3]}, ...); "
            f"set --input.size, such as {list(_multiples(max(sizes), stride))}"
        )
    height, width = config.resize or config.size or sizes.pop()
    if height % stride or width % stride:
        option = "resize" if config.resize else "size"
        raise UserError(
            f"{records.path}: slices of {height} x {width} do not fit a network that halves them to 1/{stride}; "
            f"set --input.{option} to multiples of {stride}, such as {list(_multiples((height, width), stride))}"
        )
    return height, width


def _multiples(size: tuple[int, int], stride: int) -> tuple[int, ...]:
    """Rows and columns, rounded up to multiples of `stride`."""
    return tuple(-(-side // stride) * stride for side in size)


class OnlineAugmentation:
    """Augmentation of each example as it is read; what Grain calls a random map.

    Args:
        config: what may be changed.
        neighbours: slices on each side that an example carries as further channels; they are changed alike.
        unit_range: whether intensities run from 0 to 1 and must stay there.
    """

    def __init__(self, config: AugmentConfig, neighbours: int, unit_range: bool) -> None:
        self._config = config
        self._neighbours = neighbours
        self._unit_range = unit_range

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """One augmented example; labels that are not pictures pass as they are."""
        image, labels = example
        channels = image.shape[-1] // (2 * self._neighbours + 1)
        drawn = draw(self._config, rng, channels).with_neighbours(self._neighbours)
        label = labels.get(SEGMENTATION)
        given = np.zeros(image.shape[:2], np.uint8) if label is None else label
        image, changed = (array[0] for array in apply(drawn, image[None], given[None], unit_range=self._unit_range))
        return image, labels if label is None else labels | {SEGMENTATION: changed}


def _rows(place: int, slices: int) -> np.ndarray:
    return np.stack([np.full(slices, place), np.arange(slices)], axis=1)
