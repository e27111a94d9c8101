"""Examples -> batches, in an order that is a function of (seed, epoch, step) alone.

An element of a source is a slice (`training.data.slices`), or the case of a patch that is then drawn (`training.data.patches`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import UserError, expect_number

if TYPE_CHECKING:
    import grain

    from training.data.stopwatch import StopWatch

SEGMENTATION, CLASSIFICATION = "segmentation", "classification"
"""Names of the heads of `glioskull train` and `glioskull classify`."""
LABEL = SEGMENTATION
"""Key of the bit-packed label among the targets of an example while it is read and augmented. It is the name of the head of
`glioskull train`, so that the examples of that command need no renaming (`FolderTargets.final`)."""
AHEAD = 4  # batches that are read ahead
Example = tuple[np.ndarray, dict[str, np.ndarray]]
"""An image, and its targets by head."""
RandomMap = Callable[[Any, np.random.Generator], Example]
"""Random map: (element of a source, generator keyed by the seed and the position in the order) -> example."""


class Examples(Protocol):
    """Source of examples by index, as Grain expects it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass
class InputConfig:
    """Input of a network, from records."""

    batch_size: int = 16
    """Slices, or patches, a step."""
    channels: list[str] | None = None
    """Channels of the records, in this order, such as [flair, t1ce]; null: all of the records."""
    patch: tuple[int, int, int] | None = None
    """Slices, rows and columns of patches that are drawn from the volumes, such as [64, 64, 64] for a 3D network or
    [1, 128, 128] for a 2D one; null: a 2D network is given whole slices."""
    size: tuple[int, int] | None = None
    """Rows and columns, cut or zero-padded around the middle; null: the least that holds every slice and that the network can
    halve."""
    resize: tuple[int, int] | None = None
    """Rows and columns to which slices are then resized; the network's logits are resized back, so that validation and
    prediction score the records' own pixels. null: not resized."""
    channel_dropout: float = 0.0
    """Probability with which each channel of a training example is left out (set to zero; one always stays), so that one
    network serves any subset of its channels. 0: never; cases that lack a channel then neither train nor validate."""
    neighbours: int = 0
    """Neighbouring slices on each side, as further channels (2.5D)."""
    tumour_share: float | None = None
    """Share of slices with tumour in training, 0 to 1; null: as they come. Of patches the share that is drawn around tumour,
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
            UserError: a number out of its range, or settings that exclude each other.
        """
        expect_number("input.batch_size", self.batch_size, 1)
        expect_number("input.patch", min(self.patch or (1,)), 1)
        expect_number("input.size", min(self.size or (1,)), 1)
        expect_number("input.resize", min(self.resize or (1,)), 1)
        expect_number("input.channel_dropout", self.channel_dropout, 0, 0.99)
        if self.channel_dropout and self.channels is not None and len(self.channels) == 1:
            raise UserError("--input.channel_dropout: leaves out some of several channels; received one; leave it out")
        expect_number("input.neighbours", self.neighbours, 0)
        expect_number("input.tumour_share", self.tumour_share, 0, 1)
        expect_number("input.threads", self.threads, 0)
        for name in ("size", "resize", "drop_empty"):
            if self.patch is not None and getattr(self, name):
                raise UserError(f"--input.{name}: shapes whole slices, and --input.patch draws patches; leave one of them out")
        if self.patch is not None and self.patch[0] > 1 and self.neighbours:
            raise UserError("--input.neighbours: belongs to 2D networks; a patch of several slices has them already")


def training_examples(
    sources: Sequence[Examples], config: InputConfig, seed: int, augmentation: RandomMap | None = None
) -> "grain.MapDataset":
    """Endless shuffled examples of one records folder; example n is a function of (seed, n).

    Args:
        sources: as `training.data.slices.training_slices` or `training.data.patches.training_patches` give them.
        config: tumour_share is used.
        seed: of order and augmentation.
        augmentation: makes an example of each element.
    """
    import grain

    shuffled = [grain.MapDataset.source(source).seed(seed + place).shuffle().repeat() for place, source in enumerate(sources)]
    examples = shuffled[0]
    if config.tumour_share is not None and len(shuffled) > 1:
        examples = grain.MapDataset.mix(shuffled, weights=[config.tumour_share, 1 - config.tumour_share])
    return examples if augmentation is None else examples.seed(seed).random_map(augmentation)


def training_batches(
    examples: "grain.MapDataset", config: InputConfig, start: int, watch: "StopWatch | None" = None
) -> "grain.IterDataset":
    """Endless batches from step `start` on; those before it are not read.

    Args:
        examples: endless.
        config: batch_size and threads are used.
        start: the first step, counted from the start of training.
        watch: measures the time that is spent waiting for batches.
    """
    batches = _iterate(examples.batch(config.batch_size, drop_remainder=True)[start:], config.threads)
    if watch is None:
        return batches
    from training.data.stopwatch import Timed

    return Timed(batches, watch)


def validation_batches(
    source: Examples, config: InputConfig, unannotated: Callable[[Example], Example] | None = None
) -> "tuple[grain.IterDataset, int]":
    """Every example in order, over and over, so that each `batches` of them are one pass.

    Args:
        source: as `training.data.slices.whole_slices` gives it, or `training.data.patches.Tiles`.
        config: batch_size and threads are used.
        unannotated: copies an example with a target of weight 0; the last batch is filled up with such examples, as
            several devices need it. None: the last batch may be smaller.

    Returns:
        the batches without end, and how many make one pass.
    """
    import grain

    filled = source if unannotated is None else _Filled(source, config.batch_size, unannotated)
    examples: Any = grain.MapDataset.source(filled)
    batches = examples.batch(config.batch_size)
    return _iterate(batches.repeat(), config.threads), len(batches)


class _Filled:
    """A source with examples that weigh nothing appended until its length is a multiple of the batch size."""

    def __init__(self, source: Examples, batch_size: int, unannotated: Callable[[Example], Example]) -> None:
        self._source = source
        self._length = -(-len(source) // batch_size) * batch_size
        self._unannotated = unannotated

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        if index < len(self._source):
            example: Example = self._source[index]
            return example
        return self._unannotated(self._source[len(self._source) - 1])


def _iterate(batches: Any, threads: int) -> "grain.IterDataset":
    import grain

    ahead = AHEAD if threads else 0
    return batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
