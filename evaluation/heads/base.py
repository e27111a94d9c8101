"""Evaluators of heads: the contract of everything that depends on a head's kind.

`training.heads` holds the training side of each kind. `evaluation.heads.evaluators_of` finds the evaluators of runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import UserError
from common.metrics.metric import Metric
from common.tables import TableFormat
from data_prep.labels import LabelSchema
from data_prep.prepare import Prepared
from data_prep.records.folder import Records
from data_prep.scans.case import Case
from data_prep.sources import Source
from evaluation.figures.runs import Curves, History
from evaluation.inference.engines import InferenceEngine
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.postprocess import PostprocessConfig
from training.run import Run

FIGURES = "figures"
"""Folder of the figures of a cross-validation, in its own."""


@dataclass(frozen=True)
class PredictionTask:
    """Prediction of a source's cases.

    Attributes:
        source: the scans.
        out: predictions folder.
        schema: of the ids that are written.
        engines: the loaded network of each run, by the run's path.
        inference: options of inference.
        postprocess: rules on voxels.
        probabilities: also write the class probabilities of voxels.
        inside_only: call voxels outside the stored mask, or without one those that are zero in every channel, background.
        overlays: also draw a picture of each case.
        not_written: case -> the reason why its files in the source's own format could not be written.
    """

    source: Source
    out: Path
    schema: LabelSchema
    engines: Mapping[Path, InferenceEngine]
    inference: InferenceConfig
    postprocess: PostprocessConfig
    probabilities: bool
    inside_only: bool
    overlays: bool
    not_written: dict[str, str] = field(default_factory=dict)


class Predictor(ABC):
    """Predictor of one head or of several: networks and the files that they write."""

    @property
    def folders(self) -> dict[Path, LabelSchema]:
        """Predictions folders that are written, each with the schema of its ids; none of heads without voxels."""
        return {}

    @abstractmethod
    def predict(self, case: Case, prepared: Prepared, voxels: np.ndarray | None) -> np.ndarray | None:
        """Predict one case and write, or collect, its results.

        Args:
            case: as read from the source.
            prepared: the same on the prepared grid, uncropped.
            voxels: (Z, H, W) class indices that a segmentation head has predicted; None where there is no such head.

        Returns:
            `voxels` for the heads that follow: those given, or those of this head.
        """

    @abstractmethod
    def finish(self) -> str:
        """Write files of all cases together; returns their description for the command's last line."""


@dataclass(frozen=True)
class RecordsScoring:
    """Options of scoring on records.

    Attributes:
        records: folder of records.
        subset: train, validation or test.
        batch_size: slices at once.
        out: folder for the scores.
        settings: of the command, stored with the scores.
        metrics: of segmentations, to compute.
        form: of the table of segmentations that is printed.
    """

    records: Path
    subset: str
    batch_size: int
    out: Path
    settings: dict[str, Any]
    metrics: Sequence[Metric] = ()
    form: TableFormat = "text"


@dataclass(frozen=True)
class Folds:
    """Trained folds of a cross-validation.

    Attributes:
        runs: one per fold, in their order.
        records: with the folds.
        source: the scans.
        out: folder of the cross-validation.
        predictions: folder of the merged predictions; they exist where a head writes voxels.
        call: runs a command of the toolkit in a process of its own.
        ids: write ids of patients into figures.
    """

    runs: Sequence[Run]
    records: Records
    source: Path
    out: Path
    predictions: Path
    call: Callable[..., None]
    ids: bool = True


class HeadEvaluator(ABC):
    """Evaluator of one head of one or several runs.

    Args:
        name: of the head.
        runs: that have this head.

    Attributes:
        kind: of the head.
        command: that trains runs with such a head alone.
        writes_voxels: whether predictions are volumes on the patients' grid, which are scored against the source.
        order: of prediction among heads; later heads may use the voxels of earlier ones.
    """

    kind: ClassVar[str]
    command: ClassVar[str]
    writes_voxels: ClassVar[bool]
    order: ClassVar[int]

    def __init__(self, name: str, runs: Sequence[Run]) -> None:
        self.name = name
        self.runs = list(runs)

    @property
    def run(self) -> Run:
        """The first run."""
        return self.runs[0]

    @property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions of the voxels that the head writes; of other heads the run's."""
        return self.run.schema

    def check_agreement(self) -> None:
        """Refuse runs whose outputs cannot be averaged.

        Raises:
            UserError: names the run and the property that differs.
        """
        expected = self.properties(self.run)
        for run in self.runs:
            differing = [name for name, value in self.properties(run).items() if value != expected[name]]
            if differing:
                raise UserError(
                    f"{run.path}: its {differing[0]} differ from those of {self.run.path}, so they cannot go together"
                )

    def properties(self, run: Run) -> dict[str, Any]:
        """Properties that must agree where networks are averaged, beyond channels, schema and preparation."""
        return {}

    def stored_postprocessing(self) -> list[PostprocessConfig]:
        """Rules on voxels that are stored in the runs, one per run; none of heads without voxels."""
        return []

    @abstractmethod
    def predictor(self, task: PredictionTask) -> Predictor:
        """Predictor of this head, averaged over the runs."""

    @abstractmethod
    def score_records(self, scoring: RecordsScoring) -> None:
        """Score the first run on records; write the scores, print the table and the files.

        Raises:
            UserError: records that do not fit the run.
        """

    @abstractmethod
    def score_folds(self, folds: Folds) -> None:
        """Score a cross-validation, every patient by the run that was trained without this patient; write, draw and print."""

    @abstractmethod
    def learning_curves(self, histories: Sequence[History]) -> dict[str, Curves]:
        """Figures of learning curves of several runs: name of the file -> its panels."""

    def draw_run(self, records: Records, out: Path, suffix: str) -> list[Path]:
        """Draw figures of the first run on records that only this kind has; returns the files.

        Args:
            records: with the run's channels.
            out: folder for the figures.
            suffix: end of the files' names, different for each of several runs.
        """
        return []
