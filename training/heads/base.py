"""Head of a network: a named output with its targets, loss and metrics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from data_prep.records.folder import Records

if TYPE_CHECKING:
    import keras

Targets = dict[str, np.ndarray]


class CountedExamples(Protocol):
    """Training examples that can be counted by case."""

    def case_counts(self, tumour_only: bool) -> Mapping[str, int]:
        """Case id -> number of examples in one pass, all or those with tumour alone."""
        ...


@dataclass(frozen=True)
class Head(ABC):
    """A named output of a network, and all that depends on its kind while training.

    A target always has the same shape and dtype, annotated or not. One that is not annotated weighs nothing: its loss is 0 and
    gives no gradient to the head. Weight decay and batch statistics are shared: batches without annotation change these too.

    Attributes:
        name: of the output, such as "segmentation".
        kind: names the class in run.json.
        per_voxel: whether there are logits for every voxel; else one vector for each example.
        scores: validation scores that may be monitored, without the head's name.
        words: score -> words for it in the line of an epoch; the first that exists is printed where the monitored one is not.
    """

    name: str

    kind: ClassVar[str]
    per_voxel: ClassVar[bool]
    scores: ClassVar[tuple[str, ...]]
    words: ClassVar[dict[str, str]]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of logits."""

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""

    @property
    def tumour_only(self) -> bool:
        """True where only examples with tumour are annotated."""
        return False

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """The head's entry in run.json: `kind`, `outputs` and what `from_metadata` needs."""

    @classmethod
    @abstractmethod
    def from_metadata(cls, name: str, values: dict[str, Any], where: str) -> Self:
        """The inverse of `metadata`; `where` names the file in errors."""

    @abstractmethod
    def annotated(self, records: Records) -> list[str]:
        """Cases of a records folder that have a target for this head.

        Raises:
            UserError: the folder does not serve this head.
        """

    @abstractmethod
    def read(self, records: Records, case: str, tumour: bool, annotates: bool) -> np.ndarray | None:
        """Target of an example that does not change with its picture; None for a head of voxels, whose target is the label.

        Args:
            records: that the example is read from.
            case: the example's case.
            tumour: True where the example has tumour.
            annotates: whether the records annotate this head.
        """

    def augmented(self, targets: Targets, annotates: bool) -> np.ndarray:
        """Target of an example after augmentation.

        Args:
            targets: what `read` gave, by head, and the label by the key `training.data.batches.LABEL`.
            annotates: whether the records annotate this head.
        """
        return targets[self.name]

    @abstractmethod
    def unannotated(self, target: np.ndarray) -> np.ndarray:
        """The target of the same shape that weighs nothing."""

    @abstractmethod
    def any_annotated(self, targets: Any) -> Any:
        """Scalar tensor: true where a batch of targets holds an annotation, as the loss reads them."""

    @abstractmethod
    def check_training_cases(self, records: Sequence[Records], cases: Sequence[Sequence[str]]) -> None:
        """Refuse training cases that the head cannot be trained on; `cases` of each folder.

        Raises:
            UserError: too few cases or classes.
        """

    def description(self, records: Sequence[Records], cases: Sequence[Sequence[str]]) -> str:
        """Line about the training cases of each folder, printed before the training; empty: none."""
        return ""

    @abstractmethod
    def loss(self, changes: dict[str, float], examples: Sequence[tuple[Records, CountedExamples]]) -> "keras.losses.Loss":
        """The loss of a phase.

        Args:
            changes: numbers of the loss that differ in this phase.
            examples: training examples of each folder that annotates this head.
        """

    @abstractmethod
    def metrics(self, prefix: str) -> "list[keras.metrics.Metric]":
        """Metrics of training and validation; `prefix` stands before names of scores that Keras does not prefix itself."""

    def headline(self, row: Mapping[str, float], front: str, monitored: str = "") -> str | None:
        """The score for the line of an epoch, such as "mean IoU with background 0.512"; None where there is none, or NaN.

        Args:
            row: of the history.
            front: prefix of the score's name in the row: "", "val_", with several heads the head's name too.
            monitored: score by which the best model is kept, without the head's name; taken where the head has it.
        """
        names = [name for name in (monitored, *self.words) if name in self.words and front + name in row]
        scores = {self.words[name]: row[front + name] for name in names}
        return next((f"{words} {score:.3f}" for words, score in scores.items() if not math.isnan(score)), None)


def monitored_score(monitor: str, heads: Mapping[str, Head]) -> tuple[str | None, str]:
    """Head and name of the monitored score; the head is None where it is the mean over heads, the loss, or of the only head."""
    for name, head in heads.items():
        if monitor in [f"{name}_{score}" for score in head.scores]:
            return name, monitor.removeprefix(f"{name}_")
    return None, monitor


def monitored_words(monitor: str, heads: Mapping[str, Head]) -> str:
    """Words for the monitored score, such as "mean Dice with background, mean of heads"."""
    name, score = monitored_score(monitor, heads)
    head = next(iter(heads.values())) if name is None else heads[name]
    words = head.words.get(score, score)
    if name is not None:
        return f"{name} {words}"
    return f"{words}, mean of heads" if len(heads) > 1 and score != "loss" else words
