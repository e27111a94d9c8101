"""Figures of classifications: ROC curve, confusion matrix and calibration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.metrics import classification
from common.metrics.statistics import LEVEL
from common.tables import counted
from evaluation.figures import style
from evaluation.scores.classification import Level, SlicePredictions, Units, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
CHANCE = "#888888"


def draw_classification(folder: Path, predictions: SlicePredictions, scores: dict[str, Any]) -> list[Path]:
    """Draw confusion matrix, calibration and, where every class is in truth, the ROC curve, all per patient.

    Args:
        folder: to write into.
        predictions, scores: as of `draw_roc`.

    Returns:
        The files written.
    """
    files = draw_confusion(folder / "confusion", predictions, scores) + draw_calibration(
        folder / "calibration", predictions, scores
    )
    if len(set(predictions.truth.tolist())) == len(scores["classes"]):
        files += draw_roc(folder / "roc", predictions, scores)
    return files


def draw_roc(path: Path, predictions: SlicePredictions, scores: dict[str, Any], level: Level = "patient") -> list[Path]:
    """Draw the ROC curve, with the AUC and its interval, and the diagonal of chance; with more than two classes a curve each.

    Args:
        path: the files to write, without suffix.
        predictions: of the slices.
        scores: their `scores.classification.summary`.
        level: patients or slices.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        UserError: a class is missing in truth, so there is no curve.
    """
    scored, classes = units(predictions, level), scores["classes"]
    missing = [name for c, name in enumerate(classes) if not (scored.truth == c).any()]
    if missing:
        raise UserError(f"ROC curve: no {level} is {missing[0]}; it needs some of every class")
    with style.style():
        binary = len(classes) == 2
        figure = style.new_figure(height=4.15 if binary else 4.0 + 0.17 * len(classes), width=3.5)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
        for place, c in enumerate([1] if binary else range(len(classes))):
            _draw_curve(axes, scored, c, place, classes)
        axes.set(xlabel="false positive rate (1 - specificity)", ylabel="true positive rate (sensitivity)")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        handles, texts = axes.get_legend_handles_labels()
        figure.legend([*handles[1:], handles[0]], [*texts[1:], texts[0]], loc="outside lower center", ncols=2 if binary else 1)
        name = "AUC" if binary else "mean AUC"
        axes.set_title(f"ROC curve: {_counted(scored, level)}\n{name} {_with_interval(scores['level'][level]['auc'])}")
        return style.save(figure, path, _roc_numbers(scored, classes))


def draw_confusion(path: Path, predictions: SlicePredictions, scores: dict[str, Any], level: Level = "patient") -> list[Path]:
    """Draw the confusion matrix: counts, and their share of the true class, which is the darkness too.

    Args:
        path, predictions, scores, level: as of `draw_roc`.

    Returns:
        The files written: PDF, PNG and CSV.
    """
    scored, classes = units(predictions, level), scores["classes"]
    counts = classification.confusion(scored.truth, scored.probabilities)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with style.style():
        side = max(2.4, 0.8 * len(classes) + 0.5)
        figure = style.new_figure(height=side + 0.75, width=side + 0.6)
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{counts[row, column]}\n{100 * share:.0f} %" if counts[row].any() else "none"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.5 else "black", linespacing=1.4)
        ticks = range(len(classes))
        axes.set_xticks(ticks, classes)
        axes.set_yticks(ticks, classes, rotation=90, va="center")
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color="#999999")
        title = f"{_counted(scored, level)}, % of each true class"
        axes.set_title(f"{title}\naccuracy {_with_interval(scores['level'][level]['accuracy'])}")
        rows = [[classes[r], classes[c], int(count), float(shares[r, c])] for (r, c), count in np.ndenumerate(counts)]
        return style.save(figure, path, [["true", "predicted", "count", "share"], *rows])


def draw_calibration(path: Path, predictions: SlicePredictions, scores: dict[str, Any], level: Level = "patient") -> list[Path]:
    """Draw the calibration curve: observed share over predicted probability, and below the predictions per bin.

    Args:
        path, predictions, scores, level: as of `draw_roc`.

    Returns:
        The files written: PDF, PNG and CSV.
    """
    scored, classes = units(predictions, level), scores["classes"]
    found = classification.calibration(scored.truth, scored.probabilities)
    binary = len(classes) == 2
    subject = f"of {classes[-1]}" if binary else "of the predicted class"
    with style.style():
        figure = style.new_figure(height=4.8, width=3.5)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        upper.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.9, linestyle=(0, (2, 2)), label="perfectly calibrated")
        filled = found.counts > 0
        line = {"color": style.RUN_COLOURS[0], "marker": "o", "markersize": 4.5}
        upper.plot(found.confidence[filled], found.frequency[filled], label="observed, per bin", **line)
        upper.set(ylabel=f"observed share {subject}", xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
        errors = f"ECE {scores['level'][level]['ece']:.3f}, Brier score {scores['level'][level]['brier']:.3f}"
        upper.set_title(f"Calibration: {_counted(scored, level)}\n{errors}")
        _draw_counts(lower, found, level)
        lower.set_xlabel(f"{'predicted ' if binary else ''}probability {subject}")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        bins = zip(found.edges[:-1], found.edges[1:], found.counts, found.confidence, found.frequency, strict=True)
        rows = [[float(low), float(high), int(count), float(p), float(share)] for low, high, count, p, share in bins]
        return style.save(figure, path, [["from", "to", f"{level}s", "mean_probability", "observed_share"], *rows])


def _roc_numbers(scored: Units, classes: list[str]) -> list[list[Any]]:
    """Rows of the points of each ROC curve."""
    rows: list[list[Any]] = [["class", "threshold", "false_positive_rate", "true_positive_rate"]]
    for c in [1] if len(classes) == 2 else range(len(classes)):
        curve = classification.roc_curve(scored.truth == c, scored.probabilities[:, c])
        points = zip(curve.thresholds, curve.false_positive_rate, curve.true_positive_rate, strict=True)
        rows += [[classes[c], *map(float, point)] for point in points]
    return rows


def _draw_curve(axes: "Axes", scored: Units, c: int, place: int, classes: list[str]) -> None:
    positive, score = scored.truth == c, scored.probabilities[:, c]
    curve = classification.roc_curve(positive, score)
    area = float(classification.binary_auc(positive, score))
    label = f"{classes[c]} against {classes[0] if len(classes) == 2 else 'the rest'}"
    axes.plot(
        curve.false_positive_rate,
        curve.true_positive_rate,
        color=style.RUN_COLOURS[place % len(style.RUN_COLOURS)],
        linestyle=LINES[place % len(LINES)],
        label=label if len(classes) == 2 else f"{label}: AUC {area:.3f}",
        clip_on=False,
    )


def _draw_counts(axes: "Axes", found: classification.Calibration, level: Level) -> None:
    from matplotlib.ticker import MaxNLocator

    middle, width = (found.edges[1:] + found.edges[:-1]) / 2, float(found.edges[1])
    axes.bar(middle, found.counts, width=0.9 * width, color="#BBBBBB", edgecolor="#666666", linewidth=0.4)
    for x, count in zip(middle, found.counts, strict=True):
        axes.annotate(str(count), (x, count), (0, 1.5), textcoords="offset points", ha="center", fontsize=6)
    axes.set(ylabel=f"{level}s", ylim=(0, 1.25 * max(int(found.counts.max()), 1)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    axes.grid(visible=False, axis="x")


def _counted(scored: Units, level: Level) -> str:
    patients = counted(len(scored.patients), "patient")
    return patients if level == "patient" else f"{counted(len(scored.truth), 'slice')} of {patients}"


def _with_interval(score: dict[str, float | None]) -> str:
    interval = "" if score["low"] is None else f" [{100 * LEVEL:g} % interval {score['low']:.3f} to {score['high']:.3f}]"
    return f"{score['value']:.3f}{interval}"
