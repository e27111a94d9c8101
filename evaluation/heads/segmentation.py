"""Evaluator of segmentation heads: NIfTI files and overlays, the table of records, folds scored on whole volumes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from common.errors import UserError
from common.files import copy_file
from common.metrics.catalogue import METRICS
from common.tables import counted
from data_prep.grid.prepared_grid import consistent_probabilities, likeliest_native
from data_prep.grid.slice_pictures import display_channel
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import Prepared
from data_prep.scans import nifti
from data_prep.scans.case import Case
from data_prep.split import fold_names
from evaluation.figures.overlay import draw_overlay
from evaluation.figures.patients import draw_boxes, draw_per_patient, worst_patients
from evaluation.figures.runs import VOXEL_SCORES, Curves, History, voxel_curves
from evaluation.heads.base import FIGURES, Folds, HeadEvaluator, PredictionTask, Predictor, RecordsScoring
from evaluation.inference import postprocess
from evaluation.inference.ensemble import Ensemble
from evaluation.inference.postprocess import PostprocessConfig
from evaluation.inference.predictions import OVERLAYS, PROBABILITIES, SCANNER, prediction_path
from evaluation.scores.folder import read_patient_scores, read_scores, write_pasted, write_record_scores
from evaluation.scores.records import score_records
from evaluation.tables.records import format_records_table, paste_records_table, record_facts, record_rows
from training.heads.segmentation import SegmentationHead
from training.run import Run


class SegmentationEvaluator(HeadEvaluator):
    """Evaluator of a head that gives class probabilities of voxels."""

    kind = "segmentation"
    command = "training.train"
    writes_voxels = True
    order = 0

    def properties(self, run: Run) -> dict[str, Any]:
        """Classes, ids and regions of the head."""
        return {f"classes of {self.name}": cast(SegmentationHead, run.heads[self.name]).schema}

    def stored_postprocessing(self) -> list[PostprocessConfig]:
        """Rules on voxels that evaluation.tune stored in the runs."""
        return [postprocess.load(run, self.name) for run in self.runs]

    def predictor(self, task: PredictionTask) -> "SegmentationPredictor":
        """Ensemble of the runs that writes NIfTI files."""
        engines = [task.engines[run.path] for run in self.runs]
        return SegmentationPredictor(Ensemble(self.runs, engines, task.inference, self.name), task)

    @property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions that the head was trained on."""
        return cast(SegmentationHead, self.run.heads[self.name]).schema

    def score_records(self, scoring: RecordsScoring) -> None:
        """Score the first run on slices of records, as the table of the glioma paper does."""
        options = (scoring.records, scoring.subset, scoring.batch_size)
        scores = score_records(self.run.path, *options, head=self.name, metrics=scoring.metrics or None)
        table, facts = format_records_table(scores), record_facts(scores)
        files = write_record_scores(scoring.out, record_rows(scores), scores.schema, table, scoring.settings, facts)
        if scoring.form != "text":
            table = paste_records_table(scores, scoring.form)
            files.append(write_pasted(scoring.out, table, scoring.form))
        print(table)
        print("\n" + "\n".join(f"wrote {file}" for file in files))

    def score_folds(self, folds: Folds) -> None:
        """Score the merged predictions against the source; a box per fold, every patient, and the three worst overlays.

        The figures are of the Dice of the first region (or class).
        """
        folds.call("evaluation.score", "--predictions", folds.predictions, "--source", folds.source)
        folder, records = folds.out / FIGURES, folds.records
        scores, metric = read_patient_scores(read_scores(folds.predictions)), METRICS["dice"]
        dice = scores.by_patient(scores.structures[0], metric.name)
        patients = [sorted({records.cases[case].patient for case in fold["validation"]}) for fold in records.folds]
        names = fold_names(patients, {case.patient: case.attributes for case in records.cases.values()})
        boxes = {name: {patient: dice[patient] for patient in each} for name, each in zip(names, patients, strict=True)}
        structure = f"{scores.structures[0].title}, whole volume"
        draw_boxes(folder / "folds", boxes | {"all folds": dice}, metric, structure, names=folds.ids)
        draw_per_patient(folder / "patients", dice, metric, structure, names=folds.ids)
        if not folds.ids:
            print(f"figures: {folder} (folds, patients)")
            return
        worst = worst_patients(dice, metric)
        for rank, patient in enumerate(worst, start=1):
            for case in (case for case, facts in records.cases.items() if facts.patient == patient):
                copy_file(folds.predictions / OVERLAYS / f"{case}.png", folder / f"worst_{rank}_{case}.png")
        print(f"figures: {folder} (folds, patients, and the worst three: {', '.join(worst)})")

    def learning_curves(self, histories: Sequence[History]) -> dict[str, Curves]:
        """A figure of IoU and one of Dice, with the loss in both."""
        return {f"learning_curves_{score}": voxel_curves(histories, score) for score in VOXEL_SCORES}


class SegmentationPredictor(Predictor):
    """Segmentation of cases: NIfTI files, the source's own masks, probabilities and overlays.

    Args:
        ensemble: of the networks.
        task: of the prediction.
    """

    def __init__(self, ensemble: Ensemble, task: PredictionTask) -> None:
        self.ensemble = ensemble
        self.task = task
        self._without_affine = 0

    def predict(self, case: Case, prepared: Prepared, voxels: np.ndarray | None) -> np.ndarray:
        """Segment one case, write its files, and return class indices (Z, H, W)."""
        task = self.task
        inside = prepared.inside if task.inside_only else None
        interpolates = prepared.grid.resampling is not None or task.source.scanner_grid(case.files) is not None
        if task.probabilities or task.postprocess.needs_probabilities or interpolates:
            return self.write_probabilities(case, prepared, self.ensemble.probabilities(prepared.image, inside), inside)
        classes = self.ensemble.classes(prepared.image, inside)
        return self._write(case, prepared, postprocess.apply_classes(task.postprocess, classes, task.schema, inside), None)

    def write_probabilities(
        self, case: Case, prepared: Prepared, probabilities: np.ndarray, inside: np.ndarray | None
    ) -> np.ndarray:
        """Post-process class probabilities (Z, H, W, classes), write the case's files, and return class indices (Z, H, W)."""
        task = self.task
        if task.probabilities:
            path = task.out / f"{case.files.id}{PROBABILITIES}.nii.gz"
            nifti.write_image(path, _native(prepared, probabilities), case.affine, like=case.files.paths[0])
        classes = postprocess.apply(task.postprocess, probabilities, task.schema, inside)
        return self._write(case, prepared, classes, probabilities)

    def _write(self, case: Case, prepared: Prepared, classes: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
        """Write the files of one case; returns its class indices."""
        self.write_case(case, prepared, classes, probabilities, self.task.out)
        self._without_affine += case.affine is None
        return classes

    def write_case(
        self, case: Case, prepared: Prepared, classes: np.ndarray, probabilities: np.ndarray | None, folder: Path
    ) -> None:
        """Write one case into a folder: label ids, also in the source's own format, and the overlay where wanted.

        For aligned scans the folder `scanner` gets the ids on the scanner's grid, and there the source's own format.

        Args:
            case, prepared: as of `predict`.
            classes: (Z, H, W) class indices.
            probabilities: (Z, H, W, classes) before post-processing; None where nothing is interpolated on the way back.
            folder: for the files.
        """
        task = self.task
        if probabilities is None:
            native = prepared.grid.label_to_native(classes)
        else:
            native = prepared.grid.classes_to_native(classes, probabilities)
        dtype = np.dtype(np.uint8) if case.label is None else case.label.dtype
        ids = task.schema.to_ids(native, dtype if dtype.kind in "iu" else np.uint8)
        nifti.write_image(prediction_path(folder, case.files.id), ids, case.affine, like=case.files.paths[0])
        target, scanner = folder, task.source.scanner_grid(case.files)
        if scanner is not None and probabilities is not None:
            target = folder / SCANNER
            likeliest = likeliest_native(scanner, consistent_probabilities(native, _native(prepared, probabilities)))
            ids = task.schema.to_ids(likeliest)
            nifti.write_image(target / f"{case.files.id}.nii.gz", ids, np.asarray(scanner.affine))
        try:
            task.source.write_prediction(case.files, ids, target, task.schema)
        except UserError as error:
            task.not_written[case.files.id] = str(error).splitlines()[0]
        if task.overlays:
            self._draw_overlay(case, prepared, classes, folder)

    @property
    def folders(self) -> dict[Path, LabelSchema]:
        """The task's folder."""
        return {self.task.out: self.task.schema}

    def finish(self) -> str:
        """Warn of scans without affine; returns the place of the overlays."""
        if self._without_affine:
            scans = counted(self._without_affine, "scan")
            print(f"warning: {scans} without affine: the NIfTI files have unit spacing", file=sys.stderr)
        return f", pictures in {self.task.out / OVERLAYS}" if self.task.overlays else ""

    def _draw_overlay(self, case: Case, prepared: Prepared, classes: np.ndarray, folder: Path) -> Path:
        task, channels = self.task, self.ensemble.runs[0].channels
        truth = None if prepared.label is None else bits_to_classes(prepared.label)
        drawn = task.source.label_channel(case.files)
        channel, place = display_channel(channels, missing=case.missing, drawn=drawn)
        head = f", head {self.ensemble.head}" if len(self.ensemble.runs[0].heads) > 1 else ""
        title = f"{case.files.id}, {channel}{head}"
        path = folder / OVERLAYS / f"{case.files.id}.png"
        return draw_overlay(path, prepared.image[..., place], truth, classes, task.schema, title, prepared.geometry.spacing_mm)


def _native(prepared: Prepared, probabilities: np.ndarray) -> np.ndarray:
    """Class probabilities (Z, H, W, classes) on the native grid (i, j, k, classes); background beyond the prepared volume."""
    planes = [prepared.grid.to_native(probabilities[..., c], fill=float(c == 0)) for c in range(probabilities.shape[-1])]
    return np.stack(planes, axis=-1)
