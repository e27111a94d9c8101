"""One patient's scan between reading and writing: which files it stands in, and what was read from them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class ImageRef:
    """A three-dimensional image in a file, or in a folder of slices.

    Attributes:
        path: the file, or the folder.
        index: the place along the fourth axis where the file holds several images (along the channels of slices), else None.
    """

    path: Path
    index: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.index is None else f"{self.path}[{self.index}]"


@dataclass(frozen=True)
class CaseFiles:
    """Where one case's images stand; nothing has been read yet.

    Attributes:
        id: names the case; unique in its source, and fit for a file name.
        patient: whom it shows; cases of one patient never stand on two sides of a split.
        channels: channel name -> its image, in the order in which networks see them; None where it is missing.
        label: the annotation, or None where there is none.
        attributes: free facts of the patient, such as `grade`.
        slices: every file of the case where its images stand in a folder of slices; else empty.
    """

    id: str
    patient: str
    channels: dict[str, ImageRef | None]
    label: ImageRef | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    slices: tuple[Path, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """Every file of the case once, in a fixed order."""
        return list(self.slices) or self._images

    @property
    def place(self) -> Path | None:
        """Where the case's first image stands: a file, or a folder of slices; None for a case without any image."""
        return next(iter(self._images), None)

    @property
    def _images(self) -> list[Path]:
        images = [*self.channels.values(), self.label]
        return list(dict.fromkeys(image.path for image in images if image is not None))


@dataclass(frozen=True)
class Case:
    """One case as read: arrays on the native grid, as they stand in the files.

    Attributes:
        files: where it came from, and the patient's attributes.
        channels: channel name -> array (i, j, k) in the file's dtype (float32 where the file scales its values);
            None where the channel is missing and that is allowed.
        label: integer array (i, j, k) of the data set's own ids, or None.
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+, or None where the source has no geometry
            (rows, columns and slices are then kept as they stand).
        shape: (i, j, k) of every array.
    """

    files: CaseFiles
    channels: dict[str, np.ndarray | None]
    label: np.ndarray | None
    affine: np.ndarray | None
    shape: tuple[int, int, int]

    @property
    def missing(self) -> list[str]:
        """The names of the channels that the case lacks."""
        return [name for name, array in self.channels.items() if array is None]
