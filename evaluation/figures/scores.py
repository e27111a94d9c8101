"""Figure of several models' scores per structure: a dot plot with intervals."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric
from common.metrics.statistics import INTERVAL
from common.tables import counted
from data_prep.structures import (
    CLASS_MEAN,
    MEAN_WITH_BACKGROUND,
    Structure,
    background_structures,
    distinct,
    scored_structures,
)
from evaluation.figures import style
from evaluation.scores.folder import Estimate, StoredScores, read_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKER = 0.085  # inches from one model's marker to the next
GAP = 0.16  # inches more from one structure to the next
NOTE = "#555555"


@dataclass(frozen=True)
class ModelScores:
    """Scores of a model by one metric.

    Attributes:
        name: display name in legends.
        values: structure -> value with the bounds of its interval: regions, classes, then means; equal structures once.
        patients: how many.
        pooled: True where the values come from one confusion matrix of all slices; else they are means over patients.
        missing: cases without usable prediction, which count the worst value or, where a metric has none, nothing.
    """

    name: str
    values: dict[Structure, Estimate]
    patients: int
    pooled: bool
    missing: int = 0


def scored_metrics(folders: Sequence[Path]) -> list[Metric]:
    """Metrics of the catalogue, of those with a direction, that any of some folders of scores has."""
    found = {name for folder in folders for _, _, name in read_scores(folder).summary}
    return [metric for name, metric in METRICS.items() if name in found and metric.judged]


def read_model(folder: Path, name: str, metric: Metric) -> ModelScores:
    """Scores of a folder that evaluation.score has written, of a run on records or of predictions.

    Args:
        folder: of scores, or of predictions with their scores.
        name: display name of the model; " (slice split)" is added where slices of the scored patients may have trained it.
        metric: of the catalogue.

    Raises:
        UserError: no scores of segmentations there, or a file of another format, rule or content.
    """
    stored = read_scores(folder)
    shown = f"{name} (slice split)" if stored.split == "slice" else name
    pooled = not stored.per_patient and not metric.from_masks
    return ModelScores(shown, _values(stored, metric), stored.patients, pooled, len(stored.missing))


def draw_scores(path: Path, models: Sequence[ModelScores], metric: Metric) -> list[Path]:
    """Draw a row for each structure, and in it a dot for each model, with its interval where it has one.

    Args:
        path: the files to write, without suffix.
        models: one to eight look different; those of a family (`run_names.families`) share their colour.
        metric: of the values, for the axis.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        ValueError: no model.
    """
    if not models:
        raise ValueError("expected at least one model")
    ordered = sorted(models, key=lambda model: len(model.values), reverse=True)
    rows = sorted(dict.fromkeys(row for model in ordered for row in model.values), key=lambda row: row.kind == "mean")
    pitch = MARKER * len(models) + GAP
    note = textwrap.wrap(_note(models), int(style.WIDTH * 15))
    with style.style():
        legend = 0.08 * len(models) if len(models) > 1 else 0
        height = pitch * len(rows) + 0.9 + legend + 0.12 * len(note)
        figure = style.new_figure(height=height, gaps=(0.06, 0.05))
        axes = figure.subplots()
        styles = style.run_styles([model.name for model in models])
        for index, (model, look) in enumerate(zip(models, styles, strict=True)):
            _draw_model(axes, rows, model, look, MARKER * (index - (len(models) - 1) / 2) / pitch)
        _finish(axes, rows, metric)
        axes.set_title("\n".join(note), fontsize=6.5, color=NOTE, loc="left")
        if len(models) > 1:
            style.legend_below(figure, *axes.get_legend_handles_labels())
        return style.save(figure, path, _numbers(models, metric))


def _numbers(models: Sequence[ModelScores], metric: Metric) -> list[list[Any]]:
    """Rows of the numbers: model, structure, value and the bounds of its interval."""
    rows = [
        [model.name, structure.kind, structure.name, each.value, each.low, each.high]
        for model in models
        for structure, each in model.values.items()
    ]
    return [["model", "kind", "structure", metric.name, "low_95", "high_95"], *rows]


def row_label(structure: Structure) -> str:
    """Name of a row: the structure's, without its kind; of a mean as in tables, where the class mean has no background."""
    if structure.kind != "mean":
        return structure.name
    return "class mean with background" if structure == MEAN_WITH_BACKGROUND else "class mean"


def _values(stored: StoredScores, metric: Metric) -> dict[Structure, Estimate]:
    """Structure -> value by a metric: regions, background where it is counted, classes, means."""
    schema = stored.schema
    background, mean = background_structures(schema)
    plain = list(distinct(scored_structures(schema)))
    regions = [structure for structure in plain if structure.kind == "region"]
    others = [structure for structure in plain if structure.kind == "class"]
    means = [CLASS_MEAN] if CLASS_MEAN in plain else []
    order = [*regions, background, *others, *means, mean]
    found = {structure: stored.summary.get((structure.kind, structure.name, metric.name)) for structure in order}
    # By kind and name alone, so that models of other schemas share the row.
    return {replace(structure, members=()): value for structure, value in found.items() if value is not None}


def _draw_model(axes: "Axes", rows: Sequence[Structure], model: ModelScores, look: dict[str, Any], shift: float) -> None:
    """Draw a model's dot in every row that it has a value for, `shift` rows below the row's middle."""
    shown = {place + shift: model.values[row] for place, row in enumerate(rows) if row in model.values}
    for place, each in shown.items():
        if each.low is not None and each.high is not None:
            axes.hlines(place, each.low, each.high, color=look["color"], linewidth=1.1, zorder=2)
    dots = look | {"linestyle": "none", "markersize": 5, "markeredgewidth": 1.0, "zorder": 3}
    axes.plot([each.value for each in shown.values()], list(shown), label=model.name, clip_on=False, **dots)


def _finish(axes: "Axes", rows: Sequence[Structure], metric: Metric) -> None:
    """Set the axis to the metric's range, shade every other row, and draw a line above the means."""
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    first = next((place for place, row in enumerate(rows) if row.kind == "mean"), None)
    if first is not None:
        axes.axhline(first - 0.5, color="#777777", linewidth=0.6, zorder=1)
    low, high = metric.limits
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=metric.arrow_label)
    if math.isfinite(low):
        axes.set_xlim(left=low)
    if math.isfinite(high):
        axes.set_xlim(right=high)
        axes.set_xticks(np.linspace(*axes.get_xlim(), 11))
    axes.set_yticks(range(len(rows)), [row_label(row) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _note(models: Sequence[ModelScores]) -> str:
    """Meaning of the dots, and number of patients."""
    parts = []
    bar = f"; bar: {INTERVAL}" if any(each.low is not None for model in models for each in model.values.values()) else ""
    for pooled, meaning in (
        (False, f"mean over patients, whole volumes{bar}"),
        (True, "one confusion matrix over all slices of the prepared grid"),
    ):
        patients = {model.name: model.patients for model in models if model.pooled == pooled}
        if patients:
            mixed = f"{', '.join(patients)}: " if len(patients) < len(models) else ""
            number = counted(next(iter(patients.values())), "patient")
            if len(set(patients.values())) > 1:
                number = "patients: " + ", ".join(f"{name} {count}" for name, count in patients.items())
            parts.append(f"{mixed}{meaning}; {number}")
    parts += [
        f"{model.name}: {counted(model.missing, 'case')} without usable prediction, with the worst value where there is one"
        for model in models
        if model.missing
    ]
    return ". ".join(parts)
