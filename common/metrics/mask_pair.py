"""Masks of a structure in truth and prediction, and the distances between them, computed once for each spacing."""

from dataclasses import dataclass, field

import numpy as np

from common.metrics.borders import border_points
from common.metrics.masks import Spacing, check_masks
from common.metrics.nearest import PointPair
from common.metrics.surface import Surfaces, surfaces_of


@dataclass(frozen=True)
class MaskPair:
    """Masks of one structure, of one shape.

    Attributes:
        truth, prediction: (x, y, z) bool.

    Raises:
        ValueError: shapes differ or are not 3D.
    """

    truth: np.ndarray
    prediction: np.ndarray
    _surfaces: dict[Spacing, Surfaces] = field(default_factory=dict, repr=False)
    _borders: dict[Spacing, PointPair] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check the shapes."""
        check_masks(self.truth, self.prediction)

    def surfaces(self, spacing_mm: Spacing) -> Surfaces:
        """Surface elements, for HD95 and NSD by area."""
        if spacing_mm not in self._surfaces:
            self._surfaces[spacing_mm] = surfaces_of(self.truth, self.prediction, spacing_mm)
        return self._surfaces[spacing_mm]

    def borders(self, spacing_mm: Spacing) -> PointPair:
        """Border voxels, for HD95 and NSD by voxels."""
        if spacing_mm not in self._borders:
            self._borders[spacing_mm] = border_points(self.truth, self.prediction, spacing_mm)
        return self._borders[spacing_mm]
