"""Scores of a report: tables with intervals, and a chart of all sets by Dice."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric
from common.tables import counted
from data_prep.structures import distinct
from evaluation.figures.scores import draw_scores, read_model
from evaluation.inference.applied import applied_line
from evaluation.reports.charts import chart
from evaluation.reports.content import Block, Paragraph, Section, TextTable
from evaluation.scores.folder import StoredScores, read_patient_scores, read_scores
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.scores.trained import trained_notes
from evaluation.tables.patients import score_cell

AVERAGE = "Mean over {patients} of scores of whole volumes on the patients' own grid [95 % interval of the mean]."
SLICES = "Slices of {name}, {patients}, on the prepared grid: one confusion matrix of all of them (HD95: mean over patients)."
SEEN = "Scores of patients who trained a run do not hold for new patients."


def scores_section(sets: Mapping[str, Path], slices: Mapping[str, Path] | None = None) -> Section:
    """Section with a table of each set of predictions, and a chart of all of them; below them scores on slices.

    Args:
        sets: name -> folder of scored predictions.
        slices: name of a subset -> folder of scores of a run on its slices.
    """
    blocks: list[Block] = []
    for name, folder in sets.items():
        stored = read_scores(folder)
        scores = read_patient_scores(stored)
        blocks += [_table(scores, f"{name}. " if len(sets) > 1 else ""), *_notes(stored, scores.patients, name)]
    if sets:
        dice = METRICS["dice"]
        models = [read_model(folder, name, dice) for name, folder in sets.items()]
        caption = "Dice of each structure: mean over patients, and its interval."
        blocks.append(chart(lambda path: draw_scores(path, models, dice), caption))
    blocks += [_slices_table(name, folder) for name, folder in (slices or {}).items()]
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


def _slices_table(name: str, folder: Path) -> TextTable:
    """Table of a run's scores on the slices of a subset of records, without intervals."""
    stored = read_scores(folder)
    keys = list(stored.summary)
    metrics = [METRICS[each] for each in dict.fromkeys(key[2] for key in keys) if each in METRICS and METRICS[each].by_default]
    rows = []
    for kind, structure in dict.fromkeys((key[0], key[1]) for key in keys if key[0]):
        found = [stored.summary.get((kind, structure, metric.name)) for metric in metrics]
        texts = ["" if each is None else metric.text(each.value) for metric, each in zip(metrics, found, strict=True)]
        rows.append([structure.replace("_", " ") if kind == "mean" else f"{structure} ({kind})", *texts])
    caption = SLICES.format(name=name, patients=counted(stored.patients, "patient"))
    return TextTable(["", *(metric.arrow_label for metric in metrics)], rows, caption)


def _notes(stored: StoredScores, patients: Sequence[str], name: str) -> list[Paragraph]:
    """Notes on patients who trained the runs, on post-processing and those it was chosen on, on cases without prediction."""
    lines = [applied_line(entry, patients) for entry in stored.postprocessing]
    notes = [*trained_notes({name: stored.trained}), *(f"{line[0].upper()}{line[1:]}." for line in lines)]
    found = [Paragraph(note, "note") for note in notes]
    if stored.trained.found:
        found.append(Paragraph(SEEN, "warning"))
    if stored.missing:
        cases = counted(len(stored.missing), "case")
        found.append(Paragraph(f"{cases} without usable prediction, with the worst value.", "warning"))
    return found
