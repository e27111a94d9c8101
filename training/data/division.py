"""Division into training and validation examples: by patient, or by slice as some papers did."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from data_prep.augmentation.draw import case_rng
from data_prep.records.folder import Records
from training.data.slices import Slices

if TYPE_CHECKING:
    from training.config import TrainingConfig

SLICE_PARTS = 5  # into which slices are dealt where the records have no folds


def slice_split(sources: Sequence[Slices], parts: int, part: int, seed: int) -> tuple[list[Slices], list[Slices]]:
    """Divide slices without regard to patients, as some papers did: (sources of all other parts, sources of one part).

    Args:
        sources: to be divided.
        parts: into how many parts the slices of each case are dealt.
        part: the one to validate on.
        seed: of the dealing.
    """

    def part_of(case: str, slices: int) -> np.ndarray:
        return case_rng(seed, case, 0).permutation(slices) % parts

    train = [source.only(lambda case, slices: part_of(case, slices) != part) for source in sources]
    validation = [source.only(lambda case, slices: part_of(case, slices) == part) for source in sources]
    return train, validation


def divide_cases(records: Records, config: "TrainingConfig") -> tuple[list[str], list[str]]:
    """Training and validation cases of the records, or of a fold; with `split: slice` all of them on both sides.

    Without channel dropout, cases that lack one of the training's channels are left out.
    """
    train, validation = (subset_cases(records, config, side) for side in ("train", "validation"))
    if config.split == "slice":
        train = validation = sorted({*train, *validation})
    return train, validation


def subset_cases(records: Records, config: "TrainingConfig", subset: str) -> list[str]:
    """Cases of train, validation or test, in the training's fold, without those that the training leaves out."""
    lacking = cases_lacking_channels(records, config)
    return [case for case in records.subset(subset, config.fold) if case not in lacking]


def cases_lacking_channels(records: Records, config: "TrainingConfig") -> dict[str, list[str]]:
    """Cases that a training leaves out -> its channels that they lack; none with channel dropout."""
    if config.input.channel_dropout:
        return {}
    channels = config.input.channels or records.channels
    lacking = {name: [channel for channel in channels if channel in case.missing] for name, case in records.cases.items()}
    return {name: absent for name, absent in lacking.items() if absent}


def lacked_channels(lacking: Mapping[str, Sequence[str]]) -> str:
    """Channels that some cases lack, in words, from `cases_lacking_channels`."""
    return ", ".join(sorted({channel for absent in lacking.values() for channel in absent}))


def divide_slices(
    records: Records, config: "TrainingConfig", sources: list[Slices], validation: Slices | None
) -> tuple[list[Slices], Slices | None]:
    """Training and validation slices, with `split: slice` divided anew without regard to patients."""
    if config.split == "patient" or validation is None:
        return sources, validation
    parts, part = len(records.folds) or SLICE_PARTS, config.fold or 0
    return slice_split(sources, parts, part, config.seed)[0], slice_split([validation], parts, part, config.seed)[1][0]
