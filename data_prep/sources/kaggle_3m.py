"""LGG Segmentation Dataset (Buda et al., 2019), on Kaggle as `kaggle_3m`: a folder of TIFF slices per patient.

`TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_7.tif` is slice 7 of three channels: pre-contrast, FLAIR, post-contrast; beside it
stands its mask, `..._7_mask.tif`, of 0 and 255. Patient folders may lie at any depth. `data.csv` beside or above them has a row
per patient, `TCGA_CS_4941`, whose columns become attributes; the second part of the name is the attribute `institution`. The
slices have neither spacing nor orientation.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.errors import UserError
from common.tables import read_rows
from data_prep.labels import LabelSchema
from data_prep.scans import tiff
from data_prep.scans.case import Case, CaseFiles, ImageRef
from data_prep.sources import nifti_rules as rules
from data_prep.sources.base import Source, SourceConfig, choose_channels, refuse, sorted_cases
from data_prep.sources.walk import visible_files

CHANNELS = ["pre", "flair", "post"]
SCHEMA = "kaggle_3m"
TABLE, PATIENT = "data.csv", "Patient"
PATIENT_PARTS = 3  # of a folder's name, as in the table: TCGA_CS_4941 of TCGA_CS_4941_19960909
NAME = re.compile(r"(?P<name>.+)_(?P<number>[0-9]+)(?P<mask>_mask)?\.tiff?", re.IGNORECASE)
MOST_NAMES = 5  # in one line of a message
INSTITUTION = "institution"
T = TypeVar("T")
Rows = dict[str, dict[str, str]]


@dataclass
class _Patient:
    """Files of one patient's folder, sorted by their names.

    Attributes:
        folder: of the patient.
        images, masks: slice number -> file, by rising number.
        doubles: (file, the file of the same number that is used).
        ignored: files that are no slices.
    """

    folder: Path
    images: dict[int, Path] = field(default_factory=dict)
    masks: dict[int, Path] = field(default_factory=dict)
    doubles: list[tuple[Path, Path]] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Case and patient id: the folder's name."""
        return self.folder.resolve().name

    @property
    def row(self) -> str:
        """Patient id in the table."""
        return "_".join(self.id.split("_")[:PATIENT_PARTS])

    @property
    def institution(self) -> dict[str, str]:
        """Attribute `institution`: CS of TCGA_CS_4941_19960909; none where the name has no such parts."""
        parts = self.id.split("_")
        return {INSTITUTION: parts[1]} if len(parts) > PATIENT_PARTS else {}

    @property
    def slices(self) -> tuple[Path, ...]:
        """Files of the slices, images first."""
        return (*self.images.values(), *self.masks.values(), *(double for double, _ in self.doubles))

    def problems(self) -> list[str]:
        """Problems of the file names, a line each."""
        lines = [f"{double}: slice number stands twice, also in {taken.name}; keep one" for double, taken in self.doubles]
        bare = [path for number, path in self.images.items() if self.masks and number not in self.masks]
        if bare:
            lines.append(f"{bare[0]}: has no mask, as other slices of its case have{_more(bare)}; add it, or remove all masks")
        lines += [
            f"{path}: mask without an image; add slice {number}, or remove the mask"
            for number, path in self.masks.items()
            if number not in self.images
        ]
        return lines

    def warnings(self) -> list[str]:
        """Warnings about the file names, a line each."""
        wanted = "TIFF slices alone in a patient's folder"
        lines = []
        for path in self.ignored:
            is_tiff = path.suffix.lower() in tiff.SUFFIXES
            name = f"a name like NAME_1{path.suffix} or NAME_1_mask{path.suffix}"
            lines.append(f"{path}: ignored; expected {name if is_tiff else wanted}")
        matches = [(path, NAME.fullmatch(path.name)) for path in self.images.values()]
        names = sorted({match["name"] if match else path.stem for path, match in matches})
        if len(names) > 1:
            lines.append(
                f"{self.folder}: slices have different names ({', '.join(names[:MOST_NAMES])}) and are taken as one scan"
            )
        pairs = [(low + 1, high - 1) for low, high in pairwise(sorted({*self.images, *self.masks})) if high - low > 1]
        gaps = [str(low) if low == high else f"{low}-{high}" for low, high in pairs]
        return lines + ([f"{self.folder}: slice numbers are missing: {', '.join(gaps)}; the others are joined"] if gaps else [])


@dataclass
class _Slices:
    """Slices of a patient as far as they were read, and their problems."""

    images: dict[Path, tiff.Header | np.ndarray]
    masks: dict[Path, np.ndarray]
    problems: list[str]


class Kaggle3mSource(Source):
    """Source in the layout of the LGG Segmentation Dataset; without spacing, so that `Case.affine` is None."""

    layout = "kaggle_3m"
    writes_predictions = True
    looks_for = "folders of slices named NAME_1.tif, with masks NAME_1_mask.tif, at any depth"
    likely_schemas = ("binary",)
    has_geometry = False
    schema: LabelSchema

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        self.channels = choose_channels(CHANNELS, config.channels, root)
        self.schema = LabelSchema.load(SCHEMA if config.labels == "auto" else config.labels)
        files = list(visible_files(root))
        patients = _patients(files)
        tables = {path.parent: path for path in files if path.name.lower() == TABLE}
        self._tables = {
            patient.id: next((tables[above] for above in patient.folder.parents if above in tables), None)
            for patient in patients
        }
        rows = {table: _read_table(table) for table in self._tables.values() if table is not None}
        self._cases = sorted_cases((self._case(patient, rows) for patient in patients), root, config.patient_pattern)
        self._patients = {patient.id: patient for patient in patients}
        self._unused = [line for table, listed in rows.items() for line in _unused(table, listed, patients)]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder with any file that is named as an image slice."""
        matches = (NAME.fullmatch(path.name) for path in visible_files(root)) if root.is_dir() else ()
        return any(match is not None and not match["mask"] for match in matches)

    def cases(self) -> list[CaseFiles]:
        """All patients, sorted by folder; no voxel is read."""
        return list(self._cases)

    def read(self, files: CaseFiles) -> Case:
        """Read one case: channels and label (rows, columns, slices), uint8; slices by rising number.

        Raises:
            UserError: it breaks a rule (Problems where it breaks several).
        """
        found = self._read_slices(files, deep=True)
        refuse(found.problems, files)
        volume = np.stack([np.asarray(image) for image in found.images.values()])
        channels: dict[str, np.ndarray | None] = {
            name: _native(np.ascontiguousarray(volume[..., CHANNELS.index(name)])) for name in files.channels
        }
        label = None if files.label is None else _native(np.stack(list(found.masks.values())))
        slices, rows, columns = volume.shape[:3]
        return Case(files, channels, label, None, (rows, columns, slices))

    def read_label(self, files: CaseFiles) -> tuple[np.ndarray, None]:
        """Masks of a case (rows, columns, slices), uint8, and no affine; of the images only the headers are read."""
        if files.label is None:
            raise ValueError(f"case {files.id} has no label")
        found = self._read_slices(files, deep=False)
        refuse(found.problems, files)
        return _native(np.stack(list(found.masks.values()))), None

    def shape(self, files: CaseFiles) -> tuple[int, int, int]:
        """Native shape (rows, columns, slices), from the header of the first slice."""
        images = list(self._patients[files.id].images.values())
        if not images:
            raise UserError(self._patients[files.id].problems()[0])
        return (*tiff.read_header(images[0], len(CHANNELS)).shape, len(images))

    def check(self, files: CaseFiles, deep: bool = False) -> list[str]:
        """Problems of a case, a line each: every header, file length and mask; `deep` decodes the images too."""
        return self._read_slices(files, deep).problems

    def source_warnings(self) -> list[str]:
        """Warnings about rows of the tables without a folder, a line for each table."""
        return self._unused

    def warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about ignored files, missing slice numbers and missing rows of the table, a line each."""
        lines = self._patients[files.id].warnings()
        table = self._tables[files.id]
        if table is not None and files.attributes == self._patients[files.id].institution:
            lines.append(f"{table}: has no row {self._patients[files.id].row} for {files.id}, which gets no attributes")
        return lines

    def write_prediction(
        self,
        files: CaseFiles,
        ids: np.ndarray,
        folder: Path,
        schema: LabelSchema | None = None,
        channel: str | None = None,
    ) -> list[Path]:
        """Write a prediction in the data set's format of masks: `folder/ID/ID_<n>_mask.tif`, 0 and 255, uncompressed.

        Args:
            files: the case.
            ids: (rows, columns, slices); all but the background's become 255.
            folder: of predictions, not of this source.
            schema: of the ids; None: that of this source.
            channel: all share one grid.

        Returns:
            Files, one per slice of the case and with its number.

        Raises:
            ValueError: the array has another number of slices than the case; nothing was written.
        """
        background = next(iter((schema or self.schema).classes.values()))
        masks = np.where(np.isin(ids, background), 0, 255).astype(np.uint8)
        paths = [folder / name for name in self.prediction_names(files)]
        planes = np.moveaxis(masks, -1, 0)
        if len(planes) != len(paths):
            raise ValueError(f"case {files.id}: expected {len(paths)} slices; received {len(planes)}")
        for path, mask in zip(paths, planes, strict=True):
            tiff.write_slice(path, mask)
        return paths

    def prediction_names(self, files: CaseFiles) -> list[str]:
        """Names of the masks of a case, one per slice, below a folder of its id."""
        numbers = [_number(path) for path in self._patients[files.id].images.values()]
        return [f"{files.id}/{files.id}_{number}_mask.tif" for number in numbers]

    def _case(self, patient: _Patient, rows: dict[Path, Rows]) -> CaseFiles:
        """Case of a patient's folder."""
        table = self._tables[patient.id]
        return CaseFiles(
            id=patient.id,
            patient=patient.id,
            channels={name: ImageRef(patient.folder, CHANNELS.index(name)) for name in self.channels},
            label=ImageRef(patient.folder) if patient.masks else None,
            attributes=patient.institution | (rows[table].get(patient.row, {}) if table is not None else {}),
            slices=patient.slices,
        )

    def _read_slices(self, files: CaseFiles, deep: bool) -> _Slices:
        """Read the masks, and the headers of the images or, if `deep`, the images; find problems of names, files and voxels."""
        patient = self._patients[files.id]
        read: Callable[[Path, int], tiff.Header | np.ndarray] = tiff.read_slice if deep else tiff.read_header
        images, bad_images = _read_each(read, patient.images.values(), len(CHANNELS))
        masks, bad_masks = _read_each(tiff.read_slice, patient.masks.values(), 1)
        shapes = {path: image.shape[:2] for path, image in {**images, **masks}.items()}
        problems = [*patient.problems(), *bad_images, *bad_masks, *_shape_problems(shapes), *self._value_problems(masks)]
        return _Slices(images, masks, problems)

    def _value_problems(self, masks: dict[Path, np.ndarray]) -> list[str]:
        """One line for all masks of a case with ids that are not in the schema."""
        bad = [path for path, mask in masks.items() if self.schema.unknown_ids(mask)]
        if not bad:
            return []
        line = rules.label_problem(str(bad[0]), masks[bad[0]], self.schema, self.likely_schemas)
        return [f"{line}{_more(bad)}"]


def _patients(files: Iterable[Path]) -> list[_Patient]:
    """Patients: the folders that hold slices."""
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in files:
        folders[path.parent].append(path)
    patients = (_patient(folder, paths) for folder, paths in folders.items())
    return [patient for patient in patients if patient.images or patient.masks]


def _patient(folder: Path, paths: list[Path]) -> _Patient:
    """Patient of a folder: its files sorted into images, masks and others."""
    patient = _Patient(folder)
    for path in paths:
        match = NAME.fullmatch(path.name)
        if match is None:
            patient.ignored.append(path)
            continue
        taken = (patient.masks if match["mask"] else patient.images).setdefault(int(match["number"]), path)
        if taken is not path:
            patient.doubles.append((path, taken))
    patient.images, patient.masks = dict(sorted(patient.images.items())), dict(sorted(patient.masks.items()))
    return patient


def _read_table(table: Path) -> Rows:
    """Rows of a table by patient, without empty cells.

    Raises:
        UserError: no column of patients, or two different rows of one.
    """
    rows: Rows = {}
    for row in read_rows(table):
        if PATIENT not in row:
            raise UserError(f"{table}: expected a column {PATIENT}; received {', '.join(row)}")
        known = {name: value for name, value in row.items() if value}
        if rows.setdefault(row[PATIENT], known) != known:
            raise UserError(f"{table}: expected one row per patient; received different ones of {row[PATIENT] or 'no name'}")
    return rows


def _unused(table: Path, rows: Rows, patients: list[_Patient]) -> list[str]:
    """Warning about rows whose patients have no folder, if there are any."""
    names = sorted(rows.keys() - {patient.row for patient in patients})
    if not names:
        return []
    return [f"{table}: {len(names)} of {len(rows)} rows have no folder and are ignored: {_listed(names)}"]


def _read_each(read: Callable[[Path, int], T], paths: Iterable[Path], channels: int) -> tuple[dict[Path, T], list[str]]:
    """Results of `read` by file, and a line per file where it fails."""
    found: dict[Path, T] = {}
    problems = []
    for path in paths:
        try:
            found[path] = read(path, channels)
        except UserError as error:
            problems.append(str(error))
    return found, problems


def _shape_problems(shapes: dict[Path, tuple[int, ...]]) -> Iterator[str]:
    """Problems of slices whose shape differs from that of most, a line each."""
    if not shapes:
        return
    ((usual, _),) = Counter(shapes.values()).most_common(1)
    reference = next(path for path, shape in shapes.items() if shape == usual)
    for path, shape in shapes.items():
        if shape != usual:
            yield f"{path}: shape {shape} differs from {usual} of {reference}; resample it onto that grid"


def _native(volume: np.ndarray) -> np.ndarray:
    """Native order of axes: (slices, rows, columns) as (rows, columns, slices); nothing is copied."""
    return np.moveaxis(volume, 0, -1)


def _number(path: Path) -> str:
    """Number of a slice as written in its file name."""
    match = NAME.fullmatch(path.name)
    return match["number"] if match else path.stem


def _more(paths: list[Path]) -> str:
    """Addition to a message: the numbers of other slices with the same problem."""
    numbers = [_number(path) for path in paths[1:]]
    return f" (also slices {_listed(numbers)})" if numbers else ""


def _listed(names: list[str]) -> str:
    """First names of a list, and the number of the others."""
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} others" if len(names) > MOST_NAMES else "")
