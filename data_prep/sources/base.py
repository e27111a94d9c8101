"""What every layout of scans offers: its cases, the order of their channels, and the meaning of their labels."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import walk
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from common.errors import Problems, UserError
from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import Case, CaseFiles
from data_prep.sources import nifti_rules as rules


@dataclass(kw_only=True)
class SourceConfig:
    """How somebody's scans are to be read."""

    layout: Literal["auto", "brats", "kaggle_3m", "msd", "table"] = "auto"
    """How the files lie: brats (folders of BraTS 2012-2024), kaggle_3m (folders of TIFF slices, as in the LGG Segmentation
    Dataset), msd (dataset.json), table (CSV), or auto: recognised."""
    channels: list[str] | None = None
    """Names of the channels in the order in which networks see them; all of the layout in its standard order if not given."""
    labels: str = "auto"
    """Label schema: a name in configs/labels or the path of a YAML file; auto: the one that the layout implies."""
    missing_channels: Literal["refuse", "zero"] = "refuse"
    """What to do where a case lacks a channel: refuse the case, or take zeros."""
    tolerance_mm: float = 1e-3
    """Images whose affines place no voxel further apart than this lie on the same grid."""


class Source(ABC):
    """Somebody's scans, never written to.

    Attributes:
        root: the folder or file that was given.
        config: how to read it.
        layout: name of the layout.
        looks_for: what the layout is recognised by, for errors.
        channels: names of the channels in the order in which networks see them.
        schema: what the label ids mean; None where the layout says nothing of labels.
        likely_schemas: names of shipped schemas that are worth a try where a label id is unknown.
    """

    layout: ClassVar[str]
    looks_for: ClassVar[str]
    channels: list[str]
    schema: LabelSchema | None
    likely_schemas: tuple[str, ...] = ()

    def __init__(self, root: Path, config: SourceConfig) -> None:
        self.root = root
        self.config = config

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Whether `root` looks like this layout, told without reading any voxel."""

    @abstractmethod
    def cases(self) -> list[CaseFiles]:
        """All cases, sorted by id; no voxel is read."""

    @abstractmethod
    def read(self, files: CaseFiles) -> Case:
        """Read one case.

        Raises:
            UserError: something is wrong with it; the line names the file and the rule.
        """

    @abstractmethod
    def check(self, files: CaseFiles, deep: bool = False) -> list[str]:
        """What is wrong with a case, a line each; `deep` reads every voxel, and so verifies every checksum."""

    @abstractmethod
    def read_label(self, files: CaseFiles) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a case's annotation alone.

        Returns:
            The data set's own ids (i, j, k), an integer array on the native grid; and its affine (4, 4), voxel indices ->
            millimetres, or None where the source has no geometry.

        Raises:
            UserError: something is wrong with it.
            ValueError: the case has none.
        """

    @abstractmethod
    def shape(self, files: CaseFiles) -> tuple[int, int, int]:
        """Native (i, j, k) of a case, from headers alone.

        Raises:
            UserError: a header cannot be read.
        """

    def grid_problem(self, image: Path, files: CaseFiles) -> str | None:
        """A line where a NIfTI image, such as a prediction, lies on another grid than a case's annotation.

        Headers alone are read, and here shapes alone compared, as befits a source without geometry: its predictions have unit
        spacing.

        Raises:
            UserError: a header cannot be read.
        """
        header, shape = nifti.read_header(image), self.shape(files)
        problem = rules.dimension_problem(header, None)
        if problem is None and header.shape[:3] != shape:
            problem = f"{image}: shape {header.shape[:3]} differs from {shape} of {files.label}; resample it onto that grid"
        return problem

    def write_prediction(self, files: CaseFiles, ids: np.ndarray, folder: Path) -> list[Path]:
        """Write a prediction as the layout's own annotations, beside the NIfTI file that every source gets.

        Args:
            files: the case that was segmented.
            ids: native (i, j, k) integers, ids of this source's schema.
            folder: of predictions, not of this source.

        Returns:
            The files written: none, unless a layout does otherwise.
        """
        return []

    def warnings(self, files: CaseFiles) -> list[str]:
        """What is odd about a case but legal, a line each."""
        return []


def choose_channels(available: list[str], wanted: list[str] | None, root: Path) -> list[str]:
    """The channels that are asked for, or all of them.

    Raises:
        UserError: a name is not available or stands twice.
    """
    if wanted is None:
        return list(available)
    strangers = [name for name in wanted if name not in available]
    if strangers or not wanted or len(set(wanted)) < len(wanted):
        raise UserError(f"{root}: --channels: expected different ones of {', '.join(available)}; received {', '.join(wanted)}")
    return list(wanted)


def refuse(problems: list[str], files: CaseFiles) -> None:
    """Raise what is wrong with a case, if anything is: UserError for one line, Problems for several."""
    if problems:
        raise UserError(problems[0]) if len(problems) == 1 else Problems(problems, f"case {files.id}: cannot be read")


def sorted_cases(cases: Iterable[CaseFiles], root: Path) -> list[CaseFiles]:
    """Cases sorted by id.

    Raises:
        Problems: several cases have the same id.
        UserError: there are no cases.
    """
    groups: defaultdict[str, list[CaseFiles]] = defaultdict(list)
    for case in cases:
        groups[case.id].append(case)
    if not groups:
        raise UserError(f"{root}: no cases found")
    twice = [_duplicate(group) for _, group in sorted(groups.items()) if len(group) > 1]
    if twice:
        raise Problems(twice, f"{root}: {len(twice)} case ids stand for more than one case; rename or remove one of each")
    return [groups[name][0] for name in sorted(groups)]


def _duplicate(group: list[CaseFiles]) -> str:
    firsts = [str(case.place or "no files") for case in group]
    return f"{firsts[0]}: duplicate case id {group[0].id}, which also stands in {', '.join(firsts[1:])}; rename or remove one"


def visible_files(root: Path) -> Iterator[Path]:
    """Every file below `root` whose name and folders are not hidden, links followed, each folder once, sorted by folder."""
    seen = set()
    for folder, folders, names in walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
