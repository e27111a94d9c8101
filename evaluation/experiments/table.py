"""Tables of a study: results read from run folders, ranked, and written as CSV and Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError, did_you_mean
from common.files import write_text
from common.metrics.catalogue import METRICS
from common.metrics.metric import Metric, Scale
from common.packed_arrays import check_hdf5
from common.tables import csv_text, latex_of, markdown
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN
from evaluation.scores.folder import MANIFEST, read_scores
from evaluation.scores.records import record_keys, score_key
from evaluation.scores.trained import TrainedPatients
from training.run import Run
from training.state.history import read_history

LOSS, ACCURACY = Scale(name="loss", heading="loss", direction="smaller"), Scale(name="accuracy", heading="accuracy")


@dataclass(frozen=True)
class Result:
    """Scores and cost of a run.

    Attributes:
        folder: of the run.
        scores: key (`score_key`, loss or accuracy) -> value.
        epochs: that were trained.
        minutes: that it took.
        parameters: of the network.
        trained: scored patients who trained it.
    """

    folder: Path
    scores: dict[str, float]
    epochs: int
    minutes: float
    parameters: int
    trained: TrainedPatients


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        name: heading in Markdown.
        form: of its numbers in Markdown, such as .3f; CSV has all digits.
        values: a number, a text or None per row.
        key: heading in CSV; empty: `name`.
        csv_only: True leaves it out of Markdown.
        markdown_only: True leaves it out of CSV.
    """

    name: str
    form: str
    values: Sequence[Any]
    key: str = ""
    csv_only: bool = False
    markdown_only: bool = False


def rankings(schema: LabelSchema) -> dict[str, tuple[Scale, str]]:
    """Scores by which runs may be ranked: key -> scale and heading, such as `dice`, `dice_WT`, `iou_with_background`."""
    found: dict[str, tuple[Scale, str]] = {"loss": (LOSS, "loss"), "accuracy": (ACCURACY, "accuracy")}
    for structure, metric in record_keys(schema):
        name = "" if structure == CLASS_MEAN else " with background" if structure.kind == "mean" else f" {structure.name}"
        found.setdefault(score_key(structure, metric.name), (metric, f"{metric.heading}{name}"))
    return found


def check_ranking(by: str, schema: LabelSchema) -> None:
    """Refuse a key that runs on records of this schema are not scored by.

    Raises:
        UserError: lists the known keys.
    """
    known = rankings(schema)
    if by not in known:
        plain = [key for key in known if "@" not in key]
        lesions = "lesion_dice@RULE_STRUCTURE and the like (docs/metrics.md)"
        raise UserError(f"--rank_by: expected one of {', '.join(plain)}, or {lesions}; received {by}{did_you_mean(by, known)}")


def named_metrics(by: str, schema: LabelSchema) -> list[str]:
    """Metrics that evaluation.score computes only where they are named, and that a ranking needs: one or none."""
    scale, _ = rankings(schema)[by]
    return [scale.name] if isinstance(scale, Metric) and not scale.by_default else []


def scores_file(folder: Path, subset: str) -> Path:
    """Path of a run's scores, as evaluation.score writes them."""
    return folder / f"scores_{subset}" / MANIFEST


def read_result(folder: Path, subset: str) -> Result:
    """Result of a run.

    Raises:
        UserError: it has not been trained, or not been scored.
    """
    file = scores_file(folder, subset)
    rows, stored = read_history(folder), read_scores(file.parent)
    if not rows or stored.per_patient:
        raise UserError(f"{file}: expected the scores of a trained run, as glioskull score writes them; score it again")
    scores: dict[str, float] = {}
    for row, each in stored.summary.items():
        scores.setdefault(stored.keys[row], each.value)  # of a region and a class of one name, the region
    parameters = count_parameters(Run(folder).weights)
    return Result(folder, scores, int(rows[-1]["epoch"]), rows[-1]["minutes"], parameters, stored.trained)


def count_parameters(weights: Path) -> int:
    """Numbers in a network's weights file, without those of the optimizer."""
    return check_hdf5(weights, "weights")


def ranked(results: Sequence[Result], by: str, schema: LabelSchema) -> list[Result]:
    """Results from the best to the worst by a key of `rankings`, by the direction of its metric; missing ones last."""
    sign = rankings(schema)[by][0].sign

    def place(result: Result) -> tuple[bool, float]:
        value = result.scores.get(by, math.nan)
        return math.isnan(value), -sign * value

    return sorted(results, key=place)


def result_columns(results: Sequence[Result], by: str, schema: LabelSchema) -> list[Column]:
    """Columns of the table, a row per run in the order given; CSV has every score, Markdown the main ones.

    Args:
        results: ranked.
        by: key that they are ranked by, which Markdown always has.
        schema: of the records.
    """
    main = {"loss", by, *(name for name, metric in METRICS.items() if metric.shown == "interval" and metric.by_default)}
    known = {key: each for key, each in rankings(schema).items() if any(key in result.scores for result in results)}
    return [
        Column("rank", "d", range(1, len(results) + 1)),
        Column("run", "", [result.folder.name for result in results]),
        *(
            Column(
                heading + (f" ({scale.unit})" if scale.unit else ""),
                f".{scale.decimals}f",
                [result.scores.get(key) for result in results],
                key,
                key not in main,
            )
            for key, (scale, heading) in known.items()
        ),
        Column("epochs", "d", [result.epochs for result in results]),
        Column("minutes", ".1f", [result.minutes for result in results]),
        Column("parameters", ",d", [result.parameters for result in results]),
    ]


def write_table(stem: Path, columns: Sequence[Column], title: str, notes: Sequence[str]) -> str:
    """Write a table as `stem`.csv, `stem`.md and `stem`.tex.

    Args:
        stem: path without suffix.
        columns: all of one length.
        title: line above the table in Markdown.
        notes: below it in Markdown.

    Returns:
        The Markdown.
    """
    write_csv(stem.with_suffix(".csv"), columns)
    text = "\n\n".join([title, markdown_table(columns), *notes]) + "\n"
    write_text(stem.with_suffix(".md"), text)
    write_text(stem.with_suffix(".tex"), latex_of(text))
    return text


def write_csv(path: Path, columns: Sequence[Column]) -> None:
    """Write columns as CSV, every digit of their numbers."""
    stored = [column for column in columns if not column.markdown_only]
    rows = [[column.key or column.name for column in stored], *zip(*(column.values for column in stored), strict=True)]
    write_text(path, csv_text(rows, decimals=None))


def markdown_table(columns: Sequence[Column]) -> str:
    """Columns as a Markdown table."""
    shown = [column for column in columns if not column.csv_only]
    texts = [[column.name, *(_cell(value, column.form) for value in column.values)] for column in shown]
    return markdown(list(zip(*texts, strict=True)))


def _cell(value: Any, form: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return format(value, form)
