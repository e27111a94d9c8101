"""Scores of a report: tables with intervals, and a chart of all sets by Dice."""

from collections.abc import Mapping
from pathlib import Path

from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric
from common.tables import counted
from data_prep.structures import distinct
from evaluation.figures.scores import draw_scores, read_model
from evaluation.reports.charts import chart
from evaluation.reports.content import Block, Paragraph, Section, TextTable
from evaluation.scores.folder import StoredScores, read_patient_scores, read_scores
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.scores.trained import trained_notes
from evaluation.tables.patients import score_cell

AVERAGE = "Mean over {patients} of scores of whole volumes on the patients' own grid [95 % interval of the mean]."
SEEN = "Scores of patients who trained a run do not hold for new patients."


def scores_section(sets: Mapping[str, Path]) -> Section:
    """Section with a table of each set of predictions, and a chart of all of them.

    Args:
        sets: name -> folder of scored predictions.
    """
    blocks: list[Block] = []
    for name, folder in sets.items():
        stored = read_scores(folder)
        scores = read_patient_scores(stored)
        blocks += [_table(scores, f"{name}. " if len(sets) > 1 else ""), *_notes(stored, name)]
    if sets:
        dice = METRICS["dice"]
        models = [read_model(folder, name, dice) for name, folder in sets.items()]
        caption = "Dice of each structure: mean over patients, and its interval."
        blocks.append(chart(lambda path: draw_scores(path, models, dice), caption))
    return Section("Scores", blocks)


def printed_metrics(scores: PatientScores) -> list[Metric]:
    """Metrics that tables have, without those of lesion rules."""
    return [metric for metric in scores.metrics if metric.shown != "files" and metric.rule is None]


def _table(scores: PatientScores, heading: str) -> TextTable:
    """Table of a set: a row for each structure, a column for each metric."""
    metrics, groups, summaries = printed_metrics(scores), distinct(scores.structures), summarise_scores(scores)
    patients = len(scores.patients)
    rows = [[each.title, *(score_cell(each, metric, summaries, patients) for metric in metrics)] for each in groups]
    equal = "".join(f" {other.title} = {first.title}." for first, others in groups.items() for other in others)
    caption = heading + AVERAGE.format(patients=counted(patients, "patient")) + equal
    return TextTable(["", *(metric.arrow_label for metric in metrics)], rows, caption)


def _notes(stored: StoredScores, name: str) -> list[Paragraph]:
    """Notes on patients who trained the runs, and on cases without prediction."""
    found = [Paragraph(line, "note") for line in trained_notes({name: stored.trained})]
    if stored.trained.found:
        found.append(Paragraph(SEEN, "warning"))
    if stored.missing:
        cases = counted(len(stored.missing), "case")
        found.append(Paragraph(f"{cases} without usable prediction, with the worst value.", "warning"))
    return found
