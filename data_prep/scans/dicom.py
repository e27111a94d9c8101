"""DICOM series: found in a folder tree, divided into stacks of slices, and described.

A series is what one stack of parallel slices makes: where a series of the scanner holds several (the planes of a scout, echoes,
time points, b-values), each is a series here, with a name of its `part`. Files may lie in any folders under any names.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.input_files import SLICE_VOXELS
from common.progress import progress
from data_prep.scans.dicom_header import SPLITTERS, SUFFIXES, DicomHeader, Frame, read_dataset, read_header
from data_prep.scans.slice_stack import WORTH_A_NAME, SliceStack

SCOUT = ("LOCALIZER", "SCOUT", "SURVEY")
CONTRAST_WORDS = r"(?i)\+ ?c(?![a-z])|(?<![a-z])(gd|gad|ce|km|post|contrast|c\+)(?![a-z])|gadolin|t1ce|t1gd|t1c(?![a-z])"
NO_CONTRAST = r"(?i)(?<![a-z])(pre|non|no|w/?o|without|ohne|sans)[ _-]*(iv[ _-]*)?(contrast|gadolin\w*|gad|gd|km|ce|c)(?![a-z])"
NO_AGENT = r"(?i)\W*(no|none|n|nil|na|n/a|without|ohne|0)?\W*"
ORIENTATION_TOLERANCE = 1e-3  # of the unit vectors of slices in one stack
PLACE_TOLERANCE_MM = 1e-2  # within which two slices are at one place
SEGMENTATION, STRUCTURES = "SEG", "RTSTRUCT"


@dataclass(frozen=True)
class Series:
    """Series of slices that make one stack, or would.

    Attributes:
        uid: SeriesInstanceUID.
        part: name of the stack where the series holds several; else empty.
        study_uid, frame_of_reference, patient_id, modality, description, number, image_type, contrast: as in `DicomHeader`.
        colours: samples of a pixel; 3 for a palette of colours.
        is_inverted: the lowest value is white (MONOCHROME1).
        frames: slices, sorted along the normal.
        truncated: files that are shorter than their pixels.
        doubled: positions that hold several different slices.
        acquired: ImagesInAcquisition of a series that is one stack of single-frame files; 0 where unknown.
    """

    uid: str
    part: str
    study_uid: str
    frame_of_reference: str
    patient_id: str
    modality: str
    description: str
    number: int
    image_type: str
    contrast: str
    colours: int
    is_inverted: bool
    frames: tuple[Frame, ...]
    truncated: tuple[Path, ...] = ()
    doubled: int = 0
    acquired: int = 0

    @cached_property
    def stack(self) -> SliceStack:
        """Stack of the slices."""
        return _stack(self.frames)

    @property
    def name(self) -> str:
        """Number, description and part, for messages."""
        words = [f"series {self.number}", f"({self.description})" if self.description else "", self.part]
        return " ".join(word for word in words if word)

    @property
    def paths(self) -> list[Path]:
        """Files, each once, in the order of the slices."""
        return list(dict.fromkeys(frame.path for frame in self.frames))

    @property
    def is_scout(self) -> bool:
        """True for a localizer, by ImageType or description."""
        words = f"{self.image_type} {self.description}".upper()
        return any(word in words for word in SCOUT)

    @property
    def is_original(self) -> bool:
        """True for images that the scanner reconstructed, as opposed to those derived from others."""
        return not self.image_type.startswith("DERIVED")

    @property
    def size(self) -> tuple[int, int, int]:
        """Columns, rows and slices as they are stored."""
        return (*self.stack.size, len(self.frames))

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Distances of columns, of rows and of slices."""
        return (*self.stack.pixel_mm, self.stack.spacing_mm)

    @property
    def lacks_images(self) -> str:
        """Sign of slices that are missing at an end, where no gap shows them; empty where there is none."""
        count, first = len(self.frames), min(frame.number for frame in self.frames)
        if count < self.acquired:
            return f"has {count} of the {self.acquired} images that its header names"
        return f"begins with image {first}" if self.acquired and first > 1 else ""

    def problem(self, max_gap: float) -> str | None:
        """Reason why the series cannot become a volume, in one line, else None; no voxel is read.

        Args:
            max_gap: as of `SliceStack.gap_problem`.
        """
        where = f"{self.frames[0].path}: {self.name}"
        if self.colours != 1:
            return f"{where}: expected grey values; received {self.colours} colours; it is a picture, not an image of voxels"
        if self.is_inverted and self.modality != "CT":
            return f"{where}: its grey values are inverted (MONOCHROME1); export it as MONOCHROME2"
        if "MOSAIC" in self.image_type:
            return f"{where}: mosaic of many slices in one picture; export it as enhanced multi-frame DICOM or as NIfTI"
        if self.truncated:
            more = f", and {len(self.truncated) - 1} others" if len(self.truncated) > 1 else ""
            return f"{self.truncated[0]}: truncated: shorter than its pixels{more}; fetch it again"
        if self.doubled:
            return f"{where}: {self.doubled} positions hold several different slices; keep one of each"
        if (voxels := math.prod(self.size)) > SLICE_VOXELS:
            return f"{where}: has {voxels} voxels; expected at most {SLICE_VOXELS}"
        found = self.stack.shape_problem or self.stack.gap_problem(max_gap)
        return f"{where}: {found}; fetch the series again, or choose another" if found else None


@dataclass(frozen=True)
class DicomIndex:
    """Content of a folder tree.

    Attributes:
        series: of slices.
        annotations: headers of segmentations (SEG) and contours (RTSTRUCT), each object once.
        others: kind of an object that is neither, or of a file that is not DICOM -> number of files.
        duplicates: number of files that hold an object once more.
        damaged: file that cannot be read -> a line about it.
        empty: files of no bytes that are named as DICOM.
    """

    series: list[Series] = field(default_factory=list)
    annotations: list[DicomHeader] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    damaged: dict[Path, str] = field(default_factory=dict)
    empty: list[Path] = field(default_factory=list)


def index_files(paths: Sequence[Path], title: str | None = None) -> DicomIndex:
    """Index files of any kind: their DICOM series, annotations, and what else they are.

    Args:
        paths: of files.
        title: of the progress on standard error; None: none is printed.

    Raises:
        MissingPackage: pydicom is not installed.
    """
    headers: dict[str, DicomHeader] = {}
    index = DicomIndex()
    duplicates = 0
    with progress(len(paths), title, "file") as bar:
        for path in paths:
            bar.update()
            try:
                header = read_header(path)
            except UserError as error:
                index.damaged[path] = str(error)
                continue
            if header is None:
                index.others["DICOMDIR" if path.name.upper() == "DICOMDIR" else "not DICOM"] += 1
                if path.suffix.lower() in SUFFIXES and not path.stat().st_size:
                    index.empty.append(path)
                continue
            known = headers.get(header.sop_uid)
            duplicates += known is not None
            if known is None or (header.complete and not known.complete):
                headers[header.sop_uid] = header
    slices: defaultdict[tuple[str, ...], list[DicomHeader]] = defaultdict(list)
    for header in headers.values():
        if header.modality in (SEGMENTATION, STRUCTURES):
            index.annotations.append(header)
        elif header.frames and header.modality != "RTDOSE":
            slices[header.series_uid, header.frame_of_reference, header.patient_id].append(header)
        else:
            index.others[header.modality or "unknown"] += 1
    series = [part for group in slices.values() for part in _divided(group)]
    series.sort(key=lambda each: (each.patient_id, each.number, each.uid, each.part))
    return replace(index, series=series, duplicates=duplicates)


def description_row(series: Series, max_gap: float) -> list[str]:
    """Cells of a series in a table, under `DESCRIPTION_HEADING`."""
    stack = series.stack
    tilt = f"{stack.tilt_deg:.1f}" if stack.tilt_deg >= WORTH_A_NAME else "0"
    oblique = f" {stack.oblique_deg:.0f}°" if stack.oblique_deg >= 0.5 else ""
    gaps = "even" if stack.is_even else f"{stack.steps.min():.4g} to {stack.steps.max():.4g}"
    if series.doubled:
        gaps = f"{series.doubled} places twice"
    elif len(series.frames) > 1 and stack.gap_problem(max_gap):
        gaps = "missing" if stack.is_even else f"missing, {gaps}"
    return [
        str(series.number),
        series.modality,
        " ".join(word for word in (series.description, series.part and f"[{series.part}]") if word),
        f"{stack.plane}{oblique}",
        " x ".join(map(str, series.size)),
        " x ".join(f"{length:.3g}" for length in series.voxel_mm),
        gaps,
        tilt,
        series.contrast,
    ]


DESCRIPTION_HEADING = ["no.", "modality", "description", "plane", "size", "spacing in mm", "gaps", "tilt", "contrast agent"]


def _divided(headers: list[DicomHeader]) -> Iterable[Series]:
    """Series of the stacks that the files of one series hold."""
    first = headers[0]
    truncated = {header.path for header in headers if not header.complete}
    stacks = [part for stack in _parallel([frame for header in headers for frame in header.frames]) for part in _split(stack)]
    for number, (name, frames, doubled) in enumerate(stacks, 1):
        image_type = frames[0].splitters[0] or first.image_type
        yield Series(
            uid=first.series_uid,
            part=(name or f"stack {number}") if len(stacks) > 1 else "",
            study_uid=first.study_uid,
            frame_of_reference=first.frame_of_reference,
            patient_id=first.patient_id,
            modality=first.modality,
            description=first.description,
            number=first.number,
            image_type=image_type,
            contrast=next((header.contrast for header in headers if header.contrast), ""),
            colours=first.colours,
            is_inverted=first.is_inverted,
            frames=tuple(frames),
            truncated=tuple(path for path in dict.fromkeys(frame.path for frame in frames) if path in truncated),
            doubled=doubled,
            acquired=first.acquired if len(stacks) == 1 and all(frame.index is None for frame in frames) else 0,
        )


def _parallel(frames: list[Frame]) -> list[list[Frame]]:
    """Frames grouped by orientation, size and pixel spacing."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            same = (group[0].size, group[0].pixel_mm) == (frame.size, frame.pixel_mm)
            if same and np.abs(np.subtract(group[0].orientation, frame.orientation)).max() <= ORIENTATION_TOLERANCE:
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _split(frames: list[Frame]) -> list[tuple[str, list[Frame], int]]:
    """Stacks without two slices at one place: name, sorted frames, and number of places where that fails."""
    frames = _sorted(frames)
    if not _doubled(frames):
        return [("", frames, 0)]
    for place, name in enumerate(SPLITTERS):
        groups: defaultdict[str, list[Frame]] = defaultdict(list)
        for frame in frames:
            groups[frame.splitters[place]].append(frame)
        if len(groups) > 1 and not any(_doubled(group) for group in groups.values()):
            return [(f"{name} {value or 'none'}", group, 0) for value, group in groups.items()]
    everything: defaultdict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        everything[frame.splitters].append(frame)
    if not any(_doubled(group) for group in everything.values()):
        return [(f"stack {number}", group, 0) for number, group in enumerate(everything.values(), 1)]
    single = _without_copies(frames)
    return [("", single, _doubled(single))]


def _sorted(frames: Sequence[Frame]) -> list[Frame]:
    """Frames sorted along their normal, then by number."""
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    return sorted(frames, key=lambda frame: (round(float(np.dot(frame.origin, normal)), 3), frame.number, str(frame.path)))


def _doubled(frames: Sequence[Frame]) -> int:
    """Number of sorted frames that lie where the one before lies."""
    origins = np.array([frame.origin for frame in frames])
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    return int(np.count_nonzero(np.abs(np.diff(origins @ normal)) < PLACE_TOLERANCE_MM))


def _without_copies(frames: list[Frame]) -> list[Frame]:
    """Sorted frames without those whose pixels are equal to the frame before at the same place (exported twice)."""
    kept: list[Frame] = []
    for frame in frames:
        last = kept[-1] if kept else frame
        is_copy = last.path != frame.path and _doubled([last, frame]) and _pixel_bytes(last.path) == _pixel_bytes(frame.path)
        if not is_copy:
            kept.append(frame)
    return kept


def _pixel_bytes(path: Path) -> bytes:
    """Pixels of a file as they are stored."""
    return bytes(read_dataset(path).get("PixelData", b""))


def _stack(frames: Sequence[Frame]) -> SliceStack:
    """Stack of sorted frames; the directions of the first one are made exactly orthogonal."""
    x, y = np.array(frames[0].orientation[:3]), np.array(frames[0].orientation[3:])
    if not (np.isfinite(x).all() and np.linalg.norm(x) > 0 and np.linalg.norm(np.cross(x, y)) > 0):
        x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    x = x / np.linalg.norm(x)
    y = y - (y @ x) * x
    return SliceStack(
        origins=np.array([frame.origin for frame in frames]),
        x=x,
        y=y / np.linalg.norm(y),
        pixel_mm=frames[0].pixel_mm,
        size=frames[0].size,
        thickness_mm=np.array([frame.thickness_mm for frame in frames]),
    )
