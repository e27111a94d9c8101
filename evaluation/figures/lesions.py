"""Figure of lesions by volume: how many are found, and the Dice of each one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.metrics.lesion_rules import LESION_RULES
from common.tables import counted
from data_prep.structures import Structure
from evaluation.figures import style
from evaluation.scores.lesions import LesionScores
from evaluation.tables.lesions import VolumeGroup, lesion_structures, volume_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTE = "#555555"
MOST_STRUCTURES = 6  # rows of a figure that a page has room for


def draw_lesions(path: Path, lesions: Sequence[LesionScores], structures: Sequence[Structure], patients: int) -> list[Path]:
    """Draw the sensitivity by volume and the Dice of every lesion over its volume, a row for each structure.

    Args:
        path: the files to write, without suffix.
        lesions: of one rule.
        structures: of the schema, in the order in which they are drawn.
        patients: how many, for the caption.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        ValueError: no lesion, or lesions of several rules.
    """
    rules = {lesion.rule for lesion in lesions}
    if len(rules) != 1:
        raise ValueError(f"expected lesions of one rule; received {len(lesions)} lesions of {len(rules)} rules")
    (rule,) = rules
    shown = lesion_structures(lesions, structures)[:MOST_STRUCTURES]
    with style.style():
        figure = style.new_figure(height=1.9 * len(shown) + 0.6, gaps=(0.08, 0.05))
        axes = figure.subplots(len(shown), 2, squeeze=False, sharex="col", width_ratios=(1, 1.35))
        for (left, right), structure in zip(axes, shown, strict=True):
            mine = [lesion for lesion in lesions if lesion.structure == structure]
            _draw_sensitivity(left, volume_groups(mine), structure)
            _draw_dice(right, mine)
        axes[-1, 0].set_xlabel("volume of the lesion (mm$^3$)")
        axes[-1, 1].set_xlabel("volume of the lesion (mm$^3$)")
        handles, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        caption = f"{LESION_RULES[rule].title}; lesions of {counted(patients, 'patient')}; above each bar: found / true lesions"
        figure.suptitle(caption, fontsize=6.5, color=NOTE, x=0.01, ha="left")
        rows = [
            [each.structure.title, each.true, each.matched, each.volume_mm3, each.dice]
            for each in lesions
            if each.structure in shown
        ]
        return style.save(figure, path, [["structure", "true", "matched", "volume_mm3", "dice"], *rows])


def _draw_sensitivity(axes: "Axes", groups: Sequence[VolumeGroup], structure: Structure) -> None:
    """Draw the share of true lesions that is found for each range of volumes, their numbers above the bars."""
    places = np.arange(len(groups))
    shares = [group.sensitivity for group in groups]
    axes.bar(places, [1.0 if len(group.dice) else 0.0 for group in groups], width=0.72, color="#E8E8E8", zorder=1)
    axes.bar(places, np.nan_to_num(shares), width=0.72, color=style.RUN_COLOURS[0], zorder=2)
    for place, group in enumerate(groups):
        text = f"{group.found}/{len(group.dice)}" if len(group.dice) else "none"
        axes.text(place, 1.03 if len(group.dice) else 0.03, text, ha="center", va="bottom", fontsize=6, color=NOTE)
    axes.set(ylim=(0, 1.16), ylabel=f"sensitivity, {structure.title}", xlim=(-0.6, len(groups) - 0.4))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xticks(places, [_range_label(group) for group in groups])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _range_label(group: VolumeGroup) -> str:
    """Range of volumes in few letters: `20–100`, `100–10³`, `≥10⁴`."""
    low, high = (f"10$^{round(np.log10(each))}$" if each >= 1000 else f"{each:g}" for each in (group.low, min(group.high, 1e9)))
    return f"≥{low}" if np.isinf(group.high) else f"{low}–{high}"


def _draw_dice(axes: "Axes", lesions: Sequence[LesionScores]) -> None:
    """Draw a point for each lesion: found ones by their Dice, missed and false ones on lines below 0."""
    shown = [each for each in lesions if not each.true or LESION_RULES[each.rule].detects(each.volume_mm3)]
    kinds = (
        ("found", [each for each in shown if each.true and each.matched], "o", style.RUN_COLOURS[0]),
        ("missed", [each for each in shown if each.true and not each.matched], "v", style.RUN_COLOURS[1]),
        ("false positive", [each for each in shown if not each.true], "x", "#333333"),
    )
    levels = {"found": None, "missed": -0.08, "false positive": -0.18}
    for name, each, marker, colour in kinds:
        level = levels[name]
        heights = [lesion.dice if level is None else level for lesion in each]
        volumes = [lesion.volume_mm3 for lesion in each]
        size = 14 if len(shown) <= 300 else 6
        line = 0.8 if marker == "x" else 0.0
        axes.scatter(volumes, heights, s=size, marker=marker, color=colour, label=name, alpha=0.65, linewidths=line, zorder=3)
    axes.set_xscale("log")
    axes.axhline(0, color="#777777", linewidth=0.6, zorder=1)
    axes.set(ylim=(-0.25, 1.03), ylabel="Dice of the lesion ↑")
    axes.set_yticks(
        [-0.18, -0.08, *np.linspace(0, 1, 6)], ["false", "missed", *(f"{each:.1f}" for each in np.linspace(0, 1, 6))]
    )
