"""Scores per patient of predicted NIfTI files against a source's annotations, on the patients' own grid.

Each case is a `LabelPair` over its whole volume; every metric of the catalogue follows from it. A patient with several cases
counts once: with the mean of the cases' scores.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.errors import Problems, UserError
from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.statistics import Summary, summarise_columns
from common.parallel import map_cases
from common.tables import counted
from data_prep.labels import LabelSchema
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import Source
from data_prep.structures import CLASS_MEAN, Structure, averaged, distinct, scored_structures
from evaluation.inference.predictions import PredictionSet, ids_to_classes, prediction_path, read_classes

ScoreKey = tuple[Structure, str]
"""Key of a score: a structure, and the name of a metric of the catalogue."""


@dataclass(frozen=True)
class PatientScores:
    """Scores of patients by structure and metric.

    Attributes:
        structures: regions, foreground classes, and last the class mean.
        patients: sorted ids.
        cases: how many cases each patient has.
        values: (structure, metric) -> (patients,) float64, structure by structure in the order of the catalogue. Left out:
            metrics that need the spacing of a source that has none, and those that are not averaged for the class mean.
        absent: structure -> (patients,) int64: in how many of the patient's cases it is absent in truth.
    """

    structures: list[Structure]
    patients: list[str]
    cases: list[int]
    values: dict[ScoreKey, np.ndarray]
    absent: dict[Structure, np.ndarray]

    def by_patient(self, structure: Structure, metric: str) -> dict[str, float]:
        """Patient -> score of a structure."""
        return dict(zip(self.patients, self.values[structure, metric].tolist(), strict=True))


def score_predictions(predictions: PredictionSet, source: Source, workers: int | str = 1) -> tuple[PatientScores, LabelSchema]:
    """Score every case of a set against a source.

    Args:
        predictions: to score.
        source: of the annotations; only these are read.
        workers: as of `common.parallel.map_cases`.

    Returns:
        The scores, and the schema whose classes and regions they have.

    Raises:
        UserError: no schema is known, or the predictions' classes are others than the source's.
        Problems: everything that is missing or does not fit, a line each; nothing was scored then.
    """
    schema = _common_schema(predictions, source)
    known = {files.id: files for files in source.cases()}
    _refuse(_grid_problems(predictions, known, source), predictions)
    cases = [known[case] for case in predictions.cases]
    score = partial(_score_or_problem, predictions=predictions, source=source, schema=schema)
    results = map_cases(score, cases, workers, title="scoring")
    _refuse([result for result in results if isinstance(result, str)], predictions)
    scored: dict[str, list[CaseScores]] = {}
    for files, result in zip(cases, results, strict=True):
        if isinstance(result, CaseScores):
            scored.setdefault(files.patient, []).append(result)
    return mean_over_cases(scored, schema), schema


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case.

    Attributes:
        values: as in `PatientScores`, a number each.
        absent: the structures that are absent in truth.
    """

    values: dict[ScoreKey, float]
    absent: set[Structure]


def _score_or_problem(files: CaseFiles, predictions: PredictionSet, source: Source, schema: LabelSchema) -> CaseScores | str:
    """Scores of one case, or the problem in one line where it cannot be scored."""
    try:
        return score_case(_read_pair(files, predictions, source, schema), schema)
    except UserError as error:
        return str(error)


def score_case(pair: LabelPair, schema: LabelSchema) -> CaseScores:
    """Every metric of the catalogue for every structure of a case; the class mean is that of the foreground classes."""
    values: dict[ScoreKey, float] = {}
    absent = set()
    for first, others in distinct(scored_structures(schema)).items():
        found = pair.structure(first.members)
        known = {name: value for name, metric in METRICS.items() if first.members and (value := metric(found)) is not None}
        for structure in (first, *others):
            if structure != CLASS_MEAN:
                values |= {(structure, name): value for name, value in known.items()}
                absent |= {structure} if found.overlap.truth == 0 else set()
    classes = averaged(CLASS_MEAN, schema)
    for name, metric in METRICS.items():
        if metric.averaged and (classes[0], name) in values:
            values[CLASS_MEAN, name] = float(np.mean([values[each, name] for each in classes]))
    return CaseScores(values, absent)


def mean_over_cases(scored: dict[str, list[CaseScores]], schema: LabelSchema) -> PatientScores:
    """Scores of patients from those of their cases; a score that any case lacks is left out.

    Args:
        scored: patient -> scores of each of its cases, at least one.
        schema: of the structures.
    """
    patients, structures = sorted(scored), scored_structures(schema)
    every = [case for patient in patients for case in scored[patient]]
    shared = {key for key in every[0].values if all(key in case.values for case in every)}
    keys = [(structure, name) for structure in structures for name in METRICS if (structure, name) in shared]
    table = np.array([np.mean([[case.values[key] for key in keys] for case in scored[name]], axis=0) for name in patients])
    absent = {
        structure: np.array([sum(structure in case.absent for case in scored[name]) for name in patients])
        for structure in structures
        if structure != CLASS_MEAN
    }
    return PatientScores(
        structures, patients, [len(scored[name]) for name in patients], dict(zip(keys, table.T, strict=True)), absent
    )


def _common_schema(predictions: PredictionSet, source: Source) -> LabelSchema:
    """Schema whose classes and regions are scored: the source's, which has the ids of the truth."""
    schema = source.schema or predictions.schema
    if schema is None:
        raise UserError(f"{source.root}: the layout implies no label schema; name one by --labels")
    if predictions.schema is not None and predictions.schema.class_names != schema.class_names:
        raise UserError(
            f"{predictions.folder}: classes {', '.join(predictions.schema.class_names)} differ from those of {source.root}: "
            f"{', '.join(schema.class_names)} (schema {schema.name}); name the source's schema by --labels"
        )
    return schema


def _grid_problems(predictions: PredictionSet, known: dict[str, CaseFiles], source: Source) -> Iterable[str]:
    """Problems of names and headers, a line per case; no voxel is read."""
    for case in predictions.cases:
        path = prediction_path(predictions.folder, case)
        files = known.get(case)
        if files is None:
            yield f"{path}: extra prediction: the source has no case {case}"
        elif files.label is None:
            yield f"{path}: case {case} has no annotation in the source; leave it out by --cases"
        elif not path.is_file():
            yield f"{path}: missing prediction: case {case} was to be scored"
        else:
            try:
                problem = source.grid_problem(path, files)
            except UserError as error:
                problem = str(error)
            if problem:
                yield problem


def _refuse(problems: Iterable[str], predictions: PredictionSet) -> None:
    lines = list(problems)
    if lines:
        total = len(predictions.cases)
        raise Problems(
            lines,
            f"{predictions.folder}: {counted(len(lines), 'problem')} in {counted(total, 'case')} to score; nothing was written",
        )


def summarise_scores(scores: PatientScores) -> dict[ScoreKey, Summary]:
    """Summary over patients of every score, with intervals."""
    table = np.stack(list(scores.values.values()), axis=1)
    ranges = [METRICS[name].interval_range(column) for (_, name), column in scores.values.items()]
    return dict(zip(scores.values, summarise_columns(table, ranges=ranges), strict=True))


def _read_pair(files: CaseFiles, predictions: PredictionSet, source: Source, schema: LabelSchema) -> LabelPair:
    """Truth and prediction of a case on its own grid.

    Raises:
        UserError: either cannot be read, or has ids that its schema lacks.
    """
    ids, affine = source.read_label(files)
    truth = ids_to_classes(str(files.label), ids, schema, source.likely_schemas)
    prediction = read_classes(ImageRef(prediction_path(predictions.folder, files.id)), predictions.schema or schema)
    prediction[prediction == 255] = 0  # an id that means "not annotated" predicts nothing
    if affine is None:
        return LabelPair.count(truth, prediction, len(schema.classes))
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return LabelPair.count(truth, prediction, len(schema.classes), (i, j, k), voxel_ml)
