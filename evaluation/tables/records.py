"""The table of the glioma paper: loss, accuracy, Dice and IoU of a run on a subset of records, from one confusion matrix."""

from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json, write_text
from common.metrics import overlap
from evaluation.tables.patients import csv_text, wrapped

FORMAT = 1
AVERAGING = (
    "One confusion matrix summed over all slices of the subset; every score comes from it, so nothing is averaged over "
    "slices, batches or patients. Dice coefficient and mean IoU are means over all classes, background included, as in the "
    "glioma paper; the foreground means leave the background out."
)


def table_rows(found: dict[str, Any]) -> list[tuple[str, float]]:
    """The rows of the table.

    Args:
        found: `loss`, `confusion` (classes, classes) by truth and prediction, and the names `classes`.

    Returns:
        (name, value) in the order of the paper, then the foreground means.
    """
    confusion = np.asarray(found["confusion"], np.int64)
    single = zip(found["classes"], overlap.iou_per_class(confusion), strict=True)
    return [
        ("Loss", float(found["loss"])),
        ("Accuracy", overlap.accuracy(confusion)),
        ("Dice coefficient", overlap.mean_dice(confusion)),
        ("Mean IoU", overlap.mean_iou(confusion)),
        *((f"IoU class {c} ({name})", float(iou)) for c, (name, iou) in enumerate(single)),
        ("Foreground Dice", overlap.foreground_mean_dice(confusion)),
        ("Foreground mean IoU", overlap.foreground_mean_iou(confusion)),
    ]


def format_records_table(run: Path, subset: str, found: dict[str, Any]) -> str:
    """The table as text, with what it was counted over and what the means include."""
    rows = table_rows(found)
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(
        [
            f"{run.name} on {subset} of {found['records']}: {_counted(found)}",
            "",
            *(f"{name:<{width}}{value:.3f}" for name, value in rows),
            "",
            *wrapped([AVERAGING, overlap.ABSENT_RULE]),
        ]
    )


def write_records_table(folder: Path, run: Path, subset: str, found: dict[str, Any], options: dict[str, Any]) -> list[Path]:
    """Write `summary.csv`, `table.txt` and, last, `overlap.json`.

    Args:
        folder: where to.
        run: the run that was scored.
        subset: train, validation or test.
        found: `loss`, `confusion`, `classes`, `patients`, `slices`, `crop`.
        options: the command's, as given.

    Returns:
        The files written.
    """
    summary, table, manifest = (folder / name for name in ("summary.csv", "table.txt", "scores.json"))
    rows = table_rows(found)
    write_text(summary, csv_text([("score", "value"), *rows]))
    write_text(table, format_records_table(run, subset, found) + "\n")
    facts = {
        "format": FORMAT,
        "kind": "slices of records, on the prepared grid",
        "counted": _counted(found),
        "definitions": overlap.DEFINITIONS,
        "averaging": AVERAGING,
        "absent_rule": overlap.ABSENT_RULE,
        "confusion_axes": ["truth", "prediction"],
    }
    write_json(manifest, facts | found | {"options": options, "summary": dict(rows)})
    return [summary, table, manifest]


def _counted(found: dict[str, Any]) -> str:
    patients, slices = found["patients"], found["slices"]
    return (
        f"{patients} patient{'s' if patients != 1 else ''}, {slices} slices of the prepared grid (crop: {found['crop']}); "
        "what the crop cut off is not counted"
    )
