"""A patient's category, such as a tumour's grade, from the slices of a scan; and the table of all cases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.files import write_text
from common.tables import csv_text
from data_prep.scans.case import CaseFiles
from data_prep.sources.csv_rows import read_rows
from evaluation.inference.ensemble import Classifiers
from training.run import Run

CATEGORIES = "categories.csv"


@dataclass(frozen=True)
class CategoryRow:
    """What is told of one case.

    Attributes:
        case, patient: ids.
        attribute: the value that the source gives, as it stands there; empty where it gives none.
        slices: how many slices were looked at.
        probabilities: (categories,), their mean over these slices.
    """

    case: str
    patient: str
    attribute: str
    slices: int
    probabilities: np.ndarray


def tell_category(files: CaseFiles, classifiers: Classifiers, image: np.ndarray, classes: np.ndarray | None) -> CategoryRow:
    """Tell the category of one case.

    Args:
        files: of the case.
        classifiers: the networks.
        image: (Z, H, W, C), as prepared.
        classes: (Z, H, W) class indices, predicted or, where there are none, true: classifiers of tumour slices look at those
            with tumour. All slices are looked at where there is no tumour or nothing is known.
    """
    run = classifiers.runs[0]
    tumour = np.zeros(len(image), bool) if classes is None else ((classes > 0) & (classes < 255)).any(axis=(1, 2))
    chosen = tumour if run.config.slices == "tumour" and tumour.any() else np.ones(len(image), bool)
    probabilities = classifiers.probabilities(image)[chosen].mean(axis=0)
    attribute = files.attributes.get(run.facts["attribute"], "")
    return CategoryRow(files.id, files.patient, attribute, int(chosen.sum()), probabilities)


def write_categories(folder: Path, run: Run, rows: list[CategoryRow]) -> Path:
    """Write `categories.csv`: a row per case, those that an earlier call with the same runs has left included."""
    names = run.facts["categories"]
    attribute = run.facts["attribute"]
    head = ["case", "patient", attribute, "predicted", *(f"probability {name}" for name in names), "slices", "backbone"]
    body = [
        [
            row.case,
            row.patient,
            row.attribute,
            names[int(row.probabilities.argmax())],
            *(float(value) for value in row.probabilities),
            row.slices,
            run.facts["pretrained"],
        ]
        for row in rows
    ]
    path = folder / CATEGORIES
    told = {row.case for row in rows}
    earlier = [list(row.values()) for row in read_rows(path) if row["case"] not in told] if path.is_file() else []
    write_text(path, csv_text([head, *sorted([*earlier, *body], key=lambda row: str(row[0]))]))
    return path
