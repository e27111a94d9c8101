"""Classification scores per patient and per slice, with intervals over patients; their files and printed table.

A patient's probabilities are the mean of those of its slices. Intervals are those of `common.metrics.classification_intervals`;
slices are clustered in patients there, because slices of one patient resemble each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.files import write_json, write_text
from common.metrics import classification, classification_intervals
from common.metrics.statistics import FEWEST
from common.tables import counted, csv_text, read_rows, wrapped
from evaluation.scores.facts import CLASSIFICATION_FORMAT
from evaluation.scores.trained import TrainedPatients

AGGREGATION = "mean over the patient's slices of each class's probability"
CLASSIFICATION_METRICS = {"accuracy": classification.accuracy, "f1": classification.f1, "auc": classification.auc}
INTERVALS = {
    "accuracy": classification_intervals.accuracy_interval,
    "f1": classification_intervals.f1_interval,
    "auc": classification_intervals.auc_interval,
}
HEADINGS = {"accuracy": "accuracy", "f1": "F1", "auc": "AUC"}
SLICE_SPLIT_NOTE = "Split by slice: slices of the same patients were trained on, so these scores do not hold for new patients."
Level = Literal["patient", "slice"]
LEVELS: tuple[Level, ...] = ("patient", "slice")


@dataclass(frozen=True)
class SlicePredictions:
    """Class probabilities of slices; all lists and arrays have one entry per slice.

    Attributes:
        cases: ids of the cases.
        patients: ids of the patients.
        slices: (n,) numbers of the slices in their case.
        truth: (n,) class indices.
        probabilities: (n, classes) float64, each row summing to 1.
    """

    cases: list[str]
    patients: list[str]
    slices: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        """Refuse entries that cannot be scored.

        Raises:
            ValueError: no slice, lengths that differ, or values that are no probabilities.
        """
        lengths = {len(each) for each in (self.cases, self.patients, self.slices, self.truth, self.probabilities)}
        if lengths in ({0}, set()) or len(lengths) > 1:
            raise ValueError(f"expected one entry per slice, of at least one; received lengths {sorted(lengths)}")
        if not np.allclose(self.probabilities.sum(axis=1), 1, atol=1e-4) or self.probabilities.min() < 0:
            raise ValueError("expected probabilities of 0..1 that sum to 1 over the classes")
        if not 0 <= self.truth.min() <= self.truth.max() < self.probabilities.shape[1]:
            raise ValueError(f"expected class indices below {self.probabilities.shape[1]}; received {self.truth.max()}")


@dataclass(frozen=True)
class Units:
    """Scored units of one level: patients or slices.

    Attributes:
        truth: (n,) class indices.
        probabilities: (n, classes).
        patient: (n,) place of each unit's patient among the sorted ids.
        patients: sorted ids.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    patient: np.ndarray
    patients: list[str]


def units(predictions: SlicePredictions, level: Level) -> Units:
    """The patients, or the slices, of some predictions.

    Raises:
        UserError: at the level of patients, one whose slices have several true classes.
    """
    names, patient = np.unique(predictions.patients, return_inverse=True)
    if level == "slice":
        return Units(predictions.truth, predictions.probabilities, patient, list(names))
    counts = np.bincount(patient)
    sums = np.stack([np.bincount(patient, column) for column in predictions.probabilities.T], axis=1)
    truth = np.zeros(len(names), np.int64)
    truth[patient] = predictions.truth
    mixed = np.unique(patient[truth[patient] != predictions.truth])
    if mixed.size:
        raise UserError(f"patient {names[mixed[0]]}: expected one class in all cases; received several; leave the patient out")
    return Units(truth, sums / counts[:, None], np.arange(len(names)), list(names))


def summary(
    predictions: SlicePredictions,
    *,
    head: str,
    classes: list[str],
    split: Literal["patient", "slice"],
    weights: str,
    levels: Sequence[Level] = LEVELS,
    aggregation: str = AGGREGATION,
    inflation: float = 1.0,
) -> dict[str, Any]:
    """Summarise predictions: the content of `classification_scores.json`.

    Args:
        predictions: of the slices that are scored.
        head: name of the network's head.
        classes: names in the order of the probabilities; of two the last one is the positive one.
        split: whether patients, or their slices, were dealt out to training and test.
        weights: where the network's first weights came from (`ClassifierConfig.origin`).
        levels: to score; patients alone where an entry is a whole case.
        aggregation: description of how a patient's probabilities come from its entries.
        inflation: factor of the variances behind the intervals.

    Returns:
        Plain dicts, numbers and strings. An AUC is None where a class is missing in truth, an interval's bounds where there are
        fewer than `FEWEST` patients.

    Raises:
        UserError: a patient has slices of several true classes.
    """
    few = len(set(predictions.patients)) < FEWEST
    note = classification_intervals.AUC_INTERVAL_NOTE
    note += "" if inflation == 1 else f"; variances are multiplied by {inflation:g}, because folds share training patients"
    return {
        "format": CLASSIFICATION_FORMAT,
        "kind": "classification",
        "head": head,
        "classes": list(classes),
        "split": split,
        "weights": weights,
        "aggregation": aggregation,
        "interval": f"none for fewer than {FEWEST} patients" if few else note,
        "level": {level: _level(units(predictions, level), inflation) for level in levels},
    }


def write_classification_scores(folder: Path, predictions: SlicePredictions, scores: dict[str, Any]) -> list[Path]:
    """Write `per_patient.csv`, `per_slice.csv` where slices are scored, `table.txt` and, last, `classification_scores.json`.

    Args:
        folder: where to.
        predictions: of the slices.
        scores: from `summary`.

    Returns:
        The files written.
    """
    names = ("per_patient.csv", "per_slice.csv", "table.txt", "classification_scores.json")
    per_patient, per_slice, table, manifest = (folder / name for name in names)
    classes = scores["classes"]
    by_patient = units(predictions, "patient")
    trained = TrainedPatients.read(scores, len(by_patient.patients))
    heading, *rows = _rows({"patient": by_patient.patients}, by_patient, classes)
    marked = [[*row, trained.mark(patient)] for row, patient in zip(rows, by_patient.patients, strict=True)]
    write_text(per_patient, csv_text([[*heading, "trained"], *marked]))
    if "slice" in scores["level"]:
        numbers = [int(number) for number in predictions.slices]
        keys: dict[str, list[Any]] = {"patient": predictions.patients, "case": predictions.cases, "slice": numbers}
        write_text(per_slice, csv_text(_rows(keys, units(predictions, "slice"), classes)))
    write_text(table, format_table(scores) + "\n")
    write_json(manifest, scores)
    return [per_patient, *([per_slice] if "slice" in scores["level"] else []), table, manifest]


def read_predictions(folder: Path, scores: dict[str, Any]) -> SlicePredictions:
    """Predictions of the slices behind some scores, or of the patients where slices are not scored.

    Args:
        folder: of the scores.
        scores: content of its `classification_scores.json`.

    Raises:
        UserError: the table is missing, or of something else.
    """
    file = folder / ("per_slice.csv" if "slice" in scores["level"] else "per_patient.csv")
    rows, classes = read_rows(file), scores["classes"]
    columns = _probability_columns(classes)
    try:
        values = np.array([[float(row[name]) for name in columns] for row in rows])
        truth = np.array([classes.index(row["truth"]) for row in rows])
        probabilities = np.concatenate([1 - values, values], axis=1) if len(classes) == 2 else values
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # the file has six decimals
        numbers = np.array([int(row.get("slice", 0)) for row in rows])
        patients = [row["patient"] for row in rows]
        return SlicePredictions([row.get("case", row["patient"]) for row in rows], patients, numbers, truth, probabilities)
    except (KeyError, ValueError) as error:
        raise UserError(f"{file}: expected predictions of {', '.join(classes)}; received another table ({error})") from None


def format_table(scores: dict[str, Any]) -> str:
    """The table that is printed: a row per level, each score with its interval, and definitions below.

    Args:
        scores: from `summary`.
    """
    levels = list(scores["level"])
    cells = {level: {name: format_score(scores["level"][level][name]) for name in CLASSIFICATION_METRICS} for level in levels}
    width = max(len(text) for row in [HEADINGS, *cells.values()] for text in row.values()) + 2
    count = ", ".join(counted(scores["level"][level]["n"], level) for level in levels)
    heading = f"Classification by {scores['head']} ({', '.join(scores['classes'])}): {count}; split by {scores['split']}"
    lines = [
        heading,
        f"{'Features' if 'features' in scores else 'First weights'}: {scores['weights']}",
        "",
        " " * 9 + "     n  " + _columns(HEADINGS, width) + f"{'Brier':<7}ECE",
    ]
    for level in levels:
        found = scores["level"][level]
        plain = f"{found['brier']:<7.3f}{found['ece']:.3f}"
        lines.append(f"{level:<9}{found['n']:>6}  {_columns(cells[level], width)}{plain}")
    return "\n".join([*lines, "", *wrapped(score_notes(scores))])


def format_score(score: dict[str, float | None]) -> str:
    """A score as it is printed: `0.850 [0.700, 1.000]`; `none` where it has no value."""
    if score["value"] is None:
        return "none"
    return f"{score['value']:.3f}" + ("" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]")


def _level(scored: Units, inflation: float) -> dict[str, Any]:
    """Scores of one level with their intervals; an AUC is None where a class is missing in truth."""
    given = scored.truth, scored.probabilities
    found: dict[str, Any] = {"n": len(scored.truth)}
    for name, metric in CLASSIFICATION_METRICS.items():
        value = float(metric(*given))
        low, high = INTERVALS[name](*given, scored.patient, inflation)
        found[name] = {"value": None if np.isnan(value) else value, "low": low, "high": high}
    return found | {"brier": classification.brier(*given), "ece": classification.calibration(*given).error}


def _columns(texts: dict[str, str], width: int) -> str:
    return "".join(f"{texts[name]:<{width}}" for name in CLASSIFICATION_METRICS)


def score_notes(scores: dict[str, Any]) -> list[str]:
    """Notes below a table: definitions, interval, and what makes scores too good."""
    classes = scores["classes"]
    positive = (
        f"F1, AUC and Brier score are of {classes[-1]}."
        if len(classes) == 2
        else "F1 is the mean over classes, the AUC that of each class against the rest, the Brier score the sum over classes."
    )
    notes = [
        f"patient: {scores['aggregation']}; the most probable class is predicted. {positive}",
        f"ECE: expected calibration error in {classification.BINS} bins of equal width. Interval: {scores['interval']}.",
    ]
    if scores["split"] == "slice":
        notes.append(SLICE_SPLIT_NOTE)
    if scores.get("trained_patients"):
        number = counted(len(scores["trained_patients"]), "patient")
        network = "network that made their features" if "features" in scores else "network"
        notes.append(f"{number} trained the {network}, so these scores are too good.")
    if any(level["auc"]["value"] is None for level in scores["level"].values()):
        notes.append("There is no AUC, because a class is missing in truth.")
    return notes


def _rows(keys: dict[str, list[Any]], scored: Units, classes: list[str]) -> list[list[Any]]:
    """Rows of a CSV file: the probability is that of the positive class, or of each class where there are more than two."""
    binary = len(classes) == 2
    shown = scored.probabilities[:, 1:] if binary else scored.probabilities
    heading = _probability_columns(classes)
    predicted = classification.predicted_classes(scored.probabilities)
    rows: list[list[Any]] = [[*keys, "truth", *heading, "predicted"]]
    for place, key in enumerate(zip(*keys.values(), strict=True)):
        probabilities = [float(each) for each in shown[place]]
        rows.append([*key, classes[scored.truth[place]], *probabilities, classes[predicted[place]]])
    return rows


def _probability_columns(classes: list[str]) -> list[str]:
    """Names of the columns of probabilities: of two classes that of the positive one alone."""
    return ["probability"] if len(classes) == 2 else [f"probability_{name.replace(' ', '_')}" for name in classes]
