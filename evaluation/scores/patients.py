"""Scores per patient of predicted NIfTI files against a source's annotations, on the patients' own grid.

Each case is a `LabelPair` over its whole volume; every metric follows from it. A patient with several cases counts once: with
the mean of the cases' scores.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from common.errors import Problems, UserError
from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from common.metrics.statistics import Summary, summarise_columns
from common.parallel import map_cases
from common.tables import counted
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import Source
from data_prep.structures import CLASS_MEAN, Structure, scored_structures
from evaluation.inference.predictions import PredictionSet, ids_to_classes, prediction_path, read_classes
from evaluation.scores.cases import CaseScores, ScoreKey, mean_over, score_case
from evaluation.scores.lesions import LesionScores, check_rules

Missing = Literal["refuse", "worst"]


@dataclass(frozen=True)
class PatientScores:
    """Scores of patients by structure and metric.

    Attributes:
        structures: regions, foreground classes, and last the class mean.
        patients: sorted ids.
        cases: how many cases each patient has.
        values: (structure, metric) -> (patients,) float64, structure by structure in the order of the catalogue. Left out:
            metrics that need the spacing of a source that has none, those of a lesion rule for structures that it does not
            rank, and those that are not averaged for the class mean. NaN where a metric that may lack a value has none.
        absent: structure -> (patients,) int64: in how many of the patient's cases it is absent in truth.
        lesions: (patient, case, lesion), of the lesion rules among the metrics.
        missing: case -> reason why it counts the worst values (`Metric.worst_in`).
        subsets: channels -> scores of the cases that had just these, where a network serves subsets.
    """

    structures: list[Structure]
    patients: list[str]
    cases: list[int]
    values: dict[ScoreKey, np.ndarray]
    absent: dict[Structure, np.ndarray]
    lesions: list[tuple[str, str, LesionScores]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    subsets: "dict[tuple[str, ...], PatientScores]" = field(default_factory=dict)

    @property
    def metrics(self) -> list[Metric]:
        """Metrics that any structure has, in the order of the catalogue."""
        names = {name for _, name in self.values}
        return [metric for name, metric in METRICS.items() if name in names]

    def by_patient(self, structure: Structure, metric: str) -> dict[str, float]:
        """Patient -> score of a structure; patients without a value are left out."""
        values = dict(zip(self.patients, self.values[structure, metric].tolist(), strict=True))
        return {patient: value for patient, value in values.items() if not np.isnan(value)}


def score_predictions(
    predictions: PredictionSet,
    source: Source,
    metrics: Sequence[Metric],
    missing: Missing = "refuse",
    workers: int | str = 1,
) -> tuple[PatientScores, LabelSchema]:
    """Score every case of a set against a source.

    Args:
        predictions: to score.
        source: of the annotations; only these are read.
        metrics: to compute.
        missing: what becomes of a case whose prediction is absent, damaged or of another grid: "refuse" scores nothing;
            "worst" counts the worst values (`Metric.worst_in`).
        workers: as of `common.parallel.map_cases`.

    Returns:
        The scores, and the schema whose classes and regions they have.

    Raises:
        UserError: no schema is known, or the predictions' classes are others than the source's; a metric was named that the
            source or its schema has no value of.
        Problems: everything that is missing or does not fit, a line each; nothing was scored then.
    """
    schema = _common_schema(predictions, source)
    check_rules([metric.rule.name for metric in metrics if metric.rule is not None], schema)
    known = {files.id: files for files in source.cases()}
    if not known.keys() & set(predictions.cases):
        raise UserError(
            f"{predictions.folder}: expected predictions of {source.root}, such as of case {next(iter(known), 'none')}; "
            f"received those of other cases, such as {predictions.cases[0]}; name the scans that were predicted by --source"
        )
    unusable = dict(_grid_problems(predictions, known, source))
    if unusable and missing == "refuse":
        unread = [case for case in predictions.cases if case in known and case not in unusable]
        damage = map_cases(partial(_damage, predictions=predictions, schema=schema), unread, workers, title="reading")
        unusable |= {case: problem for case, problem in zip(unread, damage, strict=True) if problem}
    _refuse([*_unknown_cases(predictions, known), *(unusable.values() if missing == "refuse" else ())], predictions)
    cases = [known[case] for case in predictions.cases]
    _check_spacing(metrics, cases[0], source)
    names = tuple(metric.name for metric in metrics)  # metrics themselves cannot be sent to other processes
    score = partial(_score, predictions=predictions, source=source, schema=schema, metrics=names, unusable=unusable)
    results = map_cases(score, cases, workers, title="scoring")
    unusable |= {files.id: each.problem for files, each in zip(cases, results, strict=True) if each.problem}
    broken = [each.problem for each in results if each.problem and (each.scores is None or missing == "refuse")]
    _refuse(broken, predictions)
    scored: dict[str, list[CaseScores]] = {}
    by_channels: dict[tuple[str, ...], dict[str, list[CaseScores]]] = {}
    lesions = []
    for files, result in zip(cases, results, strict=True):
        if result.scores is not None:
            scored.setdefault(files.patient, []).append(result.scores)
            lesions += [(files.patient, files.id, lesion) for lesion in result.scores.lesions]
            if files.id in predictions.channels:
                subset = by_channels.setdefault(tuple(predictions.channels[files.id]), {})
                subset.setdefault(files.patient, []).append(result.scores)
    means = mean_over_cases(scored, schema)
    subsets = {name: mean_over_cases(each, schema) for name, each in sorted(by_channels.items())}
    return replace(means, lesions=lesions, missing=unusable, subsets=subsets), schema


@dataclass(frozen=True)
class _Outcome:
    """Scores of a case, and the problem of its prediction; without scores that of its annotation."""

    scores: CaseScores | None
    problem: str = ""


def _score(
    files: CaseFiles,
    predictions: PredictionSet,
    source: Source,
    schema: LabelSchema,
    metrics: Sequence[str],
    unusable: dict[str, str],
) -> _Outcome:
    """Score one case; a prediction that cannot be used counts the worst values."""
    chosen = [METRICS[name] for name in metrics]
    try:
        ids, affine = source.read_label(files)
        truth = ids_to_classes(str(files.label), ids, schema, source.likely_schemas)
    except UserError as error:
        return _Outcome(None, str(error))
    problem, prediction = unusable.get(files.id, ""), np.zeros_like(truth)
    try:
        if not problem:
            image = ImageRef(prediction_path(predictions.folder, files.id))
            i, j, k = truth.shape
            grid = None if affine is None else Grid((i, j, k), affine)
            tolerance = source.config.tolerance_mm
            prediction = read_classes(image, predictions.schema or schema, grid=grid, tolerance_mm=tolerance)
            prediction[prediction == 255] = 0  # an id that means "not annotated" predicts nothing
    except UserError as error:
        problem = str(error)
    return _Outcome(score_case(_pair(truth, prediction, affine, schema), schema, chosen, missing=bool(problem)), problem)


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
    table = np.array([[mean_over(scored[name], key) for key in keys] for name in patients])
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


def _check_spacing(metrics: Sequence[Metric], files: CaseFiles, source: Source) -> None:
    """Refuse metrics that were named and need the distance of voxels, of a source without; all its cases are alike."""
    named = [metric for metric in metrics if metric.needs_spacing and not metric.by_default]
    if named and source.read_label(files)[1] is None:
        plain = [metric.name for metric in named if metric.rule is None]
        rules = dict.fromkeys(metric.rule.name for metric in named if metric.rule is not None)
        given = [f"--{option} {' '.join(names)}" for option, names in (("metrics", plain), ("lesions", rules)) if names]
        raise UserError(
            f"{files.label}: expected an annotation with the distance of voxels for {' and '.join(given)}; received one "
            f"without; leave {'them' if len(given) > 1 else 'it'} out"
        )


def _unknown_cases(predictions: PredictionSet, known: dict[str, CaseFiles]) -> Iterator[str]:
    """Cases that cannot be scored whatever their prediction is, a line each."""
    for case in predictions.cases:
        path, files = prediction_path(predictions.folder, case), known.get(case)
        if files is None:
            yield f"{path}: extra prediction: the source has no case {case}"
        elif files.label is None:
            yield f"{path}: case {case} has no annotation in the source; leave it out by --cases"


def _grid_problems(predictions: PredictionSet, known: dict[str, CaseFiles], source: Source) -> Iterator[tuple[str, str]]:
    """Cases whose prediction is missing or of another grid, with the problem in a line; no voxel is read."""
    for case in predictions.cases:
        path, files = prediction_path(predictions.folder, case), known.get(case)
        if files is None or files.label is None:
            continue
        if not path.is_file():
            yield case, f"{path}: missing prediction: case {case} was to be scored"
            continue
        try:
            problem = source.grid_problem(path, files)
        except UserError as error:
            problem = str(error)
        if problem:
            yield case, problem


def _damage(case: str, predictions: PredictionSet, schema: LabelSchema) -> str:
    """Problem of the voxels of a case's prediction, in a line; empty where there is none."""
    try:
        read_classes(ImageRef(prediction_path(predictions.folder, case)), predictions.schema or schema)
    except UserError as error:
        return str(error)
    return ""


def _refuse(problems: Iterable[str], predictions: PredictionSet) -> None:
    lines = list(problems)
    if lines:
        total = len(predictions.cases)
        raise Problems(
            lines,
            f"{predictions.folder}: {counted(len(lines), 'problem')} in {counted(total, 'case')} to score; nothing was written",
        )


def summarise_scores(scores: PatientScores) -> dict[ScoreKey, Summary]:
    """Summary over patients of every score, with intervals; patients without a value are left out of a score and counted."""
    table = np.stack(list(scores.values.values()), axis=1)
    ranges = [METRICS[name].interval_range(column) for (_, name), column in scores.values.items()]
    may_lack_value = [METRICS[name].may_lack_value for _, name in scores.values]
    return dict(zip(scores.values, summarise_columns(table, ranges, may_lack_value), strict=True))


def _pair(truth: np.ndarray, prediction: np.ndarray, affine: np.ndarray | None, schema: LabelSchema) -> LabelPair:
    """Truth and prediction of a case on its own grid."""
    if affine is None:
        return LabelPair.count(truth, prediction, len(schema.classes))
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return LabelPair.count(truth, prediction, len(schema.classes), (i, j, k), voxel_ml)
