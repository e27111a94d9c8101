"""Aligned case: its channels registered to a reference, all images on one grid, and the files that hold them.

OUT/ID/CHANNEL.nii.gz             image on the common grid
       CHANNEL.tfm                transform of ITK: points of the reference -> points of the channel's own scan, LPS millimetres
       CHANNEL_checkerboard.png   squares of the reference and of the channel in turn, before and after the registration
       CHANNEL_edges.png          edges of the channel on the reference, before and after
       label.nii.gz               annotation on the common grid; brain.nii.gz a mask, where the source has one
       case.json                  transforms, similarities, warnings; written last, it commits the case
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.files import read_json, write_json
from data_prep.alignment.pictures import draw_pictures
from data_prep.grid.geometry import Geometry, Triple
from data_prep.grid.registration import Registration, register, similarity_of, write_transform
from data_prep.grid.resampling import (
    IDENTITY,
    ImageInterpolation,
    LabelInterpolation,
    Resampling,
    grid_of_spacing,
    to_rows,
)
from data_prep.scans.case import BRAIN, LABEL, CaseFiles
from data_prep.scans.nifti import write_image
from data_prep.scans.volume import Volume
from data_prep.sources.base import Source

FACTS = "case.json"
SCANNER_GRID = "scanner_grid"  # of a stripped case: the resampling of the aligned case that it was made from, or null


@dataclass(kw_only=True)
class AlignmentConfig:
    """Options of the alignment of a case."""

    reference: str | None = None
    """Channel to which the others are registered; default: the first."""
    label_channel: str | None = None
    """Channel on which the annotation, and a mask of the brain, were drawn; they move with this channel, and predictions go
    back to its grid; default: the reference."""
    spacing_mm: float | tuple[float, float, float] | None = 1.0
    """Voxel size of the aligned images, or that of slices, rows and columns; null: the grid of the reference."""
    register: Literal["auto", "always", "never"] = "auto"
    """auto: a channel that has another frame of reference than the reference channel (in NIfTI files, which do not store one:
    another grid) is registered; always: every channel; never: positions are taken from the headers."""
    transform: Literal["rigid", "affine"] = "rigid"
    """Kind of transform: rigid, or rigid and then affine."""
    interpolation: ImageInterpolation = "linear"
    """Interpolation of images."""
    label_interpolation: LabelInterpolation = "gaussian"
    """Interpolation of annotations: the nearest voxel, or the likeliest label of a Gaussian neighbourhood."""
    least_similarity: float = 1.05
    """Normalised mutual information (1 to 2) below which a channel is warned of."""
    largest_shift_mm: float = 60.0
    """Shift of the middle of the head that is warned of."""
    largest_degrees: float = 35.0
    """Rotation that is warned of."""
    largest_scale: float = 1.15
    """Change of length along an axis, as a factor, that is warned of."""
    seed: int = 0
    """Seed of the voxels at which registrations are evaluated."""


@dataclass(frozen=True)
class AlignedCase:
    """Outcome of a case.

    Attributes:
        id: of the case.
        problem: lines of the error where it failed; the other attributes are empty then.
        warnings: a line each.
        similarities: registered channel -> similarity before and after.
    """

    id: str
    problem: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    similarities: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseAligner:
    """Aligner of cases; is sent to worker processes.

    Attributes:
        source: of the cases.
        out: folder to write into.
        config: options, with `reference` and `label_channel` filled in.
    """

    source: Source
    out: Path
    config: AlignmentConfig

    def align(self, files: CaseFiles) -> AlignedCase:
        """Align a case and write its files, unless they are there already; a user's mistake becomes part of the outcome."""
        path = self.out / files.id / FACTS
        try:
            if not path.is_file() or read_json(path, "aligned case")["sources"] != file_state(files):
                path.unlink(missing_ok=True)
                self._write(files)
        except UserError as error:
            lines = [line if files.id in line else f"{files.id}: {line}" for line in str(error).splitlines()]
            return AlignedCase(files.id, lines)
        facts = read_json(path, "aligned case")
        similarities = {
            name: (image["before"], image["after"]) for name, image in facts["images"].items() if image["registered"]
        }
        return AlignedCase(files.id, [], facts["warnings"], similarities)

    def _write(self, files: CaseFiles) -> None:
        """Align a case and write its files."""
        folder, config = self.out / files.id, self.config
        volumes = self.source.read_volumes(files)
        masks = {name: volumes.pop(name) for name in (LABEL, BRAIN) if name in volumes}
        reference = volumes.get(config.reference or "")
        if reference is None:
            raise UserError(f"{files.id}: lacks channel {config.reference}, to which the others are to be registered")
        shape, affine = target_grid(reference, config)
        images: dict[str, dict[str, Any]] = {}
        warnings = []
        for name, volume in volumes.items():
            found, is_registered = self._registration(reference, volume)
            resampling = Resampling(volume.grid.shape, to_rows(volume.affine), shape, to_rows(affine), found.transform)
            aligned = resampling.forward(volume.array, config.interpolation)
            write_image(folder / f"{name}.nii.gz", aligned, affine)
            write_transform(folder / f"{name}.tfm", found.transform)
            if volume is not reference:
                pair = Volume(reference.array, reference.affine), volume
                draw_pictures(folder, name, pair, found.transform if is_registered else None, (shape, affine))
                warnings += [f"{files.id}: {name}: {text}" for text in implausible(found, reference, config)]
            images[name] = self._facts(found, is_registered, reference, resampling)
        for name, mask in masks.items():
            moves = images.get(config.label_channel or "")
            if moves is None:
                raise UserError(f"{files.id}: lacks channel {config.label_channel}, on which its {name} was drawn")
            transform = to_rows(moves["resampling"]["transform"])
            resampling = Resampling(mask.grid.shape, to_rows(mask.affine), shape, to_rows(affine), transform)
            array = mask.array.astype(np.uint8) if name == BRAIN else mask.array
            write_image(folder / f"{name}.nii.gz", resampling.forward_label(array, config.label_interpolation), affine)
        facts = {"id": files.id, "reference": config.reference, "label_channel": config.label_channel, "warnings": warnings}
        write_json(folder / FACTS, facts | {"images": images, "sources": file_state(files)})

    def _registration(self, reference: Volume, volume: Volume) -> tuple[Registration, bool]:
        """Transform of a channel and its similarities, and whether it was registered."""
        config = self.config
        if volume is reference:
            return Registration(IDENTITY, 2.0, 2.0), False
        unknown = not shares_frame(reference, volume, self.source.config.tolerance_mm)
        if config.register == "always" or (config.register == "auto" and unknown):
            return register(reference, volume, config.transform, config.seed), True
        similarity = similarity_of(reference, volume)
        return Registration(IDENTITY, similarity, similarity), False

    def _facts(self, found: Registration, is_registered: bool, reference: Volume, resampling: Resampling) -> dict[str, Any]:
        """Properties of an aligned image, for JSON."""
        return {
            "registered": is_registered,
            "before": found.before,
            "after": found.after,
            "degrees": found.rotation_degrees,
            "shift_mm": found.shift_mm(reference.grid.middle),
            "scales": found.scales,
            "resampling": asdict(resampling),
        }


def target_grid(reference: Volume, config: AlignmentConfig) -> tuple[Triple, np.ndarray]:
    """Common grid of a case: that of the reference, with another voxel size if one is wanted; shape and affine."""
    if config.spacing_mm is None:
        return reference.grid.shape, reference.affine
    wanted = config.spacing_mm if isinstance(config.spacing_mm, tuple) else (config.spacing_mm,) * 3
    spacing = [0.0] * 3
    for axis, length in zip(Geometry.uncropped(reference.grid.shape, reference.affine).axes, wanted, strict=True):
        spacing[axis] = length
    return grid_of_spacing(reference.grid.shape, reference.affine, spacing)


def shares_frame(one: Volume, other: Volume, tolerance_mm: float) -> bool:
    """True for images of one frame of reference or, where none is known, of one grid."""
    if one.frame_of_reference and other.frame_of_reference:
        return one.frame_of_reference == other.frame_of_reference
    return one.grid.distance_mm(other.grid) <= tolerance_mm


def implausible(found: Registration, reference: Volume, config: AlignmentConfig) -> list[str]:
    """Warnings about a low similarity or an implausibly large transform, a line each."""
    lines = []
    if found.after < config.least_similarity:
        lines.append(f"similarity {found.after:.3f} is below {config.least_similarity:g}; look at its pictures")
    if found.after < found.before:
        lines.append(f"similarity fell from {found.before:.3f} to {found.after:.3f}; look at its pictures")
    shift = found.shift_mm(reference.grid.middle)
    if shift > config.largest_shift_mm:
        lines.append(f"is shifted by {shift:.0f} mm, more than {config.largest_shift_mm:g}; look at its pictures")
    if found.rotation_degrees > config.largest_degrees:
        lines.append(f"is turned by {found.rotation_degrees:.0f} degrees, more than {config.largest_degrees:g}")
    largest, smallest = max(found.scales), min(found.scales)
    if largest > config.largest_scale or smallest < 1 / config.largest_scale:
        lines.append(f"is scaled by {smallest:.3f} to {largest:.3f}, more than a factor of {config.largest_scale:g}")
    return lines


def file_state(files: CaseFiles) -> list[dict[str, int]]:
    """Size and time of change of each of a case's files, to detect changes of the source; paths may name a patient."""
    states = [path.stat() for path in files.paths]
    return [{"bytes": state.st_size, "changed": state.st_mtime_ns} for state in states]


def scanner_resampling(folder: Path) -> Resampling | None:
    """Resampling from the scanner's grid of the channel on which the annotation was drawn, from the folder of an aligned case.

    None for a stripped case whose scans lie on the scanner's grid.
    """
    facts = read_json(folder / FACTS, "aligned case")
    stored = facts[SCANNER_GRID] if SCANNER_GRID in facts else facts["images"][facts["label_channel"]]["resampling"]
    return None if stored is None else Resampling.from_dict(stored)


def aligned_images(folder: Path, channels: Sequence[str]) -> dict[str, str]:
    """Files of an aligned case that exist: channel, `label` or `brain` -> path below the folder that holds the case's."""
    names = [*channels, LABEL, BRAIN]
    return {name: f"{folder.name}/{name}.nii.gz" for name in names if (folder / f"{name}.nii.gz").is_file()}
