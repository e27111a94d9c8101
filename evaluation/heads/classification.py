"""Evaluator of classification heads: the table of classes, scores per patient and slice, Grad-CAM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from data_prep.labels import bits_to_classes
from data_prep.prepare import Prepared
from data_prep.records.folder import Records
from data_prep.scans.case import Case
from evaluation.figures.classification import draw_classification
from evaluation.figures.gradcam import draw_run_gradcam
from evaluation.figures.runs import Curves, History, slice_curves
from evaluation.heads.base import Folds, HeadEvaluator, PredictionTask, Predictor, RecordsScoring
from evaluation.inference.ensemble import Classifiers
from evaluation.inference.patient_class import CLASSES, ClassifiedCase, classify_patient, write_classes
from evaluation.inference.predictions import SCORES
from evaluation.scores import classification_run
from evaluation.scores.classification import format_table, write_classification_scores
from evaluation.scores.classification_run import ScoredRun
from training.heads.classification import ClassificationHead
from training.run import Run

FOLDS_BATCH_SIZE = 16


class ClassificationEvaluator(HeadEvaluator):
    """Evaluator of a head that classifies slices, such as a tumour's grade."""

    kind = "classification"
    command = "training.classify"
    writes_voxels = False
    order = 1

    def trained(self, run: Run) -> ClassificationHead:
        """The head as it was trained: attribute and classes."""
        return cast(ClassificationHead, run.heads[self.name])

    def properties(self, run: Run) -> dict[str, Any]:
        """Attribute of the patients and names of its classes."""
        head = self.trained(run)
        return {"attribute": head.attribute, "classes": head.class_names}

    def predictor(self, task: PredictionTask) -> "ClassificationPredictor":
        """Ensemble of the runs that writes a row per case."""
        engines = [task.engines[run.path] for run in self.runs]
        return ClassificationPredictor(Classifiers(self.runs, engines, task.inference, self.name), task.out)

    def score_records(self, scoring: RecordsScoring) -> None:
        """Score the first run on slices of records, per patient and per slice; with ROC, confusion and calibration."""
        options = (scoring.records, scoring.subset, scoring.batch_size)
        scored = classification_run.score_run(self.run.path, *options, head=self.name)
        report(scoring.out, scored)

    def score_folds(self, folds: Folds) -> None:
        """Score each fold's validation slices by its run, all in one table."""
        parts = [
            classification_run.score_run(run.path, folds.records.path, "validation", FOLDS_BATCH_SIZE, head=self.name)
            for run in folds.runs
        ]
        report(folds.out / SCORES, classification_run.merge_runs(parts))

    def learning_curves(self, histories: Sequence[History]) -> dict[str, Curves]:
        """One figure of loss, accuracy and AUC."""
        return {"learning_curves": slice_curves(histories)}

    def draw_run(self, records: Records, out: Path, suffix: str) -> list[Path]:
        """Draw Grad-CAM of validation slices."""
        files = draw_run_gradcam(out / f"grad_cam{suffix}", self.run, records, self.trained(self.run))
        if not files:
            print(f"{self.run.path}: has no validation slices; Grad-CAM is left out")
        return files


def report(folder: Path, scored: ScoredRun) -> None:
    """Write scores and figures of a classifier; print the table and the files."""
    scores = classification_run.run_summary(scored)
    files = write_classification_scores(folder, scored.predictions, scores)
    files += draw_classification(folder, scored.predictions, scores)
    print(format_table(scores))
    print(f"scores: {folder} ({', '.join(file.name for file in files)})")


class ClassificationPredictor(Predictor):
    """Classification of cases: a row of `classes.csv` each.

    Args:
        classifiers: ensemble of the networks.
        out: predictions folder.
    """

    def __init__(self, classifiers: Classifiers, out: Path) -> None:
        self._classifiers = classifiers
        self._out = out
        self._cases: list[ClassifiedCase] = []

    def predict(self, case: Case, prepared: Prepared, voxels: np.ndarray | None) -> np.ndarray | None:
        """Classify one case by its slices with predicted or, where nothing is predicted, annotated tumour."""
        known = voxels
        if known is None and prepared.label is not None:
            known = bits_to_classes(prepared.label)
        self._cases.append(classify_patient(case.files, self._classifiers, prepared.image, known))
        return voxels

    def finish(self) -> str:
        """Write `classes.csv`; returns its place."""
        backbone = self._classifiers.runs[0].metadata["pretrained"]
        write_classes(self._out, self._classifiers.target, backbone, self._cases)
        return f", classes in {self._out / CLASSES}"
