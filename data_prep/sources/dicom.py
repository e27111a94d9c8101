"""DICOM: a folder with a sub-folder per patient, or of one patient; a series is chosen for each channel by rules.

The rules are a YAML file (`data_prep.sources.dicom_rules`, `--series FILE`). Case ids are hashes unless a table or the rules
say otherwise; names and dates are never read. Predictions are also written as DICOM SEG.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.tables import aligned, counted
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.scans.dicom import DESCRIPTION_HEADING, Series, description_row
from data_prep.scans.dicom_header import SUFFIXES, has_magic
from data_prep.scans.dicom_image import read_series
from data_prep.scans.dicom_seg import write_seg
from data_prep.scans.volume import Volume
from data_prep.sources.base import SourceConfig, choose_channels, lacking_channels, sorted_cases
from data_prep.sources.dicom_annotations import find_annotation
from data_prep.sources.dicom_patients import DicomPatient, find_patients, named_patients
from data_prep.sources.dicom_rules import load_rules
from data_prep.sources.volume_source import VolumeSource
from data_prep.sources.walk import visible_files

SCHEMA = "binary"
UID_END = 10  # characters of a UID that the table shows; enough for a rule


class DicomSource(VolumeSource):
    """Source of DICOM series."""

    layout = "dicom"
    looks_for = "DICOM files, at any depth"
    implies_schema = False
    writes_predictions = True

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        self.rules, where = load_rules(config.series)
        table = [] if self.rules.table is None else [where.parent / self.rules.table]
        self._rule_files = [] if config.series is None else [where, *table]  # a change of them changes the cases
        files = list(visible_files(root))
        patients = named_patients(find_patients(root, files, self.rules.patients), self.rules, where)
        self._patients = {patient.case: patient for patient in patients}
        self._choices = {
            patient.case: {name: self.rules.choose(name, patient.index.series) for name in self.rules.channels}
            for patient in patients
        }
        found = [name for name in self.rules.channels if any(choice[name] for choice in self._choices.values())]
        available = list(self.rules.channels) if config.series is not None else found or list(self.rules.channels)
        self.channels = choose_channels(available, config.channels, root)
        annotations = {patient.case: find_annotation(patient, self.rules.label, files) for patient in patients}
        self._annotations = {case: annotation for case, (annotation, _) in annotations.items()}
        self._label_problems = {case: problem for case, (_, problem) in annotations.items() if problem}
        labelled = any(self._annotations.values())
        schema = config.labels if config.labels != "auto" else SCHEMA if labelled else None
        self.schema = None if schema is None else LabelSchema.load(schema)
        self._cases = sorted_cases((self._case(patient) for patient in patients), root, config.patient_pattern)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder with any DICOM file, by its first bytes or its ending."""
        if not root.is_dir():
            return False
        return any(path.suffix.lower() in SUFFIXES or (path.is_file() and has_magic(path)) for path in visible_files(root))

    @property
    def reference_channel(self) -> str:
        """Channel to which the others are brought by default: that of the rules, else the first."""
        return self.rules.reference if self.rules.reference in self.channels else self.channels[0]

    def series(self, files: CaseFiles, channel: str) -> Series | None:
        """Series of a channel, also of one that is not read; None where there is none, or several fit."""
        chosen = self._choices[files.id][channel]
        return chosen[0] if len(chosen) == 1 else None

    def reference(self, files: CaseFiles) -> Series:
        """Series whose grid the channels and the label of a case are brought to.

        Raises:
            UserError: the case has none.
        """
        wanted = [self.rules.reference] if self.rules.reference else self.channels
        found = next((series for name in wanted if (series := self.series(files, name))), None)
        if found is None:
            raise UserError(f"{self._patients[files.id].folder}: case {files.id} has no series for {' or '.join(wanted)}")
        return found

    def read_image(self, files: CaseFiles, channel: str) -> Volume:
        """Read one channel on the grid of its series.

        Raises:
            UserError: it cannot be read, or there is none.
        """
        return read_series(self._channel_series(files, channel))

    def image_grid(self, files: CaseFiles, channel: str) -> Grid:
        """Grid of one channel's series.

        Raises:
            UserError: the case lacks the channel.
        """
        return self._channel_series(files, channel).stack.grid

    def grid(self, files: CaseFiles) -> Grid:
        """Grid of the reference series; rectangular where its slices are not."""
        return self.reference(files).stack.grid

    def header_problems(self, files: CaseFiles) -> list[str]:
        """Problems of the chosen series and of the choice, a line each."""
        patient = self._patients[files.id]
        problems = list(patient.index.damaged.values())
        problems += [self._label_problems[files.id]] if files.id in self._label_problems else []
        lacking = [name for name in files.channels if not self._choices[files.id][name]]
        for name in files.channels:
            chosen = self._choices[files.id][name]
            if len(chosen) > 1:
                listed = ", ".join(f"{series.name} uid ...{series.uid[-UID_END:]}" for series in chosen)
                problems.append(
                    f"{patient.folder}: case {files.id}: {len(chosen)} series fit channel {name}: {listed}; "
                    "narrow its rule, or give uid or prefer (--series)"
                )
        count = len(patient.index.series)
        if len(lacking) == len(files.channels):
            problems.append(
                f"{patient.folder}: case {files.id} has none of the channels {', '.join(lacking)}: none of its {count} series "
                f"fits a rule, such as that of {lacking[0]}: {self.rules.channels[lacking[0]]}; give rules by --series"
            )
        elif lacking and self.config.missing_channels == "refuse":
            reasons = {name: f"none of its {count} series fits: {self.rules.channels[name]}" for name in lacking}
            rule = "its rule" if len(lacking) == 1 else "their rules"
            problems += lacking_channels(patient.folder, files.id, reasons, f"change {rule} (--series)")
        if problems:
            return problems
        return self._series_problems(files)

    def space_problems(self, files: CaseFiles) -> list[str]:
        """Series of another frame of reference than the reference, a line each."""
        reference = self.reference(files)
        return [
            f"{series.frames[0].path}: {name}: {series.name} is in another frame of reference than {reference.name}; "
            "register them first (glioskull align)"
            for name, series in self._used(files).items()
            if series.frame_of_reference != reference.frame_of_reference
        ]

    def source_warnings(self) -> list[str]:
        """Warnings about patients left out, files that belong to none or are empty, and contrast that no header names."""
        lines = [line for patient in self._patients.values() for line in patient.warnings]
        found = {name for choices in self._choices.values() for name, chosen in choices.items() if chosen}
        doubt = self.rules.doubtful_contrast(
            found, [each for patient in self._patients.values() for each in patient.index.series]
        )
        return list(dict.fromkeys([*lines, *([f"{self.root}: {doubt}"] if doubt else [])]))

    def warnings(self, files: CaseFiles) -> list[str]:
        """Warnings as of `volume_warnings`, and about channels that are resampled to the reference, a line each."""
        reference = self.reference(files)
        return self.volume_warnings(files) + [
            f"{series.frames[0].path}: {name}: resampled to the grid of {reference.name}"
            for name, series in self._used(files).items()
            if series is not reference and series.stack.grid.distance_mm(reference.stack.grid) > self.config.tolerance_mm
        ]

    def volume_warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about interpolated slices, guesses, and choices among several visits, a line each."""
        reference, annotation = self.reference(files), self._annotations[files.id]
        patient = self._patients[files.id]
        lines: list[str] = []
        if annotation is not None:
            lines += annotation.warnings(self._drawn_series(files) or reference)
        elif patient.index.annotations:
            count = len(patient.index.annotations)
            lines.append(
                f"{patient.folder}: case {files.id}: no label: none of {count} SEG or RTSTRUCT fits the rule (--series)"
            )
        for name, series in self._used(files).items():
            stack = series.stack
            if not stack.is_straight:
                lines.append(
                    f"{series.frames[0].path}: {name}: tilt {stack.tilt_deg:.1f} degrees: resampled to a rectangular grid"
                )
            if series.lacks_images:
                lines.append(
                    f"{series.frames[0].path}: {name}: {series.name} {series.lacks_images}; are slices missing at an end?"
                )
            if not stack.is_even:
                steps = f"{stack.steps.min():.4g} to {stack.steps.max():.4g} mm"
                lines.append(f"{series.frames[0].path}: {name}: slices {steps} apart: resampled by their positions")
            fitting = [] if name not in self.channels else self.rules.fitting(name, self._patients[files.id].index.series)
            studies = len({each.study_uid for each in fitting})
            if studies > 1:
                lines.append(
                    f"{series.frames[0].path}: {name}: chosen among {len(fitting)} series of {studies} studies; "
                    "is it the right visit? A uid in the rule decides (--series)"
                )
        return lines

    def annotation(self, files: CaseFiles) -> np.ndarray:
        """Annotation on the reference grid.

        Raises:
            UserError: it cannot be read, belongs to another space, or its structures have no ids.
        """
        return self._annotation_on(files, self.reference(files))

    def drawn_annotation(self, files: CaseFiles) -> Volume:
        """Annotation on the grid of the series on which it was drawn; a NIfTI file that fits none, on its own in unknown space.

        Raises:
            UserError: as of `annotation`.
        """
        series = self._drawn_series(files)
        if series is None:
            annotation = self._annotations[files.id]
            own = None if annotation is None else annotation.on_own_grid()
            if own is not None:
                return own
            series = self.reference(files)
        return Volume(self._annotation_on(files, series), series.stack.grid.affine, series.frame_of_reference)

    def label_channel(self, files: CaseFiles) -> str | None:
        """Channel on whose series the annotation was drawn, else one in the same frame of reference; None without either."""
        drawn = None if files.label is None else self._drawn_series(files)
        if drawn is None:
            return None
        used = {name: series for name in files.channels if (series := self.series(files, name))}
        own = [name for name, series in used.items() if series is drawn]
        near = [name for name, series in used.items() if series.frame_of_reference == drawn.frame_of_reference]
        return next(iter([*own, *near]), None)

    def _annotation_on(self, files: CaseFiles, target: Series) -> np.ndarray:
        """Annotation on the grid of a series in the same space."""
        annotation = self._annotations[files.id]
        assert annotation is not None
        return annotation.on(target, {name: ids[0] for name, ids in self.schema.classes.items()} if self.schema else {})

    def write_prediction(
        self,
        files: CaseFiles,
        ids: np.ndarray,
        folder: Path,
        schema: LabelSchema | None = None,
        channel: str | None = None,
    ) -> list[Path]:
        """Write a prediction as DICOM SEG, `folder/ID.seg.dcm`, that refers to a series.

        Args:
            files: the case.
            ids: (i, j, k) on the grid of the series.
            folder: of predictions, not of this source.
            schema: of the ids, whose foreground classes become segments; None: that of this source.
            channel: whose series is referred to; None: the reference.
        """
        schema = schema or self.schema or LabelSchema.load(SCHEMA)
        (name,) = self.prediction_names(files)
        segments = dict(list(schema.classes.items())[1:])
        series = self.reference(files) if channel is None else self._channel_series(files, channel)
        write_seg(folder / name, series, ids, segments, files.id, self.rules.keep_identity)
        return [folder / name]

    def prediction_names(self, files: CaseFiles) -> list[str]:
        """Name of the DICOM SEG of a case."""
        return [f"{files.id}.seg.dcm"]

    def inventory(self) -> list[str]:
        """Table of all series: its case, the channel that it was chosen for, and its description."""
        heading = ["case", "channel", *DESCRIPTION_HEADING, "frame of ref.", "uid"]
        rows = [heading]
        read = (*self.channels, self.rules.reference)
        for case, patient in sorted(self._patients.items()):
            frames: list[str] = []
            for series in patient.index.series:
                chosen = [name for name, found in self._choices[case].items() if series in found and name in read]
                frames += [] if series.frame_of_reference in frames else [series.frame_of_reference]
                letter = chr(ord("A") + frames.index(series.frame_of_reference) % 26)
                row = description_row(series, self.rules.max_gap)
                rows.append([case, ", ".join(chosen), *row, letter, f"...{series.uid[-UID_END:]}"])
            for header in patient.index.annotations:
                annotation = self._annotations[case]
                used = "label" if annotation is not None and annotation.file == header else ""
                empty = [""] * (len(heading) - 6)
                rows.append(
                    [
                        case,
                        used,
                        str(header.number),
                        header.modality,
                        header.description,
                        *empty,
                        f"...{header.series_uid[-UID_END:]}",
                    ]
                )
        return [*aligned(rows), *self._others(), ""]

    def _others(self) -> list[str]:
        """Lines on files that are no series: other objects, duplicates, damaged ones."""
        indices = {id(patient.index.others): patient.index for patient in self._patients.values()}.values()
        others = sum((index.others for index in indices), start=Counter())
        parts = [f"{count} {kind}" for kind, count in sorted(others.items())]
        duplicates = sum(index.duplicates for index in indices)
        parts += [counted(duplicates, "duplicate")] if duplicates else []
        damaged = sum(len(index.damaged) for index in indices)
        parts += [f"{damaged} damaged"] if damaged else []
        return [f"other files, not read: {', '.join(parts)}"] if parts else []

    def _case(self, patient: DicomPatient) -> CaseFiles:
        """Case of a patient."""
        chosen = {name: found[0] if len(found) == 1 else None for name, found in self._choices[patient.case].items()}
        used = [
            series for name, series in chosen.items() if series is not None and name in (*self.channels, self.rules.reference)
        ]
        annotation = self._annotations[patient.case]
        path = None if annotation is None else annotation.path
        slices = [file for series in used for file in series.paths] + ([path] if path else []) + self._rule_files
        images = {name: ImageRef(series.frames[0].path) if series else None for name, series in chosen.items()}
        return CaseFiles(
            id=patient.case,
            patient=patient.patient,
            channels={name: images[name] for name in self.channels},
            label=ImageRef(path) if path else None,
            attributes=patient.attributes,
            slices=tuple(dict.fromkeys(slices)),
            anonymous=True,
        )

    def _used(self, files: CaseFiles) -> dict[str, Series]:
        """Series that are read, by channel, the reference among them."""
        found = {name: series for name in files.channels if (series := self.series(files, name))}
        reference = self.reference(files)
        return found if reference in found.values() else {"reference": reference, **found}

    def _series_problems(self, files: CaseFiles) -> list[str]:
        """Problems of the series that are read, a line each."""
        try:
            used = self._used(files)
        except UserError as error:
            return [str(error)]
        return [found for series in used.values() if (found := series.problem(self.rules.max_gap))]

    def _channel_series(self, files: CaseFiles, channel: str) -> Series:
        """Series of a channel.

        Raises:
            UserError: there is none.
        """
        series = self.series(files, channel)
        if series is None:
            raise UserError(f"{self._patients[files.id].folder}: case {files.id} lacks channel {channel}")
        return series

    def _drawn_series(self, files: CaseFiles) -> Series | None:
        """Series on whose grid the annotation is read; None where none fits."""
        annotation = self._annotations[files.id]
        assert annotation is not None
        return annotation.nearest_series(list(self._used(files).values()), self.rules.max_gap, self.config.tolerance_mm)
