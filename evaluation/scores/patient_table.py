"""Table of patients, `per_patient.csv`: a row for each patient and structure, a column for each metric."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.manifests import Whole, checked
from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric
from common.tables import read_rows
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, scored_structures
from evaluation.scores.cases import ScoreKey
from evaluation.scores.lesions import rule_structures
from evaluation.scores.patients import PatientScores
from evaluation.scores.trained import TrainedPatients

PER_PATIENT = "per_patient.csv"


def metric_columns(scores: PatientScores) -> list[Metric]:
    """Metrics that have a column: the default ones, known or not, and the others that were computed."""
    used = {metric.name for metric in scores.metrics}
    return [metric for name, metric in METRICS.items() if metric.by_default or name in used]


def patient_rows(scores: PatientScores, trained: TrainedPatients) -> list[list[Any]]:
    """Rows of per_patient.csv: a column for each metric, empty where it is unknown or has no value.

    The column `trained` is 1 for a patient who trained a run behind the predictions, and empty where that is not known.
    """
    names = [metric.name for metric in metric_columns(scores)]
    rows: list[list[Any]] = [["patient", "cases", "kind", "structure", *names, "cases_absent_in_truth", "trained"]]
    for p, patient in enumerate(scores.patients):
        for structure in scores.structures:
            columns = [scores.values.get((structure, name)) for name in names]
            values = [None if column is None or math.isnan(column[p]) else float(column[p]) for column in columns]
            absent = None if structure == CLASS_MEAN else int(scores.absent[structure][p])
            seen = trained.mark(patient)
            rows.append([patient, scores.cases[p], structure.kind, structure.name, *values, absent, seen])
    return rows


def read_patient_table(file: Path, schema: LabelSchema, missing: dict[str, str]) -> PatientScores:
    """Scores of patients from a per_patient.csv.

    Args:
        file: the table.
        schema: of the structures.
        missing: case -> reason why it counts the worst values.

    Raises:
        UserError: a table that is damaged or of something else.
    """
    rows = read_rows(file)
    metrics = [METRICS[name] for name in (rows[0] if rows else ()) if name in METRICS]
    if not metrics or not {"patient", "cases", "kind", "structure", "cases_absent_in_truth"} <= set(rows[0]):
        raise UserError(
            f"{file}: expected scores per patient, as glioskull score writes them; received another table; score again"
        )
    patients = sorted({row["patient"] for row in rows})
    structures = scored_structures(schema)
    found = {(row["patient"], row["kind"], row["structure"]): row for row in rows}
    if set(found) != {(patient, each.kind, each.name) for patient in patients for each in structures}:
        raise UserError(
            f"{file}: expected a row for each patient and structure of schema {schema.name}; received other rows; score again"
        )
    values: dict[ScoreKey, np.ndarray] = {}
    absent = {}
    for structure in structures:
        mine = [found[patient, structure.kind, structure.name] for patient in patients]
        for metric in metrics:
            ranked = metric.rule is not None and structure in rule_structures(metric.rule, structures).values()
            if ranked or any(row[metric.name] for row in mine):  # where no patient has a value, a row of the comparison stays
                values[structure, metric.name] = np.array([_number(row, metric, file) for row in mine])
        if structure != CLASS_MEAN:
            absent[structure] = np.array([_count(row, "cases_absent_in_truth", file, 0) for row in mine])
    cases = [_count(found[patient, structures[0].kind, structures[0].name], "cases", file, 1) for patient in patients]
    return PatientScores(structures, patients, cases, values, absent, missing=missing)


def _number(row: dict[str, str], metric: Metric, file: Path) -> float:
    """A metric's value in a row of per_patient.csv, refused where it is no number or beyond the metric's limits.

    NaN, no value, where an entry of a metric that may lack one is empty.
    """
    low, high = metric.limits
    if metric.may_lack_value and not row[metric.name]:
        return math.nan
    try:
        value = float(row[metric.name])
    except ValueError:
        value = math.nan
    if not (low <= value <= high and math.isfinite(value)):
        wanted = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise UserError(
            f"{file}: patient {row['patient']}, {row['structure']}: expected {metric.name} of {wanted}; "
            f"received {row[metric.name]!r}"
        )
    return value


def _count(row: dict[str, str], column: str, file: Path, least: int) -> int:
    """A number of cases in a row of per_patient.csv; the least one where the cell is empty."""
    where = f"{file}: patient {row['patient']}: {column}"
    cell = row[column]
    return int(checked(int(cell) if cell.isdecimal() and len(cell) < 10 else cell, Whole(least), where)) if cell else least
