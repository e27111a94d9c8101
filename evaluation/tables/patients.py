"""Printed table of scores per patient: a row per structure, the metrics of the catalogue that are shown in print."""

from common.metrics.catalogue import METRICS, absent_rule
from common.metrics.statistics import FEWEST, INTERVAL, INTERVAL_NOTE, STUDENT, Summary, student_note
from common.tables import aligned, counted, wrapped
from data_prep.structures import CLASS_MEAN, distinct, repeated_note
from evaluation.scores.patients import PatientScores, ScoreKey


def format_table(scores: PatientScores, summaries: dict[ScoreKey, Summary]) -> str:
    """Text of the table: means over patients, the main ones with their interval, and notes below.

    Structures of the same voxels are printed once. All other metrics and intervals are in the CSV files.

    Args:
        scores: of the patients.
        summaries: of `summarise_scores`.
    """
    groups = distinct(scores.structures)
    shown = [
        metric
        for name, metric in METRICS.items()
        if metric.shown != "files" and any((structure, name) in summaries for structure in groups)
    ]
    shown.sort(key=lambda metric: metric.shown != "interval")
    rows, student = [["", *(metric.arrow_label for metric in shown)]], []
    for structure in groups:
        cells = []
        for metric in shown:
            summary = summaries.get((structure, metric.name))
            if summary is None:
                cells.append("")
                continue
            bounds = (summary.low, summary.high) if metric.shown == "interval" else (None, None)
            cells.append(metric.text(summary.mean, *bounds))
            if metric.shown == "interval" and metric.worst is not None and summary.interval_method == STUDENT:
                student.append(f"{metric.heading} of {structure.title}")
        rows.append([structure.title, *cells])
    patients = len(scores.patients)
    has_interval = any(each.low is not None for each in summaries.values())
    interval = f"[{INTERVAL}]" if has_interval else f"(fewer than {FEWEST} patients, so no interval)"
    heading = (
        f"Whole volumes on the patients' own grid: {counted(patients, 'patient')}, {counted(sum(scores.cases), 'case')}; "
        f"mean over patients {interval}"
    )
    absent = {each.title: int((scores.absent[each] > 0).sum()) for each in groups if each != CLASS_MEAN}
    where = "; ".join(f"{title}: {count} of {counted(patients, 'patient')}" for title, count in absent.items() if count)
    notes = [
        *repeated_note(groups),
        "class mean: mean of the foreground classes' scores of a patient, then averaged over patients; regions are not in it.",
        absent_rule(shown),
        *([f"{INTERVAL_NOTE}.", *student_note(student)] if has_interval else []),
        f"Absent in truth: {where or 'nothing in any patient'}.",
    ]
    return "\n".join([*wrapped([heading]), "", *aligned(rows), "", *wrapped(notes)])
