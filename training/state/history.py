"""History of a training: a row of scores per epoch, as history.csv."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from common.errors import UserError
from common.files import write_text
from common.manifests import Number, read_table, shown

OF_LOSSES = ("loss", "loss_weight")  # columns of a head that are no scores
ANNOTATED = "annotated"  # share of the examples in batches with an annotation for a head; not kept


def history_row(front: dict[str, float], logs: Mapping[str, float], heads: list[str]) -> dict[str, float]:
    """A row of the history: `front`, the loss, other training scores, validation scores.

    Args:
        front: epoch, phase and the like.
        logs: of Keras at the end of an epoch. Keras puts a head's name before its scores; of a single head it is left out.
        heads: names of all heads. Of several, a head's loss is the mean over the batches with an annotation for it, and scores
            that all of them have are also averaged, under the score's name alone; the scores and the loss of a head without
            annotated examples are NaN, and it is left out of the means.
    """
    logs = dict(logs)
    if len(heads) == 1:
        logs = {_without_head(name, heads[0]): value for name, value in logs.items()}
    else:
        logs = _with_means(logs, heads)
    training = {name: value for name, value in logs.items() if not name.startswith("val_")}
    validation = {name: value for name, value in logs.items() if name.startswith("val_")}
    return front | {"loss": training.pop("loss")} | training | validation


def _without_head(name: str, head: str) -> str:
    """The name of a score without the head's name before it."""
    front = "val_" if name.startswith("val_") else ""
    return front + name.removeprefix(front).removeprefix(f"{head}_")


def _with_means(logs: dict[str, float], heads: list[str]) -> dict[str, float]:
    """Logs with the means over heads of the scores that all of them have, such as mean_dice and val_mean_dice."""
    result = dict(logs)
    for front in ("", "val_"):
        of_head = [
            {name.removeprefix(f"{front}{head}_"): value for name, value in logs.items() if name.startswith(f"{front}{head}_")}
            for head in heads
        ]
        annotated = []
        for head, scores in zip(heads, of_head, strict=True):
            if (share := scores.pop(ANNOTATED, None)) is not None:
                del result[f"{front}{head}_{ANNOTATED}"]
                result[f"{front}{head}_loss"] = scores["loss"] / share if share else math.nan
            annotated += [scores] if share is None or share else []
        for score in of_head[0]:
            if score not in OF_LOSSES and all(score in scores for scores in of_head):
                values = [scores[score] for scores in annotated]
                result[front + score] = sum(values) / len(values) if values else math.nan
    return result


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write history.csv: a row per epoch, the same columns in all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.9g}" for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def read_history(run: Path) -> list[dict[str, float]]:
    """Rows of a run's history.csv, one per finished epoch; NaN for an empty cell, no rows without a file.

    Raises:
        UserError: no table, a cell that is no number, or no epoch or minutes in a row.
    """
    file = run / "history.csv"
    if not file.is_file():
        return []
    rows = read_table(file, "a training history", {"epoch": Number(0, 1e9)}, {"minutes": Number(0), "phase": Number(1, 1e6)})
    return [
        {name: cell if isinstance(cell, float) else _number(cell, f"{file}: row {place}: {name}") for name, cell in row.items()}
        for place, row in enumerate(rows, start=1)
    ]


def _number(cell: str, where: str) -> float:
    """Number of a cell; NaN of an empty one, and infinity where a loss was infinite."""
    try:
        return float(cell or "nan")
    except ValueError:
        raise UserError(f"{where}: expected a number; received {shown(cell)}") from None
