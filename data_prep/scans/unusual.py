"""Unusual scans: legal properties of voxels that are often a mistake, put into words for warnings.

Images of one value are in `Case.constant`; here is what takes a look at the values.
"""

from collections.abc import Mapping

import numpy as np

from data_prep.grid.masks import brain_mask
from data_prep.grid.resampling import LARGEST_MM, SMALLEST_MM
from data_prep.scans.case import BRAIN, LABEL, Case, CaseFiles
from data_prep.scans.volume import Volume

Doubts = dict[str, list[str]]
"""Texts by channel; those of the whole case under `WHOLE_CASE`."""
SAMPLED = 1 << 16  # voxels that percentiles are taken of
USUAL_PERCENT = 99.9
LEAST_SHARE = 0.05  # of the range of values, in which nearly all voxels of an image lie
LEAST_VOXELS = 100  # of a percentile
MOST_FILLED = 0.99  # share of voxels that are not zero, in a scan with a background of zero
STEP = 3  # voxels along each axis, of which one is looked at
MOST_VALUES = 8  # of an annotation or mask
WHOLE_CASE = "whole case"


def case_doubts(case: Case, is_clipped: bool = False, needs_background: bool = True) -> Doubts:
    """Unusual properties of a case that has been read.

    Args:
        case: with its channels.
        is_clipped: values are clipped to percentiles, so that a few bright voxels do no harm.
        needs_background: brain or head is found by voxels that are not zero; with a stored mask it never is.
    """
    channels = {name: array for name, array in case.channels.items() if array is not None}
    doubts = {name: image_doubts(array, is_clipped, case.ranges.get(name)) for name, array in channels.items()}
    whole = [] if case.affine is None else spacing_doubts(np.linalg.norm(case.affine[:3, :3], axis=0))
    if needs_background and case.brain is None and channels and not set(channels) <= set(case.constant):
        filled = float(brain_mask(array[::STEP, ::STEP, ::STEP] for array in channels.values()).mean())
        if filled >= MOST_FILLED:
            whole.append(
                f"{filled:.1%} of its voxels are not 0: intensities are measured over the whole volume, air with the head; "
                "--prepare.statistics head, or a mask (glioskull skull_strip), leaves air out"
            )
    return _known(doubts | {WHOLE_CASE: whole})


def volume_doubts(volumes: Mapping[str, Volume]) -> Doubts:
    """Unusual properties of images on grids of their own; annotations and masks are passed over."""
    channels = {name: volume for name, volume in volumes.items() if name not in (LABEL, BRAIN)}
    return _known(
        {name: image_doubts(volume.array) + spacing_doubts(volume.grid.spacing_mm) for name, volume in channels.items()}
    )


def doubt_lines(files: CaseFiles, doubts: Doubts) -> list[str]:
    """Warnings, "FILE OR CASE: text", a line each; an anonymous case is named by its id alone."""
    lines = []
    for name, texts in doubts.items():
        image = files.channels.get(name)
        place = files.id if files.anonymous or image is None else str(image)
        lines += [f"{place}: {'' if name == WHOLE_CASE else f'{name}: '}{text}" for text in texts]
    return lines


def image_doubts(array: np.ndarray, is_clipped: bool = False, bounds: tuple[float, float] | None = None) -> list[str]:
    """Unusual properties of an image (i, j, k) of any real dtype; none of one value, which `Case.constant` holds.

    Args:
        array: the image.
        is_clipped: as of `case_doubts`.
        bounds: smallest and largest value, where they are known.
    """
    if not array.size:
        return []
    low, high = bounds or (float(array.min()), float(array.max()))
    if low == high:
        return []
    if looks_like_mask(array):
        return [f"has few whole values ({_listed(array)}), as an annotation or a mask has; is it an image?"]
    sample = _sample(array)
    inside = sample[sample != 0]
    if is_clipped or inside.size < LEAST_VOXELS:
        return []
    share = (float(np.percentile(inside, USUAL_PERCENT)) - low) / (high - low)
    if share >= LEAST_SHARE:
        return []
    return [
        f"{USUAL_PERCENT:g} % of its voxels lie in the lowest {share:.2%} of its range {low:g} to {high:g}: a few bright "
        f"voxels decide how all are scaled; --prepare.clip, such as [0, {USUAL_PERCENT:g}], leaves them out"
    ]


def looks_like_mask(array: np.ndarray) -> bool:
    """True for an array of two to eight different values, all of them whole and none negative, as annotations have."""
    if len(np.unique(_sample(array))) > MOST_VALUES:
        return False
    values = np.unique(array)
    return bool(1 < len(values) <= MOST_VALUES and values[0] >= 0 and (values == np.rint(values)).all())


def spacing_doubts(spacing_mm: np.ndarray) -> list[str]:
    """Voxel sizes, three of them, that no scan of the head has."""
    if spacing_mm.min() >= SMALLEST_MM and spacing_mm.max() <= LARGEST_MM:
        return []
    lengths = " x ".join(f"{length:.4g}" for length in spacing_mm)
    return [f"has voxels of {lengths} mm; expected {SMALLEST_MM:g} to {LARGEST_MM:g} mm: is the header's unit right?"]


def _sample(array: np.ndarray) -> np.ndarray:
    """Voxels at even steps, about `SAMPLED` of them; the step is odd, so that it does not run along one line."""
    return array.ravel(order="K")[:: (array.size // SAMPLED) | 1]


def _listed(array: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in np.unique(array))


def _known(doubts: Doubts) -> Doubts:
    return {name: texts for name, texts in doubts.items() if texts}
