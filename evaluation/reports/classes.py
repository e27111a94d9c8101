"""Classes of patients in a report: scores of classifiers with intervals, ROC curve, confusion matrix and calibration."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from common.tables import counted
from evaluation.figures.classification import draw_calibration, draw_confusion, draw_roc
from evaluation.reports.charts import chart
from evaluation.reports.content import Block, Paragraph, Section, TextTable
from evaluation.scores.classification import (
    CLASSIFICATION_METRICS,
    HEADINGS,
    LEVELS,
    format_score,
    read_predictions,
    score_notes,
)
from evaluation.scores.facts import read_classification_facts

FILE = "classification_scores.json"


def classes_section(sets: Mapping[str, Path]) -> Section:
    """Section with a table and three charts of each set of scores, per patient.

    Args:
        sets: name -> folder with scores of a classifier.
    """
    blocks: list[Block] = []
    for name, folder in sets.items():
        scores = read_classification_facts(folder / FILE)
        predictions = read_predictions(folder, scores)
        levels = [level for level in LEVELS if level in scores["level"]]
        head = ["", "n", *(HEADINGS[metric] for metric in CLASSIFICATION_METRICS), "Brier", "ECE"]
        rows = []
        for level in levels:
            found = scores["level"][level]
            values = [format_score(found[metric]) for metric in CLASSIFICATION_METRICS]
            rows.append([level, str(found["n"]), *values, f"{found['brier']:.3f}", f"{found['ece']:.3f}"])
        of = f"{name}: " if len(sets) > 1 else ""
        what = f"{of}{scores['head']} ({', '.join(scores['classes'])}), {counted(len(set(predictions.patients)), 'patient')}."
        blocks += [TextTable(head, rows, what), *(Paragraph(line, "note") for line in score_notes(scores))]
        draw = {
            "Confusion matrix of the patients.": draw_confusion,
            "Calibration of the patients' probabilities.": draw_calibration,
        }
        if len(np.unique(predictions.truth)) == len(scores["classes"]):
            draw = {"ROC curve of the patients.": draw_roc} | draw
        blocks += [chart(partial(each, predictions=predictions, scores=scores), of + caption) for caption, each in draw.items()]
    return Section("Classes", blocks)
