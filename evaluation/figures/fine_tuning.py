"""Figure of a segmentation before and after its last phase: slices of three patients with truth and both predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.grid.slice_pictures import display_channel
from data_prep.records.folder import CaseRecord
from evaluation.figures import style
from evaluation.figures.display import pixel_aspect
from evaluation.figures.training import Picture, display_orientation, draw_before_after
from evaluation.scores.records import Counts, Subset, predicted, tumour_dice

if TYPE_CHECKING:
    import keras

STATES = ("before", "after")


@dataclass(frozen=True)
class RankedSlice:
    """Slice that is drawn.

    Attributes:
        patient: id.
        rank: of the patient by Dice: best, median or worst.
        index: among the slices of the subset.
    """

    patient: str
    rank: str
    index: int


def draw_fine_tuning(path: Path, subset: Subset, networks: "Sequence[keras.Model]", counts: Sequence[Counts]) -> list[Path]:
    """Draw image, truth and both predictions of a slice of the best, the median and the worst patient.

    Args:
        path: the files to write, without suffix.
        subset: slices that were scored.
        networks: with the weights before and after the last phase.
        counts: of both on the subset.

    Returns:
        The files written, PDF and PNG.
    """
    name, channel = display_channel(subset.records.channels)
    chosen = ranked_slices(subset, counts[-1])
    indices = [each.index for each in chosen]
    images, truth = subset.pictures(indices, channel)
    predictions = [predicted(subset, network, indices) for network in networks]
    rows = []
    for place, each in enumerate(chosen):
        facts, number = _slice(subset, each.index)
        picture = display_orientation(images[place], facts)
        dice = [tumour_dice(one.patients[each.patient]) for one in counts]
        titles = ["truth", *(f"{state}, Dice {value:.3f}" for state, value in zip(STATES, dice, strict=True))]
        row = [Picture(f"{each.rank}{style.named(f': {each.patient}')}\nslice {number + 1}", picture)]
        for title, classes in zip(titles, (truth, *predictions), strict=True):
            row.append(Picture(title, picture, display_orientation(classes[place], facts)))
        rows.append(row)
    run = subset.run.path.resolve().name
    title = f"{run} before and after fine-tuning, on {name}; patients by their Dice after it, over all slices"
    aspect = pixel_aspect(_slice(subset, indices[-1])[0].geometry.spacing_mm)
    return draw_before_after(path, rows, subset.schema, title, aspect)


def ranked_slices(subset: Subset, counts: Counts) -> list[RankedSlice]:
    """Slices with the most tumour of the patients of the best, the median and the worst Dice.

    Patients without tumour are left out where there are others; fewer than three patients give fewer slices.
    """
    annotated = [patient for patient, confusion in counts.patients.items() if confusion[1:].any()]
    ordered = sorted(annotated or counts.patients, key=lambda patient: -tumour_dice(counts.patients[patient]))
    # Later entries win where one patient is several of them.
    ranks = {len(ordered) // 2: "median", len(ordered) - 1: "worst", 0: "best"}
    return [RankedSlice(ordered[place], ranks[place], _most_tumour(subset, ordered[place])) for place in sorted(ranks)]


def _most_tumour(subset: Subset, patient: str) -> int:
    """Index of a patient's slice with the most tumour."""
    indices = [index for index, name in enumerate(subset.patients) if name == patient]
    slices = [_slice(subset, index) for index in indices]
    return indices[int(np.argmax([facts.voxels[number, 1:].sum() for facts, number in slices]))]


def _slice(subset: Subset, index: int) -> tuple[CaseRecord, int]:
    """Case of a slice of the subset, and the slice's number in it."""
    item, number = subset.source.rows[index]
    return subset.records.cases[subset.source.items[item][0]], int(number)
