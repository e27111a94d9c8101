"""Scans of a report: those of the worst patients, as large as the page may be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.parallel import map_cases
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig
from data_prep.scans import nifti
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import Source
from evaluation.inference.predictions import PROBABILITIES, prediction_path
from evaluation.inference.scans import Scan, read_scan
from evaluation.reports import volumes
from evaluation.reports.content import ScanViewer

NOTE = "Volumes are cut around the head and have 8 bits; images are compressed with losses, classes without."
QUALITIES = ((90, False), (75, False), (60, False), (45, False), (30, False), (75, True), (50, True), (30, True))
"""Qualities of WebP, and whether voxels are halved along each axis, from the best to the smallest."""


def scan_viewer(
    source: Source,
    cases: Sequence[CaseFiles],
    folders: Mapping[str, Path],
    names: Mapping[str, str],
    schema: LabelSchema,
    module: str,
    room: int,
    channel: str | None = None,
) -> ScanViewer:
    """Viewer of scans.

    Args:
        source: of the scans.
        cases: at least one, in the order of the viewer.
        folders: name -> predictions.
        names: patient -> name in the report.
        schema: of the classes.
        module: JavaScript of NiiVue.
        room: bytes that all scans may take in the page.
        channel: that is shown; None: see `read_scan`.
    """

    def pack(files: CaseFiles) -> dict[str, Any]:
        there = {key: folder for key, folder in keys.items() if prediction_path(folder, files.id).is_file()}
        scan = read_scan(source, files, channel, list(there.values()), schema, PrepareConfig())
        labels = {} if scan.classes is None else {"truth": scan.classes}
        labels |= dict(zip(there, scan.predictions, strict=True))
        if (tumour := tumour_probability(next(iter(folders.values())), scan)) is not None:
            labels["probability"] = tumour
        small = volumes.cropped(volumes.Scan(scan.image, labels, scan.geometry.spacing_mm))
        name = names[files.patient]
        return _fitted(small, room // len(cases)) | {"name": name, "caption": f"{name}, {scan.channel}"}

    keys = dict(zip(_keys(folders), folders.values(), strict=True))
    packed = map_cases(pack, cases, title="packing scans")
    overlays = list(zip(keys, folders if len(folders) > 1 else ["prediction"], strict=True))
    if any("truth" in scan["labels"] for scan in packed):
        overlays = [("truth", "annotation"), *overlays, ("differences", "differences")]
    if any("probability" in scan["labels"] for scan in packed):
        overlays.append(("probability", "tumour probability"))
    halved = sum(scan["halved"] for scan in packed)
    note = NOTE + (
        f" {halved} of {len(packed)} have half as many voxels along each axis, for the size of the page." if halved else ""
    )
    return ScanViewer(packed, schema.class_names[1:], overlays, module, note)


def tumour_probability(folder: Path, scan: Scan) -> np.ndarray | None:
    """Probability of any class but background on the scan's grid, in steps of 8 from 0 to 248; None where it is not stored.

    Args:
        folder: of predictions, with --probabilities.
        scan: of the case.

    Raises:
        UserError: a file that does not fit the case.
    """
    path = folder / f"{scan.id}{PROBABILITIES}.nii.gz"
    if not path.is_file():
        return None
    background = nifti.read_image(ImageRef(path, 0))
    if background.shape != scan.grid.native_shape:
        raise UserError(f"{path}: expected the shape {scan.grid.native_shape} of case {scan.id}; received {background.shape}")
    levels = np.round(31 * (1 - np.clip(background, 0, 1))).astype(np.uint8) * 8
    return scan.grid.reorient_label(levels)


def chosen_cases(source: Source, predicted: Sequence[str], patients: Sequence[str], most: int) -> list[CaseFiles]:
    """Cases that were predicted, patient by patient in the order given, of at most so many patients.

    Raises:
        UserError: the source has none of them.
    """
    known: dict[str, list[CaseFiles]] = {}
    for files in source.cases():
        if files.id in set(predicted):
            known.setdefault(files.patient, []).append(files)
    if patients and not known:
        raise UserError(f"{source.root}: expected the scans that were predicted; it has none of them; name them by --source")
    return [files for patient in patients[:most] for files in known.get(patient, [])]


def _keys(folders: Mapping[str, Path]) -> list[str]:
    """Names of predictions in the page: prediction, prediction2 and so on."""
    return [f"prediction{number if number > 1 else ''}" for number in range(1, len(folders) + 1)]


def _fitted(scan: volumes.Scan, room: int) -> dict[str, Any]:
    """A packed scan, in the best quality that has room."""
    small = None
    for quality, is_halved in QUALITIES:
        if is_halved and small is None:
            small = volumes.halved(scan)
        packed = volumes.packed(small if is_halved and small is not None else scan, quality)
        if volumes.size(packed) <= room:
            break
    return packed | {"halved": is_halved}
