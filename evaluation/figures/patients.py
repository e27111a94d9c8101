"""Figures of scores per patient: a box per set of scores, and all patients of one set in order."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics.catalogue import Scale
from evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = "box: quartiles, line: median, diamond: mean, points: patients, the worst of them named"
WORST = 3  # patients that are named beside a box
BOX = 0.25  # half a box's width; this and the next three in inches
JITTER = 0.16  # how far from the middle points may lie
NARROWEST = 1.1  # from one box to the next
LETTER = 0.046  # a letter of a patient's id
SHORTEST, LONGEST = 9, 24  # letters of an id that are shown: as many as the width of a journal's page allows
MOST_NAMED = 60  # patients that have a line of their own
LINE = 0.15  # inches a line
MANY = 4.2  # inches for more patients


def draw_boxes(
    path: Path, scores: Mapping[str, Mapping[str, float]], scale: Scale, structure: str, seed: int = 0
) -> list[Path]:
    """Draw a box per set of scores: quartiles and median, whiskers to 1.5 times the box, every patient, and the mean.

    Args:
        path: the files to write, without suffix.
        scores: name of the set, which may have several lines -> patient -> score.
        scale: of the scores: limits of the axis, and which patients are the worst.
        structure: display name of the structure that is scored, for the axis.
        seed: of the points' places from left to right, which mean nothing.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: no set, or one without patients.
    """
    _refuse_empty(scores)
    low, high = axis_limits([value for each in scores.values() for value in each.values()], scale)
    letters = _letters(scores, scale)
    pitch = max(NARROWEST, 2 * BOX + 0.25 + LETTER * letters)  # data units from left to right are inches, or nearly so
    width = 0.6 + pitch * len(scores)
    with style.style():
        figure = style.new_figure(height=3.4, width=width)
        axes = figure.subplots()
        axes.set(
            xlim=(-BOX - 0.15, pitch * len(scores) - BOX - 0.1),
            ylim=(low - 0.03 * (high - low), high + 0.03 * (high - low)),
            ylabel=f"{scale.arrow_label}, {structure}",
        )
        for index, each in enumerate(scores.values()):
            colour = style.RUN_COLOURS[index % len(style.RUN_COLOURS)]
            sides = _draw_box(axes, pitch * index, each, colour, np.random.default_rng((seed, index)))
            _name_worst(axes, pitch * index, each, sides, letters, scale)
        names = [f"{_folded(name, int(pitch * 14))}\nn = {len(each)}" for name, each in scores.items()]
        axes.set_xticks(pitch * np.arange(len(scores)), names)
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", length=0)
        axes.set_title(textwrap.fill(CAPTION, int(width * 15)), fontsize=6.5, color="#555555", loc="left")
        return style.save(figure, path)


def draw_per_patient(path: Path, scores: Mapping[str, float], scale: Scale, structure: str) -> list[Path]:
    """Draw the patients of one set from the best down to the worst, with lines for the mean and the median.

    Args:
        path: the files to write, without suffix.
        scores: patient -> score. Of more than 60 patients only the worst are named.
        scale: of the scores: limits of the axis, and which patients are the worst.
        structure: display name of the structure that is scored, for the axis.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: no patient.
    """
    _refuse_empty({structure: scores})
    ordered = scale.worst_first(scores)[::-1]
    values = np.array([scores[patient] for patient in ordered])
    (low, high), many = axis_limits(values, scale), len(ordered) > MOST_NAMED
    count = f"n = {len(ordered)} patient{'s' if len(ordered) > 1 else ''}"
    with style.style():
        figure = style.new_figure(height=MANY if many else 0.85 + LINE * len(ordered), width=4.6)
        axes = figure.subplots()
        margin = 0.02 * (high - low)
        axes.set(xlim=(low - margin, high + margin), xlabel=f"{scale.arrow_label}, {structure}; {count}")
        axes.set_ylim((1.02 if many else 1) * len(ordered) - 0.4, -0.6 - 0.02 * many * len(ordered))
        axes.plot(values, np.arange(len(ordered)), "o", color=style.RUN_COLOURS[0], markersize=2 if many else 3.8, zorder=3)
        _draw_middle(axes, values, scale)
        (_name_last if many else _name_lines)(axes, ordered, values, scale)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper right", ncols=2)
        return style.save(figure, path)


def shortened(patient: str, letters: int) -> str:
    """Patient id in so many letters, with a gap where it is longer; more of its end is kept, where ids differ most."""
    if len(patient) <= letters:
        return patient
    end = 2 * (letters - 1) // 3
    return f"{patient[: letters - 1 - end]}…{patient[-end:]}"


def worst_patients(scores: Mapping[str, float], scale: Scale) -> list[str]:
    """Patients that are named, the worst first; none where all are equal or no value is better than another."""
    if len(set(scores.values())) == 1 or not scale.judged:
        return []
    return scale.worst_first(scores)[:WORST]


def axis_limits(values: Iterable[float], scale: Scale) -> tuple[float, float]:
    """Limits of an axis of scores that leave some room beyond the worst value.

    Of a bounded scale, from the tenth of its range below the least value to its upper limit; of a scale without upper limit,
    from its lower limit to just above the largest value.
    """
    lowest, highest = min(listed := list(values)), max(listed)
    low, high = scale.limits
    if not math.isfinite(low):
        low = lowest
    if not math.isfinite(high):
        return low, max(1.05 * highest, low + 1)
    tenths = np.floor(10 * (lowest - low) / (high - low) - 0.3)
    return float(max(low, low + (high - low) * tenths / 10)), high


def spread(heights: np.ndarray, gap: float, top: float) -> np.ndarray:
    """Rising heights moved apart to at least `gap` from one to the next, upwards, and none above `top`."""
    steps = gap * np.arange(len(heights))
    moved: np.ndarray = np.maximum.accumulate(heights - steps) + steps
    limits = top - steps[::-1]
    return np.minimum(moved, limits)


def _draw_box(
    axes: "Axes", place: float, scores: Mapping[str, float], colour: str, rng: np.random.Generator
) -> dict[str, float]:
    """Draw a set's box, its points and its mean; returns patient -> place of its point from left to right."""
    patients, values = list(scores), np.array(list(scores.values()))
    axes.boxplot([values], positions=[place], **_box_style(colour))
    # Patients by name, so that one stands in the same place whatever the order of the table.
    sides = dict(zip(sorted(patients), place + rng.uniform(-JITTER, JITTER, len(values)), strict=True))
    size = 10 if len(values) <= 100 else 4
    axes.scatter([sides[patient] for patient in patients], values, s=size, color=colour, alpha=0.6, linewidths=0, zorder=3)
    axes.plot(place, values.mean(), "D", color="white", markeredgecolor="black", markeredgewidth=1.0, markersize=5, zorder=4)
    return sides


def _box_style(colour: str) -> dict[str, Any]:
    from matplotlib.colors import to_rgb

    line = {"color": colour, "linewidth": 1.0}
    return {
        "widths": 2 * BOX,
        "showfliers": False,  # they are among the points
        "patch_artist": True,
        "boxprops": {"facecolor": (*to_rgb(colour), 0.15), "edgecolor": colour, "linewidth": 1.0},
        "medianprops": {"color": colour, "linewidth": 1.8},
        "whiskerprops": line,
        "capprops": line,
        "manage_ticks": False,
    }


def _name_worst(
    axes: "Axes", place: float, scores: Mapping[str, float], sides: Mapping[str, float], letters: int, scale: Scale
) -> None:
    """Write the worst patients' ids beside their box, a thin line from each to its point."""
    low, high = axes.get_ylim()
    worst = sorted(worst_patients(scores, scale), key=lambda patient: (scores[patient], patient))
    heights = spread(np.array([scores[patient] for patient in worst]), gap=0.036 * (high - low), top=high)
    for patient, height in zip(worst, heights, strict=True):
        axes.annotate(
            shortened(patient, letters),
            (sides[patient], scores[patient]),
            (place + BOX + 0.08, height),
            **_name_style(relpos=(0, 0.5)),
        )


def _letters(scores: Mapping[str, Mapping[str, float]], scale: Scale) -> int:
    """How many letters of an id are shown beside a box: all of the longest that is named, or what the page has room for."""
    named = [len(patient) for each in scores.values() for patient in worst_patients(each, scale)]
    room = int((style.WIDTH / len(scores) - 2 * BOX - 0.25) / LETTER)
    return min(max(named, default=0), max(SHORTEST, min(room, LONGEST)))


def _folded(name: str, letters: int) -> str:
    return "\n".join(textwrap.fill(line, letters) for line in name.splitlines())


def _draw_middle(axes: "Axes", values: np.ndarray, scale: Scale) -> None:
    """Draw lines at the mean and the median, with their values in the legend."""
    lines = {"mean": (values.mean(), "solid"), "median": (np.median(values), (0, (4, 2)))}
    for name, (value, line) in lines.items():
        axes.axvline(value, color="black", linewidth=1, linestyle=line, label=f"{name} {scale.text(value)}")


def _name_lines(axes: "Axes", ordered: list[str], values: np.ndarray, scale: Scale) -> None:
    """Draw a line for each patient, with the id at the left."""
    axes.hlines(np.arange(len(ordered)), axes.get_xlim()[0], values, color="#DDDDDD", linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(ordered)), [shortened(patient, LONGEST) for patient in ordered], fontsize=6)


def _name_last(axes: "Axes", ordered: list[str], values: np.ndarray, scale: Scale) -> None:
    """Name the worst of many patients alone, on the side without points, a thin line to each."""
    axes.set_yticks([])
    axes.set_ylabel("patients, the best at the top")
    low, high = axes.get_xlim()
    left = scale.sign >= 0  # the worst are the smallest, near the left side where nothing else is drawn
    for rank in range(WORST):
        place = len(ordered) - 1 - rank
        axes.annotate(
            shortened(ordered[place], LONGEST),
            (values[place], place),
            (
                low + 0.02 * (high - low) if left else high - 0.02 * (high - low),
                place - (0.05 + 0.03 * rank) * len(ordered),
            ),
            ha="left" if left else "right",
            **_name_style(relpos=(1 if left else 0, 0.5)),
        )


def _name_style(relpos: tuple[float, float]) -> dict[str, Any]:
    """A small name with a thin line to its point; `relpos` is where on the name the line begins."""
    arrow = {"arrowstyle": "-", "linewidth": 0.4, "color": "#777777", "shrinkA": 0, "shrinkB": 1.5, "relpos": relpos}
    return {"fontsize": 5.5, "va": "center", "color": "#333333", "arrowprops": arrow}


def _refuse_empty(scores: Mapping[str, Mapping[str, float]]) -> None:
    if not scores or not all(scores.values()):
        raise ValueError("expected at least one set of scores, each of at least one patient")
