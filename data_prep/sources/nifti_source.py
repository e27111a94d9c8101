"""Base class of layouts of NIfTI files: reading and checking a case."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans import nifti
from data_prep.scans.case import BRAIN, LABEL, Case, CaseFiles, ImageRef
from data_prep.scans.nifti import Header
from data_prep.scans.volume import Volume
from data_prep.sources import nifti_rules as rules
from data_prep.sources.base import Source, lacking_channels, refuse


class NiftiSource(Source):
    """Source whose images are NIfTI files.

    Attributes:
        stacked: number of images in each channel file, along its fourth axis; None for one.
    """

    stacked: int | None = None
    _cases: list[CaseFiles]

    def cases(self) -> list[CaseFiles]:
        """All cases, sorted by id; no voxel is read."""
        return list(self._cases)

    def read(self, files: CaseFiles) -> Case:
        """Read one case: channels, label and mask on the native grid.

        Raises:
            UserError: it breaks a rule (Problems where it breaks several).
        """
        headers, problems = self._headers(files)
        refuse(problems, files)
        cache: dict[Path, np.ndarray] = {}
        reference = next((header for header in headers.values() if header.has_affine), next(iter(headers.values())))
        i, j, k = reference.shape[:3]
        grid = Grid((i, j, k), reference.affine)

        def on_grid(image: ImageRef | None, read: Callable[[ImageRef], np.ndarray]) -> np.ndarray | None:
            return None if image is None else rules.on_grid(read(image), headers[image.path], grid, self.config.tolerance_mm)

        channels = {name: on_grid(image, partial(_channel, cache=cache)) for name, image in files.channels.items()}
        label, brain = on_grid(files.label, self._label), on_grid(files.brain, _mask)
        return Case(files, channels, label, reference.affine, grid.shape, brain)

    def read_volumes(self, files: CaseFiles) -> dict[str, Volume]:
        """Read each channel that a case has, its annotation and its mask, on grids of their own.

        Raises:
            UserError: a channel is missing, an image breaks a rule, or it has neither sform nor qform.
        """
        refuse(self._missing(files), files)
        cache: dict[Path, np.ndarray] = {}
        volumes = {}
        for name, image in {**files.channels, LABEL: files.label, BRAIN: files.brain}.items():
            if image is not None:
                header = nifti.read_header(image.path)
                stacked = None if name in (LABEL, BRAIN) else self.stacked
                problem = rules.dimension_problem(header, stacked) or rules.affine_problem(header)
                if problem is None and not header.has_affine:
                    problem = f"{image}: has neither sform nor qform, so its position is unknown; it cannot be aligned"
                if problem:
                    raise UserError(problem)
                read = {LABEL: self._label, BRAIN: _mask}.get(name, partial(_channel, cache=cache))
                volumes[name] = Volume(read(image), header.affine)
        return volumes

    def read_label(self, files: CaseFiles) -> tuple[np.ndarray, np.ndarray | None]:
        """Ids (i, j, k) of the annotation and its affine, which is a guess for a file without sform and qform."""
        if files.label is None:
            raise ValueError(f"case {files.id} has no label")
        return self._label(files.label), nifti.read_header(files.label.path).affine

    def shape(self, files: CaseFiles) -> tuple[int, int, int]:
        """Native shape (i, j, k), from the header of the case's first file."""
        i, j, k = nifti.read_header(files.paths[0]).shape[:3]
        return (i, j, k)

    def grid_problem(self, image: Path, files: CaseFiles) -> str | None:
        """Problem of an image with another shape or affine than a case's annotation, else None."""
        if files.label is None:
            raise ValueError(f"case {files.id} has no label")
        header, reference = nifti.read_header(image), nifti.read_header(files.label.path)
        found = rules.dimension_problem(header, None)
        return found or rules.grid_problem(header, reference, self.config.tolerance_mm)

    def check(self, files: CaseFiles, deep: bool = False) -> list[str]:
        """Problems of a case, a line each.

        Headers, the length of every file, the label and images of floats (which alone can hold NaN) are always looked at;
        `deep` reads the other images too, and so verifies their checksums.
        """
        headers, problems = self._headers(files)
        for header in headers.values():
            problems += self._content_problems(files, header, deep)
        return problems

    def warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about the position of the images and the order of their axes, a line each."""
        headers, _ = self._headers(files)
        reference = next((header for header in headers.values() if header.has_affine), None)
        lines = [line for header in headers.values() for line in rules.geometry_warnings(header)]
        turned = (rules.turned_warning(header, reference, self.config.tolerance_mm) for header in headers.values() if reference)
        return lines + [line for line in turned if line is not None]

    def volume_warnings(self, files: CaseFiles) -> list[str]:
        """Warnings about the position of the images, a line each; with grids of their own no axes are turned."""
        lines = []
        for path in files.paths:
            with suppress(UserError):  # is a problem of the case
                lines += rules.geometry_warnings(nifti.read_header(path))
        return lines

    def _headers(self, files: CaseFiles) -> tuple[dict[Path, Header], list[str]]:
        """Valid headers of a case by path, and problems of each header and between them."""
        problems = self._missing(files)
        headers: dict[Path, Header] = {}
        for path in files.paths:
            try:
                header = nifti.read_header(path)
            except UserError as error:
                problems.append(f"{error}{self.origin(files, path)}")
                continue
            single = [image.path for image in (files.label, files.brain) if image is not None]
            stacked = None if path in single else self.stacked
            found = rules.dimension_problem(header, stacked) or rules.affine_problem(header)
            if found:
                problems.append(found)
            else:
                headers[path] = header
        reference = next((header for header in headers.values() if header.has_affine), next(iter(headers.values()), None))
        for header in headers.values():
            if reference is not None and header is not reference:
                found = rules.grid_problem(header, reference, self.config.tolerance_mm)
                problems += [found] if found else []
        return headers, problems

    def _missing(self, files: CaseFiles) -> list[str]:
        """Problem of missing channels, one line for all of them."""
        missing = [name for name, image in files.channels.items() if image is None]
        folder = files.paths[0].parent if files.paths else self.root
        if len(missing) == len(files.channels):
            return [f"{folder}: case {files.id} has none of the channels {', '.join(missing)}"]
        if self.config.missing_channels == "zero":
            return []
        reasons = {name: self.expected_file(files, name) for name in missing}
        return lacking_channels(folder, files.id, reasons, "add it" if len(missing) == 1 else "add them")

    def expected_file(self, files: CaseFiles, channel: str) -> str:
        """Description of the file of a missing channel, for the error."""
        return f"expected a file for {channel}, received none"

    def origin(self, files: CaseFiles, path: Path) -> str:
        """Description of the place that names a file, for the end of an error; empty where the file was found by its name."""
        return ""

    def _content_problems(self, files: CaseFiles, header: Header, deep: bool) -> list[str]:
        """Problems of the voxels of one file."""
        is_label, is_mask = (image is not None and image.path == header.path for image in (files.label, files.brain))
        if not (deep or is_label or is_mask or header.dtype.kind == "f" or header.scaled):
            fault = nifti.length_fault(header)
            return [] if fault is None else [str(fault)]
        try:
            array = nifti.read_voxels(header)
        except UserError as error:
            return [str(error)]
        name = str(header.path)
        if is_label:
            found = rules.label_problem(name, array, self.schema, self.likely_schemas)
        else:
            found = rules.mask_problem(name, array) if is_mask else rules.finite_problem(name, array)
        return [found] if found else []

    def _label(self, image: ImageRef) -> np.ndarray:
        """Annotation as integers (i, j, k), checked."""
        array = nifti.read_image(image)
        problem = rules.label_problem(str(image), array, self.schema, self.likely_schemas)
        if problem:
            raise UserError(problem)
        return rules.as_integers(array)


def _mask(image: ImageRef) -> np.ndarray:
    """Mask (i, j, k), bool, checked."""
    array = nifti.read_image(image)
    problem = rules.mask_problem(str(image), array)
    if problem:
        raise UserError(problem)
    return np.asarray(np.rint(array) != 0 if array.dtype.kind == "f" else array != 0)


def _channel(image: ImageRef, cache: dict[Path, np.ndarray]) -> np.ndarray:
    """Image (i, j, k), checked for finite voxels."""
    array = nifti.read_image(image, cache)
    problem = rules.finite_problem(str(image), array)
    if problem:
        raise UserError(problem)
    return array
