"""Command: train a segmentation network on records, or go on with a run that was stopped."""

from typing import Any

from common import cli
from data_prep.records import Records
from training.config import TrainConfig
from training.engine import Data, Task, train
from training.input import SEGMENTATION, Slices, by_slice, check_sizes, divided, training_slices, whole_slices
from training.phases import Phase


def main(config: TrainConfig) -> None:
    """Train or resume, and say where the run is."""
    train(config, Segmentation)


class Segmentation(Task):
    """Every voxel's class."""

    config: TrainConfig

    def slices(self, records: Records) -> tuple[list[str], list[str], list[Slices], Slices | None]:
        """Training slices with their copies, and whole validation cases; or both by slices."""
        config = self.config
        train, validation = divided(records, config)
        check_sizes(records, [*train, *validation], config.input, config.model.stride)
        sources = training_slices(records, train, config.input)
        whole = whole_slices(records, validation, config.input) if validation else None
        return train, validation, *by_slice(records, config, sources, whole)

    def facts(self, records: Records) -> dict[str, Any]:
        """One head, with an output per class."""
        return {"kind": "segmentation", "heads": {SEGMENTATION: len(records.schema.classes)}}

    def compile_arguments(self, data: Data, phase: Phase) -> dict[str, Any]:
        """The configured loss, and a confusion matrix of voxels."""
        from training.objective import ConfusionMatrix

        schema = data.records.schema
        return {
            "loss": {SEGMENTATION: phase.of(self.config.loss).build(len(schema.classes))},
            "metrics": {SEGMENTATION: [ConfusionMatrix(schema.class_names)]},
        }


if __name__ == "__main__":
    cli.run(main, TrainConfig)
