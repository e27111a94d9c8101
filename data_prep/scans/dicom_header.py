"""DICOM header of one file: the attributes that decide its series and the place of its frames.

Names, dates and other data about the person are not read, apart from PatientID, which never leaves the source.
"""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.errors import MissingPackage, UserError
from common.input_files import SLICE_BYTES, SLICE_VOXELS, open_input, size_text
from data_prep.scans.faults import damaged, too_large

MAGIC_OFFSET, MAGIC = 128, b"DICM"
DEFLATED = "1.2.840.10008.1.2.1.99"  # UID of the transfer syntax whose dataset is compressed as a whole
BLOCK = 1 << 20
DIRECTORY = "1.2.840.10008.1.3.10"  # UID of the kind of object that a DICOMDIR is
SCANS = {f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "2.1", "4", "4.1")}  # CT and MR, and enhanced ones
SUFFIXES = (".dcm", ".dicom", ".ima")
ENHANCED = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"),
    *("Modality", "SeriesDescription", "ProtocolName", "SeriesNumber", "InstanceNumber", "ImageType", "ContrastBolusAgent"),
    *("ContrastBolusAgentSequence", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation"),
    *("EchoTime", "EchoNumbers", "InversionTime", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue"),
    *("AcquisitionNumber", "ImagesInAcquisition", *ENHANCED),
]
SPLITTERS = ("image type", "echo", "b-value", "inversion", "time", "stack", "acquisition")
"""Attributes that divide a series whose slices lie on one another, in the order in which they are tried."""


@dataclass(frozen=True)
class Frame:
    """One slice: a file, or a frame of a multi-frame file.

    Attributes:
        path: the file.
        index: of the frame in a multi-frame file, else None.
        sop_uid: UID of the file's object.
        number: InstanceNumber, or the number of the frame.
        origin: ImagePositionPatient, millimetres in LPS.
        orientation: ImageOrientationPatient, two unit vectors.
        pixel_mm: distance of neighbouring columns, and of neighbouring rows.
        size: (columns, rows).
        thickness_mm: SliceThickness; 0 where it is not given.
        splitters: values of SPLITTERS, as text.
    """

    path: Path
    index: int | None
    sop_uid: str
    number: int
    origin: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, float]
    size: tuple[int, int]
    thickness_mm: float
    splitters: tuple[str, ...]


@dataclass(frozen=True)
class DicomHeader:
    """Header of one file.

    Attributes:
        path: the file.
        sop_class: UID of the kind of object.
        sop_uid, study_uid, series_uid, frame_of_reference: UIDs; empty where absent.
        patient_id: PatientID.
        modality: such as MR, CT, SEG, RTSTRUCT, SR.
        description: SeriesDescription, else ProtocolName.
        number: SeriesNumber; 0 where absent.
        image_type: ImageType, joined by a backslash.
        contrast: contrast agent; empty where none is named.
        colours: samples of a pixel, 3 for a palette of colours; 0 for an object without pixels.
        is_inverted: the lowest value is white (MONOCHROME1).
        frames: slices with a position in space; empty for any other object.
        complete: False for a file that is shorter than its uncompressed pixels.
        acquired: ImagesInAcquisition; 0 where absent.
    """

    path: Path
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
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
    complete: bool
    acquired: int


def has_magic(path: Path) -> bool:
    """True for a file that begins as DICOM files do."""
    with open_input(path, None) as file:
        return file.read(MAGIC_OFFSET + len(MAGIC))[MAGIC_OFFSET:] == MAGIC


def read_header(path: Path) -> DicomHeader | None:
    """Read a file's header; None for a file that is not DICOM. Read headers are kept as long as the file does not change.

    Raises:
        UserError: a DICOM file that is damaged or cannot be read.
        MissingPackage: pydicom is not installed.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


@cache
def _read(path: Path, size: int, changed: int) -> DicomHeader | None:
    """Header of a file, kept by its path, size and time of change."""
    magic = has_magic(path)
    if not magic and (path.suffix.lower() not in SUFFIXES or not size):
        return None  # also a file without the preamble, unless its name claims that it is DICOM
    try:
        with quiet(), open_input(path, SLICE_BYTES, "DICOM file") as file:
            dataset = _dataset(path, file, stop_before_pixels=True, specific_tags=TAGS)
            return _parse(path, dataset, size - file.tell())
    except UserError:
        raise
    except Exception as error:  # pydicom raises many types for a malformed file
        if not magic:
            return None
        raise damaged(path, str(error) or type(error).__name__) from None


def read_dataset(path: Path, **options: Any) -> Any:
    """Dataset of pydicom, with its pixels as they are stored.

    Args:
        path: the file.
        options: of pydicom's `dcmread`, such as stop_before_pixels.

    Raises:
        UserError: no ordinary file, or one that is larger than any slice, packed or unpacked.
        Exception: of many types, which pydicom raises for a malformed file.
    """
    with quiet(), open_input(path, SLICE_BYTES, "DICOM file") as file:
        return _dataset(path, file, **options)


def _dataset(path: Path, file: BinaryIO, **options: Any) -> Any:
    """Dataset of an open file; one that is compressed as a whole is measured before pydicom inflates it at once."""
    pydicom = pydicom_module()
    pydicom.filereader.read_preamble(file, force=True)
    if pydicom.filereader._read_file_meta_info(file).get("TransferSyntaxUID") == DEFLATED:
        _refuse_bomb(path, file)
    file.seek(0)
    return pydicom.dcmread(file, force=True, **options)


def _refuse_bomb(path: Path, file: BinaryIO) -> None:
    """Refuse the rest of a file that inflates to more than a slice may have."""
    inflater, size, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read(BLOCK)
    while packed and size <= SLICE_BYTES:
        size += len(inflater.decompress(packed, BLOCK))
        packed = inflater.unconsumed_tail or file.read(BLOCK)
    if size > SLICE_BYTES:
        raise UserError(f"{path}: is compressed, and inflates to more than {size_text(SLICE_BYTES)}; expected no more")


def pydicom_module() -> Any:
    """The package pydicom.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingPackage("pydicom", "reading DICOM") from None
    return pydicom


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings about headers: what matters becomes an error of ours."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _parse(path: Path, dataset: Any, rest: int) -> DicomHeader | None:
    """Header of a dataset; None for a DICOMDIR or a file that is not DICOM.

    Args:
        path: the file.
        dataset: as read up to the pixels.
        rest: bytes of the file from the pixels on.

    Raises:
        ValueError: there is no SOPClassUID, no SOPInstanceUID, or that of a scan without pixels.
    """
    if not dataset.get("SOPClassUID"):
        kind = str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
        if kind != DIRECTORY:
            raise ValueError("no SOPClassUID")
        return None
    if not dataset.get("SOPInstanceUID"):
        raise ValueError("no SOPInstanceUID")
    agents = dataset.get("ContrastBolusAgentSequence") or []
    named = [str(agent.get("CodeMeaning", "yes")) for agent in agents]
    if str(dataset.SOPClassUID) in SCANS and not dataset.get("BitsAllocated"):
        raise ValueError("a scan without pixels")
    colours, photometric = int(dataset.get("SamplesPerPixel") or 0), _text(dataset, "PhotometricInterpretation")
    frames = tuple(_frames(path, dataset)) if colours else ()
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None) if hasattr(dataset, "file_meta") else None
    plain = syntax is None or not (syntax.is_compressed or syntax.is_deflated)
    rows, columns, count = (int(dataset.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    voxels = rows * columns * (count or 1)
    if colours and voxels > SLICE_VOXELS:
        raise too_large(path, f"{columns} x {rows} x {count or 1} voxels", f"{SLICE_VOXELS} voxels")
    pixels = voxels * int(dataset.get("BitsAllocated") or 0) * colours // 8
    return DicomHeader(
        path=path,
        sop_class=str(dataset.SOPClassUID),
        sop_uid=_text(dataset, "SOPInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
        patient_id=_text(dataset, "PatientID"),
        modality=_text(dataset, "Modality"),
        description=_text(dataset, "SeriesDescription") or _text(dataset, "ProtocolName"),
        number=_integer(dataset, "SeriesNumber"),
        image_type="\\".join(map(str, dataset.get("ImageType") or ())),
        contrast=_text(dataset, "ContrastBolusAgent") or ", ".join(named),
        colours=3 if photometric == "PALETTE COLOR" else colours,
        is_inverted=photometric == "MONOCHROME1",
        frames=frames,
        complete=not plain or rest >= pixels,
        acquired=_integer(dataset, "ImagesInAcquisition"),
    )


def _frames(path: Path, dataset: Any) -> Iterator[Frame]:
    """Slices of a dataset that have a position and an orientation."""
    count = _integer(dataset, "NumberOfFrames") or 1
    per_frame = dataset.get(ENHANCED[1]) or []
    if not per_frame and count == 1:
        yield from _frame(path, dataset, [dataset], None, _integer(dataset, "InstanceNumber"))
        return
    shared = (dataset.get(ENHANCED[0]) or [None])[0]
    for index, own in enumerate(per_frame):
        groups = [group for group in (own, shared) if group is not None]
        items = [item[0] for group in groups for element in group if element.VR == "SQ" and (item := element.value)]
        yield from _frame(path, dataset, [*items, dataset], index, index + 1)


def _frame(path: Path, dataset: Any, places: list[Any], index: int | None, number: int) -> Iterator[Frame]:
    """Slice whose attributes stand in the first of several places that has them; none without a position."""

    def find(*keywords: str) -> Any:
        return next((place[word].value for place in places for word in keywords if place.get(word) not in (None, "")), None)

    origin, orientation, pixels = find("ImagePositionPatient"), find("ImageOrientationPatient"), find("PixelSpacing")
    if origin is None or orientation is None or pixels is None:
        return
    origin, orientation, pixels = ([float(value) for value in values] for values in (origin, orientation, pixels))
    numbers = np.array([*origin, *orientation, *pixels])
    if (len(origin), len(orientation), len(pixels)) != (3, 6, 2) or not np.isfinite(numbers).all() or min(pixels) <= 0:
        raise ValueError("position, orientation and pixel spacing: expected 3, 6 and 2 numbers")
    time = find("TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime", "NominalCardiacTriggerDelayTime")
    types = find("FrameType", "ImageType")
    values = (
        "\\".join(map(str, types or ())),
        find("EffectiveEchoTime", "EchoTime", "EchoNumbers"),
        find("DiffusionBValue"),
        find("InversionTime"),
        time,
        find("StackID"),
        find("AcquisitionNumber", "FrameAcquisitionNumber"),
    )
    yield Frame(
        path=path,
        index=index,
        sop_uid=_text(dataset, "SOPInstanceUID"),
        number=number,
        origin=tuple(origin),
        orientation=tuple(orientation),
        pixel_mm=(pixels[1], pixels[0]),
        size=(int(dataset.Columns), int(dataset.Rows)),
        thickness_mm=float(find("SliceThickness") or 0),
        splitters=tuple("" if value is None else str(value) for value in values),
    )


def _text(dataset: Any, keyword: str) -> str:
    """Value as text on one line; empty where absent."""
    value = dataset.get(keyword)
    return "" if value is None else " ".join(str(value).split())


def _integer(dataset: Any, keyword: str) -> int:
    """Value as integer; 0 where absent or no number."""
    try:
        return int(dataset.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0
