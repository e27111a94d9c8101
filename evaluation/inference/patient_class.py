"""Class of a patient, such as a tumour's grade, from the slices of a scan; and the table of all cases, `classes.csv`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_text
from common.tables import csv_text, read_rows
from data_prep.scans.case import CaseFiles
from evaluation.inference.ensemble import Classifiers
from training.heads.classification import ClassificationHead

CLASSES = "classes.csv"


@dataclass(frozen=True)
class ClassifiedCase:
    """Predicted class of one case.

    Attributes:
        case, patient: ids.
        attribute: the value that the source gives, as written there; empty where it gives none.
        slices: number of slices that were classified.
        probabilities: (classes,), their mean over these slices.
    """

    case: str
    patient: str
    attribute: str
    slices: int
    probabilities: np.ndarray


def classify_patient(
    files: CaseFiles, classifiers: Classifiers, image: np.ndarray, voxels: np.ndarray | None
) -> ClassifiedCase:
    """Classify one case by the mean probability of its slices.

    Args:
        files: of the case.
        classifiers: the networks.
        image: (Z, H, W, C), as prepared.
        voxels: (Z, H, W) class indices of voxels, predicted or, where there are none, true: classifiers of tumour slices are
            applied to those with tumour. All slices are used where there is no tumour or nothing is known.
    """
    head = classifiers.target
    tumour = np.zeros(len(image), bool) if voxels is None else ((voxels > 0) & (voxels < 255)).any(axis=(1, 2))
    chosen = tumour if head.tumour_only and tumour.any() else np.ones(len(image), bool)
    probabilities = classifiers.probabilities(image)[chosen].mean(axis=0)
    attribute = files.attributes.get(head.attribute, "")
    return ClassifiedCase(files.id, files.patient, attribute, int(chosen.sum()), probabilities)


def write_classes(folder: Path, head: ClassificationHead, backbone: str, cases: list[ClassifiedCase]) -> Path:
    """Write `classes.csv`: a row per case, rows of an earlier call with the same runs included.

    Args:
        folder: predictions folder.
        head: of the classifiers.
        backbone: where the classifiers' first weights come from.
        cases: of this call.
    """
    names = head.class_names
    heading = ["case", "patient", head.attribute, "predicted", *(f"probability {name}" for name in names), "slices", "backbone"]
    body: list[list[Any]] = [
        [
            case.case,
            case.patient,
            case.attribute,
            names[int(case.probabilities.argmax())],
            *(float(value) for value in case.probabilities),
            case.slices,
            backbone,
        ]
        for case in cases
    ]
    path = folder / CLASSES
    new = {case.case for case in cases}
    earlier = [list(row.values()) for row in read_rows(path) if row["case"] not in new] if path.is_file() else []
    write_text(path, csv_text([heading, *sorted([*earlier, *body], key=lambda row: str(row[0]))]))
    return path
