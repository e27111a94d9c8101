"""Registration: rigid, then optionally affine transform between two scans, by mutual information (Mattes et al., 2003).

Coarse to fine: at 8 mm several starts are tried (positions in the scanner, middles of the volumes, centres of the heads, these
turned by 20 degrees about each axis), the best goes on at 4, 2 and 1 mm; an affine transform begins with the rigid one at 2 mm.
One thread and fixed samples: equal inputs give equal bits. SimpleITK has coordinates in LPS; here all are RAS+, as in NIfTI.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.errors import UserError
from data_prep.grid.masks import dilate, head_mask, winsorised
from data_prep.grid.resampling import Rows, to_rows
from data_prep.grid.voxel_grid import LPS_TO_RAS
from data_prep.scans.itk import load_sitk, matrix_of, to_image
from data_prep.scans.volume import Volume, resample

if TYPE_CHECKING:
    from SimpleITK import ImageRegistrationMethod, Transform

LEVELS_MM = (8.0, 4.0, 2.0, 1.0)  # voxel sizes, coarse to fine
ITERATIONS = 100  # of a level at most
SAMPLES = 60_000  # voxels of the fixed scan that a level uses at most
BINS = 40
HEADS_AT = 2  # level at which heads are found and similarity is computed
TURN = np.radians(20.0)
MARGIN_MM = 5.0  # around the head, in which voxels are sampled too: its border is an edge
STEPS_MM = (2.0, 1.0, 0.5, 0.25)  # first step of the optimizer at each level


@dataclass(frozen=True)
class Registration:
    """Transform between two scans and its quality.

    Attributes:
        transform: (4, 4) millimetres of the fixed scan -> millimetres of the moving scan (RAS+).
        before, after: normalised mutual information of both scans by their headers, and with the transform.
    """

    transform: Rows
    before: float
    after: float

    @property
    def rotation_degrees(self) -> float:
        """Angle of the rotation in the transform."""
        u, _, v = np.linalg.svd(np.asarray(self.transform)[:3, :3])
        return float(np.degrees(np.arccos(np.clip((np.trace(u @ v) - 1) / 2, -1, 1))))

    @property
    def scales(self) -> tuple[float, float, float]:
        """Factors along the principal axes of the transform, largest first; 1 for a rigid one."""
        a, b, c = np.linalg.svd(np.asarray(self.transform)[:3, :3], compute_uv=False)
        return (float(a), float(b), float(c))

    def shift_mm(self, point: np.ndarray) -> float:
        """Distance by which the transform moves a point of the fixed scan."""
        matrix = np.asarray(self.transform)
        return float(np.linalg.norm(matrix[:3, :3] @ point + matrix[:3, 3] - point))


def register(fixed: Volume, moving: Volume, kind: Literal["rigid", "affine"] = "rigid", seed: int = 0) -> Registration:
    """Register a moving scan onto a fixed one.

    Args:
        fixed, moving: heads of one patient, of any modalities and grids.
        kind: rigid (6 parameters), or rigid and then affine (12).
        seed: of the samples.

    Raises:
        MissingPackage: SimpleITK is not installed.
        UserError: a scan has no head in it, or both do not overlap.
    """
    sitk = load_sitk("registration")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums over threads differ in their last bits from run to run
    scans = [_winsorised(volume) for volume in (fixed, moving)]
    pyramid = [(scans[0].at_spacing(spacing_mm), scans[1].at_spacing(spacing_mm)) for spacing_mm in LEVELS_MM]
    masks = [head_mask(volume.array) for volume in pyramid[HEADS_AT]]
    if not all(mask.any() for mask in masks):
        raise UserError(f"the {'moving' if masks[0].any() else 'fixed'} scan has no head in it: all voxels are alike")
    region = Volume(dilate(masks[0], MARGIN_MM / LEVELS_MM[HEADS_AT]), pyramid[HEADS_AT][0].affine)
    stages = [Stage(sitk, *pair, region, step_mm, seed) for pair, step_mm in zip(pyramid, STEPS_MM, strict=True)]
    try:
        begins = [stages[0].optimise(start) for start in starts(sitk, pyramid[HEADS_AT], masks)]
        found = min(begins, key=stages[0].value)
        for stage in stages[1:]:
            found = stage.optimise(found)
        for stage in stages[-2:] if kind == "affine" else ():
            found = stage.optimise(as_affine(sitk, found))
    except RuntimeError as error:
        raise UserError(f"registration failed: {' '.join(str(error).split())[-200:]}") from None
    transform = matrix_of(found)
    before, after = (similarity(*pyramid[HEADS_AT], matrix, region.array) for matrix in (np.eye(4), transform))
    return Registration(to_rows(transform), before, after)


def similarity_of(fixed: Volume, moving: Volume, transform: np.ndarray | None = None) -> float:
    """Normalised mutual information of two scans in and around the head.

    Args:
        fixed, moving: scans.
        transform: (4, 4) millimetres of the fixed scan -> millimetres of the moving scan; None: by the headers alone.
    """
    scans = [_winsorised(volume).at_spacing(LEVELS_MM[HEADS_AT]) for volume in (fixed, moving)]
    region = dilate(head_mask(scans[0].array), MARGIN_MM / LEVELS_MM[HEADS_AT])
    return similarity(scans[0], scans[1], np.eye(4) if transform is None else transform, region)


class Stage:
    """One level of a registration: images of one voxel size, metric and optimizer.

    Args:
        sitk: the package.
        fixed, moving: images of the level.
        region: mask (bool) of the fixed scan, on any grid; samples lie in it.
        step_mm: first step of the optimizer.
        seed: of the samples.
    """

    def __init__(self, sitk: "ModuleType", fixed: Volume, moving: Volume, region: Volume, step_mm: float, seed: int) -> None:
        self._sitk, self._step_mm, self._seed = sitk, step_mm, seed
        self._fixed, self._moving = to_image(sitk, fixed), to_image(sitk, moving)
        mask = resample(Volume(region.array.astype(np.uint8), region.affine), fixed.grid, "nearest")
        self._mask = to_image(sitk, Volume(mask, fixed.affine))
        self._share = min(SAMPLES / max(int(mask.sum()), 1), 1.0)

    def optimise(self, start: "Transform") -> "Transform":
        """Optimum of the metric from a start, a new transform of the same kind."""
        method, transform = self._method(), self._sitk.Transform(start)
        method.SetOptimizerAsRegularStepGradientDescent(self._step_mm, self._step_mm / 100, ITERATIONS, 0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, True)
        method.Execute(self._fixed, self._moving)
        return transform

    def value(self, transform: "Transform") -> float:
        """Metric of a transform: minus mutual information."""
        method = self._method()
        method.SetInitialTransform(transform)
        return float(method.MetricEvaluate(self._fixed, self._moving))

    def _method(self) -> "ImageRegistrationMethod":
        method = self._sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricFixedMask(self._mask)
        if self._share < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(self._share, self._seed + 1)  # 0 stands for the clock
        method.SetInterpolator(self._sitk.sitkLinear)
        return method


def starts(sitk: "ModuleType", scans: tuple[Volume, Volume], masks: list[np.ndarray]) -> "Iterator[Transform]":
    """Rigid transforms to begin with: by the headers, middle on middle, head on head, and head on head turned about each axis.

    Args:
        sitk: the package.
        scans: fixed and moving scan.
        masks: of their heads.
    """
    middles = [volume.grid.middle for volume in scans]
    heads = [volume.grid.position(np.argwhere(mask).mean(axis=0)) for volume, mask in zip(scans, masks, strict=True)]
    turned = [tuple(sign * TURN * axis) for axis in np.eye(3) for sign in (1, -1)]
    shifts = [(np.zeros(3), (0, 0, 0)), (middles[1] - middles[0], (0, 0, 0))]
    shifts += [(heads[1] - heads[0], angles) for angles in [(0, 0, 0), *turned]]
    for shift, angles in shifts:
        transform = sitk.Euler3DTransform()
        transform.SetCenter((LPS_TO_RAS[:3, :3] @ heads[0]).tolist())
        transform.SetRotation(*(float(angle) for angle in angles))
        transform.SetTranslation((LPS_TO_RAS[:3, :3] @ shift).tolist())
        yield transform


def similarity(fixed: Volume, moving: Volume, transform: np.ndarray, mask: np.ndarray) -> float:
    """Normalised mutual information of two scans, 1 (independent) to 2 (equal up to a change of grey values).

    (H(fixed) + H(moving)) / H(fixed, moving), of the histogram of 64 x 64 bins (Studholme et al., 1999).

    Args:
        fixed, moving: scans.
        transform: (4, 4) millimetres of the fixed scan -> millimetres of the moving scan.
        mask: voxels of the fixed scan that count, bool.
    """
    moved = resample(moving, fixed.grid, "linear", float(moving.array.min()), transform)
    counts = np.histogram2d(winsorised(fixed.array[mask]), winsorised(moved[mask]), bins=64)[0]
    return (_entropy(counts.sum(axis=0)) + _entropy(counts.sum(axis=1))) / max(_entropy(counts), 1e-12)


def as_affine(sitk: "ModuleType", transform: "Transform") -> "Transform":
    """A linear transform as one of 12 parameters, about the same centre."""
    matrix = LPS_TO_RAS @ matrix_of(transform) @ LPS_TO_RAS
    centre = np.array(transform.GetFixedParameters()[:3])
    affine = sitk.AffineTransform(3)
    affine.SetCenter(centre.tolist())
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation((matrix[:3, :3] @ centre + matrix[:3, 3] - centre).tolist())
    return affine


def _winsorised(volume: Volume) -> Volume:
    """Volume without its outliers, such as metal in CT, which would leave few bins of the histogram to all else."""
    return replace(volume, array=winsorised(volume.array))


def _entropy(counts: np.ndarray) -> float:
    """Shannon entropy of a histogram, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
