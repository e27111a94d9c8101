"""Examples -> batches, in an order that is a function of (seed, epoch, step) alone.

An example is what a source gives for an index: a slice (`training.data.slices`), or the patient of a window that is then drawn
(`training.data.patches`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import UserError, expect_number

if TYPE_CHECKING:
    import grain

    from training.data.stopwatch import StopWatch

SEGMENTATION, CATEGORY = "segmentation", "category"
AHEAD = 4  # batches that are read ahead
Example = tuple[np.ndarray, dict[str, np.ndarray]]
"""An image, and its targets by head."""
RandomMap = Callable[[Any, np.random.Generator], Example]
"""What becomes of an element of a source, by numbers drawn from (seed, place in the order)."""


class Examples(Protocol):
    """Random access to what is learnt from: what Grain calls a source."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass
class InputConfig:
    """What a network sees of the records."""

    batch_size: int = 16
    """Slices, or windows, a step."""
    patch: tuple[int, int, int] | None = None
    """Slices, rows and columns of the windows that are drawn from the volumes, such as [64, 64, 64] for a 3D network or
    [1, 128, 128] for a 2D one; null: a 2D network sees whole slices."""
    size: tuple[int, int] | None = None
    """Rows and columns, cut or zero-padded around the middle; null: as in the records, which must then agree."""
    resize: tuple[int, int] | None = None
    """Rows and columns to which slices are then resized; the network's logits are resized back, so that validation and
    prediction score the records' own pixels. null: not resized."""
    neighbours: int = 0
    """Neighbouring slices on each side, seen as further channels (2.5D)."""
    tumour_share: float | None = None
    """Share of slices with tumour in training, 0 to 1; null: as they come. Of windows the share that is drawn around tumour,
    each class of it alike; the others lie anywhere."""
    copies: bool = True
    """Train on the records' augmented copies as well."""
    drop_empty: bool = False
    """Leave slices without brain out of training."""
    threads: int = 2
    """Threads that read ahead."""

    def check(self) -> None:
        """Refuse numbers that make no batches.

        Raises:
            UserError: says which, and what was expected.
        """
        expect_number("input.batch_size", self.batch_size, 1)
        expect_number("input.patch", min(self.patch or (1,)), 1)
        expect_number("input.size", min(self.size or (1,)), 1)
        expect_number("input.resize", min(self.resize or (1,)), 1)
        expect_number("input.neighbours", self.neighbours, 0)
        expect_number("input.tumour_share", self.tumour_share, 0, 1)
        expect_number("input.threads", self.threads, 0)
        for name in ("size", "resize", "drop_empty"):
            if self.patch is not None and getattr(self, name):
                raise UserError(f"--input.{name}: shapes whole slices, and --input.patch draws windows; leave one of them out")
        if self.patch is not None and self.patch[0] > 1 and self.neighbours:
            raise UserError("--input.neighbours: belongs to 2D networks; a patch of several slices has them already")


def training_batches(
    sources: Sequence[Examples],
    config: InputConfig,
    seed: int,
    start: int,
    change: RandomMap | None = None,
    watch: "StopWatch | None" = None,
) -> "grain.IterDataset":
    """Endless shuffled batches from step `start` on: step s is the same whatever was read before it.

    Args:
        sources: as `training.data.slices.training_slices` or `training.data.patches.training_places` give them.
        config: batch_size, tumour_share and threads are used.
        change: makes an example of each element by numbers drawn from (seed, its place in the order).
        seed: of the order.
        start: the first step to give, counted from the start of training; those before it are not read.
        watch: is told how long batches were waited for.
    """
    import grain

    shuffled = [grain.MapDataset.source(source).seed(seed + place).shuffle().repeat() for place, source in enumerate(sources)]
    examples = shuffled[0]
    if config.tumour_share is not None and len(shuffled) > 1:
        examples = grain.MapDataset.mix(shuffled, weights=[config.tumour_share, 1 - config.tumour_share])
    if change is not None:
        examples = examples.seed(seed).random_map(change)
    batches = _iterate(examples.batch(config.batch_size, drop_remainder=True)[start:], config.threads)
    if watch is None:
        return batches
    from training.data.stopwatch import Timed

    return Timed(batches, watch)


def whole_batches(source: Examples, config: InputConfig, even: bool = False) -> "tuple[grain.IterDataset, int]":
    """Every example in order, over and over, so that each `batches` of them are one pass.

    Args:
        source: as `training.data.slices.whole_slices` gives it, or `training.data.patches.Tiles`.
        config: batch_size and threads are used.
        even: fill the last batch up with examples that are not annotated, which weigh nothing (for several devices).

    Returns:
        the batches without end, and how many make one pass.
    """
    import grain

    examples: Any = grain.MapDataset.source(_Filled(source, config.batch_size) if even else source)
    batches = examples.batch(config.batch_size)
    return _iterate(batches.repeat(), config.threads), len(batches)


class _Filled:
    """A source with examples that are not annotated appended until its length is a multiple of the batch size."""

    def __init__(self, source: Examples, batch_size: int) -> None:
        self._source = source
        self._length = -(-len(source) // batch_size) * batch_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        image, labels = self._source[min(index, len(self._source) - 1)]
        if index >= len(self._source):
            labels = {head: np.zeros_like(label) for head, label in labels.items()}
        return image, labels


def _iterate(batches: Any, threads: int) -> "grain.IterDataset":
    import grain

    ahead = AHEAD if threads else 0
    return batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
