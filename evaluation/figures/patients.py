"""Figures of scores per patient: a box per set of scores, and all patients of one set in order."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics.metric import Scale
from common.tables import counted
from evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = "diamond: mean, points: patients"
BOXED = "box: quartiles, line: median (of {fewest} patients or more)"
FEWEST = 10  # patients of a set that has a box; quartiles of fewer would be values of single patients
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
    path: Path,
    scores: Mapping[str, Mapping[str, float]],
    scale: Scale,
    structure: str,
    seed: int = 0,
    names: bool = True,
) -> list[Path]:
    """Box plot of sets of scores: quartiles and median, whiskers to 1.5 times the box, every patient, and the mean.

    Sets of fewer than `FEWEST` patients have points and the mean alone.

    Args:
        path: the files to write, without suffix.
        scores: name of the set, which may have several lines -> patient -> score.
        scale: of the scores: limits of the axis, and which patients are the worst.
        structure: display name of the structure that is scored, for the axis.
        seed: of the points' places from left to right, which mean nothing.
        names: name the worst patients.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        ValueError: no set, or one without patients.
    """
    _refuse_empty(scores)
    low, high = axis_limits([value for each in scores.values() for value in each.values()], scale)
    worst = {name: worst_patients(each, scale) if names else [] for name, each in scores.items()}
    longest = max((len(patient) for each in worst.values() for patient in each), default=0)
    room = int((style.WIDTH / len(scores) - 2 * BOX - 0.25) / LETTER)
    letters = min(longest, max(SHORTEST, min(room, LONGEST)))
    shown = short_names([patient for each in scores.values() for patient in each], letters)
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
        for index, (name, each) in enumerate(scores.items()):
            colour = style.RUN_COLOURS[index % len(style.RUN_COLOURS)]
            sides = _draw_box(axes, pitch * index, each, colour, np.random.default_rng((seed, index)))
            places = {shown[patient]: (sides[patient], each[patient]) for patient in worst[name]}
            _name_points(axes, pitch * index, places)
        lines = {name: [textwrap.fill(line, int(pitch * 14)) for line in name.splitlines()] for name in scores}
        ticks = ["\n".join([*lines[name], f"n = {len(each)}"]) for name, each in scores.items()]
        axes.set_xticks(pitch * np.arange(len(scores)), ticks)
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", length=0)
        boxed = [BOXED.format(fewest=FEWEST)] if max(map(len, scores.values())) >= FEWEST else []
        named = "the worst of them named" if max(map(len, scores.values())) > WORST else "named"
        caption = ", ".join([*boxed, CAPTION, *([named] if names else [])])
        axes.set_title(textwrap.fill(caption, int(width * 15)), fontsize=6.5, color="#555555", loc="left")
        return style.save(figure, path, _numbers(scores, scale, names))


def draw_per_patient(path: Path, scores: Mapping[str, float], scale: Scale, structure: str, names: bool = True) -> list[Path]:
    """Dot plot of the patients of one set from the best down to the worst, with lines for the mean and the median.

    Args:
        path: the files to write, without suffix.
        scores: patient -> score. Of more than 60 patients only the worst are named.
        scale: of the scores: limits of the axis, and which patients are the worst.
        structure: display name of the structure that is scored, for the axis.
        names: name patients.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        ValueError: no patient.
    """
    _refuse_empty({structure: scores})
    ordered = scale.worst_first(scores)[::-1]
    values = np.array([scores[patient] for patient in ordered])
    (low, high), many = axis_limits(values, scale), len(ordered) > MOST_NAMED
    shown = short_names(ordered, LONGEST)
    with style.style():
        figure = style.new_figure(height=MANY if many else 0.85 + LINE * len(ordered), width=4.6)
        axes = figure.subplots()
        margin = 0.02 * (high - low)
        axes.set(
            xlim=(low - margin, high + margin),
            xlabel=f"{scale.arrow_label}, {structure}; n = {counted(len(ordered), 'patient')}",
        )
        axes.set_ylim((1.02 if many else 1) * len(ordered) - 0.4, -0.6 - 0.02 * many * len(ordered))
        axes.plot(values, np.arange(len(ordered)), "o", color=style.RUN_COLOURS[0], markersize=2 if many else 3.8, zorder=3)
        for name, value, line in (("mean", values.mean(), "solid"), ("median", np.median(values), (0, (4, 2)))):
            axes.axvline(value, color="black", linewidth=1, linestyle=line, label=f"{name} {scale.text(value)}")
        if many:
            _name_last(axes, [shown[patient] for patient in ordered] if names else [], values, scale)
        else:
            axes.hlines(np.arange(len(ordered)), axes.get_xlim()[0], values, color="#DDDDDD", linewidth=0.8, zorder=1)
            axes.set_yticks(range(len(ordered)), [shown[each] if names else "" for each in ordered], fontsize=6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper right", ncols=2)
        return style.save(figure, path, _numbers({structure: scores}, scale, names))


def short_names(patients: Iterable[str], letters: int) -> dict[str, str]:
    """Short names of patients that stay different: id -> at most `letters` letters, an ellipsis where some are left out.

    Where an id is too long, first what all ids begin with is left out, then the end of each, or else its middle.
    """
    ids = list(dict.fromkeys(patients))
    if all(len(patient) <= letters for patient in ids):
        return {patient: patient for patient in ids}
    pairs = list(zip(min(ids), max(ids), strict=False)) if len(ids) > 1 else []
    common = next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))
    cut = max(ids[0].rfind(separator, 0, common) for separator in "_-. ") + 1
    tails = ["…" + patient[cut:] if cut else patient for patient in ids]
    ends = [tail if len(tail) <= letters else tail[: letters - 1] + "…" for tail in tails]
    if len(set(ends)) == len(ids):
        return dict(zip(ids, ends, strict=True))
    return {patient: shortened(patient, letters) for patient in ids}


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
    """Limits of an axis: the whole range of a bounded scale, so that figures compare; else to above the largest value."""
    lowest, highest = min(listed := list(values)), max(listed)
    low, high = scale.limits
    low = low if math.isfinite(low) else lowest
    return low, high if math.isfinite(high) else max(1.05 * highest, low + 1)


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
    if len(values) >= FEWEST:
        axes.boxplot([values], positions=[place], **_box_style(colour))
    # Patients by name, so that one stands in the same place whatever the order of the table.
    sides = dict(zip(sorted(patients), place + rng.uniform(-JITTER, JITTER, len(values)), strict=True))
    size = 24 if len(values) < FEWEST else 10 if len(values) <= 100 else 4
    axes.scatter([sides[patient] for patient in patients], values, s=size, color=colour, alpha=0.7, linewidths=0, zorder=3)
    hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "black"}  # hides no patient
    axes.plot(place, values.mean(), "D", markeredgewidth=1.1, markersize=7, zorder=4, **hollow)
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


def _name_points(axes: "Axes", place: float, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names of points beside their box, a thin line from each to its point."""
    low, high = axes.get_ylim()
    rising = sorted(points, key=lambda name: points[name][1])
    heights = spread(np.array([points[name][1] for name in rising]), gap=0.036 * (high - low), top=high)
    for name, height in zip(rising, heights, strict=True):
        axes.annotate(name, points[name], (place + BOX + 0.08, height), **_name_style(relpos=(0, 0.5)))


def _name_last(axes: "Axes", ordered: list[str], values: np.ndarray, scale: Scale) -> None:
    """Name the worst of many patients alone, on the side without points, a thin line to each."""
    axes.set_yticks([])
    axes.set_ylabel("patients, the best at the top")
    low, high = axes.get_xlim()
    left = scale.sign >= 0  # the worst are the smallest, near the left side where nothing else is drawn
    for rank, name in enumerate(ordered[::-1][:WORST]):
        place = len(ordered) - 1 - rank
        axes.annotate(
            name,
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


def _numbers(sets: Mapping[str, Mapping[str, float]], scale: Scale, names: bool) -> list[list[Any]]:
    """Rows of the numbers: set, patient (without names empty) and value."""
    rows = [
        [" ".join(name.split()), patient if names else "", value]
        for name, each in sets.items()
        for patient, value in each.items()
    ]
    return [["set", "patient", scale.name], *rows]


def _refuse_empty(scores: Mapping[str, Mapping[str, float]]) -> None:
    if not scores or not all(scores.values()):
        raise ValueError("expected at least one set of scores, each of at least one patient")
