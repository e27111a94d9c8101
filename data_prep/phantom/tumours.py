"""Tumours of synthetic patients: a glioma or brain metastases, drawn into a map of tissues.

Both have the same parts (oedema around enhancing tumour around a necrotic core) and hence the same intensities. They differ as
in patients: a glioma is one large, ragged, infiltrating lesion; metastases are several small, round, sharply bounded lesions at
the junction of grey and white matter, with oedema of any extent around them.
"""

from math import prod

import numpy as np

from data_prep.phantom.anatomy import Tissue, brain_radius, smooth_noise

EDEMA, NECROSIS, ENHANCING = 2, 1, 4
MOST_METASTASES = 12
# Radius of a metastasis: log-normal, so its volume is log-normal too. The median is a share of the brain's mean radius (6 mm of
# 70 mm in an adult), the deviation is that of the natural logarithm, a third of the volume's.
MEDIAN_RADIUS, RADIUS_SPREAD = 0.085, 0.38
LARGEST_RADIUS = 0.28  # share of the brain's mean radius
SMALLEST_RADIUS = 1.2  # voxels; below, partial volume leaves no contrast


def glioma(rng: np.random.Generator, tissues: np.ndarray, brain: np.ndarray, grade: str) -> np.ndarray:
    """Glioma: label ids (uint8) of one large heterogeneous lesion, in a fifth of the patients of two."""
    from scipy import ndimage

    size = (tissues.shape[0], tissues.shape[1], tissues.shape[2])
    unit = brain_radius(size)
    deep = ndimage.distance_transform_edt(brain)
    radius = unit * rng.uniform(0.42, 0.62)
    label = np.zeros(size, np.uint8)
    _grow(rng, label, tissues, _random_voxel(rng, deep > 0.55 * radius), radius, grade)
    if rng.random() < 0.2:
        small = unit * rng.uniform(0.25, 0.33)
        _grow(rng, label, tissues, _random_voxel(rng, (deep > 0.8 * small) & (label == 0)), small, grade)
    label[~brain] = 0
    return label


def metastases(rng: np.random.Generator, tissues: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Brain metastases: label ids (uint8) of 1 to 12 lesions between grey and white matter, no core touching another."""
    from scipy import ndimage

    size = (tissues.shape[0], tissues.shape[1], tissues.shape[2])
    unit = brain_radius(size)
    count = min(MOST_METASTASES, int(np.ceil(rng.lognormal(np.log(2.6), 0.8))))
    radii = unit * MEDIAN_RADIUS * rng.lognormal(0.0, RADIUS_SPREAD, count)
    radii = np.sort(np.clip(radii, SMALLEST_RADIUS, max(SMALLEST_RADIUS, LARGEST_RADIUS * unit)))[::-1]
    white = np.isin(tissues, (Tissue.WHITE, Tissue.SPOT))
    deep = ndimage.distance_transform_edt(brain)
    # Where metastases settle: below the cortex, seldom in the middle of the brain.
    junction = white & ndimage.binary_dilation(tissues == Tissue.GREY, iterations=2) & (deep < 0.5 * unit)
    label = np.zeros(size, np.uint8)
    for radius in radii:
        # From the largest to the smallest, which finds a place more easily.
        apart = ndimage.distance_transform_edt((label != ENHANCING) & (label != NECROSIS)) if label.any() else deep
        allowed = junction & (deep > 0.7 * radius + 1) & (apart > 1.3 * radius + 2)
        if allowed.any():
            _grow_metastasis(rng, label, tissues, _random_voxel(rng, allowed), float(radius))
    if not label.any():  # a volume too small for all rules
        _grow_metastasis(rng, label, tissues, _random_voxel(rng, brain), float(radii[-1]))
    label[~brain] = 0
    return label


def _grow_metastasis(
    rng: np.random.Generator, label: np.ndarray, tissues: np.ndarray, centre: np.ndarray, radius: float
) -> None:
    """Metastasis of about `radius` voxels, drawn into the label: oedema, sharply bounded tumour, often necrotic inside."""
    unit = brain_radius((label.shape[0], label.shape[1], label.shape[2]))
    # Oedema: none around a quarter of the lesions, up to several radii around others.
    width = 0.0 if rng.random() < 0.25 else min(radius * rng.lognormal(-0.1, 0.6), 0.45 * unit)
    reach = int(1.6 * (radius + width)) + 3
    low = np.maximum(centre - reach, 0)
    box = tuple(slice(a, b) for a, b in zip(low, np.minimum(centre + reach + 1, label.shape), strict=True))
    inside, around = label[box], tissues[box]
    size = (inside.shape[0], inside.shape[1], inside.shape[2])
    distance = _distance(rng, size, centre - low, radius, elongation=0.15)
    core = distance + 0.09 * smooth_noise(rng, size, max(1.0, 0.45 * radius))
    if width:
        barrier = np.where(around == Tissue.GREY, 0.45, 0.0) + np.where(around == Tissue.CSF, 0.8, 0.0)
        spread = (distance - 1) * radius / width + 0.4 * smooth_noise(rng, size, max(1.0, 0.35 * width))
        inside[(spread + barrier < 1) & (inside == 0)] = EDEMA
    inside[core < 1] = ENHANCING
    # The larger, the more often necrotic; the rim stays thick enough to be seen despite partial volume.
    if radius > 1.8 and rng.random() < np.clip(8 * radius / unit - 0.25, 0.0, 0.9):
        rim = max(1.4 / radius, rng.uniform(0.35, 0.55))
        inside[core + 0.1 * smooth_noise(rng, size, max(1.0, 0.3 * radius)) < 1 - rim] = NECROSIS


def _random_voxel(rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """Random voxel (i, j, k) among those allowed."""
    candidates = np.flatnonzero(allowed)
    return np.array(np.unravel_index(candidates[rng.integers(candidates.size)], allowed.shape))


def _grow(
    rng: np.random.Generator, label: np.ndarray, tissues: np.ndarray, centre: np.ndarray, radius: float, grade: str
) -> None:
    """Lesion of about `radius` voxels, drawn into the label: oedema along white matter, a core, an enhancing rim."""
    size = (label.shape[0], label.shape[1], label.shape[2])
    distance = _distance(rng, size, centre, radius) + 0.17 * smooth_noise(rng, size, 0.35 * radius)
    ragged = distance + 0.07 * smooth_noise(rng, size, 0.12 * radius)
    barrier = np.where(tissues == Tissue.GREY, 0.12, 0.0) + np.where(tissues == Tissue.CSF, 0.3, 0.0)
    core = distance + 0.08 * smooth_noise(rng, size, 0.3 * radius)
    edge = rng.uniform(0.55, 0.72)
    holes = smooth_noise(rng, size, 0.22 * radius)
    label[(ragged + barrier < 1) & (label == 0)] = EDEMA
    label[core < edge] = NECROSIS
    if grade == "HGG":
        rim = edge * rng.uniform(0.3, 0.42)
        label[(core < edge) & (core > edge - rim + 0.07 * holes)] = ENHANCING
    elif rng.random() < 0.4:
        label[(core < edge) & (holes > 1.3)] = ENHANCING


def _distance(
    rng: np.random.Generator, size: tuple[int, int, int], centre: np.ndarray, radius: float, elongation: float = 0.25
) -> np.ndarray:
    """Ellipsoidal distance from a centre, along random axes of random lengths: 1 at a mean distance of `radius`."""
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    lengths = np.exp(rng.uniform(-elongation, elongation, 3))
    lengths *= radius / prod(lengths) ** (1 / 3)
    matrix = (rotation.T / lengths[:, None]).astype(np.float32)
    offsets = np.meshgrid(
        *[np.arange(n, dtype=np.float32) - c for n, c in zip(size, centre, strict=True)], indexing="ij", sparse=True
    )
    squared = np.zeros(size, np.float32)
    for row in matrix:
        squared += (row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2]) ** 2
    return np.sqrt(squared)
