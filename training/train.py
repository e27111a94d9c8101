"""Command: train a segmentation network on records, or go on with a run that was stopped."""

from collections.abc import Sequence
from typing import Any, cast

from common import cli
from common.errors import UserError
from data_prep.records.folder import Records
from training.config import TrainConfig
from training.data.batches import SEGMENTATION, Examples, RandomMap
from training.data.patches import PatchSampler, Places, Tiles, training_places
from training.data.slices import by_slice, check_sizes, divided, training_slices, whole_slices
from training.engine import Data, Task, train
from training.phases import Phase


def main(config: TrainConfig) -> None:
    """Train or resume, and say where the run is."""
    train(config, Segmentation)


class Segmentation(Task):
    """Every voxel's class."""

    config: TrainConfig

    def examples(self, records: Records) -> tuple[list[str], list[str], Sequence[Examples], Examples | None]:
        """Windows of the training cases and tiles of the validation cases; or slices, with their copies in training."""
        config = self.config
        train, validation = divided(records, config)
        if config.input.patch is not None:
            tiles = self._whole_of_windows(records, validation) if validation else None
            return train, validation, training_places(records, train, config.input), tiles
        self._refuse_other_size(records, check_sizes(records, [*train, *validation], config.input, config.model.stride))
        sources = training_slices(records, train, config.input)
        whole = whole_slices(records, validation, config.input) if validation else None
        return train, validation, *by_slice(records, config, sources, whole)

    def change(self, data: Data) -> RandomMap | None:
        """Windows are drawn and augmented in one; slices are augmented."""
        if self.config.input.patch is None:
            return super().change(data)
        places = cast(Sequence[Places], data.sources)
        return PatchSampler(data.records, places[0].items, self.config.input, self.config.augment)

    def facts(self, records: Records) -> dict[str, Any]:
        """One head, with an output per class."""
        return {"kind": "segmentation", "heads": {SEGMENTATION: len(records.schema.classes)}}

    def compile_arguments(self, data: Data, phase: Phase) -> dict[str, Any]:
        """The configured loss, and a confusion matrix of voxels."""
        from training.objectives.keras_objects import ConfusionMatrix

        schema = data.records.schema
        return {
            "loss": {SEGMENTATION: phase.of(self.config.loss).build(len(schema.classes))},
            "metrics": {SEGMENTATION: [ConfusionMatrix(schema.class_names)]},
        }

    def _refuse_other_size(self, records: Records, size: tuple[int, int]) -> None:
        """Refuse slices of another size than the network takes, where it takes one alone."""
        window = self.config.model.window(None)
        if window is not None and window[1:] != size:
            raise UserError(
                f"{records.path}: slices of {size[0]} x {size[1]}, and --model.input_size takes {window[1]} x {window[2]}; "
                f"set --input.resize {list(window[1:])} or --input.patch {list(window)}"
            )

    def _whole_of_windows(self, records: Records, cases: list[str]) -> Examples:
        """Every voxel of some cases once, as a network of windows sees them."""
        if self.config.model.window(self.config.input.patch) is not None:
            return Tiles(records, cases, self.config.input)
        check_sizes(records, cases, self.config.input, self.config.model.stride)
        return whole_slices(records, cases, self.config.input)


if __name__ == "__main__":
    cli.run(main, TrainConfig)
