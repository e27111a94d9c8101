"""Base class of layouts whose images have grids of their own: brought to the grid of a reference channel when they are read."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans import nifti
from data_prep.scans.case import LABEL, Case, CaseFiles
from data_prep.scans.volume import Volume, resample
from data_prep.sources import nifti_rules as rules
from data_prep.sources.base import Source, refuse


class VolumeSource(Source):
    """Source whose channels may differ in grid.

    A channel on another grid in the same space is resampled to the reference (linear). Channels in different spaces need a
    registration first (`data_prep.align`); `read_image` gives each as it is.
    """

    _cases: list[CaseFiles]

    @abstractmethod
    def read_image(self, files: CaseFiles, channel: str) -> Volume:
        """Read one channel on its own grid.

        Raises:
            UserError: it cannot be read.
        """

    @abstractmethod
    def image_grid(self, files: CaseFiles, channel: str) -> Grid:
        """Grid of one channel's own image, from headers only.

        Raises:
            UserError: the case lacks the channel.
        """

    @abstractmethod
    def grid(self, files: CaseFiles) -> Grid:
        """Grid of the reference channel, from headers only.

        Raises:
            UserError: it has none.
        """

    @abstractmethod
    def header_problems(self, files: CaseFiles) -> list[str]:
        """Problems of a case's files, each image by itself, a line each, from headers only."""

    @abstractmethod
    def space_problems(self, files: CaseFiles) -> list[str]:
        """Images that only a registration brings to the reference, a line each, from headers only."""

    @abstractmethod
    def annotation(self, files: CaseFiles) -> np.ndarray:
        """Annotation (i, j, k) on the reference grid, of any real dtype; the case has one."""

    def drawn_annotation(self, files: CaseFiles) -> Volume:
        """Annotation on the grid on which it was drawn, of any real dtype; the case has one. Default: the reference grid."""
        return Volume(self.annotation(files), self.grid(files).affine)

    def transform(self, files: CaseFiles, channel: str) -> np.ndarray | None:
        """Transform (4, 4), millimetres of the reference -> millimetres of a channel (RAS+); None: both share one space."""
        return None

    def cases(self) -> list[CaseFiles]:
        """All cases, sorted by id; no voxel is read."""
        return list(self._cases)

    def read(self, files: CaseFiles) -> Case:
        """Read one case: channels and label on the grid of the reference channel.

        Raises:
            UserError: it breaks a rule (Problems where it breaks several).
        """
        refuse(self.header_problems(files) or self.space_problems(files), files)
        grid = self.grid(files)
        channels = {name: None if image is None else self._on_grid(files, name, grid) for name, image in files.channels.items()}
        label = None if files.label is None else self.read_label(files)[0]
        return Case(files, channels, label, grid.affine, grid.shape)

    def read_volumes(self, files: CaseFiles) -> dict[str, Volume]:
        """Read each channel that a case has, and its annotation (`label`), on grids and in spaces of their own.

        Raises:
            UserError: it breaks a rule (Problems where it breaks several).
        """
        refuse(self.header_problems(files), files)
        volumes = {name: self.read_image(files, name) for name, image in files.channels.items() if image is not None}
        if files.label is not None:
            drawn = self.drawn_annotation(files)
            volumes[LABEL] = Volume(self._ids(files, drawn.array), drawn.affine, drawn.frame_of_reference)
        return volumes

    def read_label(self, files: CaseFiles) -> tuple[np.ndarray, np.ndarray]:
        """Ids (i, j, k) of the annotation on the reference grid, and its affine."""
        if files.label is None:
            raise ValueError(f"case {files.id} has no label")
        return self._ids(files, self.annotation(files)), self.grid(files).affine

    def shape(self, files: CaseFiles) -> tuple[int, int, int]:
        """Shape (i, j, k) of the reference channel."""
        return self.grid(files).shape

    def grid_problem(self, image: Path, files: CaseFiles) -> str | None:
        """Problem of an image with another shape or affine than a case's reference, else None."""
        header, grid = nifti.read_header(image), self.grid(files)
        problem = rules.dimension_problem(header, None)
        if problem is not None:
            return problem
        i, j, k = header.shape[:3]
        own, tolerance = Grid((i, j, k), header.affine), self.config.tolerance_mm
        if header.has_affine and own.is_turned(grid, tolerance):
            return None  # `nifti_rules.read_on_grid` undoes it
        if own.shape != grid.shape:
            return f"{image}: shape {own.shape} differs from {grid.shape} of {files.path}; resample it onto that grid"
        distance = own.distance_mm(grid)
        if not header.has_affine or distance <= tolerance:
            return None
        advice = rules.grid_advice(distance, grid)
        return f"{image}: affine differs from that of {files.path} by up to {distance:.4g} mm; {advice}"

    def check(self, files: CaseFiles, deep: bool = False) -> list[str]:
        """Problems of a case, a line each: headers and the label, with `deep` every voxel."""
        problems: list[str] = []
        try:
            problems += self.header_problems(files) or self.space_problems(files)
        except UserError as error:
            problems += str(error).splitlines()
        if not problems and files.label is not None:
            problems += _problems_of(partial(self.read_label, files))
        for name, image in files.channels.items() if deep and not problems else ():
            if image is not None:
                problems += _problems_of(partial(self.read_image, files, name))
        return problems

    def _ids(self, files: CaseFiles, annotation: np.ndarray) -> np.ndarray:
        """Annotation as integers, checked against the schema."""
        problem = rules.label_problem(str(files.label), annotation, self.schema, self.likely_schemas)
        if problem:
            raise UserError(problem)
        return rules.as_integers(annotation)

    def _on_grid(self, files: CaseFiles, channel: str, grid: Grid) -> np.ndarray:
        """One channel on the reference grid, checked for finite voxels."""
        volume, transform = self.read_image(files, channel), self.transform(files, channel)
        if transform is None and volume.grid.distance_mm(grid) <= self.config.tolerance_mm:
            return volume.array
        return resample(volume, grid, "linear", float(volume.array.min()), transform)


def _problems_of(read: Callable[[], object]) -> list[str]:
    """Lines of the error that reading raises, if it does."""
    try:
        read()
    except UserError as error:
        return str(error).splitlines()
    return []
