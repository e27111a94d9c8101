"""Table source: a CSV file with a row per case, for NIfTI files in any layout.

Columns: `patient_id`; `case_id` if it differs; `label` if there is one; `brain`, a mask of brain or head, if there is one; each
other column of paths that end in `.nii` or `.nii.gz` is a channel (relative to the table); all others are attributes. An empty
cell is a missing channel, label, mask or attribute.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from common.errors import Problems, UserError
from common.input_files import path_of
from common.tables import counted, read_rows
from data_prep.labels import SCHEMAS, LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import BRAIN, LABEL, CaseFiles, ImageRef
from data_prep.scans.nifti import SUFFIXES
from data_prep.scans.unusual import looks_like_mask
from data_prep.sources.base import SourceConfig, choose_channels, id_problem, sorted_cases
from data_prep.sources.nifti_source import NiftiSource

TABLE = "cases.csv"
SPREADSHEETS = (".csv", ".tsv")
PATIENT, CASE = "patient_id", "case_id"
LABEL_WORDS = {"seg", "segmentation", "mask", "label", "labels", "annotation", "annotations", "truth", "gt", "groundtruth"}
LABEL_WORDS |= {"contour", "contours", "roi", "rater", "lesion", "lesions"}
"""Words in the name of a column, such as seg_rater2 or Label, that annotations have."""
LOOKED_AT = 3  # images of a column, until one has several values
DEFAULT_SCHEMA = "binary"


class TableSource(NiftiSource):
    """Source described by a CSV table of NIfTI files; labels are 0 and 1 (schema `binary`) unless a schema is given."""

    layout = "table"
    looks_for = f"a CSV file, or a folder with {TABLE}"
    implies_schema = False

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        self.table = root / TABLE if root.is_dir() else root
        rows = read_rows(self.table)
        if not rows:
            raise UserError(f"{self.table}: expected a row per case below the column names; received none")
        if PATIENT not in rows[0]:
            raise UserError(f"{self.table}: expected a column {PATIENT}; received {', '.join(rows[0])}")
        found = _channel_columns(self.table, rows, config.channels)
        self.channels = choose_channels(found, config.channels, self.table)
        if config.channels is None:
            self._refuse_masks(rows, found)
        self._attributes = [name for name in rows[0] if name not in {PATIENT, CASE, LABEL, BRAIN, *found}]
        labelled = any(row.get(LABEL) for row in rows)
        schema = config.labels if config.labels != "auto" else DEFAULT_SCHEMA if labelled else None
        self.schema = None if schema is None else LabelSchema.load(schema)
        self.likely_schemas = tuple(sorted(path.stem for path in SCHEMAS.glob("*.yaml")))
        cases = [self._case(row) for row in rows]
        problems = [problem for case in cases for problem in self._case_problems(case)]
        if problems:
            raise Problems(problems, f"{self.table}: {counted(len(problems), 'row')} cannot be used")
        self._cases = sorted_cases(cases, self.table, config.patient_pattern)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a CSV file or a folder with the table."""
        return (root.is_file() and root.suffix.lower() in SPREADSHEETS) or (root / TABLE).is_file()

    def origin(self, files: CaseFiles, path: Path) -> str:
        """Table, row and column that name a file, and the file's absolute path where the table gives another."""
        images = {**files.channels, LABEL: files.label, BRAIN: files.brain}
        column = next(name for name, image in images.items() if image is not None and image.path == path)
        absolute = "" if path.is_absolute() else f" (here {path.absolute()})"
        return f"; named in {self.table}, row of case {files.id}, column {column}{absolute}"

    def _refuse_masks(self, rows: list[dict[str, str]], columns: list[str]) -> None:
        """Refuse columns whose images look like annotations, unless --channels names the channels.

        Raises:
            Problems: a line for each such column.
        """
        lines = []
        for name in columns:
            paths = [path_of(self.table.parent, row[name]) for row in rows if row[name]]
            for array in map(_array_of, paths[:LOOKED_AT]):
                if array is not None and looks_like_mask(array):
                    values = ", ".join(f"{value:g}" for value in np.unique(array))
                    lines.append(
                        f"{self.table}: column {name} would become a channel, but its images look like annotations (values "
                        f"{values}); call the annotation's column {LABEL}, and name the channels by --channels"
                    )
                    break
        if lines:
            raise Problems(lines, f"{self.table}: {counted(len(lines), 'column')} to be named")

    def _case(self, row: dict[str, str]) -> CaseFiles:
        """Files of a row."""
        images = {name: ImageRef(path_of(self.table.parent, row[name])) if row[name] else None for name in self.channels}
        label, brain = (ImageRef(path_of(self.table.parent, row[name])) if row.get(name) else None for name in (LABEL, BRAIN))
        return CaseFiles(
            id=row.get(CASE) or row[PATIENT],
            patient=row[PATIENT],
            channels=images,
            label=label,
            attributes={name: row[name] for name in self._attributes if row[name]},
            brain=brain,
        )

    def _case_problems(self, case: CaseFiles) -> list[str]:
        """Problems of a row, a line each."""
        if not case.patient:
            return [f"{self.table}: {PATIENT}: expected one in every row; received none for case {case.id or 'without id'}"]
        problems = []
        if problem := id_problem(case.id):
            problems.append(f"{self.table}: {problem}")
        for name, image in ((LABEL, case.label), (BRAIN, case.brain)):
            if image is not None and image in case.channels.values():
                wanted = f"expected a {name} of its own; received a channel's file {image}"
                problems.append(f"{self.table}: case {case.id}: {wanted}")
        return problems


def _channel_columns(table: Path, rows: list[dict[str, str]], wanted: list[str] | None) -> list[str]:
    """Columns of image paths.

    Raises:
        UserError: there is none, or a column of annotations is not called `label`.
        Problems: a column holds paths and other values.
    """
    columns = {name: [row[name] for row in rows if row[name]] for name in rows[0] if name not in {PATIENT, CASE}}
    images = {name: sum(map(_is_path, values)) for name, values in columns.items()}
    mixed = [
        f"{table}: column {name}: expected paths ending in .nii or .nii.gz; received {_other_values(values)}"
        for name, values in columns.items()
        if (images[name] and images[name] < len(values)) or (name in (LABEL, BRAIN) and values and not images[name])
    ]
    if mixed:
        raise Problems(mixed, f"{table}: {counted(len(mixed), 'column')} cannot be used")
    channels = [name for name, count in images.items() if count and name not in (LABEL, BRAIN)]
    likely = [name for name in channels if LABEL_WORDS & set(re.split(r"[\W_\d]+", name.lower()))]
    if likely and wanted is None:
        named, it = ("column", "it") if len(likely) == 1 else ("columns", "one of them")
        raise UserError(
            f"{table}: {named} {', '.join(likely)} would become a channel; call {it} {LABEL} if it is the annotation, and list "
            "the channels by --channels"
        )
    if not channels:
        raise UserError(
            f"{table}: expected a column per channel, of paths ending in .nii or .nii.gz; received {', '.join(rows[0])}"
        )
    return channels


def _array_of(path: Path) -> np.ndarray | None:
    """Voxels of a file; None where it cannot be read, which checks of its case say."""
    try:
        return nifti.read_voxels(nifti.read_header(path))
    except UserError:
        return None


def _is_path(value: str) -> bool:
    """True for the path of a NIfTI file, by its ending."""
    return value.lower().endswith(SUFFIXES)


def _other_values(values: list[str]) -> str:
    """First values that are no image paths, and their number."""
    others = Counter(value for value in values if not _is_path(value))
    shown = ", ".join(repr(value) for value in list(others)[:3])
    return f"{shown}{' ...' if len(others) > 3 else ''} in {counted(others.total(), 'row')}"
