"""Classification head: a class for each example, that of its patient."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from common.errors import UserError
from common.manifests import Fields, Flag, ListOf, MapOf, Text, checked
from data_prep.categories import class_counts, normalised_classes
from data_prep.records.folder import Records
from training.heads.base import CountedExamples, Head

if TYPE_CHECKING:
    import keras

UNANNOTATED = -1.0  # class index of an example that is not annotated
FACTS = Fields({"attribute": Text(least=1), "classes": MapOf(ListOf(Text(), least=1), least=2), "slices_with_tumour": Flag()})
"""Keys of such a head in run.json."""


@dataclass
class TargetConfig:
    """Class of each patient: an attribute of the records."""

    attribute: str = "grade"
    """Attribute of the patients, as the source names it."""
    classes: dict[str, list[str]] = field(default_factory=dict)
    """Name of each class and the attribute's values that mean it, such as {grade II: ["1"], grade III: ["2"]}; the last class
    is the positive one. Empty: the values of the records, sorted."""


@dataclass(kw_only=True)
class ClassificationConfig:
    """Settings of a classification head."""

    target: TargetConfig = field(default_factory=TargetConfig)
    """Class of each patient."""
    slices: Literal["tumour", "all"] = "tumour"
    """Slices that have a class, on which it is trained and scored: those with annotated tumour, or all."""
    balance: bool = True
    """Weigh each class by the inverse of its share of the training slices."""


@dataclass(frozen=True)
class ClassificationHead(Head):
    """Softmax over classes of patients, or for two classes a sigmoid of one logit, that of the second class.

    Attributes:
        attribute: of the patients.
        classes: name -> values of the attribute.
        slices_with_tumour: whether only examples with tumour are annotated.
        balance: weigh each class by the inverse of its share of the training examples; not stored.
    """

    attribute: str
    classes: dict[str, list[str]]
    slices_with_tumour: bool = True
    balance: bool = True

    kind = "classification"
    per_voxel = False
    scores = ("auc", "accuracy", "loss")
    words = {"auc": "AUC", "accuracy": "accuracy"}  # noqa: RUF012

    @classmethod
    def from_config(cls, name: str, config: ClassificationConfig, records: Sequence[Records]) -> Self:
        """The head of a config; without configured classes these are the values in the records."""
        classes = target_values(name, records, config.target)
        return cls(name, config.target.attribute, classes, config.slices == "tumour", config.balance)

    @property
    def outputs(self) -> int:
        """One logit for two classes, else one for each."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; of two the second is the positive one."""
        return list(self.classes)

    @property
    def tumour_only(self) -> bool:
        """True where only examples with tumour are annotated."""
        return self.slices_with_tumour

    def metadata(self) -> dict[str, Any]:
        """Kind, outputs, attribute and classes."""
        return {
            "kind": self.kind,
            "outputs": self.outputs,
            "attribute": self.attribute,
            "classes": self.classes,
            "slices_with_tumour": self.slices_with_tumour,
        }

    @classmethod
    def from_metadata(cls, name: str, values: dict[str, Any], where: str) -> Self:
        """The inverse of `metadata`; `where` names the file in errors."""
        facts = checked(values, FACTS, f"{where}: head {name}")
        return cls(name, facts["attribute"], facts["classes"], facts["slices_with_tumour"])

    def indices(self, records: Records) -> dict[str, int]:
        """Case -> class index, of the cases that have a value of the attribute.

        Raises:
            UserError: a value belongs to no class.
        """
        index = self._index_of_value
        known = {}
        for case, facts in records.cases.items():
            value = facts.attributes.get(self.attribute, "")
            if value and value not in index:
                raise UserError(
                    f"{records.path}: case {case}: {self.attribute} is {value!r}, which no class of target.classes names"
                )
            if value:
                known[case] = index[value]
        return known

    def annotated(self, records: Records) -> list[str]:
        """Cases that have a value of the attribute."""
        return list(self.indices(records))

    def read(self, records: Records, case: str, tumour: bool, annotates: bool) -> np.ndarray | None:
        """The class index, (1,) float32; -1 where the example is not annotated."""
        value = records.cases[case].attributes.get(self.attribute, "")
        known = annotates and value in self._index_of_value and (tumour or not self.slices_with_tumour)
        return np.array([self._index_of_value[value] if known else UNANNOTATED], np.float32)

    def unannotated(self, target: np.ndarray) -> np.ndarray:
        """Class index -1."""
        return np.full_like(target, UNANNOTATED)

    def any_annotated(self, targets: Any) -> Any:
        """True where an example of a batch has a class."""
        from keras import ops

        return ops.any(targets >= 0)

    def check_training_cases(self, records: Sequence[Records], cases: Sequence[Sequence[str]]) -> None:
        """Refuse training cases of fewer than two classes."""
        present: set[int] = set()
        for folder, chosen in zip(records, cases, strict=True):
            known = self.indices(folder)
            present |= {known[case] for case in chosen if case in known}
        if len(present) < 2:
            received = (
                ", ".join(self.class_names[index] for index in present) or "none: no case has such a value of the attribute"
            )
            where = ", ".join(str(folder.path) for folder in records)
            raise UserError(
                f"{where}: expected training cases of at least two classes of {self.attribute}; received {received}"
            )

    def description(self, records: Sequence[Records], cases: Sequence[Sequence[str]]) -> str:
        """Classes and the patients that train each, a line."""
        index = self._index_of_value
        values = [
            (folder.cases[case].patient, folder.cases[case].attributes.get(self.attribute, ""))
            for folder, chosen in zip(records, cases, strict=True)
            for case in chosen
        ]
        names = {patient: self.class_names[index[value]] if value else "" for patient, value in values}
        return f"training patients by {class_counts(self.attribute, names)}"

    def loss(self, changes: dict[str, float], examples: Sequence[tuple[Records, CountedExamples]]) -> "keras.losses.Loss":
        """Cross-entropy, balanced where that is configured."""
        from training.objectives.keras_objects import classification_loss

        return classification_loss(self.class_weights(examples) if self.balance else [1.0] * len(self.classes))

    def class_weights(self, examples: Sequence[tuple[Records, CountedExamples]]) -> list[float]:
        """The inverse of each class's share of the annotated training examples, so that their mean over examples is 1."""
        counts = np.zeros(len(self.classes))
        for records, source in examples:
            known = self.indices(records)
            for case, number in source.case_counts(self.tumour_only).items():
                if case in known:
                    counts[known[case]] += number
        weights: list[float] = (counts.sum() / np.maximum(counts, 1) / len(counts)).tolist()
        return weights

    def metrics(self, prefix: str) -> "list[keras.metrics.Metric]":
        """Accuracy, and for two classes the AUC, over the annotated examples."""
        from training.objectives.keras_objects import classification_metrics

        return classification_metrics(len(self.classes))

    @cached_property
    def _index_of_value(self) -> dict[str, int]:
        return {value: index for index, values in enumerate(normalised_classes(self.classes).values()) for value in values}


def target_values(head: str, records: Sequence[Records], target: TargetConfig) -> dict[str, list[str]]:
    """Name of each class and the attribute's values that mean it: as configured, or the values in the records.

    Args:
        head: its name, for errors.
        records: folders that annotate it.
        target: attribute, and where configured the classes.

    Raises:
        UserError: fewer than two classes, or a value in two of them.
    """
    if target.classes:
        classes = normalised_classes(target.classes)
        values = [value for group in classes.values() for value in group]
        twice = [value for value, count in Counter(values).items() if count > 1]
        if len(target.classes) < 2 or twice:
            what = f"the value {twice[0]} twice" if twice else f"{len(target.classes)} class"
            raise UserError(
                f"head {head}: target.classes: expected at least two classes with different values; received {what}"
            )
        return classes
    cases = [facts for folder in records for facts in folder.cases.values()]
    values = sorted({facts.attributes.get(target.attribute, "") for facts in cases} - {""})
    if len(values) < 2:
        known = sorted({name for facts in cases for name in facts.attributes})
        raise UserError(
            f"{', '.join(str(folder.path) for folder in records)}: head {head}: expected at least two values of the attribute "
            f"{target.attribute}, chosen by target.attribute; received {', '.join(values) or 'none'}; "
            f"the records' attributes are {', '.join(known) or 'none'}"
        )
    return {value: [value] for value in values}
