"""Case: the files of one scan, and the arrays read from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

LABEL = "label"  # name of the annotation beside those of the channels
BRAIN = "brain"  # name of the mask of brain or head


@dataclass(frozen=True)
class ImageRef:
    """Reference to a three-dimensional image in a file or in a folder of slices.

    Attributes:
        path: the file, or the folder.
        index: along the fourth axis where the file holds several images (along the channels of slices), else None.
    """

    path: Path
    index: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.index is None else f"{self.path}[{self.index}]"


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case; nothing has been read yet.

    Attributes:
        id: of the case; unique in its source, and valid as a file name.
        patient: id of the patient, whose cases are never on two sides of a split.
        channels: channel name -> its image, in the order of a network's input; None where it is missing.
        label: the annotation, or None where there is none.
        attributes: of the patient, such as `grade`.
        slices: every file of the case where its images are a folder of slices; else empty.
        anonymous: paths may name the patient, so that nothing that is written holds them.
        brain: the mask of brain or head, or None where there is none.
    """

    id: str
    patient: str
    channels: dict[str, ImageRef | None]
    label: ImageRef | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    slices: tuple[Path, ...] = ()
    anonymous: bool = False
    brain: ImageRef | None = None

    @property
    def paths(self) -> list[Path]:
        """Paths of all files of the case, each once, in a fixed order."""
        return list(self.slices) or self._images

    @property
    def path(self) -> Path | None:
        """Path of the case's first image: a file, or a folder of slices; None for a case without any image."""
        return next(iter(self._images), None)

    def constant_warnings(self, constant: Mapping[str, float]) -> list[str]:
        """Warnings about images whose voxels all have one value, a line each; `constant` is that of the case as read.

        A case whose channels are all 0 has one line for all of them.
        """
        images = {**self.channels, LABEL: self.label}
        present = [name for name, image in self.channels.items() if image is not None]
        if len(present) > 1 and all(constant.get(name) == 0 for name in present):
            others = {name: value for name, value in constant.items() if name not in present}
            return [f"{self.id}: is empty: all voxels of all channels are 0", *self.constant_warnings(others)]
        return [f"{images[name]}: {name}: all voxels are {value:g}" for name, value in constant.items()]

    @property
    def _images(self) -> list[Path]:
        """Paths of the images, each once."""
        images = [*self.channels.values(), self.label, self.brain]
        return list(dict.fromkeys(image.path for image in images if image is not None))


@dataclass(frozen=True)
class Case:
    """Case as read: arrays on the native grid.

    Attributes:
        files: of the case, with the patient's attributes.
        channels: channel name -> array (i, j, k) in the file's dtype (float32 where the file scales its values);
            None where the channel is missing and that is allowed.
        label: integer array (i, j, k) of the data set's own ids, or None.
        affine: (4, 4) float64, voxel indices -> millimetres in RAS+, or None where the source has no geometry
            (rows, columns and slices then keep their order).
        shape: (i, j, k) of every array.
        brain: mask (i, j, k), bool, of brain or head, or None where none is stored.
    """

    files: CaseFiles
    channels: dict[str, np.ndarray | None]
    label: np.ndarray | None
    affine: np.ndarray | None
    shape: tuple[int, int, int]
    brain: np.ndarray | None = None

    @property
    def missing(self) -> list[str]:
        """Names of the channels that the case lacks."""
        return [name for name, array in self.channels.items() if array is None]

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each image: name of the channel, or `label` -> both."""
        images = {**self.channels, LABEL: self.label}
        found = {name: array for name, array in images.items() if array is not None and array.size}
        return {name: (float(array.min()), float(array.max())) for name, array in found.items()}

    @property
    def constant(self) -> dict[str, float]:
        """Images whose voxels all have one value: name of the channel, or `label` -> value.

        A channel of zeros may stand for a sequence that is missing, and a label of zeros for a scan without tumour.
        """
        return {name: low for name, (low, high) in self.ranges.items() if low == high}
