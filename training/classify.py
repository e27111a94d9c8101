"""Command: train a classifier of slices, such as of a tumour's grade, on records, or go on with a run that was stopped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from common import cli
from common.errors import UserError
from data_prep.records.folder import Records
from training.config import ClassifyConfig, TargetConfig
from training.data.batches import CATEGORY, InputConfig
from training.data.slices import Slices, by_slice, check_sizes, divided, training_slices, whole_slices
from training.engine import Data, Task, train
from training.phases import Phase

if TYPE_CHECKING:
    import keras


def main(config: ClassifyConfig) -> None:
    """Train or resume, and say where the run is."""
    train(config, Classification)


class Classification(Task):
    """A category of each slice: that of its patient."""

    config: ClassifyConfig

    def examples(self, records: Records) -> tuple[list[str], list[str], list[Slices], Slices | None]:
        """Slices of the patients whose category is known, divided by patient, or by slice where that is asked for."""
        config = self.config
        found = categories(records, config.target)
        train, validation = ([case for case in cases if case in found] for cases in divided(records, config))
        _refuse_single(records, config, {found[case] for case in train})
        check_sizes(records, [*train, *validation], config.input, config.model.stride)
        sources = training_slices(records, train, self._input, found)
        whole = whole_slices(records, validation, config.input, found, config.slices == "tumour") if validation else None
        if whole is not None and not len(whole):
            raise UserError(f"{records.path}: expected validation slices with tumour; found none; take --slices all")
        return train, validation, *by_slice(records, config, sources, whole)

    def resolved(self, records: Records) -> ClassifyConfig:
        """The classes by name, so that other records cannot change what the run tells."""
        classes = target_values(records, self.config.target)
        return replace(self.config, target=replace(self.config.target, classes=classes))

    @cached_property
    def _input(self) -> InputConfig:
        """Training sees slices with tumour alone, or a share of them, or all."""
        return replace(self.config.input, tumour_share=1.0) if self.config.slices == "tumour" else self.config.input

    def facts(self, records: Records) -> dict[str, Any]:
        """One head; the names of its classes, and where the backbone's weights come from."""
        from models.resnet50 import origin

        classes = list(target_values(records, self.config.target))
        outputs = 1 if len(classes) == 2 else len(classes)
        return {
            "kind": "category",
            "heads": {CATEGORY: outputs},
            "attribute": self.config.target.attribute,
            "categories": classes,
            "pretrained": origin(self.config.model),
        }

    def compile_arguments(self, data: Data, phase: Phase) -> dict[str, Any]:
        """Cross-entropy, balanced where asked for, and accuracy and AUC over slices."""
        from training.objectives.keras_objects import category_loss, category_metrics

        classes = len(target_values(data.records, self.config.target))
        weights = self._class_weights(data, classes) if self.config.balance else [1.0] * classes
        return {"loss": {CATEGORY: category_loss(weights)}, "metrics": {CATEGORY: category_metrics(classes)}}

    def enter(self, model: "keras.Model", phase: Phase) -> None:
        """Train the head alone first, then the backbone too; a random backbone trains from the start."""
        from models.resnet50 import freeze_backbone, trains_all

        if not trains_all(self.config.model):
            freeze_backbone(model, frozen=phase.number == 1 and bool(self.config.fine_tune.epochs))

    def _class_weights(self, data: Data, classes: int) -> list[float]:
        """The inverse of each class's share of the training slices, so that their mean over slices is 1."""
        found = categories(data.records, self.config.target)
        counts = np.zeros(classes)
        for source in cast(Sequence[Slices], data.sources):
            for item, _ in source.rows:
                counts[found[source.items[item][0]]] += 1
        weights: list[float] = (counts.sum() / np.maximum(counts, 1) / classes).tolist()
        return weights


def target_values(records: Records, target: TargetConfig) -> dict[str, list[str]]:
    """Name of each class and the attribute's values that mean it: as configured, or the values found.

    Raises:
        UserError: fewer than two classes, or a value in two of them.
    """
    if target.classes:
        values = [value for group in target.classes.values() for value in group]
        twice = [value for value, count in Counter(values).items() if count > 1]
        if len(target.classes) < 2 or twice:
            what = f"the value {twice[0]} twice" if twice else f"{len(target.classes)} class"
            raise UserError(f"--target.classes: expected at least two classes with different values; received {what}")
        return target.classes
    found = sorted({facts.attributes.get(target.attribute, "") for facts in records.cases.values()} - {""})
    if len(found) < 2:
        known = sorted({name for facts in records.cases.values() for name in facts.attributes})
        raise UserError(
            f"{records.path}: expected at least two values of --target.attribute {target.attribute}; received "
            f"{', '.join(found) or 'none'}; the records' attributes are {', '.join(known) or 'none'}"
        )
    return {value: [value] for value in found}


def categories(records: Records, target: TargetConfig) -> dict[str, int]:
    """Case -> class index, of the cases that have a value of the attribute.

    Raises:
        UserError: a value belongs to no class.
    """
    classes = target_values(records, target)
    index = {value: place for place, values in enumerate(classes.values()) for value in values}
    found = {}
    for case, facts in records.cases.items():
        value = facts.attributes.get(target.attribute, "")
        if value and value not in index:
            raise UserError(
                f"{records.path}: case {case}: {target.attribute} is {value!r}, which no class of --target.classes names"
            )
        if value:
            found[case] = index[value]
    return found


def _refuse_single(records: Records, config: ClassifyConfig, found: set[int]) -> None:
    """Refuse training cases of fewer than two classes."""
    if len(found) < 2:
        names = list(target_values(records, config.target))
        received = ", ".join(names[place] for place in found) or "none"
        raise UserError(
            f"{records.path}: expected training cases of at least two classes of {config.target.attribute}; received {received}"
        )


if __name__ == "__main__":
    cli.run(main, ClassifyConfig)
