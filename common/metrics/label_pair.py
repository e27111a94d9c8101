"""Truth and prediction of one case: overlap counts at once, boolean masks only for metrics that need them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from common.boxes import foreground_box
from common.metrics.borders import BorderDistances
from common.metrics.lesion_rules import LesionRule
from common.metrics.lesions import LesionComparison, compare_lesions
from common.metrics.mask_pair import MaskPair
from common.metrics.masks import Spacing, class_mask
from common.metrics.overlap import UNANNOTATED, Overlap, confusion_matrix, overlap
from common.metrics.surface import SurfaceDistances


@dataclass
class LabelPair:
    """Class indices of a case in truth and prediction, with the confusion matrix of the whole case.

    Attributes:
        confusion: (classes, classes) int64, truth in rows.
        truth: (X, Y, Z) uint8, class indices, 255 where not annotated, of the case or of a box outside of which there is only
            background; None where only counts are known.
        predict: makes the predicted class indices of that box; called once, and only where masks are needed.
        spacing_mm: distance of neighbouring voxels along each axis of `truth`; None where it is unknown.
        voxel_ml: volume of a voxel in millilitres; None: the product of the spacing.
        shape: of the whole case where `truth` is of a box; None: that of `truth`.
    """

    confusion: np.ndarray
    truth: np.ndarray | None = None
    predict: Callable[[], np.ndarray] | None = None
    spacing_mm: Spacing | None = None
    voxel_ml: float | None = None
    shape: tuple[int, ...] | None = None

    @classmethod
    def count(
        cls,
        truth: np.ndarray,
        prediction: np.ndarray,
        classes: int,
        spacing_mm: Spacing | None = None,
        voxel_ml: float | None = None,
    ) -> Self:
        """Pair of two volumes (X, Y, Z) of class indices, counted once; arguments as the attributes.

        Raises:
            ValueError: shapes differ, or an index is neither a class nor, in truth, 255.
        """
        return cls(confusion_matrix(truth, prediction, classes), truth, lambda: prediction, spacing_mm, voxel_ml)

    def structure(self, members: Sequence[int], name: str = "") -> "StructurePair":
        """Truth and prediction of one structure, the union of the classes `members`; lesion rules may depend on its name."""
        return StructurePair(self, tuple(members), name)

    def masks(self, members: tuple[int, ...]) -> MaskPair:
        """Masks of truth and prediction of the union of some classes, cropped to their joint bounding box.

        Raises:
            ValueError: only counts are known.
        """
        if members not in self._masks:
            maps = self.maps if 0 in members else self.foreground_maps
            truth, prediction = (class_mask(each, members) for each in maps)
            box = foreground_box(truth | prediction)
            self._masks[members] = MaskPair(truth[box], prediction[box])
        return self._masks[members]

    @cached_property
    def _masks(self) -> dict[tuple[int, ...], MaskPair]:
        return {}

    @cached_property
    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction, uncropped; voxels that are not annotated are background in both.

        Raises:
            ValueError: only counts are known.
        """
        if self.truth is None or self.predict is None:
            raise ValueError("expected volumes of class indices; received counts alone")
        prediction, unannotated = self.predict(), self.truth == UNANNOTATED
        if not unannotated.any():
            return self.truth, prediction
        return np.where(unannotated, np.uint8(0), self.truth), np.where(unannotated, np.uint8(0), prediction)

    @cached_property
    def foreground_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction in the bounding box of all that is foreground in either."""
        truth, prediction = self.maps
        box = foreground_box(truth.astype(bool) | prediction.astype(bool))
        return truth[box], prediction[box]


@dataclass(frozen=True)
class StructurePair:
    """Truth and prediction of one structure in one case; what metrics are computed from.

    Attributes:
        case: of all classes.
        members: indices of the classes whose union the structure is.
        name: of the structure, such as ET.
    """

    case: LabelPair
    members: tuple[int, ...]
    name: str = ""

    @cached_property
    def overlap(self) -> Overlap:
        """Voxels in truth, in prediction and in both, from the confusion matrix."""
        return overlap(self.case.confusion, self.members)

    @cached_property
    def masks(self) -> MaskPair:
        """Masks of truth and prediction, cropped to their joint bounding box.

        Raises:
            ValueError: only counts are known.
        """
        return self.case.masks(self.members)

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """Distances of surface elements between both masks, for HD95 and NSD."""
        return self.masks.surfaces(self.known_spacing_mm).distances

    @cached_property
    def borders(self) -> BorderDistances:
        """Distances of border voxels between both masks, for HD95 by voxels."""
        return BorderDistances(*self.masks.borders(self.known_spacing_mm).distances)

    def lesions(self, rule: LesionRule) -> LesionComparison:
        """Lesions of both masks, matched by a rule; sought once for all metrics of this rule."""
        if rule not in self._lesions:
            self._lesions[rule] = compare_lesions(self.masks, self.known_spacing_mm, rule, self.name, self.case_shape)
        return self._lesions[rule]

    @cached_property
    def _lesions(self) -> dict[LesionRule, LesionComparison]:
        return {}

    @property
    def case_shape(self) -> tuple[int, ...]:
        """Voxels of the whole case along each axis.

        Raises:
            ValueError: only counts are known.
        """
        if self.case.shape is not None:
            return self.case.shape
        if self.case.truth is not None:
            return self.case.truth.shape
        raise ValueError("expected a case with masks; received counts alone")

    @property
    def has_masks(self) -> bool:
        """False where only counts are known."""
        return self.case.truth is not None

    @property
    def spacing_mm(self) -> Spacing | None:
        """Distance of neighbouring voxels along each axis of the masks; None where it is unknown."""
        return self.case.spacing_mm

    @property
    def known_spacing_mm(self) -> Spacing:
        """Distance of neighbouring voxels, for metrics that need it.

        Raises:
            ValueError: it is unknown.
        """
        if self.case.spacing_mm is None:
            raise ValueError("expected a case with the distance of its voxels; received one without")
        return self.case.spacing_mm

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in millilitres; None where it is unknown."""
        if self.case.voxel_ml is None and self.case.spacing_mm is not None:
            return math.prod(self.case.spacing_mm) / 1000
        return self.case.voxel_ml
