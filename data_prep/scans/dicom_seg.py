"""DICOM SEG: segmentations read onto the grid of a series, and written for one, by highdicom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import MissingPackage, UserError
from common.files import write_serialised
from data_prep.grid.voxel_grid import LPS_TO_RAS, Grid
from data_prep.scans.dicom import Series
from data_prep.scans.dicom_header import quiet, read_dataset
from data_prep.scans.faults import damaged
from data_prep.scans.slice_stack import SliceStack
from data_prep.scans.volume import Volume, resample

SAME_PLANE_MM = 0.01
SAME_PIXEL = 0.01  # pixels
COPIED = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "Rows"),
    *("Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "PositionReferenceIndicator", "DimensionOrganizationSequence", "DimensionIndexSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ImageType", "SpecificCharacterSet"),
)
"""Attributes of a source image that describe no person."""
REQUIRED = ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PatientSex")
LESION = ("52988006", "SCT", "Lesion")
STRUCTURE = ("49755003", "SCT", "Morphologically Altered Structure")
PROGRAM = "glioma-skullbase-keras"


@dataclass(frozen=True)
class SegFrame:
    """Mask of one segment in one plane.

    Attributes:
        segment: its number.
        mask: (rows, columns) bool.
        origin: centre of the first pixel, millimetres in LPS.
        x, y: unit vectors along columns and rows.
        pixel_mm: distance of columns, and of rows.
        step_mm: distance of planes that the file names, else their thickness; 0 where it names neither.
    """

    segment: int
    mask: np.ndarray
    origin: np.ndarray
    x: np.ndarray
    y: np.ndarray
    pixel_mm: tuple[float, float]
    step_mm: float = 0.0


@dataclass(frozen=True)
class SegFile:
    """Content of a DICOM SEG.

    Attributes:
        path: the file.
        names: number of a segment -> its label.
        frames: masks.
        series_uid: SeriesInstanceUID of the images that it refers to; empty where it names none.
    """

    path: Path
    names: dict[int, str]
    frames: list[SegFrame]
    series_uid: str

    @property
    def marked_points(self) -> np.ndarray:
        """Positions (n, 3) of the pixels of all segments, millimetres in RAS+."""
        parts = [np.zeros((0, 3))]
        for frame in self.frames:
            rows, columns = np.nonzero(frame.mask)
            steps = columns[:, None] * frame.pixel_mm[0] * frame.x + rows[:, None] * frame.pixel_mm[1] * frame.y
            parts.append(frame.origin + steps)
        return np.concatenate(parts) @ LPS_TO_RAS[:3, :3]


def read_seg(path: Path) -> SegFile:
    """Read a DICOM SEG: binary, label map, or fractional, of which half and more is taken.

    Raises:
        UserError: the file is damaged or no SEG with positions in space.
    """
    try:
        with quiet():
            dataset = read_dataset(path)
            return _parse(path, dataset)
    except UserError:
        raise
    except Exception as error:  # pydicom raises many types
        raise damaged(path, str(error) or type(error).__name__) from None


def read_seg_reference(path: Path) -> str:
    """SeriesInstanceUID of the images to which a DICOM SEG refers, without its pixels; empty where it names none.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with quiet():
            return _referenced_series(read_dataset(path, stop_before_pixels=True))
    except UserError:
        raise
    except Exception as error:  # pydicom raises many types
        raise damaged(path, str(error) or type(error).__name__) from None


def seg_masks(seg: SegFile, series: Series | None, grid: Grid) -> dict[int, np.ndarray]:
    """Segments of a SEG on a grid: number -> bool (i, j, k).

    Frames that lie on slices of the series, the whole of them or a part, are copied voxel for voxel. All others are resampled
    (linear, half and more of a voxel).

    Args:
        seg: as read.
        series: whose volume has the grid; None where the grid is not that of a series.
        grid: of the masks.
    """
    masks = {}
    for number in seg.names:
        frames = [frame for frame in seg.frames if frame.segment == number]
        planes = None if series is None else _on_slices(frames, series.stack)
        if planes is not None and series is not None:
            found = series.stack.volume(planes)
            masks[number] = found if found.dtype == bool else found >= 0.5
        elif frames:
            masks[number] = resample(_own_volume(seg.path, frames), grid) >= 0.5
        else:
            masks[number] = np.zeros(grid.shape, bool)
    return masks


def write_seg(
    path: Path, series: Series, ids: np.ndarray, segments: Mapping[str, Sequence[int]], case: str, keep_identity: bool = False
) -> None:
    """Write a segmentation as DICOM SEG that refers to a series, atomically.

    Args:
        path: the file.
        series: that was segmented.
        ids: integers (i, j, k) on the grid of the series.
        segments: name of each segment -> its ids, in the order of their numbers from 1.
        case: id of the case, which stands for the patient.
        keep_identity: copy name, dates and the like from the series; else the case id is the patient's name and id.

    Raises:
        UserError: highdicom refuses the series.
        MissingPackage: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise MissingPackage("highdicom", "writing DICOM SEG") from None
    from pydicom.uid import generate_uid

    planes = np.zeros(ids.shape, np.uint8)
    for number, values in enumerate(segments.values(), 1):
        planes[np.isin(ids, values)] = number
    lps = LPS_TO_RAS @ series.stack.grid.affine
    volume = highdicom.Volume(
        np.ascontiguousarray(planes.transpose(2, 1, 0)),
        affine=lps[:, [2, 1, 0, 3]],  # indices are slice, row, column
        coordinate_system="PATIENT",
        frame_of_reference_uid=series.frame_of_reference or None,
    )
    sources = [_source_header(file, case, keep_identity) for file in series.paths]
    entropy = [series.uid, series.part, case, sha256(planes.tobytes()).hexdigest()]
    try:
        with quiet():
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=volume,
                segmentation_type="BINARY",
                omit_empty_frames=bool(planes.any()),  # an empty prediction has all of them
                segment_descriptions=[_description(number, name) for number, name in enumerate(segments, 1)],
                series_instance_uid=generate_uid(entropy_srcs=["series", *entropy]),
                series_number=1000 + series.number,
                sop_instance_uid=generate_uid(entropy_srcs=["object", *entropy]),
                instance_number=1,
                manufacturer=PROGRAM,
                manufacturer_model_name=PROGRAM,
                software_versions="1",
                device_serial_number="1",
                series_description="Segmentation",
            )
    except Exception as error:  # highdicom raises many types for unusual series
        raise UserError(f"{path}: no DICOM SEG can be written for {series.name} ({' '.join(str(error).split())})") from None
    dimensions = generate_uid(entropy_srcs=["dimensions", *entropy])  # highdicom draws a random one
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    write_serialised(path, segmentation.save_as)


def _description(number: int, name: str) -> Any:
    """Description of a segment for highdicom."""
    import highdicom
    from highdicom.sr.coding import CodedConcept

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=PROGRAM, version="1", family=CodedConcept("123109", "DCM", "Artificial Intelligence")
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=CodedConcept(*STRUCTURE),
        segmented_property_type=CodedConcept(*LESION),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _source_header(path: Path, case: str, keep_identity: bool) -> Any:
    """Header of a source image; unless the identity is kept, with no more than a SEG needs and the case as patient."""
    dataset = read_dataset(path, stop_before_pixels=True)
    if not keep_identity:
        for element in [element for element in dataset if element.keyword not in COPIED]:
            del dataset[element.tag]
        dataset.PatientName = dataset.PatientID = case
    for keyword in REQUIRED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    return dataset


def _parse(path: Path, dataset: Any) -> SegFile:
    """Content of a dataset."""
    if "SegmentSequence" not in dataset:
        raise UserError(f"{path}: expected a DICOM SEG; received {dataset.get('Modality', 'no modality')}")
    kind = str(dataset.SegmentationType)
    names = {
        int(item.SegmentNumber): str(item.get("SegmentLabel", ""))
        for item in dataset.SegmentSequence
        if "SegmentNumber" in item
    }
    pixels = np.asarray(dataset.pixel_array).reshape(-1, int(dataset.Rows), int(dataset.Columns))
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = []
    for plane, own in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = _group(own, shared, "PlanePositionSequence").ImagePositionPatient
        cosines = np.array(_group(own, shared, "PlaneOrientationSequence").ImageOrientationPatient, np.float64)
        measures = _group(own, shared, "PixelMeasuresSequence")
        rows_mm, columns_mm = (float(length) for length in measures.PixelSpacing)
        step_mm = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0)
        place = np.array(position, np.float64), cosines[:3], cosines[3:], (columns_mm, rows_mm), abs(step_mm)
        if kind == "LABELMAP":
            frames += [SegFrame(number, plane == number, *place) for number in names if number and (plane == number).any()]
            continue
        number = int(_group(own, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        threshold = float(dataset.MaximumFractionalValue) / 2 if kind == "FRACTIONAL" else 0.5
        frames.append(SegFrame(number, plane >= threshold, *place))
    return SegFile(path, {number: name for number, name in names.items() if number}, frames, _referenced_series(dataset))


def _referenced_series(dataset: Any) -> str:
    """SeriesInstanceUID of the images to which a SEG refers; empty where it names none."""
    return next((str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or []), "")


def _group(own: Any, shared: Any, name: str) -> Any:
    """Item of a functional group: the frame's own, else the shared one.

    Raises:
        ValueError: neither has it.
    """
    for place in (own, shared):
        if place is not None and place.get(name):
            return place[name].value[0]
    raise ValueError(f"its frames have no {name}")


def _on_slices(frames: list[SegFrame], stack: SliceStack) -> list[np.ndarray] | None:
    """Masks (rows, columns) of the slices of a stack, where each frame lies on one with the same pixels; else None."""
    columns, rows = stack.size
    planes = [np.zeros((rows, columns), bool) for _ in stack.origins]
    for frame in frames:
        if not (np.allclose(frame.x, stack.x, atol=1e-4) and np.allclose(frame.y, stack.y, atol=1e-4)):
            return None
        if not np.allclose(frame.pixel_mm, stack.pixel_mm, rtol=1e-4):
            return None
        place = int(np.abs((stack.origins - frame.origin) @ stack.normal).argmin())
        offset = frame.origin - stack.origins[place]
        shift = np.array([offset @ stack.x, offset @ stack.y]) / stack.pixel_mm
        if abs(offset @ stack.normal) > SAME_PLANE_MM or np.abs(shift - np.rint(shift)).max() > SAME_PIXEL:
            return None
        left, top = np.rint(shift).astype(int)
        inside = frame.mask[max(-top, 0) : max(rows - top, 0), max(-left, 0) : max(columns - left, 0)]
        low_row, low_column = max(top, 0), max(left, 0)
        planes[place][low_row : low_row + inside.shape[0], low_column : low_column + inside.shape[1]] |= inside
    return planes


def _own_volume(path: Path, frames: list[SegFrame]) -> Volume:
    """Volume of one segment's frames on their own grid, float32, with empty slices where frames were left out."""
    x, y = frames[0].x, frames[0].y
    normal = np.cross(x, y)
    same = all(np.allclose([*frame.x, *frame.y], [*x, *y], atol=1e-4) for frame in frames)
    if not same or len({frame.mask.shape for frame in frames}) > 1:
        raise UserError(f"{path}: expected frames of one direction and size in a segment; received several")
    frames = sorted(frames, key=lambda frame: float(frame.origin @ normal))
    heights = np.array([frame.origin @ normal for frame in frames])
    steps = np.diff(heights)
    smallest = float(steps[steps > SAME_PLANE_MM].min()) if (steps > SAME_PLANE_MM).any() else 0.0
    named = frames[0].step_mm
    multiples = np.rint((heights - heights[0]) / (named or 1.0))
    fits = named > 0 and np.abs(heights - heights[0] - multiples * named).max() <= 0.1 * named
    step = named if fits else smallest or named or 1.0  # a thickness may differ from the distance
    places = np.rint((heights - heights[0]) / step).astype(int)
    if np.abs(heights - heights[0] - places * step).max() > 0.1 * step:
        raise UserError(
            f"{path}: expected frames at multiples of one distance; received uneven ones, on no slices of the series"
        )
    array = np.zeros((*frames[0].mask.T.shape, places[-1] + 3), np.float32)  # an empty slice at each end
    for frame, place in zip(frames, places, strict=True):
        array[..., place + 1] = np.maximum(array[..., place + 1], frame.mask.T)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = x * frames[0].pixel_mm[0], y * frames[0].pixel_mm[1], normal * step
    lps[:3, 3] = frames[0].origin - normal * step
    return Volume(array, LPS_TO_RAS @ lps)
