"""Several segmentation heads of one network: each writes a predictions folder, and one is chosen for each case.

PREDICTIONS/HEAD/      predictions of each head, as of a network with this head alone
            chosen/    the chosen head's prediction of each case, where all heads have the same classes
            heads.csv  for each case the chosen head, the rule that chose it, and each head's confidence and volume

The rule: a case with an attribute whose value is the name of a head, such as tumour: mets, has this head. Any other case has
the most confident head: that with the highest mean foreground probability over the voxels that it segments as foreground; a
head that finds nothing has confidence 0, and of equal ones the first is taken.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.labels import LabelSchema
from data_prep.prepare import Prepared
from data_prep.scans.case import Case
from evaluation.heads.base import Predictor
from evaluation.heads.head_table import CHOSEN, TABLE, has_common_classes, read_head_table, write_head_table
from evaluation.heads.segmentation import SegmentationPredictor
from evaluation.inference.ensemble import joint_probabilities
from evaluation.inference.predictions import OVERLAYS

MOST_CONFIDENT = "most confident"


class SeveralHeadsPredictor(Predictor):
    """Predictor of several segmentation heads, whose networks run once for all of them.

    Args:
        predictors: of each head, by its name.
        out: folder of all predictions.
    """

    def __init__(self, predictors: Mapping[str, SegmentationPredictor], out: Path) -> None:
        self._predictors = predictors
        self._out = out
        self._rows: dict[str, list[object]] = {}

    @property
    def folders(self) -> dict[Path, LabelSchema]:
        """Predictions folders that are written, each with the schema of its ids."""
        folders = {each.task.out: each.task.schema for each in self._predictors.values()}
        if self._has_common_classes:
            folders[self._out / CHOSEN] = next(iter(folders.values()))
        return folders

    def predict(self, case: Case, prepared: Prepared, voxels: np.ndarray | None) -> np.ndarray:
        """Segment one case by every head and write the files; returns the chosen head's class indices (Z, H, W)."""
        first = next(iter(self._predictors.values())).task
        inside = prepared.inside if first.inside_only else None
        ensembles = [predictor.ensemble for predictor in self._predictors.values()]
        probabilities = joint_probabilities(ensembles, prepared.image, inside)
        classes, confidences = {}, {}
        for name, predictor in self._predictors.items():
            classes[name] = predictor.write_probabilities(case, prepared, probabilities[name], inside)
            confidences[name] = confidence(probabilities[name], classes[name])
        head, rule = choose_head(confidences, case.files.attributes)
        counts = [int(np.count_nonzero(classes[name])) for name in classes]
        self._rows[case.files.id] = [case.files.id, head, rule, *confidences.values(), *counts]
        if self._has_common_classes:
            self._predictors[head].write_case(case, prepared, classes[head], probabilities[head], self._out / CHOSEN)
        return classes[head]

    def finish(self) -> str:
        """Write heads.csv, earlier cases included; returns the description of the folders.

        Raises:
            UserError: an earlier table of other heads.
        """
        names = list(self._predictors)
        write_head_table(self._out, names, read_head_table(self._out, names) | self._rows)
        first = next(iter(self._predictors.values()))
        pictures = f", pictures in {OVERLAYS}/ of each" if first.finish() else ""  # all heads warn of the same scans
        chosen = f", chosen by {TABLE}" if self._has_common_classes else f", heads by {TABLE}"
        return f", a folder for each of {', '.join(names)}{chosen}{pictures}"

    @property
    def _has_common_classes(self) -> bool:
        """True where all heads have the same classes, so that one folder can hold the predictions of any."""
        return has_common_classes([each.task.schema for each in self._predictors.values()])


def confidence(probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Mean foreground probability over the voxels that are segmented as foreground; 0 where there is none.

    Args:
        probabilities: (Z, H, W, classes).
        classes: (Z, H, W) class indices after post-processing.
    """
    found = classes > 0
    return float((1 - probabilities[..., 0][found]).mean()) if found.any() else 0.0


def choose_head(confidences: Mapping[str, float], attributes: Mapping[str, str]) -> tuple[str, str]:
    """Choose the head of a case by the rule of this module.

    Args:
        confidences: of each head.
        attributes: of the case's patient.

    Returns:
        The head, and the rule that chose it, such as "tumour is mets".
    """
    for attribute, value in attributes.items():
        for head in confidences:
            if value.lower() == head.lower():
                return head, f"{attribute} is {value}"
    return max(confidences, key=lambda head: confidences[head]), MOST_CONFIDENT
