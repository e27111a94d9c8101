"""Source: the interface of all layouts of scans, and checks that they share."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from common.errors import Problems, UserError, expect_number
from common.tables import counted
from data_prep.categories import known_attributes
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.leakage.names import join_patients
from data_prep.scans import nifti
from data_prep.scans.case import BRAIN, LABEL, Case, CaseFiles
from data_prep.scans.volume import Volume
from data_prep.sources import nifti_rules as rules

RESERVED = (LABEL, BRAIN, "case_id", "patient_id")
"""Names that no channel has: its files, and columns of tables, would be taken for others."""
NO_FILE_NAME = frozenset('/\\:*?"<>|\n\t')
ID_MARKS = " ._-"  # of case ids, besides letters and digits of any alphabet
ID_BYTES = 200  # of a case id in UTF-8; names of its files are longer, and a file system takes 255
ID_ENDINGS = re.compile(r"(\.copy\d+|_probabilities)$", re.IGNORECASE)  # of files of other cases: copies, class probabilities
RESERVED_IDS = frozenset(
    ("scores", "overlays", "scanner", "chosen", "cases.csv", "align.json", "config.yaml", "predictions.json")
)
"""Names of files and folders that stand beside those of cases."""


@dataclass(kw_only=True)
class SourceConfig:
    """Options of reading a source of scans."""

    layout: Literal["auto", "aligned", "brats", "dicom", "kaggle_3m", "msd", "table", "vestibular_schwannoma"] = "auto"
    """Layout of the files: aligned (made by glioskull align or glioskull skull_strip), brats (folders of BraTS 2012-2025),
    dicom (a folder of series per patient), kaggle_3m (folders of TIFF slices, as in the LGG Segmentation Dataset), msd
    (dataset.json), table (CSV), vestibular_schwannoma (the collection Vestibular-Schwannoma-SEG), or auto: recognised by its
    files."""
    channels: list[str] | None = None
    """Names of the channels in the order of a network's input; default: all of the layout in its standard order."""
    labels: str = "auto"
    """Label schema: a name in configs/labels or the path of a YAML file; auto: the one that the layout implies; of a table that
    of the run or of the predictions, where there are any, else binary."""
    series: Path | None = None
    """DICOM: YAML file of rules by which each channel gets its series, or the name of a shipped one; default:
    skull_base/series."""
    missing_channels: Literal["refuse", "zero"] = "refuse"
    """Missing channels: refuse the case, or take zeros."""
    tolerance_mm: float = 1e-3
    """Largest distance in millimetres between the same voxel of two images of one grid, by their affines."""
    patient_pattern: str | None = None
    """Regular expression that the whole patient id is matched with; its first group is the patient, so that several scans are
    one's, such as '(.+)_t\\d+'. Ids that then differ in letter case alone are one."""

    def __post_init__(self) -> None:
        """Refuse a tolerance below 0.

        Raises:
            UserError: names the option.
        """
        expect_number("tolerance_mm", self.tolerance_mm, 0)


class Source(ABC):
    """Source of scans, read only.

    Attributes:
        root: folder or file of the source.
        config: options of reading.
        layout: name of the layout.
        looks_for: files that the layout is recognised by, for errors.
        channels: names of the channels in the order of a network's input.
        schema: of the label ids; None where the source has no labels.
        implies_schema: whether the layout decides the schema that `labels: auto` means.
        has_geometry: whether cases have voxel sizes and positions (`Case.affine`).
        likely_schemas: names of shipped schemas to suggest where a label id is unknown.
        writes_predictions: whether `write_prediction` writes files in the layout's own format.
    """

    layout: ClassVar[str]
    looks_for: ClassVar[str]
    channels: list[str]
    schema: LabelSchema | None
    implies_schema: ClassVar[bool] = True
    has_geometry: ClassVar[bool] = True
    likely_schemas: tuple[str, ...] = ()
    writes_predictions: ClassVar[bool] = False

    def __init__(self, root: Path, config: SourceConfig) -> None:
        self.root = root
        self.config = config

    @property
    def reference_channel(self) -> str:
        """Channel to which the others are brought by default: the first."""
        return self.channels[0]

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise the layout of `root`; no voxel is read."""

    @abstractmethod
    def cases(self) -> list[CaseFiles]:
        """All cases, sorted by id; no voxel is read."""

    @abstractmethod
    def read(self, files: CaseFiles) -> Case:
        """Read one case.

        Raises:
            UserError: a rule is broken; the line names the file and the rule.
        """

    @abstractmethod
    def check(self, files: CaseFiles, deep: bool = False) -> list[str]:
        """Problems of a case, a line each; `deep` reads every voxel, and so verifies every checksum."""

    @abstractmethod
    def read_label(self, files: CaseFiles) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a case's annotation only.

        Returns:
            The data set's own ids (i, j, k), an integer array on the native grid; and its affine (4, 4), voxel indices ->
            millimetres, or None where the source has no geometry.

        Raises:
            UserError: a rule is broken.
            ValueError: the case has none.
        """

    @abstractmethod
    def shape(self, files: CaseFiles) -> tuple[int, int, int]:
        """Native shape (i, j, k) of a case, from headers only.

        Raises:
            UserError: a header cannot be read.
        """

    def read_volumes(self, files: CaseFiles) -> dict[str, Volume]:
        """Read each channel that a case has, its annotation (`label`) and its mask (`brain`), on grids of their own, in mm.

        Raises:
            UserError: a rule is broken, or the layout has no geometry.
        """
        raise UserError(f"{files.id}: layout {self.layout} has no voxel sizes and positions, so its images cannot be aligned")

    def label_channel(self, files: CaseFiles) -> str | None:
        """Channel in whose space the annotation of `read_volumes` lies; None where the source does not say."""
        return None

    def known_transform(self, files: CaseFiles, reference: str, channel: str) -> np.ndarray | None:
        """Transform between the scans of two channels that the source itself holds, as of `read_volumes`.

        Returns:
            (4, 4), millimetres of the reference's scan -> millimetres of the channel's scan, RAS+; None where it holds none.

        Raises:
            UserError: its file cannot be read.
        """
        return None

    def scanner_grid(self, files: CaseFiles) -> Resampling | None:
        """Resampling from the scanner's grid to that of the case; None where the source holds scans as they were taken."""
        return None

    def grid_problem(self, image: Path, files: CaseFiles) -> str | None:
        """Problem of a NIfTI image, such as a prediction, that has another grid than a case's annotation, else None.

        Only headers are read. This default compares shapes alone, for sources without geometry: their predictions have unit
        spacing.

        Raises:
            UserError: a header cannot be read.
        """
        header, shape = nifti.read_header(image), self.shape(files)
        problem = rules.dimension_problem(header, None)
        if problem is None and header.shape[:3] != shape:
            problem = f"{image}: shape {header.shape[:3]} differs from {shape} of {files.label}; resample it onto that grid"
        return problem

    def write_prediction(
        self,
        files: CaseFiles,
        ids: np.ndarray,
        folder: Path,
        schema: LabelSchema | None = None,
        channel: str | None = None,
    ) -> list[Path]:
        """Write a prediction in the format of the layout's annotations, in addition to NIfTI.

        Args:
            files: the case that was segmented.
            ids: integers (i, j, k) on the scanner's grid: that of the case, or of `scanner_grid`.
            folder: of predictions, not of this source.
            schema: of the ids; None: that of this source.
            channel: on whose own grid the ids lie; None: on that of the case.

        Returns:
            Files written; none by default.

        Raises:
            UserError: they cannot be written for this case.
        """
        return []

    def prediction_names(self, files: CaseFiles) -> list[str]:
        """Names of the files that `write_prediction` would write for a case; none by default."""
        return []

    def source_warnings(self) -> list[str]:
        """Warnings about the source as a whole, a line each, such as patients that are left out; none by default."""
        return []

    def warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about a case, a line each: unusual but legal."""
        return []

    def volume_warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about a case whose images keep their own grids, as of `read_volumes`; by default those of `warnings`."""
        return self.warnings(files)

    def inventory(self) -> list[str]:
        """Lines on the source's content that `check` prints before its summary; none by default."""
        return []


def choose_channels(available: list[str], wanted: list[str] | None, root: Path) -> list[str]:
    """Channels in the chosen order; all of them by default.

    Raises:
        UserError: a name is not available or given twice, or is none that files of a channel can have.
    """
    names = [*RESERVED, *(name.lower() for name in available)]
    for name in available:
        if set(name) & NO_FILE_NAME or not name.isprintable() or name.startswith(".") or names.count(name.lower()) > 1:
            raise UserError(
                f"{root}: channel {name}: expected a name for files, other than {', '.join(RESERVED)} and than those of other "
                "channels, letter case aside; rename it"
            )
    if wanted is None:
        return list(available)
    unknown = [name for name in wanted if name not in available]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        raise UserError(f"{root}: --channels: expected different ones of {', '.join(available)}; received {', '.join(wanted)}")
    return list(wanted)


def id_problem(identifier: str) -> str | None:
    """Reason why a text cannot be a case id, which names files on any system; None where it can."""
    is_named = all(unicodedata.category(letter)[0] in "LMN" or letter in ID_MARKS for letter in identifier)
    length = len(identifier.encode(errors="surrogateescape"))
    if not is_named or not 0 < length <= ID_BYTES or identifier[0] in ". " or identifier[-1] in ". ":
        return (
            f"case id {ascii(identifier) if not identifier.isprintable() else repr(identifier)}: expected a name for files: "
            f"1 to {ID_BYTES} bytes of letters, digits, blanks and . _ -, no dot or blank at its ends"
        )
    ending = ID_ENDINGS.search(identifier)
    if ending or identifier.lower() in RESERVED_IDS:
        taken = f"ends in {ending[0]}" if ending else "is taken"
        return f"case id {identifier!r}: {taken}, which names files of the toolkit beside those of cases; rename it"
    return None


def lacking_channels(place: Path, case: str, reasons: Mapping[str, str], remedy: str = "") -> list[str]:
    """Problem of a case that lacks channels, one line for all of them; no line where it lacks none.

    Args:
        place: folder of the case.
        case: its id.
        reasons: each channel that it lacks -> why it was not found; empty: not said.
        remedy: what else can be done, before the options that do without the channels.
    """
    if not reasons:
        return []
    names = ", ".join(f"{name} ({reason})" if reason else name for name, reason in reasons.items())
    noun, them = ("channel", "it") if len(reasons) == 1 else ("channels", "them")
    remedies = f"{remedy}, " if remedy else ""
    return [
        f"{place}: case {case} lacks {noun} {names}; {remedies}leave {them} out of --channels, or take zeros by "
        "--missing_channels zero"
    ]


def refuse(problems: list[str], files: CaseFiles) -> None:
    """Raise the problems of a case, if there are any: UserError for one line, Problems for several."""
    if problems:
        raise UserError(problems[0]) if len(problems) == 1 else Problems(problems, f"case {files.id}: cannot be read")


def sorted_cases(cases: Iterable[CaseFiles], root: Path, patient_pattern: str | None = None) -> list[CaseFiles]:
    """Cases sorted by id, their attributes as `categories.known_attributes` has them; every layout's go through here.

    With `patient_pattern` the patients are those of `leakage.names.join_patients`.

    Raises:
        Problems: an id that cannot name files, or several cases whose ids are the same, letter case aside.
        UserError: there are no cases.
    """
    groups: defaultdict[str, list[CaseFiles]] = defaultdict(list)
    lines = []
    for case in cases:
        groups[unicodedata.normalize("NFC", case.id).casefold()].append(case)
        problem = id_problem(case.id)
        if problem is None and not case.patient.isprintable():
            problem = f"patient id {case.patient!a}: expected printable characters"
        place = str(case.path or root).encode(errors="backslashreplace").decode()
        lines += [f"{place}: {problem}"] if problem else []
    if not groups:
        raise UserError(f"{root}: no cases found")
    if lines:
        raise Problems(lines, f"{root}: {counted(len(lines), 'id')} cannot be used; rename the files, or give ids by a table")
    for _, group in sorted(groups.items()):
        if len(group) > 1:
            first, *others = (str(case.path or "no files") for case in group)
            names, also = sorted({case.id for case in group}), ", ".join(others)
            same = (
                f"duplicate case id {names[0]}" if len(names) == 1 else f"case ids {' and '.join(names)} differ in letter case"
            )
            lines.append(f"{first}: {same}, which also stands in {also}; rename or remove one")
    if lines:
        raise Problems(lines, f"{root}: {len(lines)} case ids stand for more than one case; rename or remove one of each")
    found = [replace(case, attributes=known_attributes(case.attributes)) for (case,) in groups.values()]
    return sorted(join_patients(found, patient_pattern), key=lambda case: case.id)
