"""Scores of a folder as a column of a comparison, and their mean over folders of equal patients."""

from collections.abc import Sequence

import numpy as np

from common.errors import UserError
from common.metrics.statistics import known_mean
from data_prep.structures import class_names
from evaluation.scores.folder import StoredScores, read_patient_scores
from evaluation.tables.comparison import RowKey, ScoredSegmentation


def read_scored(stored: StoredScores, name: str) -> ScoredSegmentation:
    """Scores of the patients of a folder, with the classes that each structure is made of.

    Args:
        stored: scores of predictions.
        name: of the column.

    Raises:
        UserError: no scores of patients there.
    """
    scores = read_patient_scores(stored)
    values: dict[RowKey, dict[str, float]] = {
        (structure.kind, structure.name, metric): dict(zip(scores.patients, column.tolist(), strict=True))
        for (structure, metric), column in scores.values.items()
    }
    members: dict[tuple[str, str], tuple[str, ...]] = {
        (each.kind, each.name): class_names(each, stored.schema) for each in scores.structures
    }
    return ScoredSegmentation(name, stored.split, values, members, stored.missing)


def mean_scored(entries: Sequence[ScoredSegmentation], name: str) -> ScoredSegmentation:
    """Mean of each patient's scores over several sets of scores, such as those of trainings that differ in their seed.

    A set in which a rule gives a patient no value is left out of the patient's mean and counted in `left_out`.

    Args:
        entries: at least one.
        name: of the result.

    Raises:
        UserError: the sets are of different patients, or of different splits.
    """
    first = entries[0]
    for entry in entries[1:]:
        if entry.patients != first.patients:
            raise UserError(f"{entry.name}: expected the patients of {first.name}; received others; score both again")
        if entry.split != first.split:
            raise UserError(
                f"{entry.name}: expected a {first.split} split, as {first.name} has; received a {entry.split} split"
            )
    keys = [key for key in first.values if all(key in entry.values for entry in entries)]
    values, left_out = {}, {}
    for key in keys:
        table = np.array([[entry.values[key][patient] for entry in entries] for patient in first.patients], np.float64)
        values[key] = {patient: known_mean(row) for patient, row in zip(first.patients, table, strict=True)}
        lacking = np.isnan(table).sum(axis=1)
        left_out[key] = int(lacking[lacking < len(entries)].sum())  # a patient without any value is counted as one
    missing = {case: reason for entry in entries for case, reason in entry.missing.items()}
    return ScoredSegmentation(name, first.split, values, first.members, missing, left_out)
