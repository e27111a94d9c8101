"""Command: table of runs before and after their last phase: loss, Dice, accuracy, AUC; and a figure of three slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common import cli
from common.errors import UserError, expect_number
from common.files import make_folder, refuse_inside, write_text
from common.metrics import classification, overlap
from common.metrics.catalogue import METRICS, absent_rule
from common.tables import csv_text, wrapped
from evaluation.experiments.runs import read_history
from evaluation.figures.display import display_channel
from evaluation.figures.training import Picture, display_orientation, draw_before_after, pixel_aspect
from evaluation.heads import heads_of
from evaluation.heads.base import EvaluatedHead
from evaluation.heads.classification import ClassificationHead
from evaluation.heads.segmentation import SegmentationHead
from evaluation.scores import records as records_score
from evaluation.scores.classification import LEVELS, units
from evaluation.scores.classification_run import ScoredRun, score_run
from evaluation.scores.records import Counts, Subset
from training.data.batches import CLASSIFICATION
from training.run import Run

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


@dataclass(kw_only=True)
class FineTuningConfig:
    """Compare runs before and after their last phase.

    Scores the weights that the last phase began with and those to predict with on the same slices. Prints the table and writes
    it as table.md and table.csv; of a segmentation also draws three slices with the predictions of both (before_after).
    """

    run: Path | None = None
    """Run of training.train with several phases."""
    classifier: Path | None = None
    """Run of training.classify with several phases."""
    records: Path
    """Records with the channels that the runs were trained on."""
    subset: Literal["train", "validation", "test"] = "validation"
    """Which of the records' cases are scored."""
    batch_size: int = 16
    """Slices in a batch; it changes speed and memory, not the scores."""
    out: Path | None = None
    """Folder to write into; default: fine_tuning_SUBSET in the first of the runs."""


@dataclass(frozen=True)
class Part:
    """Part of the table, of one run.

    Attributes:
        head: lines that say what was scored.
        rows: (name, before, after); NaN where a score has no value.
        notes: what the scores mean.
    """

    head: list[str]
    rows: list[tuple[str, float, float]]
    notes: list[str]


@dataclass(frozen=True)
class Choice:
    """A slice to draw.

    Attributes:
        rank: of its patient: best, median or worst.
        place: among the slices of the subset.
    """

    rank: str
    place: int


def main(config: FineTuningConfig) -> None:
    """Score, print the table, and say where the files are."""
    expect_number("batch_size", config.batch_size, 1)
    _check_run(config.run, "--run", SegmentationHead)
    _check_run(config.classifier, "--classifier", ClassificationHead)
    first = config.run or config.classifier
    if first is None:
        raise UserError("nothing to compare: give --run SEGMENTATION or --classifier CLASSIFIER, or both")
    out = config.out or first / f"fine_tuning_{config.subset}"
    refuse_inside(out, config.records)
    make_folder(out)
    parts, files = [], []
    if config.run is not None:
        part, drawn = _segmentation(config, config.run, out)
        parts.append(part)
        files += drawn
    if config.classifier is not None:
        parts.append(_classification(config, config.classifier))
    print(format_text(parts))
    print("\n" + "\n".join(f"wrote {file}" for file in [*_write(out, parts), *files]))


def format_text(parts: Sequence[Part]) -> str:
    """The table for a terminal, with what was scored above and what it means below."""
    rows = [(name, *map(_number, values)) for part in parts for name, *values in part.rows]
    width = max(len(name) for name, *_ in rows) + 2
    lines = [f"{name:<{width}}{before:>8}{after:>8}" for name, before, after in [("", *COLUMNS), *rows]]
    heads = [line for part in parts for line in part.head]
    return "\n".join([*wrapped(heads), "", *lines, "", *wrapped([note for part in parts for note in part.notes])])


def format_markdown(parts: Sequence[Part]) -> str:
    """The table as Markdown, with what was scored above and what it means below."""
    heads = [line for part in parts for line in part.head]
    rows = [(name, *map(_number, values)) for part in parts for name, *values in part.rows]
    table = [("", *COLUMNS), ("---", "---:", "---:"), *rows]
    lines = [f"| {' | '.join(row)} |" for row in table]
    notes = [f"- {note}" for part in parts for note in part.notes]
    return "\n".join([*(f"- {head}" for head in heads), "", *lines, "", *notes]) + "\n"


def _write(out: Path, parts: Sequence[Part]) -> list[Path]:
    table, values = out / "table.md", out / "table.csv"
    write_text(table, format_markdown(parts))
    write_text(values, csv_text([("score", "before", "after"), *(row for part in parts for row in part.rows)]))
    return [table, values]


def _check_run(path: Path | None, option: str, expected: type[EvaluatedHead]) -> None:
    """Refuse a run without the expected head, or one of a single phase."""
    if path is None:
        return
    run = Run(path)
    if not any(isinstance(head, expected) for head in heads_of([run])):
        other = "--run" if option == "--classifier" else "--classifier"
        raise UserError(
            f"{option} {path}: expected a run of {expected.command}; received one of {run.command}; give it as {other}"
        )
    if run.weights_before_last_phase is None:
        raise UserError(f"{path}: was trained in one phase, so there is no before and after; train with two --phases")


def _segmentation(config: FineTuningConfig, path: Path, out: Path) -> tuple[Part, list[Path]]:
    """The rows of a segmentation, and the figure of three of its slices."""
    subset = records_score.open_subset(path, config.records, config.subset, config.batch_size)
    networks = [records_score.load(subset.run, weights) for weights in (subset.run.weights_before_last_phase, None)]
    before, after = (records_score.count(subset, network) for network in networks)
    counted = f"{_counted(len(after.patients), len(subset.source))} of {config.subset} of {config.records.resolve().name}"
    rows = [
        ("Segmentation loss", before.loss, after.loss),
        ("Tumour Dice", _dice(before.confusion), _dice(after.confusion)),
        ("Tumour Dice per patient", _mean_dice(before), _mean_dice(after)),
    ]
    chosen = choose_slices(subset, after)
    places = [choice.place for choice in chosen.values()]
    shown = [records_score.predicted(subset, network, places) for network in networks]
    files = _draw(out / "before_after", subset, chosen, (before, after), shown)
    return Part([f"Segmentation {_named(subset.run)}: {counted}", *_weights(subset.run)], rows, SEGMENTATION_NOTES), files


def _classification(config: FineTuningConfig, path: Path) -> Part:
    """The rows of a classifier."""
    run = Run(path)
    before, after = (
        score_run(path, config.records, config.subset, config.batch_size, weights)
        for weights in (run.weights_before_last_phase, None)
    )
    given = after.predictions
    counted = f"{_counted(len(set(given.patients)), len(given.truth))} of {config.subset} of {config.records.resolve().name}"
    rows = list(zip(CLASSIFICATION_ROWS, _values(before), _values(after), strict=True))
    classes = ", ".join(run.heads[CLASSIFICATION].class_names)
    head = [
        f"Classification {_named(run)} of {run.config.target.attribute} ({classes}): {counted}; weights before training: "
        f"{run.metadata['pretrained']}",
        *_weights(run),
    ]
    return Part(head, rows, CLASSIFICATION_NOTES)


def _values(scored: ScoredRun) -> list[float]:
    """Loss, and accuracy and AUC over slices and over patients; NaN where a class is missing in truth."""
    found = [scored.loss]
    for level in reversed(LEVELS):
        given = units(scored.predictions, level)
        found += [float(score(given.truth, given.probabilities)) for score in (classification.accuracy, classification.auc)]
    return found


def choose_slices(subset: Subset, counts: Counts) -> dict[str, Choice]:
    """The patients of the best, the median and the worst Dice, each with its slice of the most tumour.

    Patients without tumour are left out where there are others; fewer than three patients give fewer slices.
    """
    known = [patient for patient, confusion in counts.patients.items() if confusion[1:].any()]
    ranked = sorted(known or counts.patients, key=lambda patient: -_dice(counts.patients[patient]))
    # Later entries win where one patient is several of them.
    ranks = {len(ranked) // 2: "median", len(ranked) - 1: "worst", 0: "best"}
    return {ranked[place]: Choice(ranks[place], _busiest(subset, ranked[place])) for place in sorted(ranks)}


def _busiest(subset: Subset, patient: str) -> int:
    """The place of a patient's slice of the most tumour."""
    places = [place for place, name in enumerate(subset.patients) if name == patient]
    voxels = []
    for place in places:
        item, number = subset.source.rows[place]
        voxels.append(int(subset.records.cases[subset.source.items[item][0]].voxels[number, 1:].sum()))
    return places[int(np.argmax(voxels))]


def _draw(
    path: Path, subset: Subset, chosen: dict[str, Choice], counts: tuple[Counts, Counts], shown: list[np.ndarray]
) -> list[Path]:
    """Image, truth and both predictions of each chosen slice."""
    name, channel = display_channel(subset.records.channels)
    images, truth = subset.pictures([choice.place for choice in chosen.values()], channel)
    rows = []
    for index, (patient, choice) in enumerate(chosen.items()):
        item, number = subset.source.rows[choice.place]
        facts = subset.records.cases[subset.source.items[item][0]]
        dice = [f"{when.lower()}, Dice {_dice(each.patients[patient]):.3f}" for when, each in zip(COLUMNS, counts, strict=True)]
        picture = display_orientation(images[index], facts)
        row = [Picture(f"{choice.rank}: {patient}\nslice {number + 1}", picture)]
        for title, classes in zip(("truth", *dice), (truth, *shown), strict=True):
            row.append(Picture(title, picture, display_orientation(classes[index], facts)))
        rows.append(row)
    title = f"{_named(subset.run)} before and after fine-tuning, on {name}; patients by their Dice after it, over all slices"
    return draw_before_after(path, rows, subset.run.schema, title, pixel_aspect(facts))


def _weights(run: Run) -> list[str]:
    """Which epoch's weights the columns are of, where that must be known to read them."""
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
    if run.config.split == "slice":
        lines.append(
            "Split by slice: slices of the same patients were trained on, so these figures say little about new patients."
        )
    return lines


def _dice(confusion: np.ndarray) -> float:
    """Dice of the tumour: all classes but background as one."""
    return overlap.overlap(confusion, range(1, len(confusion))).dice


def _mean_dice(counts: Counts) -> float:
    return float(np.mean([_dice(confusion) for confusion in counts.patients.values()]))


def _named(run: Run) -> str:
    return run.path.resolve().name


def _counted(patients: int, slices: int) -> str:
    return f"{patients} patient{'s' if patients != 1 else ''}, {slices} slice{'s' if slices != 1 else ''}"


def _number(value: Any) -> str:
    return "none" if np.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    cli.run(main, FineTuningConfig)
