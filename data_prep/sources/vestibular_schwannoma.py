"""Vestibular-Schwannoma-SEG (Shapey et al., 2021; TCIA, doi 10.7937/TCIA.9YTJ-5Q73): contrast T1 and T2 with manual contours.

Files of a patient are found by its number in a folder's name, VS-SEG-007 as downloaded, or vs_gk_7_t1 as in the collection's
zip files of contours and transforms; several such folders are one patient. Images are DICOM series, or the NIfTI files of the
collection's scripts (vs_gk_t1_refT1.nii.gz, vs_gk_t2_refT2.nii.gz, vs_gk_seg_refT1.nii.gz). The annotation is the first
structure of contours.json, as in those scripts, else of an RTSTRUCT, else the NIfTI file. T2 is brought to T1, the reference,
by `inv_T2_LPS_to_T1_LPS.tfm`, which maps points of T1 to points of T2. With `--channels t2 t1ce` T2 is the reference.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.scans.annotations import nifti_label
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.scans.contours import Structure, rasterise, read_json_contours, read_rtstruct
from data_prep.scans.dicom import STRUCTURES, Series, index_files
from data_prep.scans.dicom_image import read_series
from data_prep.scans.dicom_seg import write_seg
from data_prep.scans.itk import read_transform
from data_prep.scans.volume import Volume
from data_prep.sources import nifti_rules as rules
from data_prep.sources.base import SourceConfig, choose_channels, lacking_channels, sorted_cases
from data_prep.sources.volume_source import VolumeSource
from data_prep.sources.walk import visible_files

CHANNELS = {"t1ce": "t1", "t2": "t2"}  # channel -> space, as the files name it
SCHEMA = "binary"
MAX_GAP = 1.5
NUMBER = re.compile(r"(?:VS-SEG-|vs_gk_)0*(?P<number>\d+)(?:_(?P<space>t[12]))?$", re.IGNORECASE)
CONTOURS = re.compile(r"contours(?:_(?P<space>t[12]))?\.json", re.IGNORECASE)
TRANSFORM = re.compile(r"inv_(?P<start>t[12])_LPS_to_(?P<end>t[12])_LPS\.tfm", re.IGNORECASE)
NIFTI = re.compile(r"vs_gk_(?P<what>t1|t2|seg)_ref(?P<space>t[12])\.nii(\.gz)?", re.IGNORECASE)
T2_DESCRIPTION = re.compile(r"t2|ciss", re.IGNORECASE)


@dataclass
class _Patient:
    """Files of one patient.

    Attributes:
        number: in the collection.
        series: space (t1, t2) -> DICOM series.
        images: (space of the image, space of its grid) -> NIfTI file.
        labels: space -> NIfTI file.
        contours: space -> JSON file.
        structures: RTSTRUCT files.
        transforms: (start, end) of the file's name -> file.
        problems: a line each.
    """

    number: int
    series: dict[str, Series] = field(default_factory=dict)
    images: dict[tuple[str, str], Path] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    contours: dict[str, Path] = field(default_factory=dict)
    structures: list[Path] = field(default_factory=list)
    transforms: dict[tuple[str, str], Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Case id, as in the collection."""
        return f"VS-SEG-{self.number:03d}"

    def spaces(self) -> set[str]:
        """Spaces of which there is an image."""
        return {*self.series, *(space for space, _ in self.images)}

    def image(self, space: str, reference: str) -> Series | Path | None:
        """Image of a space: a series, or the NIfTI file that is on the reference's grid, else any."""
        files = {grid: path for (own, grid), path in self.images.items() if own == space}
        return self.series.get(space) or files.get(reference) or next(iter(files.values()), None)

    def image_space(self, space: str, reference: str) -> str:
        """Space in which `image` lies: its own, or that to which the collection's scripts resampled it."""
        grids = [grid for own, grid in self.images if own == space]
        if space in self.series or not grids:
            return space
        return reference if reference in grids else grids[0]

    def matrix(self, start: str, end: str) -> np.ndarray | None:
        """Transform (4, 4) of points of one space to points of another, millimetres in RAS+; None without a file.

        The names of the files have the opposite direction: they were made for resampling, which asks from the target backwards.
        """
        if start == end:
            return np.eye(4)
        if (end, start) in self.transforms:
            return np.array(read_transform(self.transforms[end, start]))
        if (start, end) in self.transforms:
            return np.linalg.inv(read_transform(self.transforms[start, end]))
        return None


class VestibularSchwannomaSource(VolumeSource):
    """Source in the layouts of the collection Vestibular-Schwannoma-SEG."""

    layout = "vestibular_schwannoma"
    looks_for = "folders named VS-SEG-001 or vs_gk_1_t1, with DICOM or NIfTI files and contours.json"
    schema: LabelSchema
    writes_predictions = True

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        self.channels = choose_channels(list(CHANNELS), config.channels, root)
        patients = _patients(root)
        if config.channels is None and not any("t2" in patient.spaces() for patient in patients):
            self.channels = ["t1ce"]
        self.schema = LabelSchema.load(SCHEMA if config.labels == "auto" else config.labels)
        self._patients = {patient.id: patient for patient in patients}
        self._cases = sorted_cases((self._case(patient) for patient in patients), root, config.patient_pattern)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder whose files lie in folders with the collection's names."""
        return root.is_dir() and any(_match(root, path) for path in visible_files(root))

    def reference(self, files: CaseFiles) -> str:
        """Space of the reference: that of the first channel that the case has."""
        spaces = self._patients[files.id].spaces()
        found = next((CHANNELS[name] for name in files.channels if CHANNELS[name] in spaces), None)
        if found is None:
            raise UserError(f"{self.root}: case {files.id} has none of the channels {', '.join(files.channels)}")
        return found

    def read_image(self, files: CaseFiles, channel: str) -> Volume:
        """Read one channel on its own grid."""
        image = self._patients[files.id].image(CHANNELS[channel], self.reference(files))
        if image is None:
            raise UserError(f"{self.root}: case {files.id} lacks channel {channel}")
        if isinstance(image, Series):
            return read_series(image)
        array = nifti.read_image(ImageRef(image))
        if problem := rules.finite_problem(str(image), array):
            raise UserError(problem)
        return Volume(array, nifti.read_header(image).affine)

    def image_grid(self, files: CaseFiles, channel: str) -> Grid:
        """Grid of one channel's own image."""
        image = self._patients[files.id].image(CHANNELS[channel], self.reference(files))
        if image is None:
            raise UserError(f"{self.root}: case {files.id} lacks channel {channel}")
        if isinstance(image, Series):
            return image.stack.grid
        header = nifti.read_header(image)
        i, j, k = header.shape[:3]
        return Grid((i, j, k), header.affine)

    def grid(self, files: CaseFiles) -> Grid:
        """Grid of the reference channel."""
        return self.image_grid(files, self._reference_channel(files))

    def transform(self, files: CaseFiles, channel: str) -> np.ndarray | None:
        """Affine of the collection from the reference to a channel; None where both share one space."""
        reference = self.reference(files)
        space = self._patients[files.id].image_space(CHANNELS[channel], reference)
        return None if space == reference else self._patients[files.id].matrix(reference, space)

    def known_transform(self, files: CaseFiles, reference: str, channel: str) -> np.ndarray | None:
        """Affine of the collection between the images of two channels; None where its file is not there."""
        patient, space = self._patients[files.id], self.reference(files)
        start, end = (patient.image_space(CHANNELS[name], space) for name in (reference, channel))
        return patient.matrix(start, end)

    def label_channel(self, files: CaseFiles) -> str | None:
        """Reference channel, on whose grid the annotation is read; None without annotation."""
        return None if files.label is None else self._reference_channel(files)

    def header_problems(self, files: CaseFiles) -> list[str]:
        """Problems of the files and the series, a line each."""
        patient = self._patients[files.id]
        lacking = [name for name, image in files.channels.items() if image is None]
        if len(lacking) == len(files.channels):
            return [*patient.problems, f"{self.root}: case {files.id} has none of the channels {', '.join(lacking)}"]
        problems = list(patient.problems)
        if self.config.missing_channels == "refuse":
            problems += lacking_channels(self.root, files.id, dict.fromkeys(lacking, ""))
        if problems:
            return problems
        reference = self.reference(files)
        for name in (name for name in files.channels if name not in lacking):
            image = patient.image(CHANNELS[name], reference)
            if isinstance(image, Series) and (found := image.problem(MAX_GAP)):
                problems.append(found)
        return problems

    def space_problems(self, files: CaseFiles) -> list[str]:
        """Channels in another space than the reference without an affine between both, a line each."""
        patient, reference = self._patients[files.id], self.reference(files)
        problems = []
        for name in (name for name, image in files.channels.items() if image is not None):
            space = patient.image_space(CHANNELS[name], reference)
            if patient.matrix(reference, space) is None:
                wanted = f"inv_{space.upper()}_LPS_to_{reference.upper()}_LPS.tfm"
                problems.append(
                    f"{self.root}: case {files.id}: expected {wanted}, which brings {name} to {reference}; received none; "
                    "register them first (glioskull align)"
                )
        return problems

    def annotation(self, files: CaseFiles) -> np.ndarray:
        """Annotation on the reference grid: 1 inside the first structure."""
        patient, space, grid = self._patients[files.id], self.reference(files), self.grid(files)
        if patient.contours:
            other = space if space in patient.contours else next(iter(patient.contours))
            structures = read_json_contours(patient.contours[other])
            return self._mask(structures, patient, other, space, grid, patient.contours[other])
        for path in patient.structures:
            structures = read_rtstruct(path)
            drawn = [name for name, series in patient.series.items() if structures and series.uid == structures[0].series_uid]
            other = drawn[0] if drawn else _space(path) or space
            if other == space or path == patient.structures[-1]:
                return self._mask(structures, patient, other, space, grid, path)
        other = space if space in patient.labels else next(iter(patient.labels))
        return nifti_label(patient.labels[other], grid, None if other == space else self._moving(patient, space, other))

    def write_prediction(
        self,
        files: CaseFiles,
        ids: np.ndarray,
        folder: Path,
        schema: LabelSchema | None = None,
        channel: str | None = None,
    ) -> list[Path]:
        """Write a prediction as DICOM SEG, `folder/ID.seg.dcm`, where the channel (the reference) is a DICOM series."""
        space = CHANNELS[channel or self._reference_channel(files)]
        image = self._patients[files.id].image(space, self.reference(files))
        if not isinstance(image, Series):
            return []
        path = folder / f"{files.id}.seg.dcm"
        write_seg(path, image, ids, dict(list((schema or self.schema).classes.items())[1:]), files.id)
        return [path]

    def prediction_names(self, files: CaseFiles) -> list[str]:
        """Name of the DICOM SEG of a case whose reference is a DICOM series."""
        reference = self.reference(files)
        return [f"{files.id}.seg.dcm"] if isinstance(self._patients[files.id].image(reference, reference), Series) else []

    def _reference_channel(self, files: CaseFiles) -> str:
        """Name of the reference channel."""
        space = self.reference(files)
        return next(name for name, own in CHANNELS.items() if own == space)

    def _mask(
        self, structures: list[Structure], patient: _Patient, drawn: str, space: str, grid: Grid, path: Path
    ) -> np.ndarray:
        """Label of the first structure, moved from the space that it was drawn in to that of the grid."""
        if not structures:
            raise UserError(f"{path}: contours: expected at least one structure; received none")
        structure = structures[0] if drawn == space else structures[0].moved(self._moving(patient, drawn, space))
        return rasterise(structure, grid).astype(np.uint8)

    def _moving(self, patient: _Patient, start: str, end: str) -> np.ndarray:
        """Transform of points between two spaces.

        Raises:
            UserError: there is no file of it.
        """
        matrix = patient.matrix(start, end)
        if matrix is None:
            wanted = f"inv_{end.upper()}_LPS_to_{start.upper()}_LPS.tfm"
            raise UserError(f"{self.root}: case {patient.id}: expected {wanted} for the contours of {start}; received none")
        return matrix

    def _case(self, patient: _Patient) -> CaseFiles:
        """Case of a patient."""
        images = {name: patient.image(CHANNELS[name], CHANNELS[self.channels[0]]) for name in self.channels}
        refs = {
            name: ImageRef(image.frames[0].path if isinstance(image, Series) else image) if image else None
            for name, image in images.items()
        }
        labels = [*patient.contours.values(), *patient.structures, *patient.labels.values()]
        series = [file for image in images.values() if isinstance(image, Series) for file in image.paths]
        files = [
            *series,
            *(image for image in images.values() if isinstance(image, Path)),
            *labels,
            *patient.transforms.values(),
        ]
        return CaseFiles(
            id=patient.id,
            patient=patient.id,
            channels=refs,
            label=ImageRef(labels[0]) if labels else None,
            slices=tuple(dict.fromkeys(files)),
        )


def _match(root: Path, path: Path) -> re.Match[str] | None:
    """Number and space in the name of the innermost folder of a file that has them; the root's own name counts too."""
    folders = [root.resolve().name, *path.relative_to(root).parts[:-1]]
    return next((match for name in reversed(folders) if (match := NUMBER.match(name))), None)


def _space(path: Path) -> str | None:
    """Space of a file by its folders, such as vs_gk_1_t1."""
    return next(
        (match["space"].lower() for name in reversed(path.parts[:-1]) if (match := NUMBER.match(name)) and match["space"]), None
    )


def _patients(root: Path) -> list[_Patient]:
    """Patients below a folder, by their numbers."""
    patients: dict[int, _Patient] = {}
    others: defaultdict[int, list[Path]] = defaultdict(list)
    for path in visible_files(root):
        match = _match(root, path)
        if match is None:
            continue
        number = int(match["number"])
        patient = patients.setdefault(number, _Patient(number))
        if found := CONTOURS.fullmatch(path.name):
            patient.contours[(found["space"] or match["space"] or "t1").lower()] = path
        elif found := TRANSFORM.fullmatch(path.name):
            patient.transforms[found["start"].lower(), found["end"].lower()] = path
        elif found := NIFTI.fullmatch(path.name):
            what, space = found["what"].lower(), found["space"].lower()
            if what == "seg":
                patient.labels[space] = path
            else:
                patient.images[what, space] = path
        else:
            others[number].append(path)
    for number, paths in others.items():
        _add_dicom(patients[number], paths)
    return list(patients.values())


def _add_dicom(patient: _Patient, paths: list[Path]) -> None:
    """Add the DICOM objects among files to a patient."""
    index = index_files(paths)
    patient.problems += index.damaged.values()
    patient.structures += [header.path for header in index.annotations if header.modality == STRUCTURES]
    for series in (each for each in index.series if each.modality == "MR" and not each.is_scout):
        space = _space(series.frames[0].path) or ("t2" if T2_DESCRIPTION.search(series.description) else "t1")
        taken = patient.series.setdefault(space, series)
        if taken is not series:
            patient.problems.append(f"{series.frames[0].path}: {series.name} and {taken.name} are both {space}; keep one")
