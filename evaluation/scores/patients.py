"""Scores of predicted NIfTI files against a source's annotations, per patient, on the patients' own grid.

Each case gives one confusion matrix over its whole volume; every score follows from it. A patient with several cases
counts once: with the mean of the cases' scores.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import Problems, UserError
from common.files import read_json
from common.metrics.overlap import Overlap, confusion_matrix, overlap
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.scans import nifti
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import Source
from data_prep.sources import nifti_rules as rules

MANIFEST = "predictions.json"
FORMAT = 1
PROBABILITIES = "_probabilities"
METRICS = ("dice", "iou", "sensitivity", "precision")
VOLUMES = ("true_ml", "predicted_ml")


@dataclass(frozen=True)
class Structure:
    """Something that is scored.

    Attributes:
        kind: "region", "class", or "mean" for the mean of the foreground classes' scores.
        name: of the region or class; "class_mean" for the mean.
        members: indices of the classes whose union it is; empty for the mean.
    """

    kind: str
    name: str
    members: tuple[int, ...] = ()


CLASS_MEAN = Structure("mean", "class_mean")


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
    """Scores per patient and structure.

    Attributes:
        structures: regions, foreground classes, and last the class mean.
        patients: sorted ids.
        cases: how many cases each patient has.
        values: (patients, structures, 6) float64: Dice, IoU, sensitivity, precision, true and predicted volume in ml; NaN
            volumes for the class mean, and for all structures where the source has no spacing.
        absent: (patients, structures) int64: in how many of the patient's cases the structure is absent in truth.
    """

    structures: list[Structure]
    patients: list[str]
    cases: list[int]
    values: np.ndarray
    absent: np.ndarray


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


def scored_structures(schema: LabelSchema) -> list[Structure]:
    """The regions, the foreground classes, and last the class mean."""
    regions = [Structure("region", name, tuple(members)) for name, members in schema.region_indices().items()]
    classes = [Structure("class", name, (c,)) for c, name in enumerate(schema.class_names) if c > 0]
    return [*regions, *classes, CLASS_MEAN]


def score_predictions(predictions: PredictionSet, source: Source, progress: bool = False) -> tuple[PatientScores, LabelSchema]:
    """Score every case of a set against a source.

    Args:
        predictions: what to score.
        source: where the annotations stand; only these are read.
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
    structures = scored_structures(schema)
    scored: dict[str, list[np.ndarray]] = {}
    problems: list[str] = []
    for case in tqdm(predictions.cases, desc="scoring", unit="case", disable=not progress):
        try:
            scores = _score_case(known[case], predictions, source, schema, structures)
            scored.setdefault(known[case].patient, []).append(scores)
        except UserError as error:
            problems.append(str(error))
    _refuse(problems, predictions)
    return _per_patient(scored, structures), schema


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
    """The schema whose classes and regions are scored: the source's, which knows the ids of the truth."""
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
    """What can be told from names and headers alone, a line per case."""
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
            yield from _header_problem(path, files, source)


def _header_problem(path: Path, files: CaseFiles, source: Source) -> Iterable[str]:
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


def _score_case(
    files: CaseFiles, predictions: PredictionSet, source: Source, schema: LabelSchema, structures: list[Structure]
) -> np.ndarray:
    """One case's scores (structures, 7): the six values of `PatientScores`, and 1 where the structure is absent in truth."""
    ids, affine = source.read_label(files)
    truth = _as_classes(str(files.label), ids, schema, source.likely_schemas)
    prediction = read_classes(ImageRef(prediction_path(predictions.folder, files.id)), predictions.schema or schema)
    prediction[prediction == 255] = 0  # an id that means "not annotated" predicts nothing
    confusion = confusion_matrix(truth, prediction, len(schema.classes))
    voxel_ml = np.nan if affine is None else abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rows = [_row(overlap(confusion, structure.members), voxel_ml) for structure in structures if structure.members]
    classes = [row[: len(METRICS)] for row, structure in zip(rows, structures, strict=False) if structure.kind == "class"]
    mean = np.mean(classes, axis=0)
    return np.array([*rows, [*mean, np.nan, np.nan, 0]])


def _row(found: Overlap, voxel_ml: float) -> list[float]:
    ratios = [found.dice, found.iou, found.sensitivity, found.precision]
    return [*ratios, found.truth * voxel_ml, found.predicted * voxel_ml, float(found.truth == 0)]


def _per_patient(scored: dict[str, list[np.ndarray]], structures: list[Structure]) -> PatientScores:
    patients = sorted(scored)
    values = np.array([np.mean([case[:, :-1] for case in scored[patient]], axis=0) for patient in patients])
    absent = np.array([np.sum([case[:, -1] for case in scored[patient]], axis=0) for patient in patients])
    return PatientScores(structures, patients, [len(scored[patient]) for patient in patients], values, absent.astype(np.int64))
