"""Schema of scores.json and classification_scores.json, checked when they are read."""

from pathlib import Path
from typing import Any

from common.manifests import CONTENT, Fields, Kind, ListOf, MapOf, Maybe, Number, Text, Whole, read_manifest
from evaluation.inference.prediction_facts import APPLIED

FORMAT, CLASSIFICATION_FORMAT = 3, 1
OF_PATIENTS = "per patient, whole volumes on the native grid"
OF_RECORDS = "slices of records, on the prepared grid"
SPLITS = ("patient", "slice")
RULES = ("definition", "unit", "both_absent", "one_absent", "lesion_rule")
"""Entries of a metric that two scores must share to be compared."""
AGAIN = "score again"
_ROW = Fields(
    {"kind": Text(), "structure": Text(), "score": Text()},
    {"mean": Maybe(Number()), "value": Maybe(Number()), "low": Maybe(Number()), "high": Maybe(Number()), "key": Text()},
)
_SCORES: dict[str, Kind] = {
    "kind": Text((OF_PATIENTS, OF_RECORDS)),
    "metrics": MapOf(Fields(dict.fromkeys(RULES, CONTENT))),
    "patients": Whole(0),
    "summary": ListOf(_ROW),
    "schema": Fields({"name": Text()}),
}
_TRAINED: dict[str, Kind] = {"trained_patients": ListOf(Text()), "training_unknown": Maybe(ListOf(Text()))}
SCORES = Fields(
    _SCORES,
    {
        "missing": MapOf(Text()),
        "split": Text(SPLITS),
        "postprocessing": ListOf(APPLIED),
        **_TRAINED,
    },
)
SCORE = Fields({"value": Maybe(Number())}, {"low": Maybe(Number()), "high": Maybe(Number())})
"""A score of a level, beside its number `n`."""
CLASSIFICATION = Fields(
    {
        "head": Text(),
        "classes": ListOf(Text(), least=1),
        "split": Text(SPLITS),
        "weights": Text(),
        "level": MapOf(Fields({"n": Whole(0)})),
    },
    {
        **_TRAINED,
        "settings": MapOf(CONTENT),
        "folds": ListOf(Fields({"weights": Text()})),
    },
)


def read_score_facts(file: Path) -> dict[str, Any]:
    """Read a scores.json.

    Raises:
        UserError: of another version, or a value of another type or range.
    """
    values: dict[str, Any] = read_manifest(file, "scores", SCORES, FORMAT, AGAIN)
    return values


def read_classification_facts(file: Path) -> dict[str, Any]:
    """Read a classification_scores.json; errors as of `read_score_facts`."""
    values: dict[str, Any] = read_manifest(file, "classification scores", CLASSIFICATION, CLASSIFICATION_FORMAT, AGAIN)
    return values
