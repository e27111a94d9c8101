"""DICOM files made by the tests, in the formats of several scanners: series, enhanced objects, RTSTRUCT, junk beside them."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

NAME, BIRTH, STUDY_DATE = "MUSTERMANN^ERIKA", "19640812", "20190314"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def uid(*words: object) -> str:
    """UID that is a function of its words."""
    return generate_uid(entropy_srcs=[str(word) for word in words])


def oblique(spacing=(0.9, 0.9, 3.0), angles=(12.0, -20.0, 33.0), origin=(31.25, -40.5, 17.125)) -> np.ndarray:
    """Affine (RAS) of a grid that is rotated about all three axes."""
    x, y, z = np.radians(angles)
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_y @ turn_x * spacing
    affine[:3, 3] = origin
    return affine


AXIAL = LPS @ np.diag([0.8, 0.8, 2.0, 1.0])


def blob(shape=(12, 10, 8), seed=0, low=0, high=1000, dtype=np.int16) -> np.ndarray:
    """Random voxels (i, j, k)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def header(sop_class: str, series: str, patient: str, study: str | None = None) -> Dataset:
    """Dataset with the person and the study, and an empty file meta."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.StudyInstanceUID = study or uid("study", patient)
    dataset.SeriesInstanceUID = uid(series, patient)
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = patient, NAME, BIRTH
    dataset.PatientSex = "F"
    dataset.StudyDate = dataset.SeriesDate = STUDY_DATE
    dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "101112", "A77", "S77"
    dataset.ReferringPhysicianName = "WEISS^A"
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write a dataset under its SOPInstanceUID; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    array: np.ndarray,
    affine: np.ndarray = AXIAL,
    description: str = "t1 mpr",
    patient: str = "PAT-4711",
    modality: str = "MR",
    number: int = 1,
    places: list[float] | None = None,
    scale: tuple[float, float] | None = None,
    frame: str = "scanner",
    syntax: str | None = None,
    suffix: str = ".dcm",
    key: str = "",
    **tags: object,
) -> list[Path]:
    """Write a series of one file per slice; returns the files in the order of the slices.

    Args:
        folder: of the files.
        array: (i, j, k) stored values; i runs along a row.
        affine: (4, 4) in RAS+; its third column is the way from slice to slice, tilted or not.
        places: position of each slice in units of that way; default 0, 1, 2 ...
        scale: RescaleSlope and RescaleIntercept.
        frame: of reference, within the patient.
        syntax: transfer syntax to compress with.
        key: distinguishes series of one description.
        tags: further attributes.
    """
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :2], axis=0)
    paths = []
    for k in range(array.shape[2]):
        place = k if places is None else places[k]
        dataset = header(CTImageStorage if modality == "CT" else MRImageStorage, f"{description}{number}{key}", patient)
        dataset.SOPInstanceUID = uid(dataset.SeriesInstanceUID, k)
        dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = (
            modality,
            description,
            number,
            k + 1,
        )
        dataset.FrameOfReferenceUID = uid(frame, patient)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ImagePositionPatient = [f"{value:.8f}" for value in lps[:3, 3] + place * lps[:3, 2]]
        directions = lps[:3, :2] / spacing
        dataset.ImageOrientationPatient = [f"{value:.9f}" for value in directions.T.ravel()]
        dataset.PixelSpacing = [f"{spacing[1]:.8f}", f"{spacing[0]:.8f}"]
        dataset.SliceThickness = f"{abs(np.linalg.norm(lps[:3, 2])):.6g}"
        pixels = np.ascontiguousarray(array[:, :, k].T)
        dataset.set_pixel_data(pixels, "MONOCHROME2", 16)
        if scale is not None:
            dataset.RescaleSlope, dataset.RescaleIntercept = scale
        for name, value in tags.items():
            setattr(dataset, name, value[k] if isinstance(value, list) and len(value) == array.shape[2] else value)
        if syntax is not None:
            dataset.compress(syntax, generate_instance_uid=False)
        paths.append(save(dataset, folder / f"IM{(k * 7) % array.shape[2]:04d}_{k}{suffix}"))
    return paths


def write_enhanced(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray,
    description="t1 enhanced",
    patient="PAT-4711",
    echoes=(0.0,),
    frame="scanner",
) -> Path:
    """Write an enhanced multi-frame MR object; with several echoes the volume is stored once for each, plus its number."""
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :2], axis=0)
    dataset = header(EnhancedMRImageStorage, description, patient)
    dataset.SOPInstanceUID, dataset.Modality = uid(dataset.SeriesInstanceUID, "object"), "MR"
    dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = description, 3, 1
    dataset.FrameOfReferenceUID = uid(frame, patient)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{value:.9f}" for value in (lps[:3, :2] / spacing).T.ravel()]
    measures.PixelSpacing, measures.SliceThickness = [f"{spacing[1]:.8f}", f"{spacing[0]:.8f}"], "2"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames, planes = [], []
    for k in reversed(range(array.shape[2])):  # stored from above, and echoes in turn
        for number, time in enumerate(echoes):
            own, position, echo, values = Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [f"{value:.8f}" for value in lps[:3, 3] + k * lps[:3, 2]]
            echo.EffectiveEchoTime = time
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, 5, "US"
            own.PlanePositionSequence, own.MREchoSequence = [position], [echo]
            own.PixelValueTransformationSequence = [values]
            frames.append(own)
            planes.append(array[:, :, k].T + number)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.set_pixel_data(np.stack(planes), "MONOCHROME2", 16)
    return save(dataset, path)


def write_rtstruct(path: Path, series: Path, structures: dict[str, list[np.ndarray]]) -> Path:
    """Write an RTSTRUCT on a series: name -> polygons (n, 3) in RAS+."""
    image = pydicom.dcmread(series, stop_before_pixels=True)
    dataset = header(RTStructureSetStorage, "contours", image.PatientID, image.StudyInstanceUID)
    dataset.SOPInstanceUID, dataset.Modality, dataset.SeriesNumber = uid(path), "RTSTRUCT", 20
    dataset.SeriesDescription = "plan"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    referenced, study, frame = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = image.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [referenced]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = image.FrameOfReferenceUID, [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    for number, (name, polygons) in enumerate(structures.items(), 1):
        roi, contours = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        contours.ReferencedROINumber, contours.ContourSequence = number, []
        for points in polygons:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{value:.8f}" for value in (points @ LPS[:3, :3]).ravel()]
            contours.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(contours)
    return save(dataset, path)


def write_junk(folder: Path, patient: str = "PAT-4711") -> list[Path]:
    """Write what lies beside series: a report, a screenshot, a DICOMDIR, texts, an empty file, a scout."""
    folder.mkdir(parents=True, exist_ok=True)
    report = header("1.2.840.10008.5.1.4.1.1.88.22", "report", patient)
    report.SOPInstanceUID, report.Modality = uid("report", patient), "SR"
    picture = header(SecondaryCaptureImageStorage, "picture", patient)
    picture.SOPInstanceUID, picture.Modality = uid("picture", patient), "OT"
    picture.set_pixel_data(np.zeros((4, 5, 3), np.uint8), "RGB", 8)
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = uid("directory", patient)
    directory.FileSetID = "DISC"
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    (folder / "notes.txt").write_text("MUSTERMANN")
    (folder / "thumbs.dcm").write_bytes(b"no DICOM at all")
    (folder / "empty.dcm").write_bytes(b"")
    scout = write_series(
        folder / "scout",
        blob((6, 6, 2)),
        description="localizer",
        number=90,
        patient=patient,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    return [save(report, folder / "report.dcm"), save(picture, folder / "picture"), *scout]
