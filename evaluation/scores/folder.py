"""Scores folder: per_patient.csv, per_lesion.csv, summary.csv, table.txt and, last, scores.json; written and read here alone.

Two kinds of scores have this form: those of predictions, per patient over whole volumes, and those of a run on the slices of
records (without per_patient.csv).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError, did_you_mean_path
from common.files import write_json, write_text
from common.manifests import Fields, Text, read_manifest
from common.metrics.catalogue import METRICS, absent_rule
from common.metrics.statistics import INTERVAL_NOTE, Summary
from common.tables import SUFFIXES, TableFormat, csv_text
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN
from evaluation.inference.predictions import MANIFEST as PREDICTIONS
from evaluation.inference.predictions import SCORES
from evaluation.outputs import FILE as ORIGINS
from evaluation.scores.cases import ScoreKey
from evaluation.scores.facts import FORMAT, OF_PATIENTS, OF_RECORDS, RULES, SPLITS, read_score_facts
from evaluation.scores.lesion_table import PER_LESION, lesion_rows
from evaluation.scores.patient_table import PER_PATIENT, metric_columns, patient_rows, read_patient_table
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.scores.trained import TrainedPatients

MANIFEST, SUMMARY, TABLE = "scores.json", "summary.csv", "table.txt"
AVERAGING = (
    "Every score is of a case's whole volume on the patient's own grid; voxels that are not annotated are left out. A patient "
    "with several cases counts once, with the mean over the cases. Figures are means over patients. class_mean is the mean of "
    "the foreground classes' scores of a patient, then averaged over patients; regions are not in it."
)


@dataclass(frozen=True)
class Estimate:
    """Value with the bounds of its interval, None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class StoredScores:
    """Content of a scores folder but for its patients' own scores.

    Attributes:
        folder: that holds scores.json.
        per_patient: True for scores of predictions; False for those of a run on records.
        schema: of the classes and regions.
        split: "patient", or "slice" where slices of the scored patients may have trained the runs.
        patients: how many.
        summary: (kind, structure, metric) -> mean over patients with its interval, or value of the whole subset.
        keys: (kind, structure, metric) -> key by which studies rank; of scores on records alone.
        metrics: names of all that were computed.
        missing: case -> reason why it counts the worst values.
        trained: patients who trained the runs that are scored.
        postprocessing: entries of the predictions' manifest, one per head and file of settings.
    """

    folder: Path
    per_patient: bool
    schema: LabelSchema
    split: str
    patients: int
    summary: dict[tuple[str, str, str], Estimate]
    keys: dict[tuple[str, str, str], str]
    metrics: frozenset[str]
    missing: dict[str, str]
    trained: TrainedPatients
    postprocessing: list[dict[str, Any]]


def find_scores(folder: Path, name: str = MANIFEST) -> Path | None:
    """Folder that holds a file of scores, `folder` itself or its `scores`; None where neither does."""
    return next((place for place in (folder, folder / SCORES) if (place / name).is_file()), None)


def scored_cases(folder: Path) -> list[str]:
    """Ids of the cases whose scores a folder, or its `scores`, holds; none where it has none.

    Raises:
        UserError: scores of another version, or damaged.
    """
    place = find_scores(folder)
    return [] if place is None else [str(case) for case in read_score_facts(place / MANIFEST).get("cases", [])]


def remove_scores(folder: Path) -> bool:
    """Remove the files of scores from a folder, whose predictions are about to change; False where there are none.

    Other files are kept, and so is a folder that holds some.
    """
    if not (folder / MANIFEST).is_file():
        return False
    pasted = [Path(TABLE).with_suffix(suffix).name for suffix in SUFFIXES.values()]
    for name in (MANIFEST, *pasted, SUMMARY, PER_PATIENT, PER_LESION, ORIGINS):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return True


def write_patient_scores(
    folder: Path,
    scores: PatientScores,
    schema: LabelSchema,
    summaries: dict[ScoreKey, Summary],
    table: str,
    options: dict[str, Any],
    facts: dict[str, Any],
) -> list[Path]:
    """Write the scores of predictions.

    Args:
        folder: to write into.
        scores: of the patients.
        schema: of their structures.
        summaries: of `summarise_scores`.
        table: the printed table.
        options: of the command, as given.
        facts: further entries of scores.json, such as the cases and runs.

    Returns:
        The files written.
    """
    manifest = {
        "format": FORMAT,
        "kind": OF_PATIENTS,
        "patients": len(scores.patients),
        "metrics": {metric.name: metric.facts() for metric in metric_columns(scores)},
        "averaging": AVERAGING,
        "absent_rule": absent_rule(metric_columns(scores)),
        "missing": scores.missing,
        "interval": INTERVAL_NOTE,
        "schema": schema.to_dict(),
        **facts,
        "options": options,
        "summary": _entries(summaries),
    }
    if scores.subsets:
        manifest["channel_subsets"] = [
            {"channels": list(channels), "patients": subset.patients, "summary": _entries(summarise_scores(subset))}
            for channels, subset in scores.subsets.items()
        ]
    trained = TrainedPatients.read(facts, len(scores.patients))
    write_text(folder / PER_PATIENT, csv_text(patient_rows(scores, trained)))
    files = [folder / PER_PATIENT]
    if any(metric.rule is not None for metric in scores.metrics):
        write_text(folder / PER_LESION, csv_text(lesion_rows(scores.lesions)))
        files.append(folder / PER_LESION)
    else:
        (folder / PER_LESION).unlink(missing_ok=True)  # of an earlier call
    return [*files, *_write(folder, _summary_rows(scores, summaries), table, manifest)]


def write_pasted(folder: Path, table: str, form: TableFormat) -> Path:
    """Write a table to paste beside scores, as table.md, table.tex or table.csv; returns the file."""
    file = (folder / TABLE).with_suffix(SUFFIXES[form])
    write_text(file, table)
    return file


def _entries(summaries: dict[ScoreKey, Summary]) -> list[dict[str, Any]]:
    """Entries of a summary in scores.json, one for each structure and metric."""
    return [
        {"kind": structure.kind, "structure": structure.name, "score": name, **_without_nan(vars(each))}
        for (structure, name), each in summaries.items()
    ]


def _summary_rows(scores: PatientScores, summaries: dict[ScoreKey, Summary]) -> list[list[Any]]:
    """Rows of summary.csv: a row for each structure and metric."""
    statistics = ["patients", "mean", "sd", "median", "low_95", "high_95"]
    rows: list[list[Any]] = [["kind", "structure", "score", *statistics, "patients_absent_in_truth"]]
    for (structure, name), s in summaries.items():
        absent = None if structure == CLASS_MEAN else int((scores.absent[structure] > 0).sum())
        known = _without_nan({"mean": s.mean, "sd": s.sd, "median": s.median, "low": s.low, "high": s.high})
        rows.append([structure.kind, structure.name, name, s.patients, *known.values(), absent])
    return rows


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Values with None in place of NaN, which is no JSON."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def write_record_scores(
    folder: Path,
    rows: Sequence[tuple[str, str, str, str, float]],
    schema: LabelSchema,
    table: str,
    options: dict[str, Any],
    facts: dict[str, Any],
) -> list[Path]:
    """Write the scores of a run on records.

    Args:
        folder: to write into.
        rows: (key, kind, structure, metric, value) of every score; kind and structure are empty for loss and accuracy.
        schema: of the structures.
        table: the printed table.
        options: of the command, as given.
        facts: further entries of scores.json: patients, confusion matrix and the like.

    Returns:
        The files written.
    """
    heading = ("key", "kind", "structure", "score", "value")
    names = {row[3] for row in rows}
    used = [metric for name, metric in METRICS.items() if name in names]
    manifest = {
        "format": FORMAT,
        "kind": OF_RECORDS,
        "metrics": {metric.name: metric.facts() for metric in used},
        "absent_rule": absent_rule(used),
        "schema": schema.to_dict(),
        **facts,
        "options": options,
        "summary": [dict(zip(heading, row, strict=True)) for row in rows],
    }
    return _write(folder, [list(heading), *map(list, rows)], table, manifest)


def read_scores(folder: Path) -> StoredScores:
    """Scores of a folder, or of its `scores`.

    Raises:
        UserError: none there; or of another format, computed by other rules than this version's, or damaged.
    """
    place = find_scores(folder)
    if place is None:
        hint = did_you_mean_path(folder) or "; score it first by glioskull score"
        raise UserError(f"{folder}: expected {MANIFEST} in it or in its {SCORES}/{hint}")
    file = place / MANIFEST
    values = read_score_facts(file)
    try:
        per_patient, metrics, patients = values["kind"] == OF_PATIENTS, values["metrics"], values["patients"]
        summary, keys = {}, {}
        missing = {str(case): str(reason) for case, reason in values.get("missing", {}).items()}
        for row in values["summary"]:
            key = (str(row["kind"]), str(row["structure"]), str(row["score"]))
            value = row["mean" if per_patient else "value"]
            if value is None:  # no patient has a value under the metric's rule
                continue
            summary[key] = Estimate(float(value), row.get("low"), row.get("high"))
            keys[key] = str(row.get("key", ""))
        changed = [
            name
            for name, facts in metrics.items()
            if name in METRICS and any(METRICS[name].facts()[rule] != facts[rule] for rule in RULES)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: expected scores of structures; received a damaged file ({error!r}); score again") from None
    if changed:
        raise UserError(f"{file}: expected {', '.join(changed)} as this version defines it; received another rule; score again")
    schema = LabelSchema.from_dict(values.get("schema"), file)
    split = read_split(values, file)
    trained = TrainedPatients.read(values, patients)
    applied = values.get("postprocessing", [])
    return StoredScores(
        place, per_patient, schema, split, patients, summary, keys, frozenset(metrics), missing, trained, applied
    )


def has_current_scores(folder: Path, made_from: Path, metrics: Sequence[str] = ()) -> bool:
    """True for scores that are not older than a file that they were made from, by metrics as this version defines them.

    Args:
        folder: of scores.
        made_from: weights of a run, or the manifest of predictions.
        metrics: that the scores must have.
    """
    file = folder / MANIFEST
    if not file.is_file() or file.stat().st_mtime_ns < made_from.stat().st_mtime_ns:
        return False
    try:
        return read_scores(folder).metrics.issuperset(metrics)
    except UserError:  # of another version, or damaged
        return False


def read_split(values: dict[str, Any], file: Path) -> str:
    """Split of a manifest of scores, "patient" or "slice"; else of the predictions beside the scores; else "patient".

    Raises:
        UserError: another word.
    """
    predictions = file.parent.parent / PREDICTIONS
    if "split" not in values and file.parent.name == SCORES and predictions.is_file():
        values = read_manifest(predictions, "predictions", Fields({}, {"split": Text(SPLITS)}))
        file = predictions
    split = values.get("split", "patient")
    if split not in SPLITS:
        raise UserError(f"{file}: expected split to be one of {', '.join(SPLITS)}; received {split!r}")
    return str(split)


def read_patient_scores(stored: StoredScores) -> PatientScores:
    """Scores of the patients of a folder.

    Raises:
        UserError: scores of a run on records, which has none; or a table that is damaged or of something else.
    """
    file = stored.folder / PER_PATIENT
    if not stored.per_patient:
        raise UserError(
            f"{stored.folder / MANIFEST}: expected scores per patient; received those of slices of records; "
            "use glioskull score --predictions"
        )
    return read_patient_table(file, stored.schema, stored.missing)


def _write(folder: Path, summary: list[list[Any]], table: str, manifest: dict[str, Any]) -> list[Path]:
    write_text(folder / SUMMARY, csv_text(summary))
    write_text(folder / TABLE, table + "\n")
    write_json(folder / MANIFEST, manifest)
    return [folder / SUMMARY, folder / TABLE, folder / MANIFEST]
