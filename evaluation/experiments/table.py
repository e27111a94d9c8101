"""The tables of a study: results read from run folders, ranked, and written as CSV and Markdown."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json, write_text
from evaluation.experiments.runs import read_history
from training.run import Run

RANKINGS = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "dice": "Dice coefficient",
    "mean_iou": "Mean IoU",
    "foreground_dice": "Foreground Dice",
    "foreground_mean_iou": "Foreground mean IoU",
}
"""What a study may be ranked by -> its name in the scores of evaluation.score."""


@dataclass(frozen=True)
class Result:
    """A run that was trained and scored.

    Attributes:
        folder: of the run.
        scores: name -> value, as evaluation.score gives them.
        epochs: that were trained.
        minutes: that it took.
        parameters: of the network.
    """

    folder: Path
    scores: dict[str, float]
    epochs: int
    minutes: float
    parameters: int


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        form: how Markdown shows its numbers, such as .3f; CSV shows them in full.
        values: a number, a text or None per row.
    """

    name: str
    form: str
    values: Sequence[Any]


def scores_file(folder: Path, subset: str) -> Path:
    """Where evaluation.score writes the scores of a run."""
    return folder / f"scores_{subset}" / "scores.json"


def read_result(folder: Path, subset: str) -> Result:
    """Read what a run reached.

    Raises:
        UserError: it has not been trained, or not been scored.
    """
    file = scores_file(folder, subset)
    rows, scores = read_history(folder), read_json(file, "scores").get("summary")
    if not rows or not isinstance(scores, dict):
        raise UserError(f"{file}: expected the scores of a trained run, as evaluation.score writes them; score it again")
    return Result(folder, scores, int(rows[-1]["epoch"]), rows[-1]["minutes"], count_parameters(Run(folder).weights))


def count_parameters(weights: Path) -> int:
    """Numbers in a network's weights file, without those of the optimizer."""
    import h5py

    sizes: list[int] = []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            sizes.append(int(item.size))

    with h5py.File(weights) as file:
        file.visititems(add)
    return sum(sizes)


def ranked(results: Sequence[Result], by: str) -> list[Result]:
    """Results from the best to the worst by one of RANKINGS: the loss upwards, scores downwards, missing ones last."""
    sign = 1 if by == "loss" else -1

    def place(result: Result) -> tuple[bool, float]:
        value = result.scores.get(RANKINGS[by], math.nan)
        return math.isnan(value), sign * value

    return sorted(results, key=place)


def result_columns(results: Sequence[Result], by: str) -> list[Column]:
    """The table of the glioma paper, a row per run in the order given, and what each run cost.

    Args:
        results: ranked.
        by: what they are ranked by, which is shown even where the paper's table has no such column.
    """
    names = dict.fromkeys(name for result in results for name in result.scores)
    shown = [name for name in names if not name.startswith("Foreground") or name == RANKINGS[by]]
    return [
        Column("rank", "d", range(1, len(results) + 1)),
        Column("run", "", [result.folder.name for result in results]),
        *(Column(_heading(name), ".3f", [result.scores.get(name) for result in results]) for name in shown),
        Column("epochs", "d", [result.epochs for result in results]),
        Column("minutes", ".1f", [result.minutes for result in results]),
        Column("parameters", ",d", [result.parameters for result in results]),
    ]


def _heading(score: str) -> str:
    """`IoU class 1 (edema)` without what a narrow table can do without."""
    return re.sub(r"IoU class \d+ \((.*)\)", r"IoU \1", score).removesuffix(" coefficient")


def write_table(stem: Path, columns: Sequence[Column], title: str, notes: Sequence[str]) -> str:
    """Write a table as `stem`.csv and `stem`.md.

    Args:
        stem: path without suffix.
        columns: all of one length.
        title: stands above the table in Markdown.
        notes: stand below it in Markdown.

    Returns:
        The Markdown.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    writer.writerows(zip(*(column.values for column in columns), strict=True))
    write_text(stem.with_suffix(".csv"), buffer.getvalue())
    text = "\n\n".join([title, _markdown(columns), *notes]) + "\n"
    write_text(stem.with_suffix(".md"), text)
    return text


def _markdown(columns: Sequence[Column]) -> str:
    cells = [[column.name, *(_cell(value, column.form) for value in column.values)] for column in columns]
    widths = [max(len(cell) for cell in column) for column in cells]
    heading, *rows = zip(
        *([cell.ljust(width) for cell in column] for column, width in zip(cells, widths, strict=True)), strict=True
    )
    lines = [heading, tuple("-" * width for width in widths), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, form: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return format(value, form)
