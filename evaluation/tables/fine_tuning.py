"""Table of runs before and after their last phase: scores of a segmentation, of a classifier, or of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.files import write_text
from common.metrics import classification
from common.metrics.catalogue import METRICS, absent_rule
from common.tables import counted, csv_text, latex_of, markdown, wrapped
from evaluation.scores.classification import LEVELS, SLICE_SPLIT_NOTE, units
from evaluation.scores.classification_run import ScoredRun
from evaluation.scores.records import Counts, tumour_dice
from training.data.batches import CLASSIFICATION
from training.run import Run
from training.state.history import read_history

COLUMNS = ("Before", "After")
SEGMENTATION_NOTES = [
    "Segmentation loss: that of the run's config in both columns, so that they compare; mean over the annotated voxels.",
    "Tumour Dice: all classes but background as one, from one confusion matrix over all slices of the subset; nothing is "
    "averaged. Tumour Dice per patient: of each patient's slices together, averaged over patients.",
    absent_rule([METRICS["dice"]]),
]
CLASSIFICATION_ROWS = (
    *("Classification loss", "Classification accuracy", "AUC (ROC)"),
    *("Classification accuracy per patient", "AUC (ROC) per patient"),
)
CLASSIFICATION_NOTES = [
    "Classification loss: cross-entropy, mean over slices, classes not weighed. Accuracy and AUC are over slices; those per "
    "patient are of the mean over the patient's slices of each class's probability.",
]


@dataclass(frozen=True)
class RunScores:
    """Scores of one run before and after its last phase.

    Attributes:
        head: lines above the table: run, slices and weights that were scored.
        rows: (name, before, after); NaN where a score has no value.
        notes: lines below the table: definitions of the scores.
    """

    head: list[str]
    rows: list[tuple[str, float, float]]
    notes: list[str]


def segmentation_scores(run: Run, before: Counts, after: Counts, slices: int, subset: str) -> RunScores:
    """Loss and tumour Dice of a segmentation.

    Args:
        run: that was scored.
        before, after: its counts with both weights, over the same slices.
        slices: how many.
        subset: words for the subset and its records.
    """
    rows = [
        ("Segmentation loss", before.loss, after.loss),
        ("Tumour Dice", tumour_dice(before.confusion), tumour_dice(after.confusion)),
        ("Tumour Dice per patient", _mean_dice(before), _mean_dice(after)),
    ]
    scored = f"{counted(len(after.patients), 'patient')}, {counted(slices, 'slice')} of {subset}"
    return RunScores([f"Segmentation {run.path.resolve().name}: {scored}", *_weights(run)], rows, SEGMENTATION_NOTES)


def classification_scores(run: Run, before: ScoredRun, after: ScoredRun, subset: str) -> RunScores:
    """Loss, accuracy and AUC of a classifier; arguments as of `segmentation_scores`."""
    predictions, classes = after.predictions, ", ".join(run.heads[CLASSIFICATION].class_names)
    scored = f"{counted(len(set(predictions.patients)), 'patient')}, {counted(len(predictions.truth), 'slice')} of {subset}"
    head = (
        f"Classification {run.path.resolve().name} of {run.config.target.attribute} ({classes}): {scored}; "
        f"weights before training: {run.metadata['pretrained']}"
    )
    rows = list(zip(CLASSIFICATION_ROWS, _classification_values(before), _classification_values(after), strict=True))
    return RunScores([head, *_weights(run)], rows, CLASSIFICATION_NOTES)


def format_text(parts: Sequence[RunScores]) -> str:
    """Text of the table for a terminal, with the scored slices above and definitions below."""
    rows = _cells(parts)
    width = max(len(name) for name, *_ in rows) + 2
    lines = [f"{name:<{width}}{before:>8}{after:>8}" for name, before, after in rows]
    heads, notes = _around(parts)
    return "\n".join([*wrapped(heads), "", *lines, "", *wrapped(notes)])


def format_markdown(parts: Sequence[RunScores]) -> str:
    """Markdown of the table, with the scored slices above and definitions below."""
    heads, notes = ("\n".join(f"- {line}" for line in lines) for lines in _around(parts))
    return "\n\n".join([heads, markdown(_cells(parts), right=(1, 2)), notes]) + "\n"


def write_table(out: Path, parts: Sequence[RunScores]) -> list[Path]:
    """Write table.md, table.tex and table.csv into a folder; returns the files."""
    table, pasted, values = out / "table.md", out / "table.tex", out / "table.csv"
    text = format_markdown(parts)
    write_text(table, text)
    write_text(pasted, latex_of(text))
    write_text(values, csv_text([("score", "before", "after"), *(row for part in parts for row in part.rows)]))
    return [table, pasted, values]


def _cells(parts: Sequence[RunScores]) -> list[tuple[str, str, str]]:
    """Cells of the printed table, the heading first."""

    def text(value: float) -> str:
        return "none" if np.isnan(value) else f"{value:.3f}"

    return [("", *COLUMNS), *((name, text(before), text(after)) for part in parts for name, before, after in part.rows)]


def _around(parts: Sequence[RunScores]) -> tuple[list[str], list[str]]:
    """Lines above and below the table."""
    return [line for part in parts for line in part.head], [note for part in parts for note in part.notes]


def _classification_values(scored: ScoredRun) -> list[float]:
    """Loss, then accuracy and AUC over slices and over patients; NaN where a class is missing in truth."""
    values = [scored.loss]
    for level in reversed(LEVELS):
        found = units(scored.predictions, level)
        values += [float(score(found.truth, found.probabilities)) for score in (classification.accuracy, classification.auc)]
    return values


def _weights(run: Run) -> list[str]:
    """Epochs whose weights the columns are of, and a warning of a split by slice."""
    lines = []
    chosen, rows = run.metadata.get("best_epoch"), read_history(run.path)
    first = sum(row["phase"] < rows[-1]["phase"] for row in rows)
    if chosen and chosen <= first:
        lines.append(
            f"After is epoch {chosen}, before the last phase: by validation {run.config.monitor} no epoch of fine-tuning was "
            "better, so both columns are of the same weights."
        )
    elif chosen:
        lines.append(f"Before: the best of epochs 1 to {first}. After: epoch {chosen}.")
    return [*lines, SLICE_SPLIT_NOTE] if run.config.split == "slice" else lines


def _mean_dice(counts: Counts) -> float:
    return float(np.mean([tumour_dice(confusion) for confusion in counts.patients.values()]))
