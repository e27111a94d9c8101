"""Mixture of records folders: each gives its share of every training, and its cases for validation.

Example n of the mixture is a function of (seed, n), so a training resumes anywhere without reading what went before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from common import cli
from common.errors import UserError
from common.tables import counted
from data_prep.records.folder import Records
from training.data.augmentation import OnlineAugmentation
from training.data.batches import Examples, InputConfig, RandomMap, training_batches, training_examples, validation_batches
from training.data.channel_dropout import ChannelDropout
from training.data.division import cases_lacking_channels, divide_cases, divide_slices
from training.data.patches import PatchIndex, PatchSampler, Tiles, training_patches
from training.data.slices import Slices, check_sizes, padded_input, padded_size, training_slices, whole_slices
from training.data.targets import FolderTargets, Joined, Mapped
from training.heads.base import Head

if TYPE_CHECKING:
    import grain

    from training.config import TrainingConfig
    from training.data.stopwatch import StopWatch


@dataclass(frozen=True)
class FolderExamples:
    """Training and validation examples of one records folder.

    Attributes:
        records: opened with the channels of the training.
        share: of the batches.
        train, validation: case ids.
        sources: training slices, or positions of patches.
        validation_examples: every validation voxel once; None where there is none.
        augmentation: makes an example of each element of `sources`; None where it is one already and stays as it is.
        targets: of the examples, by head.
    """

    records: Records
    share: float
    train: list[str]
    validation: list[str]
    sources: Sequence[Slices | PatchIndex]
    validation_examples: Slices | Tiles | None
    augmentation: RandomMap | None
    targets: FolderTargets


@dataclass(frozen=True)
class Mixture:
    """Examples of a training, mixed from its records folders.

    Attributes:
        folders: in the order of the config.
        steps_per_epoch: batches that make an epoch.
    """

    folders: list[FolderExamples]
    steps_per_epoch: int

    @property
    def records(self) -> Records:
        """The first folder's records, with whose preparation, channels and schema all others agree."""
        return self.folders[0].records

    @property
    def examples(self) -> int:
        """Training examples in one pass over all folders."""
        return sum(len(source) for folder in self.folders for source in folder.sources)

    @property
    def has_validation(self) -> bool:
        """True where a folder has validation cases."""
        return any(folder.validation_examples is not None for folder in self.folders)

    def input_shape(self, config: "TrainingConfig") -> tuple[int, ...]:
        """Shape of an example of the network's input: ([D,] H, W, C)."""
        given, channels = config.input, len(self.records.channels) * (2 * config.input.neighbours + 1)
        if given.patch is not None:
            return (*given.patch[-config.model.rank :], channels)
        _, height, width = self.records.cases[self.folders[0].train[0]].shape
        return (*(given.resize or given.size or (height, width)), channels)

    def refuse_changed(self) -> None:
        """Refuse to go on where a shard was deleted or changed after it was opened.

        Raises:
            UserError: names the file.
        """
        for folder in self.folders:
            folder.records.refuse_changed()

    def training_batches(self, config: "TrainingConfig", start: int, watch: "StopWatch | None" = None) -> "grain.IterDataset":
        """Endless shuffled batches of all folders by their shares, from step `start` on."""
        import grain

        streams = []
        for number, folder in enumerate(self.folders):
            # The first folder keeps the training's own seed: alone it is read in the order of that seed.
            seed = config.seed if number == 0 else int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0] >> 1)
            examples = training_examples(folder.sources, folder_input(config, folder.targets), seed, folder.augmentation)
            final = folder.targets.final
            streams.append(examples if final is None else examples.map(final))
        mixed = streams[0]
        if len(streams) > 1:
            mixed = grain.MapDataset.mix(streams, weights=[folder.share for folder in self.folders])
        return training_batches(mixed, config.input, start, watch)

    def validation_batches(self, config: "TrainingConfig", even: bool) -> "tuple[grain.IterDataset | None, int | None]":
        """Validation examples of all folders in batches, and how many make one pass; None where nothing is validated.

        Args:
            config: of the training.
            even: fill the last batch up with examples that weigh nothing, for several devices.
        """
        if not (self.has_validation and config.validate):
            return None, None
        sources: list[Examples] = []
        for folder in self.folders:
            if folder.validation_examples is not None:
                final = folder.targets.final
                examples = folder.validation_examples
                sources.append(examples if final is None else Mapped(examples, final))
        joined = sources[0] if len(sources) == 1 else Joined(sources)
        return validation_batches(joined, config.input, self.folders[0].targets.unannotated if even else None)


def open_records(config: "TrainingConfig") -> list[Records]:
    """Open the folders of a training with its channels, and refuse those that do not go together.

    Raises:
        UserError: other channels, preparation, or schema than the first folder's.
    """
    opened: list[Records] = []
    for entry in config.sources:
        stored = Records(entry.path)
        records = stored if config.input.channels is None else Records(entry.path, config.input.channels)
        first = opened[0] if opened else records
        stored_as = [cli.as_dict(replace(each.preparation, dtype="float16")) for each in (first, records)]
        if records.channels != first.channels:
            raise UserError(
                f"{entry.path}: expected the channels of {first.path} ({', '.join(first.channels)}); received "
                f"{', '.join(records.channels)}; choose those of both by --input.channels"
            )
        if stored_as[0] != stored_as[1]:
            name = next(name for name in stored_as[0] if stored_as[0][name] != stored_as[1][name])
            raise UserError(
                f"{entry.path}: expected records prepared as those of {first.path}, {name} {stored_as[0][name]}; "
                f"received {stored_as[1][name]}; build them again with equal --prepare options"
            )
        opened.append(records)
    return opened


def with_input_size(config: "TrainingConfig", records: Sequence[Records]) -> "TrainingConfig":
    """Zero padding: settings with an input size that holds every slice and that the network can halve; it is printed."""
    given = config.input
    if given.patch is not None or given.size is not None or config.model.prediction_patch(None) is not None:
        return config
    sizes = sorted({facts.shape[1:] for folder in records for facts in folder.cases.values()})
    size = padded_size(sizes, 1 if given.resize else config.model.stride)
    if sizes == [size]:
        return config
    known = " and ".join(f"{rows} x {columns}" for rows, columns in (sizes[0], sizes[-1])[: len(sizes)])
    between = "between " if len(sizes) > 2 else ""
    print(f"slices of {between}{known} are zero-padded to {size[0]} x {size[1]} (--input.size)")
    return replace(config, input=replace(given, size=size))


def open_mixture(config: "TrainingConfig", records: Sequence[Records], heads: Mapping[str, Head]) -> Mixture:
    """Find the training and validation examples of all folders.

    Args:
        config: of the training.
        records: its folders, opened.
        heads: of the network.

    Raises:
        UserError: a folder does not serve the training, or a shard is missing or cut short.
    """
    targets = []
    for opened, entry in zip(records, config.sources, strict=True):
        unknown = [name for name in entry.heads or [] if name not in heads]
        if unknown:
            raise UserError(f"--records: {entry.path}: expected heads of {', '.join(heads)}; received {unknown[0]}")
        targets.append(FolderTargets(opened, heads, frozenset(heads if entry.heads is None else entry.heads)))
    for name, head in heads.items():
        annotating = [each for each in targets if name in each.annotates]
        if not annotating:
            raise UserError(f"--records: expected a folder that annotates the head {name}; received none")
        train = [each.cases(divide_cases(each.records, config)[0]) for each in annotating]
        head.check_training_cases([each.records for each in annotating], train)
    folders = [open_folder(config, each, entry.weight) for each, entry in zip(targets, config.sources, strict=True)]
    sizes = set()
    if config.input.patch is None:
        for folder in folders:
            cases = [*folder.train, *folder.validation]
            sizes.add(check_sizes(folder.records, cases, config.input, config.model.stride))
    if len(sizes) > 1:
        raise UserError(f"--records: slices differ in size between the folders ({sorted(sizes)}); set --input.size")
    for folder in folders:  # a shard that is missing or cut short is an error now, not when a step comes to it
        items = {*folder.records.items_of(folder.train, copies=True), *folder.records.items_of(folder.validation, copies=False)}
        for case, copy in items:
            folder.records.shard(case, copy)
    examples = sum(len(source) for folder in folders for source in folder.sources)
    return Mixture(folders, config.epoch_steps or max(examples // config.input.batch_size, 1))


def check_extents(config: "TrainingConfig", data: Mixture) -> None:
    """Refuse batches larger than one pass over the examples, and more neighbours than a case has slices.

    Raises:
        UserError: a batch would repeat examples, and a large one not fit into memory.
    """
    if config.input.batch_size > data.examples:
        what = "slices" if config.input.patch is None else "patches"
        raise UserError(
            f"--input.batch_size: expected at most {data.examples}, the training {what} of one pass; "
            f"received {config.input.batch_size}"
        )
    for folder in data.folders:
        depth, case = min((folder.records.cases[case].shape[0], case) for case in [*folder.train, *folder.validation])
        if config.input.neighbours >= depth:
            raise UserError(
                f"--input.neighbours: expected fewer than the {counted(depth, 'slice')} of {case} in {folder.records.path}; "
                f"received {config.input.neighbours}"
            )


def open_folder(config: "TrainingConfig", targets: FolderTargets, share: float = 1.0) -> FolderExamples:
    """Find the training and validation examples of one folder.

    Args:
        config: of the training.
        targets: of the folder's examples.
        share: of the batches.

    Raises:
        UserError: the folder does not serve the training.
    """
    records = targets.records
    train, validation = (targets.cases(cases) for cases in divide_cases(records, config))
    if not train:
        why = "see the records' train.txt, or choose a --fold"
        if lacking := cases_lacking_channels(records, config):
            why = (
                f"{counted(len(lacking), 'case')} lack a channel; choose others by --input.channels, or --input.channel_dropout"
            )
        raise UserError(f"{records.path}: expected training cases; found none; {why}")
    if config.input.patch is not None:
        margin = config.model.margin
        sources = training_patches(records, train, config.input, margin)
        sampler = _with_dropout(
            PatchSampler(records, sources[0].items, config.input, config.augment, targets, margin), config, records
        )
        tiles = _validation_of_patches(records, validation, config, targets) if validation else None
        return FolderExamples(records, share, train, validation, sources, tiles, sampler, targets)
    _check_slice_size(records, check_sizes(records, [*train, *validation], config.input, config.model.stride), config)
    slices = training_slices(records, train, folder_input(config, targets), targets)
    every = whole_slices(records, validation, config.input, targets) if validation else None
    if every is not None and not len(every):
        raise UserError(f"{records.path}: expected validation slices with tumour; found none; take --slices all")
    slices, every = divide_slices(records, config, slices, every)
    augmentation: RandomMap | None = None
    if not config.augment.is_off:
        augmentation = OnlineAugmentation(config.augment, config.input.neighbours, records.preparation.unit_range)
    augmentation = _with_dropout(augmentation, config, records)
    return FolderExamples(records, share, train, validation, slices, every, augmentation, targets)


def _with_dropout(before: RandomMap | None, config: "TrainingConfig", records: Records) -> RandomMap | None:
    """Random map with channel dropout behind it, where the training has some."""
    probability = config.input.channel_dropout
    return ChannelDropout(before, probability, len(records.channels)) if probability else before


def folder_input(config: "TrainingConfig", targets: FolderTargets) -> InputConfig:
    """Input of a folder's training examples: slices with tumour alone where no others are annotated."""
    alone = targets.tumour_only and config.input.patch is None
    return replace(config.input, tumour_share=1.0) if alone else config.input


def _validation_of_patches(
    records: Records, cases: list[str], config: "TrainingConfig", targets: FolderTargets
) -> Slices | Tiles:
    """Tiles; whole slices, zero-padded to what the network can halve, for a network of slices of any size."""
    if config.model.prediction_patch(config.input.patch) is not None:
        return Tiles(records, cases, config.input, targets, config.model.margin)
    return whole_slices(records, cases, padded_input(records, cases, config.input, config.model.stride), targets)


def _check_slice_size(records: Records, size: tuple[int, int], config: "TrainingConfig") -> None:
    """Refuse slices of another size than the network takes, where it takes one alone."""
    patch = config.model.prediction_patch(None)
    if patch is not None and patch[1:] != size:
        raise UserError(
            f"{records.path}: slices of {size[0]} x {size[1]}, and --model.input_size takes {patch[1]} x {patch[2]}; "
            f"set --input.resize {list(patch[1:])} or --input.patch {list(patch)}"
        )
