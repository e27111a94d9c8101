"""The files and the printed table of per-patient scores."""

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json, write_text
from common.metrics.overlap import ABSENT_RULE, DEFINITIONS
from common.metrics.statistics import LEVEL, RESAMPLES, Summary, summarise_columns
from data_prep.labels import LabelSchema
from evaluation.scores.patients import CLASS_MEAN, METRICS, VOLUMES, PatientScores, Structure

FORMAT = 1
NOTE_WIDTH = 110
PERCENT = f"{100 * LEVEL:g} %"
AVERAGING = (
    "Every score comes from one confusion matrix over a case's whole volume on the patient's own grid; voxels that are not "
    "annotated are left out. A patient with several cases counts once, with the mean over the cases. Figures are means over "
    "patients. class_mean is the mean of the foreground classes' scores of a patient, then averaged over patients; regions "
    "are not in it."
)
VOLUME_RULE = (
    "volume of T and of P in millilitres; empty, and left out of the summary, where the source does not tell the spacing of "
    "its voxels"
)
HEADINGS = {"dice": "Dice", "iou": "IoU", "sensitivity": "sensitivity", "precision": "precision"}
Rows = list[tuple[Structure, str, Summary, int]]


def summarise_scores(scores: PatientScores, seed: int) -> Rows:
    """Summarise every structure and score over patients.

    Returns:
        (structure, name of the score, summary, patients of whom the structure is absent in truth) in the order of the tables;
        volumes are left out for the class mean, and everywhere where the source has no spacing.
    """
    columns = [(s, c) for s, structure in enumerate(scores.structures) for c in range(_width(structure, scores))]
    table = np.stack([scores.values[:, s, c] for s, c in columns], axis=1)
    names = METRICS + VOLUMES
    absent = (scores.absent > 0).sum(axis=0)
    return [
        (scores.structures[s], names[c], summary, int(absent[s]))
        for (s, c), summary in zip(columns, summarise_columns(table, seed), strict=True)
    ]


def write_scores(
    folder: Path, scores: PatientScores, schema: LabelSchema, rows: Rows, options: dict[str, Any], facts: dict[str, Any]
) -> list[Path]:
    """Write `per_patient.csv`, `summary.csv`, `table.txt` and, last, `scores.json`.

    Args:
        folder: where to.
        scores: per patient.
        schema: their classes and regions.
        rows: from `summarise_scores`.
        options: the command's, as given.
        facts: further entries of `scores.json`, such as the cases and runs.

    Returns:
        The files written.
    """
    names = ("per_patient.csv", "summary.csv", "table.txt", "scores.json")
    per_patient, summary, table, manifest = (folder / name for name in names)
    write_text(per_patient, csv_text(_patient_rows(scores)))
    write_text(summary, csv_text(_summary_rows(rows)))
    write_text(table, format_table(scores, rows) + "\n")
    write_json(manifest, _manifest(scores, schema, rows, options, facts))
    return [per_patient, summary, table, manifest]


def format_table(scores: PatientScores, rows: Rows) -> str:
    """The table that is printed: regions, classes and their mean, by mean and interval, with what they mean below."""
    width = max(len(_title(structure)) for structure in scores.structures) + 2
    cells = {(structure, name): _cell(summary) for structure, name, summary, _ in rows}
    cell = max(len(text) for text in [*cells.values(), *HEADINGS.values()]) + 2
    lines = [_heading(scores), ""]
    lines.append(" " * width + "   n  " + "".join(f"{HEADINGS[name]:<{cell}}" for name in METRICS).rstrip())
    for structure in scores.structures:
        texts = "".join(f"{cells[structure, name]:<{cell}}" for name in METRICS)
        lines.append(f"{_title(structure):<{width}}{len(scores.patients):>4}  {texts}".rstrip())
    return "\n".join([*lines, "", *wrapped(_notes(scores, rows))])


def wrapped(notes: Sequence[str]) -> list[str]:
    """Notes below a table, folded to lines that a terminal shows whole."""
    return [line for note in notes for line in textwrap.wrap(note, NOTE_WIDTH)]


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file; None and NaN are empty, floats have six decimals."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_csv_value(value) for value in row] for row in rows)
    return buffer.getvalue()


def _width(structure: Structure, scores: PatientScores) -> int:
    """How many of the six values a structure has: the class mean has no volume, nor has any where there is no spacing."""
    return len(METRICS) if structure == CLASS_MEAN or not _has_volumes(scores) else len(METRICS + VOLUMES)


def _has_volumes(scores: PatientScores) -> bool:
    """Whether the source tells the spacing of its voxels."""
    return bool(np.isfinite(scores.values[..., len(METRICS) :]).any())


def _title(structure: Structure) -> str:
    return "class mean" if structure == CLASS_MEAN else f"{structure.name} ({structure.kind})"


def _cell(summary: Summary) -> str:
    interval = "" if summary.low is None else f" [{summary.low:.3f}, {summary.high:.3f}]"
    return f"{summary.mean:.3f}{interval}"


def _heading(scores: PatientScores) -> str:
    patients, cases = len(scores.patients), sum(scores.cases)
    count = f"{patients} patient{'s' if patients != 1 else ''}, {cases} case{'s' if cases != 1 else ''}"
    interval = "(one patient, so no interval)" if patients == 1 else f"[{PERCENT} bootstrap interval over patients]"
    return f"Whole volumes on the patients' own grid: {count}; mean over patients {interval}"


def _notes(scores: PatientScores, rows: Rows) -> list[str]:
    absent = {_title(structure): count for structure, name, _, count in rows if name == "dice" and count}
    where = "; ".join(f"{title}: {count} of {len(scores.patients)} patients" for title, count in absent.items())
    return [
        "class mean: mean of the foreground classes' scores of a patient, then averaged over patients; regions are not in it.",
        ABSENT_RULE,
        f"Absent in truth: {where or 'nothing in any patient'}.",
    ]


def _patient_rows(scores: PatientScores) -> list[list[Any]]:
    rows: list[list[Any]] = [["patient", "cases", "kind", "structure", *METRICS, *VOLUMES, "cases_absent_in_truth"]]
    for p, patient in enumerate(scores.patients):
        for s, structure in enumerate(scores.structures):
            absent = None if structure == CLASS_MEAN else int(scores.absent[p, s])
            rows.append([patient, scores.cases[p], structure.kind, structure.name, *scores.values[p, s], absent])
    return rows


def _summary_rows(rows: Rows) -> list[list[Any]]:
    heading = [
        "kind",
        "structure",
        "score",
        "patients",
        "mean",
        "sd",
        "median",
        "low_95",
        "high_95",
        "patients_absent_in_truth",
    ]
    listed: list[list[Any]] = [heading]
    for structure, name, s, absent in rows:
        count = None if structure == CLASS_MEAN else absent
        listed.append([structure.kind, structure.name, name, s.patients, s.mean, s.sd, s.median, s.low, s.high, count])
    return listed


def _manifest(
    scores: PatientScores, schema: LabelSchema, rows: Rows, options: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "per patient, whole volumes on the native grid",
        "patients": len(scores.patients),
        "definitions": DEFINITIONS | {"true_ml, predicted_ml": VOLUME_RULE},
        "averaging": AVERAGING,
        "absent_rule": ABSENT_RULE,
        "interval": f"{PERCENT} percentile bootstrap of the mean over patients, {RESAMPLES} resamples; none for one patient",
        "schema": schema.to_dict(),
        **facts,
        "options": options,
        "summary": [
            {"kind": structure.kind, "structure": structure.name, "score": name, **vars(summary)}
            for structure, name, summary, _ in rows
        ],
    }


def _csv_value(value: Any) -> Any:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6f}"
    return "" if value is None else value
