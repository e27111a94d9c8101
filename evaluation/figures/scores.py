"""The figure of several models' scores per class, and the scores as it reads them from the folders of evaluation.score."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.files import read_json
from common.metrics import overlap
from evaluation.figures import style
from evaluation.scores.patients import CLASS_MEAN
from evaluation.tables.patients import PERCENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "scores.json"
FORMAT = 1
TITLES = {"iou": "IoU", "dice": "Dice"}
FOREGROUND_MEAN = "mean without background"
WHOLE_MEAN = "mean with background"
MARKER = 0.085  # inches from one model's marker to the next
GAP = 0.16  # inches more from one class to the next
NOTE = "#555555"

Bar = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class ModelScores:
    """What a model scored.

    Attributes:
        name: the model's, as it stands in legends.
        classes: class, background first where it is counted -> value, and bounds of its interval (None where there is none).
        means: likewise of `FOREGROUND_MEAN` and, where background is counted, `WHOLE_MEAN`.
        patients: how many.
        per_patient: whether values are means over patients; else they come from one confusion matrix of all slices.
    """

    name: str
    classes: dict[str, Bar]
    means: dict[str, Bar]
    patients: int
    per_patient: bool


def read_scores(folder: Path, name: str, score: str = "iou") -> ModelScores:
    """Read what evaluation.score has written, of a run on records or of predictions.

    Args:
        folder: with `overlap.json`, itself or in its `scores`.
        name: what the model is called.
        score: "iou" or "dice".

    Raises:
        UserError: no scores of segmentations there, or a file of another format, rule or content.
    """
    file = next((place / FILE for place in (folder, folder / "scores") if (place / FILE).is_file()), None)
    if file is None:
        raise UserError(
            f"{folder}: expected {FILE} in it or in its scores, as evaluation.score writes it for segmentations; score it first"
        )
    values = read_json(file, "scores")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{file}: expected scores of format {FORMAT}; received another file; score again")
    if values.get("absent_rule") != overlap.ABSENT_RULE:
        raise UserError(
            f"{file}: expected the absent rule of this version; received {values.get('absent_rule')!r}; score again"
        )
    try:
        per_patient = str(values["kind"]).startswith("per patient")
        classes, means = (_of_patients if per_patient else _of_records)(values, score)
        called = f"{name} (slice split)" if values.get("split") == "slice" else name  # its scores are too good
        return ModelScores(called, classes, means, int(values["patients"]), per_patient)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: expected scores per class; received a damaged file ({error!r}); score again") from None


def draw_class_scores(path: Path, models: Sequence[ModelScores], score: str = "iou") -> list[Path]:
    """Draw a row for each class and mean, and in it a dot for each model, with its interval where it has one.

    Args:
        path: the files to write, without suffix.
        models: one to eight look different; those of a family (`naming.families`) share their colour.
        score: "iou" or "dice", for the axis.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: no model.
    """
    if not models:
        raise ValueError("expected at least one model")
    rows = [*_rows([model.classes for model in models]), *_means([model.means for model in models])]
    pitch = MARKER * len(models) + GAP
    letters = int(style.WIDTH * 15)
    note = textwrap.wrap(_note(models), letters)
    with style.style():
        height = pitch * len(rows) + 0.9 + 0.16 * len(models) / 2 + 0.12 * len(note)
        figure = style.new_figure(height=height, gaps=(0.06, 0.05))
        axes = figure.subplots()
        styles = style.run_styles([model.name for model in models])
        for index, (model, look) in enumerate(zip(models, styles, strict=True)):
            _draw_model(axes, rows, model, look, MARKER * (index - (len(models) - 1) / 2) / pitch)
        _finish(axes, rows, TITLES[score])
        axes.set_title("\n".join(note), fontsize=6.5, color=NOTE, loc="left")
        style.legend_below(figure, *axes.get_legend_handles_labels())
        return style.save(figure, path)


def _of_records(values: dict[str, Any], score: str) -> tuple[dict[str, Bar], dict[str, Bar]]:
    """Scores of the slices of a subset, from their confusion matrix."""
    confusion = np.asarray(values["confusion"], np.int64)
    per_class = (overlap.iou_per_class if score == "iou" else overlap.dice_per_class)(confusion)
    classes: dict[str, Bar] = {
        name: (float(value), None, None) for name, value in zip(values["classes"], per_class, strict=True)
    }
    return classes, {
        FOREGROUND_MEAN: (float(per_class[1:].mean()), None, None),
        WHOLE_MEAN: (float(per_class.mean()), None, None),
    }


def _of_patients(values: dict[str, Any], score: str) -> tuple[dict[str, Bar], dict[str, Bar]]:
    """Means over patients with their bootstrap intervals, as evaluation.score has computed them."""
    rows = [row for row in values["summary"] if row["score"] == score]
    found: dict[str, dict[str, Bar]] = {
        kind: {row["structure"]: (float(row["mean"]), row["low"], row["high"]) for row in rows if row["kind"] == kind}
        for kind in ("class", "mean")
    }
    return found["class"], {FOREGROUND_MEAN: found["mean"][CLASS_MEAN.name]}


def _rows(found: Sequence[Mapping[str, Bar]]) -> list[str]:
    """Names of all classes in the order of the model that tells most, others after them."""
    ordered = sorted(found, key=len, reverse=True)
    return list(dict.fromkeys(name for each in ordered for name in each))


def _means(found: Sequence[Mapping[str, Bar]]) -> list[str]:
    """The means that any model has, that of the foreground first."""
    return [name for name in (FOREGROUND_MEAN, WHOLE_MEAN) if any(name in each for each in found)]


def _draw_model(axes: "Axes", rows: Sequence[str], model: ModelScores, style: dict[str, Any], shift: float) -> None:
    """A model's dot in every row that it has a value for, `shift` rows below the row's middle."""
    found = model.classes | model.means
    shown = {place + shift: found[row] for place, row in enumerate(rows) if row in found}
    for place, (_, low, high) in shown.items():
        if low is not None and high is not None:
            axes.hlines(place, low, high, color=style["color"], linewidth=1.1, zorder=2)
    dots = style | {"linestyle": "none", "markersize": 5, "markeredgewidth": 1.0, "zorder": 3}
    axes.plot([value for value, _, _ in shown.values()], list(shown), label=model.name, clip_on=False, **dots)


def _finish(axes: "Axes", rows: Sequence[str], label: str) -> None:
    """Axes from 0 to 1, every other row shaded, a line above the means."""
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    first = next((place for place, row in enumerate(rows) if row == FOREGROUND_MEAN), None)
    if first is not None:
        axes.axhline(first - 0.5, color="#777777", linewidth=0.6, zorder=1)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel=label)
    axes.set_xticks(np.linspace(0, 1, 11))
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _note(models: Sequence[ModelScores]) -> str:
    """What the dots are, and over how many patients."""
    parts = []
    for per_patient, meaning in (
        (True, f"mean over patients with its {PERCENT} bootstrap interval, whole volumes"),
        (False, "one confusion matrix over all slices of the prepared grid"),
    ):
        counts = {model.name: model.patients for model in models if model.per_patient == per_patient}
        if counts:
            mixed = f"{', '.join(counts)}: " if len(counts) < len(models) else ""
            parts.append(f"{mixed}{meaning}; {_counted(counts)}")
    return ". ".join(parts)


def _counted(counts: Mapping[str, int]) -> str:
    if len(set(counts.values())) == 1:
        count = next(iter(counts.values()))
        return f"{count} patient{'s' if count != 1 else ''}"
    return "patients: " + ", ".join(f"{name} {count}" for name, count in counts.items())
