"""Healthy anatomy of synthetic patients: folded cortex, white matter, ventricles, vessels and harmless bright spots.

Arrays are indexed (i, j, k), oriented as in BraTS: i runs to the left, j to the back, k upwards.
"""

from enum import IntEnum
from math import prod

import numpy as np

Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]


class Tissue(IntEnum):
    """Tissue of a voxel; the index into `CONTRAST`."""

    CSF = 0
    GREY = 1
    WHITE = 2
    SPOT = 3
    VESSEL = 4
    EDEMA = 5
    NECROSIS = 6
    ENHANCING = 7


def smooth_noise(rng: np.random.Generator, size: tuple[int, int, int], sigma: float) -> np.ndarray:
    """Gaussian-smoothed white noise: float32 of shape `size`, mean 0, standard deviation 1, smoothed by `sigma` voxels.

    Drawn on a grid as coarse as `sigma` allows and interpolated, which costs the same for any `sigma`.
    """
    from scipy import ndimage

    step = max(1.0, sigma / 1.5)
    coarse_size = [int(np.ceil(length / step)) + 1 for length in size]
    coarse = ndimage.gaussian_filter(rng.standard_normal(coarse_size, dtype=np.float32), sigma / step, mode="reflect")
    coarse = (coarse - coarse.mean()) / coarse.std()
    if step == 1.0:
        return coarse[: size[0], : size[1], : size[2]]
    for axis, length in enumerate(size):
        coarse = _stretch(coarse, axis, length, step)
    return coarse


def _stretch(array: np.ndarray, axis: int, length: int, step: float) -> np.ndarray:
    """Linear interpolation along an axis at 0, 1/step, 2/step, ...: `length` samples."""
    places = np.arange(length, dtype=np.float32) / np.float32(step)
    low = np.minimum(places.astype(np.intp), array.shape[axis] - 2)
    weight = (places - low).reshape([-1 if a == axis else 1 for a in range(array.ndim)]).astype(np.float32)
    below, above = array.take(low, axis), array.take(low + 1, axis)
    return below + weight * (above - below)


def brain_radius(size: tuple[int, int, int]) -> float:
    """Mean radius of the brain in voxels; lengths scale with it."""
    return float(0.4 * prod(size) ** (1 / 3))


def _coordinates(size: tuple[int, int, int]) -> Coordinates:
    """Open grids x (to the left), y (to the back), z (upwards), float32; the brain reaches to about 1 on each."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) / (share * n) for n, share in zip(size, (0.39, 0.44, 0.44), strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x, y, z


def anatomy(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Healthy anatomy: brain mask, and a map of `Tissue` (uint8) that is valid inside it."""
    unit = brain_radius(size)
    x, y, z = _coordinates(size)
    x = x * rng.uniform(1.0, 1.1)
    y = y * rng.uniform(1.0, 1.08)
    radius = (np.abs(x) ** 2.4 + np.abs(y) ** 2.2 + np.abs(z) ** 2.6) ** 0.42
    radius = radius + 0.025 * smooth_noise(rng, size, 0.2 * unit) + 0.1 * np.maximum(-z, 0) * np.abs(y) ** 2
    brain = radius < 1
    tissues, folds = _cortex(rng, size, radius, x, y)
    ventricles = _ventricles(rng, size, (x, y, z))
    _deep_grey(tissues, (x, y, z))
    _spots(rng, size, tissues, ventricles, y)
    _ventricle_fluid(rng, size, tissues, ventricles)
    _vessels(rng, size, tissues, (radius, x, y, z), folds)
    return brain, tissues


def _cortex(
    rng: np.random.Generator, size: tuple[int, int, int], radius: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cortex: white matter under folded grey matter with fluid in the sulci; the tissue map, and the field that folds it."""
    unit = brain_radius(size)
    noise = smooth_noise(rng, size, 0.085 * unit)
    folds = np.abs(noise + 0.6 * noise[::-1]) / 1.17  # nearly mirrored, as hemispheres are
    depth = np.minimum(1 - radius, 1.2 * np.abs(x) + 0.25 * (np.abs(y) < 0.45))  # from the surface or the middle fissure
    tissues = np.full(size, Tissue.WHITE, np.uint8)
    tissues[folds < 0.85 - 2.6 * depth] = Tissue.GREY
    tissues[depth < 0.07 + 0.02 * noise] = Tissue.GREY
    tissues[(folds < 0.2 - 0.7 * depth) | (depth < 0.015)] = Tissue.CSF
    return tissues, noise


def _ventricles(rng: np.random.Generator, size: tuple[int, int, int], place: Coordinates) -> np.ndarray:
    """Ventricles as a field: below 1 inside, growing with the distance from them."""
    x, y, z = place
    width = rng.uniform(0.07, 0.13)
    middle = 0.06 + 0.45 * np.maximum(y, 0) ** 1.5 + 0.25 * np.maximum(-y, 0) ** 1.5 + 0.5 * width
    height = 0.16 - 0.35 * np.maximum(y, 0) ** 2
    lateral = ((np.abs(x) - middle) / width) ** 2 + (y / rng.uniform(0.45, 0.6)) ** 2 + ((z - height) / 0.24) ** 2
    third = (x / 0.035) ** 2 + ((y - 0.05) / 0.2) ** 2 + ((z + 0.12) / 0.2) ** 2
    field = np.minimum(lateral, third)
    return field * (1 + 0.12 * smooth_noise(rng, size, 0.15 * brain_radius(size)))


def _deep_grey(tissues: np.ndarray, place: Coordinates) -> None:
    """Thalamus and putamen."""
    x, y, z = place
    thalamus = ((np.abs(x) - 0.17) / 0.13) ** 2 + ((y - 0.12) / 0.2) ** 2 + ((z + 0.02) / 0.16) ** 2
    putamen = ((np.abs(x) - 0.42) / 0.08) ** 2 + ((y + 0.05) / 0.28) ** 2 + ((z + 0.02) / 0.2) ** 2
    tissues[(thalamus < 1) | (putamen < 1)] = Tissue.GREY


def _spots(
    rng: np.random.Generator, size: tuple[int, int, int], tissues: np.ndarray, ventricles: np.ndarray, y: np.ndarray
) -> None:
    """Healthy FLAIR-bright tissue: caps at the ventricles' horns, and patches in the white matter."""
    patches = smooth_noise(rng, size, 0.09 * brain_radius(size))
    caps = (ventricles < rng.uniform(1.8, 3.2) + 0.5 * patches) & (np.abs(y) > 0.25)
    spread = patches > rng.uniform(1.1, 1.6)
    tissues[(caps | spread) & (tissues == Tissue.WHITE)] = Tissue.SPOT


def _ventricle_fluid(rng: np.random.Generator, size: tuple[int, int, int], tissues: np.ndarray, ventricles: np.ndarray) -> None:
    """Fluid in the ventricles, with a choroid plexus that enhances as vessels do."""
    inside = ventricles < 1
    tissues[inside] = Tissue.CSF
    plexus = smooth_noise(rng, size, 0.05 * brain_radius(size)) > 1.0
    tissues[inside & plexus & (ventricles < 0.8)] = Tissue.VESSEL


def _vessels(
    rng: np.random.Generator, size: tuple[int, int, int], tissues: np.ndarray, place: tuple[np.ndarray, ...], folds: np.ndarray
) -> None:
    """Vessels: winding ones along the joint zeros of two fields, the sagittal sinus, and patches at the surface."""
    radius, x, y, z = place
    unit = brain_radius(size)
    other = smooth_noise(rng, size, 0.13 * unit)
    winding = (np.abs(folds) < 0.2) & (np.abs(other) < 0.18) & (radius > 0.35)
    sinus = (np.abs(x) < 0.05) & (radius > 0.9) & ((y > 0.2) | (z > 0.3))
    surface = (radius > 0.94 - 0.02 * folds) & (other > 0.9)
    tissues[winding | sinus | surface] = Tissue.VESSEL
