"""Annotation of a DICOM patient: found by the rules, attributed to a series, and brought onto a grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans import nifti
from data_prep.scans.annotations import combined, nifti_label, rasterised, seg_on_grid, structure_ids
from data_prep.scans.case import ImageRef
from data_prep.scans.contours import Structure, read_reference, read_rtstruct
from data_prep.scans.dicom import SEGMENTATION, Series
from data_prep.scans.dicom_header import DicomHeader
from data_prep.scans.dicom_seg import SegFile, read_seg, read_seg_reference
from data_prep.scans.volume import Volume
from data_prep.sources.dicom_patients import DicomPatient
from data_prep.sources.dicom_rules import LabelRule

SAME_GRID_MM = 1e-3
WORTH_A_WARNING = 0.01  # share of an annotation outside the scan

Content = Volume | SegFile | list[Structure] | None
"""Annotation as read: a NIfTI file with a position (None without one), a SEG, or contours."""


@dataclass(frozen=True)
class DicomAnnotation:
    """Annotation of a patient.

    Attributes:
        file: header of a SEG or RTSTRUCT, or the path of a NIfTI file.
        series: all of the patient.
        rule: ids of structures, and how contours are rasterised.
    """

    file: DicomHeader | Path
    series: Sequence[Series]
    rule: LabelRule

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path if isinstance(self.file, DicomHeader) else self.file

    @cached_property
    def series_uid(self) -> str:
        """SeriesInstanceUID of the images to which a SEG or RTSTRUCT refers; empty where it names none."""
        return self._reference[0]

    @cached_property
    def frame_of_reference(self) -> str:
        """Frame of reference that a SEG or RTSTRUCT names, else that of its series; empty where neither is known."""
        return self._reference[1] or (self.drawn_on.frame_of_reference if self.drawn_on else "")

    @cached_property
    def drawn_on(self) -> Series | None:
        """Series to which a SEG or RTSTRUCT refers; None where it is not there."""
        return next((each for each in self.series if self.series_uid and each.uid == self.series_uid), None)

    def nearest_series(self, used: Sequence[Series], max_gap: float, tolerance_mm: float) -> Series | None:
        """Series on whose grid the annotation is read.

        That is the one to which it refers, if its voxels can be read. Else it is the first of those used that has the grid of a
        NIfTI file, or the frame of reference of a DICOM object.
        """
        if isinstance(self.file, Path):
            header = nifti.read_header(self.file)
            i, j, k = (*header.shape, 1, 1, 1)[:3]
            own = Grid((i, j, k), header.affine).canonical  # converters from DICOM turn axes
            grids = ((series, series.stack.grid.canonical) for series in used)
            return next((series for series, grid in grids if grid.distance_mm(own) <= tolerance_mm), None)
        uid, space = self.series_uid, self.frame_of_reference
        drawn = [series for series in (*used, *self.series) if uid and series.uid == uid and not series.problem(max_gap)]
        near = [series for series in used if space and series.frame_of_reference == space]
        return next(iter([*drawn, *near]), None)

    def on_own_grid(self) -> Volume | None:
        """Annotation of a NIfTI file with a position, on the file's own grid; None for any other.

        Raises:
            UserError: it cannot be read.
        """
        if not isinstance(self.file, Path) or not nifti.read_header(self.file).has_affine:
            return None
        return Volume(nifti.read_image(ImageRef(self.file)), nifti.read_header(self.file).affine)

    def on(self, target: Series, classes: Mapping[str, int]) -> np.ndarray:
        """Annotation (i, j, k) on the grid of a series in the same space, of any integer dtype.

        Args:
            target: the series.
            classes: name of a class -> its id, for structures without a rule.

        Raises:
            UserError: it cannot be read, belongs to another space, or its structures have no ids.
        """
        grid = target.stack.grid
        if isinstance(self.file, Path):
            self._refuse_outside(self.on_own_grid(), target)
            return nifti_label(self.file, grid)
        space = self.frame_of_reference
        if space and space != target.frame_of_reference:
            drawn = self.drawn_on.name if self.drawn_on else "a series that is not here"
            raise UserError(
                f"{self.path}: label: drawn on {drawn}, in another frame of reference than {target.name}; "
                "make that channel the reference (--series), or register them first (glioskull align)"
            )
        content = read_seg(self.path) if self.file.modality == SEGMENTATION else read_rtstruct(self.path)
        self._refuse_outside(content, target)
        if isinstance(content, SegFile):
            drawn_on = target if self.drawn_on is None or target.uid == self.series_uid else self.drawn_on
            masks = seg_on_grid(content, drawn_on, grid)
            ids = structure_ids([name for name, _ in masks], self.rule.structures, classes, str(self.path))
            return combined([(identifier, masks[place][1]) for place, identifier in ids.items()], grid)
        ids = structure_ids([each.name for each in content], self.rule.structures, classes, str(self.path))
        return rasterised(content, ids, grid, self.rule.finer)

    def warnings(self, target: Series) -> Iterator[str]:
        """Warnings about an annotation on the grid of a series, a line each: a guess of its space, another grid, lost parts."""
        name = target.name
        content: Content
        if isinstance(self.file, Path):
            content = own = self.on_own_grid()
            if own is not None and own.grid.canonical.distance_mm(target.stack.grid.canonical) > SAME_GRID_MM:
                yield f"{self.path}: label: resampled to the grid of {name}"
        else:
            if not self.frame_of_reference:
                yield f"{self.path}: label: its series is not here and it names no frame of reference; taken as that of {name}"
            if self.frame_of_reference not in ("", target.frame_of_reference):
                return
            content = read_seg(self.path) if self.file.modality == SEGMENTATION else read_rtstruct(self.path)
        share = target.stack.grid.share_outside(_points(content))
        if WORTH_A_WARNING <= share < 1:
            yield f"{self.path}: label: {share:.0%} of it lies outside {name}; are slices missing?"

    def _refuse_outside(self, content: Content, target: Series) -> None:
        """Refuse an annotation that has no part in common with a series.

        Raises:
            UserError: it lies elsewhere.
        """
        if target.stack.grid.share_outside(_points(content)) == 1:
            raise UserError(f"{self.path}: label: lies outside {target.name}; does it belong to another scan?")

    @cached_property
    def _reference(self) -> tuple[str, str]:
        """SeriesInstanceUID and frame of reference that the file names."""
        if isinstance(self.file, Path):
            return "", ""
        if self.file.modality == SEGMENTATION:
            return read_seg_reference(self.path), self.file.frame_of_reference
        uid, space = read_reference(self.path)
        return uid, space or self.file.frame_of_reference


def find_annotation(patient: DicomPatient, rule: LabelRule, files: Sequence[Path]) -> tuple[DicomAnnotation | None, str]:
    """Annotation of a patient by the rules: a NIfTI file, a SEG, or an RTSTRUCT.

    Args:
        patient: whose annotation it is.
        rule: by which it is chosen.
        files: of the source.

    Returns:
        The first that fits, or None; and the problem where several fit, else an empty text.
    """
    found: list[DicomHeader] | list[Path]
    if rule.file is not None:
        inside = [path for path in files if path.is_relative_to(patient.folder) and path.name.lower().endswith(nifti.SUFFIXES)]
        found = [path for path in inside if fnmatch(path.name, rule.file) or path.match(rule.file)]
    else:
        found = [header for header in patient.index.annotations if rule.fits(header.description)]
        of_kind = [header for header in found if header.modality == SEGMENTATION]
        found = of_kind or found
    if not found:
        return None, ""
    listed = ", ".join(
        f"{each.name}" if isinstance(each, Path) else f"{each.modality} {each.number} ({each.description})" for each in found
    )
    problem = (
        f"{patient.folder}: case {patient.case}: {len(found)} annotations fit: {listed}; "
        "choose one by label.description or label.file of the rules (--series)"
    )
    return DicomAnnotation(found[0], patient.index.series, rule), problem if len(found) > 1 else ""


def _points(content: Content) -> np.ndarray:
    """Positions (n, 3) in millimetres of an annotation's voxels, or of the corners of its contours; none without a position."""
    if isinstance(content, Volume | SegFile):
        return content.marked_points
    polygons = [polygon for structure in content or [] for polygon in structure.polygons]
    return np.concatenate([np.zeros((0, 3)), *polygons])
