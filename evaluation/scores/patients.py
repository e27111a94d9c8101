"""Scores per patient of predicted NIfTI files against a source's annotations, on the patients' own grid.

Each case is a `LabelPair` over its whole volume; every metric of the catalogue follows from it. A patient with several cases
counts once: with the mean of the cases' scores.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import Problems, UserError
from common.files import read_json
from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.statistics import Summary, summarise_columns
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.scans import nifti
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import Source
from data_prep.sources import nifti_rules as rules
from data_prep.structures import CLASS_MEAN, Structure, averaged, distinct, scored_structures

MANIFEST = "predictions.json"
FORMAT = 1
PROBABILITIES = "_probabilities"

Key = tuple[Structure, str]
"""What a score is of: a structure, and the name of a metric of the catalogue."""


@dataclass(frozen=True)
class PredictionSet:
    """A predictions folder.

    Attributes:
        folder: where the NIfTI files stand.
        schema: of their ids; None where the folder does not say, so that the source's holds.
        cases: ids of the cases to score.
        runs: the runs that made them, as the folder tells.
        split: "patient", or "slice" where slices of the predicted patients may have trained the runs.
    """

    folder: Path
    schema: LabelSchema | None
    cases: list[str]
    runs: list[str]
    split: str = "patient"


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
    values: dict[Key, np.ndarray]
    absent: dict[Structure, np.ndarray]

    def by_patient(self, structure: Structure, metric: str) -> dict[str, float]:
        """Patient -> score of a structure."""
        return dict(zip(self.patients, self.values[structure, metric].tolist(), strict=True))


def open_predictions(folder: Path, wanted: list[str] | None) -> PredictionSet:
    """Open a predictions folder.

    Args:
        folder: with `predictions.json`, which prediction writes last; without it only where `wanted` is given.
        wanted: ids of the cases to score; None scores all that the folder's manifest names.

    Raises:
        UserError: no manifest and no ids, or a manifest of another format.
        Problems: NIfTI files that the manifest does not name.
    """
    manifest = folder / MANIFEST
    if wanted is not None and folder.is_dir() and not manifest.is_file():
        return PredictionSet(folder, None, wanted, [])
    if not manifest.is_file():
        raise UserError(
            f"{manifest}: not found; expected a folder finished by evaluation.predict; "
            "to score another tool's ID.nii.gz files, list their ids in a file and give it to --cases"
        )
    values = read_json(manifest, "predictions")
    if not isinstance(values, dict) or values.get("format") != FORMAT or not isinstance(values.get("cases"), list):
        raise UserError(f"{manifest}: expected predictions of format {FORMAT}; received another file; predict again")
    cases = list(dict.fromkeys(str(case) for case in values["cases"]))
    if wanted is None:
        _refuse_strangers(folder, cases)
    schema = LabelSchema.from_dict(values.get("schema"), manifest)
    runs = [str(run) for run in values.get("runs", [])]
    return PredictionSet(folder, schema, cases if wanted is None else wanted, runs, str(values.get("split", "patient")))


def score_predictions(predictions: PredictionSet, source: Source, progress: bool = False) -> tuple[PatientScores, LabelSchema]:
    """Score every case of a set against a source.

    Args:
        predictions: to score.
        source: of the annotations; only these are read.
        progress: show a bar on standard error.

    Returns:
        The scores, and the schema whose classes and regions they have.

    Raises:
        UserError: no schema is known, or the predictions' classes are others than the source's.
        Problems: everything that is missing or does not fit, a line each; nothing was scored then.
    """
    from tqdm import tqdm

    schema = _common_schema(predictions, source)
    known = {files.id: files for files in source.cases()}
    _refuse(_grid_problems(predictions, known, source), predictions)
    scored: dict[str, list[CaseScores]] = {}
    problems: list[str] = []
    for case in tqdm(predictions.cases, desc="scoring", unit="case", disable=not progress):
        try:
            pair = _read_pair(known[case], predictions, source, schema)
        except UserError as error:
            problems.append(str(error))
            continue
        scored.setdefault(known[case].patient, []).append(score_case(pair, schema))
    _refuse(problems, predictions)
    return mean_over_cases(scored, schema), schema


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case.

    Attributes:
        values: as in `PatientScores`, a number each.
        absent: the structures that are absent in truth.
    """

    values: dict[Key, float]
    absent: set[Structure]


def score_case(pair: LabelPair, schema: LabelSchema) -> CaseScores:
    """Every metric of the catalogue for every structure of a case; the class mean is that of the foreground classes."""
    values: dict[Key, float] = {}
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


def prediction_path(folder: Path, case: str) -> Path:
    """Where a case's prediction stands: `ID.nii.gz`, or `ID.nii` where only that is there."""
    plain = folder / f"{case}.nii"
    packed = folder / f"{case}.nii.gz"
    return plain if plain.is_file() and not packed.is_file() else packed


def read_classes(image: ImageRef, schema: LabelSchema, likely: tuple[str, ...] = ()) -> np.ndarray:
    """Read a NIfTI label as class indices (i, j, k), uint8, 255 where not annotated.

    Raises:
        UserError: damaged, not whole numbers, or ids that the schema does not know; `likely` names schemas to hint at.
    """
    return _as_classes(str(image), nifti.read_image(image), schema, likely)


def _as_classes(name: str, label: np.ndarray, schema: LabelSchema, likely: tuple[str, ...]) -> np.ndarray:
    """Ids as class indices, uint8, 255 where not annotated; refuses what is no known id, naming it `name`."""
    problem = rules.label_problem(name, label, schema, likely)
    if problem:
        raise UserError(problem)
    return bits_to_classes(schema.encode(rules.as_integers(label)))


def _refuse_strangers(folder: Path, cases: list[str]) -> None:
    files = sorted(path for path in folder.iterdir() if path.name.endswith(nifti.SUFFIXES) and not path.name.startswith("."))
    expected = {name for case in cases for name in (case, case + PROBABILITIES)}
    strangers = [path for path in files if nifti.stem(path) not in expected]
    if strangers:
        raise Problems(
            (f"{path}: extra prediction: {MANIFEST} does not name this case" for path in strangers),
            f"{folder}: {len(strangers)} files are not of this prediction; remove them, or choose cases by --cases",
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
        raise Problems(lines, f"{predictions.folder}: {len(lines)} problems in {total} cases to score; nothing was written")


def summarise_scores(scores: PatientScores) -> dict[Key, Summary]:
    """Summary over patients of every score, with intervals."""
    table = np.stack(list(scores.values.values()), axis=1)
    ranges = [METRICS[name].interval_range(column) for (_, name), column in scores.values.items()]
    return dict(zip(scores.values, summarise_columns(table, ranges=ranges), strict=True))


def _read_pair(files: CaseFiles, predictions: PredictionSet, source: Source, schema: LabelSchema) -> LabelPair:
    """Truth and prediction of a case on its own grid.

    Raises:
        UserError: either cannot be read, or has ids that its schema does not know.
    """
    ids, affine = source.read_label(files)
    truth = _as_classes(str(files.label), ids, schema, source.likely_schemas)
    prediction = read_classes(ImageRef(prediction_path(predictions.folder, files.id)), predictions.schema or schema)
    prediction[prediction == 255] = 0  # an id that means "not annotated" predicts nothing
    if affine is None:
        return LabelPair.count(truth, prediction, len(schema.classes))
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return LabelPair.count(truth, prediction, len(schema.classes), (i, j, k), voxel_ml)
