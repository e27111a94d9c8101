"""Table of scores by channel subset: a row for each set of channels that cases had, of a network that serves any subset."""

from common.tables import counted, folded
from data_prep.structures import distinct
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.tables.patients import score_cell


def format_subsets(scores: PatientScores) -> str:
    """Text of the table: means over the patients of each subset with their interval; empty where there are no subsets."""
    if not scores.subsets:
        return ""
    structures = list(distinct(scores.structures))
    shown = [metric for metric in scores.metrics if metric.shown != "files" and metric.by_default]
    rows = [["channels", "patients", "", *(metric.arrow_label for metric in shown)]]
    for channels, subset in scores.subsets.items():
        summaries, patients = summarise_scores(subset), len(subset.patients)
        for place, structure in enumerate(structures):
            front = [" ".join(channels), str(patients)] if place == 0 else ["", ""]
            rows.append([*front, structure.title, *(score_cell(structure, metric, summaries, patients) for metric in shown)])
    heading = f"By the channels that cases had: {counted(len(scores.subsets), 'subset')}; mean over patients"
    return "\n".join([heading, *folded(rows, first=3)])
