"""Aligned case: its channels registered to a reference, all images on one grid, and the files that hold them.

OUT/ID/CHANNEL.nii.gz             image on the common grid
       CHANNEL.tfm                transform of ITK: points of the reference -> points of the channel's own scan, LPS millimetres
       CHANNEL_checkerboard.png   squares of the reference and of the channel in turn, before and after the registration
       CHANNEL_edges.png          edges of the channel on the reference, before and after
       REFERENCE.png              the reference with the annotation outlined
       label.nii.gz               annotation on the common grid; brain.nii.gz a mask, where the source has one
       case.json                  transforms, similarities, warnings; written last, it commits the case
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from common.errors import UserError
from common.files import write_json
from data_prep.alignment.manifests import read_case_facts, scanner_resampling_of
from data_prep.alignment.outcome import FACTS, CaseOutcome, checksums, file_state, written_case
from data_prep.alignment.pictures import Registered, draw_pictures, draw_reference
from data_prep.alignment.registration import Registration, register, similarity_of
from data_prep.grid.resampling import (
    IDENTITY,
    ImageInterpolation,
    LabelInterpolation,
    Resampling,
    grid_of_spacing,
    native_spacing,
    to_rows,
)
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.case import BRAIN, LABEL, CaseFiles
from data_prep.scans.itk import write_transform
from data_prep.scans.nifti import write_image
from data_prep.scans.unusual import volume_doubts
from data_prep.scans.volume import Volume
from data_prep.sources.base import Source

WORTH_A_WARNING = 0.01  # share of an annotation that is cut off
LABEL_CHANNEL = "label_channel"  # of an aligned case: the channel on which the annotation was drawn
SCANNER_GRID = "scanner_grid"  # of a stripped case: the resampling of the aligned case that it was made from, or null
Origin = Literal["reference", "headers", "source", "registration"]
"""Origin of a transform: the reference itself, the positions in the headers, the source's own file, or a registration."""


@dataclass(kw_only=True)
class AlignmentConfig:
    """Options of the alignment of a case."""

    reference: str | None = None
    """Channel to which the others are registered; default: the reference of the rules of DICOM, else the first."""
    label_channel: str | None = None
    """Channel on which the annotation, and a mask of the brain, were drawn; they move with this channel, and predictions go
    back to its grid; default: the one that the source names (DICOM: the series to which the annotation refers), else the
    reference."""
    spacing_mm: float | tuple[float, float, float] | None = 1.0
    """Voxel size of the aligned images, or that of slices, rows and columns; null: the grid of the reference."""
    register: Literal["auto", "always", "never"] = "auto"
    """auto: a channel that has another frame of reference than the reference channel (in NIfTI files, which do not store one:
    another grid) is registered, unless the source holds its transform; always: every channel; never: positions are taken from
    the source's transforms and from the headers."""
    transform: Literal["rigid", "affine"] = "rigid"
    """Kind of transform: rigid, or rigid and then affine."""
    interpolation: ImageInterpolation = "linear"
    """Interpolation of images."""
    label_interpolation: LabelInterpolation = "gaussian"
    """Interpolation of annotations: the nearest voxel, or the likeliest label of a Gaussian neighbourhood."""
    least_similarity: float = 1.05
    """Normalised mutual information (1 to 2) below which a channel is warned of."""
    largest_shift_mm: float = 60.0
    """Shift of the middle of the reference that is warned of; not between DICOM series of different frames of reference."""
    largest_degrees: float = 35.0
    """Rotation that is warned of."""
    largest_scale: float = 1.15
    """Change of length along an axis, as a factor, that is warned of."""
    seed: int = 0
    """Seed of the voxels at which registrations are evaluated."""


class Moved(NamedTuple):
    """Channel that a transform brought to the reference, and its similarity by the headers alone and with the transform."""

    channel: str
    origin: Origin
    before: float
    after: float


@dataclass(frozen=True)
class AlignedCase(CaseOutcome):
    """Outcome of a case.

    Attributes:
        moved: channels that were registered, or moved by the source's transforms.
    """

    moved: list[Moved] = field(default_factory=list)


@dataclass(frozen=True)
class CaseAligner:
    """Aligner of cases; is sent to worker processes.

    Attributes:
        source: of the cases.
        out: folder to write into.
        config: options, with `reference` filled in.
    """

    source: Source
    out: Path
    config: AlignmentConfig

    def align(self, files: CaseFiles) -> AlignedCase:
        """Align a case and write its files, unless they are there already; a user's mistake becomes part of the outcome."""
        facts, problem, is_renewed = written_case(self.out / files.id / FACTS, files, self._write)
        if problem:
            return AlignedCase(files.id, problem)
        moved = [
            Moved(name, image["origin"], image.get("before"), image.get("after"))
            for name, image in facts.get("images", {}).items()
            if image.get("origin") in ("source", "registration")
        ]
        return AlignedCase(files.id, [], facts.get("warnings", []), is_renewed, moved)

    def _write(self, files: CaseFiles) -> None:
        """Align a case and write its files."""
        folder, config = self.out / files.id, self.config
        volumes = self.source.read_volumes(files)
        masks = {name: volumes.pop(name) for name in (LABEL, BRAIN) if name in volumes}
        reference = volumes.get(config.reference or "")
        if reference is None:
            raise UserError(f"{files.id}: lacks channel {config.reference}, to which the others are to be registered")
        label_channel = self._label_channel(files, volumes, masks.get(LABEL))
        grid = target_grid(reference, config)
        images: dict[str, dict[str, Any]] = {}
        warnings, moves = [f"{files.id}: {name}: {text}" for name, text in _unusual(volumes)], {}
        for name, volume in volumes.items():
            found, origin = self._transform(files, name, volume, reference)
            resampling = _resampling(volume, grid, found)
            write_image(folder / f"{name}.nii.gz", resampling.forward(volume.array, config.interpolation), grid.affine)
            write_transform(folder / f"{name}.tfm", found.transform)
            moves[name] = None if origin == "headers" else found.transform
            if volume is not reference:
                frames = {reference.frame_of_reference, volume.frame_of_reference}
                is_apart = len(frames) > 1 and "" not in frames
                warnings += [f"{files.id}: {name}: {text}" for text in implausible(found, reference, config, is_apart)]
            images[name] = self._facts(found, origin, reference, resampling)
            if name == label_channel:
                drawn_with = found
        annotation = None
        for name, mask in masks.items():
            array = mask.array.astype(np.uint8) if name == BRAIN else mask.array
            aligned = _resampling(mask, grid, drawn_with).forward_label(array, config.label_interpolation)
            write_image(folder / f"{name}.nii.gz", aligned, grid.affine)
            noun = "mask of the brain" if name == BRAIN else "annotation"
            if mask.grid.canonical.distance_mm(volumes[label_channel].grid.canonical) > self.source.config.tolerance_mm:
                warnings.append(
                    f"{files.id}: {noun}: has another grid than {label_channel}; its place is taken from its header"
                )
            to_reference = np.linalg.inv(np.asarray(drawn_with.transform))
            points = mask.marked_points @ to_reference[:3, :3].T + to_reference[:3, 3]
            if (share := grid.share_outside(points)) >= WORTH_A_WARNING:
                warnings.append(f"{files.id}: {noun}: {share:.0%} of it lies outside {config.reference} and is cut off")
            if name == LABEL:
                annotation = aligned != 0
        title = f"{files.id}: {config.reference}"
        draw_reference(folder / f"{config.reference}.png", title, reference, grid, annotation)
        for name in (name for name, volume in volumes.items() if volume is not reference):
            pair = reference, volumes[name]
            shown = Registered(files.id, name, config.reference or "", *pair, moves[name], grid, annotation)
            draw_pictures(folder, shown)
        facts = {"id": files.id, "reference": config.reference, LABEL_CHANNEL: label_channel, "warnings": warnings}
        write_json(folder / FACTS, facts | {"images": images, "files": checksums(folder), "sources": file_state(files)})

    def _label_channel(self, files: CaseFiles, volumes: dict[str, Volume], label: Volume | None) -> str:
        """Channel with which the annotation moves, and to whose grid predictions go back.

        Raises:
            UserError: the case lacks it, or the annotation was drawn in another frame of reference.
        """
        wanted = self.config.label_channel or self.source.label_channel(files)
        name = wanted if wanted and (label is not None or wanted in volumes) else self.config.reference
        assert name is not None
        spaces = {volume.frame_of_reference for volume in volumes.values()}
        if wanted is None and label is not None and not label.frame_of_reference and len(spaces) > 1:
            raise UserError(
                f"{files.id}: annotation: has the grid of no channel, and the channels have {len(spaces)} frames of reference; "
                "name the one on which it was drawn by --label_channel"
            )
        if name not in volumes:
            raise UserError(f"{files.id}: lacks channel {name}, on which its annotation was drawn")
        frames = [volume.frame_of_reference for volume in (label, volumes[name]) if volume is not None]
        if label is not None and all(frames) and len(set(frames)) > 1:
            raise UserError(
                f"{files.id}: annotation: drawn in another frame of reference than {name}; "
                "make the series on which it was drawn a channel (--series, --channels), which make_records can leave out, "
                "or name another --label_channel"
            )
        return name

    def _transform(self, files: CaseFiles, name: str, volume: Volume, reference: Volume) -> tuple[Registration, Origin]:
        """Transform of a channel with its similarities, and its origin."""
        config = self.config
        if volume is reference:
            return Registration(IDENTITY, 2.0, 2.0), "reference"
        known = None if config.register == "always" else self.source.known_transform(files, config.reference or "", name)
        apart = known is None and not shares_frame(reference, volume, self.source.config.tolerance_mm)
        if config.register == "always" or (config.register == "auto" and apart):
            return register(reference, volume, config.transform, config.seed), "registration"
        before = similarity_of(reference, volume)
        if known is None:
            return Registration(IDENTITY, before, before), "headers"
        return Registration(to_rows(known), before, similarity_of(reference, volume, known)), "source"

    def _facts(self, found: Registration, origin: Origin, reference: Volume, resampling: Resampling) -> dict[str, Any]:
        """Properties of an aligned image, for JSON."""
        return {
            "origin": origin,
            "before": found.before,
            "after": found.after,
            "degrees": found.rotation_degrees,
            "shift_mm": found.shift_mm(reference.grid.middle),
            "scales": found.scales,
            "resampling": asdict(resampling),
        }


def _unusual(volumes: dict[str, Volume]) -> list[tuple[str, str]]:
    """Channel and text of what is unusual about the images, one value included."""
    constant = {name: volume.array.flat[0] for name, volume in volumes.items() if np.ptp(volume.array) == 0}
    return [
        *((name, f"all voxels are {value:g}") for name, value in constant.items()),
        *((name, text) for name, texts in volume_doubts(volumes).items() for text in texts),
    ]


def target_grid(reference: Volume, config: AlignmentConfig) -> Grid:
    """Common grid of a case: that of the reference, with another voxel size if one is wanted."""
    if config.spacing_mm is None:
        return reference.grid
    shape, affine = reference.grid.shape, reference.affine
    return Grid(*grid_of_spacing(shape, affine, native_spacing(shape, affine, config.spacing_mm)))


def _resampling(volume: Volume, grid: Grid, found: Registration) -> Resampling:
    """Resampling of a volume to a grid by a transform."""
    return Resampling(volume.grid.shape, to_rows(volume.affine), grid.shape, to_rows(grid.affine), found.transform)


def shares_frame(one: Volume, other: Volume, tolerance_mm: float) -> bool:
    """True for images of one frame of reference or, where none is known, of one grid."""
    if one.frame_of_reference and other.frame_of_reference:
        return one.frame_of_reference == other.frame_of_reference
    return one.grid.distance_mm(other.grid) <= tolerance_mm


def implausible(found: Registration, reference: Volume, config: AlignmentConfig, is_apart: bool = False) -> list[str]:
    """Warnings about a low similarity or an implausibly large transform, a line each.

    Args:
        found: transform and similarities.
        reference: scan to which the other one was registered.
        config: the bounds.
        is_apart: both scans have different frames of reference, as of two scanners, between which any shift is plausible.
    """
    lines = []
    if found.after < config.least_similarity:
        lines.append(f"similarity {found.after:.3f} is below {config.least_similarity:g}; look at its pictures")
    if found.after < found.before:
        lines.append(f"similarity fell from {found.before:.3f} to {found.after:.3f}; look at its pictures")
    shift = found.shift_mm(reference.grid.middle)
    if shift > config.largest_shift_mm and not is_apart:
        lines.append(f"is shifted by {shift:.0f} mm, more than {config.largest_shift_mm:g}; look at its pictures")
    if found.rotation_degrees > config.largest_degrees:
        lines.append(f"is turned by {found.rotation_degrees:.0f} degrees, more than {config.largest_degrees:g}")
    largest, smallest = max(found.scales), min(found.scales)
    if largest > config.largest_scale or smallest < 1 / config.largest_scale:
        lines.append(f"is scaled by {smallest:.3f} to {largest:.3f}, more than a factor of {config.largest_scale:g}")
    return lines


def scanner_resampling(folder: Path) -> Resampling | None:
    """Resampling from the scanner's grid of the channel on which the annotation was drawn, from the folder of an aligned case.

    None for a stripped case whose scans lie on the scanner's grid.
    """
    stored = scanner_resampling_of(read_case_facts(folder / FACTS), folder / FACTS)
    return None if stored is None else Resampling.from_dict(stored)


def read_label_channel(folder: Path) -> str | None:
    """Name of the channel on which the annotation was drawn, from an aligned case's folder; None where none was moved."""
    name: str | None = read_case_facts(folder / FACTS).get(LABEL_CHANNEL)
    return name


def aligned_images(folder: Path, channels: Sequence[str]) -> dict[str, str]:
    """Files of an aligned case that exist: channel, `label` or `brain` -> path below the folder that holds the case's."""
    names = [*channels, LABEL, BRAIN]
    return {name: f"{folder.name}/{name}.nii.gz" for name in names if (folder / f"{name}.nii.gz").is_file()}
