"""Synthetic patients: glioma-like volumes from random numbers, for demonstrations, tests and benchmarks.

A patient is drawn in three steps: a map of tissues (folded cortex, white matter, ventricles, vessels, harmless bright spots),
a tumour grown into it (oedema around an enhancing rim around a necrotic core), and four channels with a contrast
per tissue, partial volume, texture, a bias field and Rician noise. The intensities of tumour and healthy tissue
overlap in every single channel, so that no threshold finds the tumour. Scores on these volumes do not
predict scores on scans.

Arrays are indexed (i, j, k), oriented as in BraTS: i runs to the left, j to the back, k upwards, 1 mm apart.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import floor, prod

import numpy as np

from common.errors import UserError

CHANNELS = ("flair", "t1", "t1ce", "t2")
EDEMA, NECROSIS, ENHANCING = 2, 1, 4
SHORTEST_AXIS = 24
# A scan's own scale: the intensity that a tissue of contrast 1 gets on average, per channel.
LEVEL = {"flair": 300.0, "t1": 400.0, "t1ce": 450.0, "t2": 500.0}
BIGGEST = 32767

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


# Mean intensity of each tissue in each channel, in the order of `CHANNELS`: ours, by eye from scans.
CONTRAST = np.array(
    [
        [0.22, 0.26, 0.28, 0.98],  # CSF: dark in FLAIR, bright in T2
        [0.60, 0.58, 0.60, 0.54],
        [0.46, 0.80, 0.80, 0.36],
        [0.82, 0.77, 0.78, 0.42],  # caps and white-matter lesions: bright in FLAIR as oedema is, but not in T2
        [0.26, 0.62, 1.15, 0.22],  # vessels and plexus: bright after contrast agent as the rim is, but nowhere else
        [0.78, 0.58, 0.58, 0.78],
        [0.52, 0.34, 0.38, 0.84],
        [0.76, 0.56, 1.08, 0.60],
    ],
    np.float32,
)
# How much intensities vary inside a tissue (smoothly, standard deviation), in the order of `Tissue`.
TEXTURE = np.array([0.04, 0.05, 0.04, 0.08, 0.10, 0.11, 0.10, 0.12], np.float32)


@dataclass
class PhantomConfig:
    """Synthetic patients: size and appearance."""

    size: tuple[int, int, int] = (96, 96, 64)
    """Voxels of every image (i, j, k), 1 mm each."""
    lgg_share: float = 0.25
    """Share of patients of lower grade (LGG), whose tumours enhance little or not at all."""
    noise: float = 0.025
    """Standard deviation of the Rician noise, as a share of a channel's level."""
    bias: float = 0.3
    """Deviation of a channel's bias field from 1."""
    variation: float = 0.04
    """Standard deviation of patients' tissue contrasts, relative to the mean contrast."""

    def check(self) -> None:
        """Refuse values outside their range.

        Raises:
            UserError: a size below `SHORTEST_AXIS` voxels, a share outside 0..1, an amplitude outside 0..1.
        """
        if min(self.size) < SHORTEST_AXIS:
            raise UserError(f"--size: expected at least {SHORTEST_AXIS} voxels along each axis; received {list(self.size)}")
        for name in ("lgg_share", "noise", "bias", "variation"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"--{name}: expected a number from 0 to 1; received {value}")


@dataclass(frozen=True)
class Patient:
    """Synthetic patient.

    Attributes:
        channels: channel name -> int16 (i, j, k); 0 outside the brain, at least 1 inside.
        label: uint8 (i, j, k) of BraTS ids: 0, 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing.
        affine: (4, 4) float64, voxel indices -> millimetres, as BraTS writes it.
        grade: `HGG` or `LGG`.
    """

    channels: dict[str, np.ndarray]
    label: np.ndarray
    affine: np.ndarray
    grade: str


def grade_of(config: PhantomConfig, index: int) -> str:
    """Grade of patient `index`: LGG at regular intervals, independent of the number of patients."""
    return "LGG" if floor((index + 1) * config.lgg_share) > floor(index * config.lgg_share) else "HGG"


def make_patient(config: PhantomConfig, seed: int, index: int) -> Patient:
    """Generate one patient: a pure function of its arguments.

    Args:
        config: size and appearance.
        seed: of the set of patients; not negative.
        index: the patient's place in the set; not negative.

    Raises:
        UserError: see `PhantomConfig.check`.
    """
    config.check()
    rng = np.random.default_rng([seed, index])
    grade = grade_of(config, index)
    brain, tissues = _anatomy(rng, config.size)
    label = _tumour(rng, tissues, brain, grade)
    for identifier, tissue in ((EDEMA, Tissue.EDEMA), (NECROSIS, Tissue.NECROSIS), (ENHANCING, Tissue.ENHANCING)):
        tissues[label == identifier] = tissue
    contrast = CONTRAST * (1 + config.variation * rng.standard_normal(CONTRAST.shape).astype(np.float32))
    channels = {name: _channel(rng, config, name, contrast[:, c], tissues, brain) for c, name in enumerate(CHANNELS)}
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = config.size[1] - 1
    return Patient(channels, label, affine, grade)


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


def _unit(size: tuple[int, int, int]) -> float:
    """Mean radius of the brain in voxels; lengths scale with it."""
    return float(0.4 * prod(size) ** (1 / 3))


def _coordinates(size: tuple[int, int, int]) -> Coordinates:
    """Open grids x (to the left), y (to the back), z (upwards), float32; the brain reaches to about 1 on each."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) / (share * n) for n, share in zip(size, (0.39, 0.44, 0.44), strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x, y, z


def _anatomy(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Healthy anatomy: brain mask, and a map of `Tissue` (uint8) that is valid inside it."""
    unit = _unit(size)
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
    unit = _unit(size)
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
    return field * (1 + 0.12 * smooth_noise(rng, size, 0.15 * _unit(size)))


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
    patches = smooth_noise(rng, size, 0.09 * _unit(size))
    caps = (ventricles < rng.uniform(1.8, 3.2) + 0.5 * patches) & (np.abs(y) > 0.25)
    spread = patches > rng.uniform(1.1, 1.6)
    tissues[(caps | spread) & (tissues == Tissue.WHITE)] = Tissue.SPOT


def _ventricle_fluid(rng: np.random.Generator, size: tuple[int, int, int], tissues: np.ndarray, ventricles: np.ndarray) -> None:
    """Fluid in the ventricles, with a choroid plexus that enhances as vessels do."""
    inside = ventricles < 1
    tissues[inside] = Tissue.CSF
    plexus = smooth_noise(rng, size, 0.05 * _unit(size)) > 1.0
    tissues[inside & plexus & (ventricles < 0.8)] = Tissue.VESSEL


def _vessels(
    rng: np.random.Generator, size: tuple[int, int, int], tissues: np.ndarray, place: tuple[np.ndarray, ...], folds: np.ndarray
) -> None:
    """Vessels: winding ones along the joint zeros of two fields, the sagittal sinus, and patches at the surface."""
    radius, x, y, z = place
    unit = _unit(size)
    other = smooth_noise(rng, size, 0.13 * unit)
    winding = (np.abs(folds) < 0.2) & (np.abs(other) < 0.18) & (radius > 0.35)
    sinus = (np.abs(x) < 0.05) & (radius > 0.9) & ((y > 0.2) | (z > 0.3))
    surface = (radius > 0.94 - 0.02 * folds) & (other > 0.9)
    tissues[winding | sinus | surface] = Tissue.VESSEL


def _tumour(rng: np.random.Generator, tissues: np.ndarray, brain: np.ndarray, grade: str) -> np.ndarray:
    """Label ids (uint8) of one or two lesions inside the brain."""
    from scipy import ndimage

    size = (tissues.shape[0], tissues.shape[1], tissues.shape[2])
    unit = _unit(size)
    deep = ndimage.distance_transform_edt(brain)
    radius = unit * rng.uniform(0.42, 0.62)
    label = np.zeros(size, np.uint8)
    _grow(rng, label, tissues, _random_voxel(rng, deep > 0.55 * radius), radius, grade)
    if rng.random() < 0.2:
        small = unit * rng.uniform(0.25, 0.33)
        _grow(rng, label, tissues, _random_voxel(rng, (deep > 0.8 * small) & (label == 0)), small, grade)
    label[~brain] = 0
    return label


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


def _distance(rng: np.random.Generator, size: tuple[int, int, int], centre: np.ndarray, radius: float) -> np.ndarray:
    """Ellipsoidal distance from a centre, along random axes of random lengths: 1 at a mean distance of `radius`."""
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    lengths = np.exp(rng.uniform(-0.25, 0.25, 3))
    lengths *= radius / prod(lengths) ** (1 / 3)
    matrix = (rotation.T / lengths[:, None]).astype(np.float32)
    offsets = np.meshgrid(
        *[np.arange(n, dtype=np.float32) - c for n, c in zip(size, centre, strict=True)], indexing="ij", sparse=True
    )
    squared = np.zeros(size, np.float32)
    for row in matrix:
        squared += (row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2]) ** 2
    return np.sqrt(squared)


def _channel(
    rng: np.random.Generator, config: PhantomConfig, name: str, contrast: np.ndarray, tissues: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """Image of one channel (int16): tissue contrast with texture, partial volume, bias field, gain and Rician noise."""
    from scipy import ndimage

    texture = smooth_noise(rng, config.size, 0.04 * _unit(config.size))
    image = contrast[tissues] + TEXTURE[tissues] * texture
    image = ndimage.gaussian_filter(image, 0.6)
    # Bias field: a smooth factor around 1.
    image *= np.exp(0.5 * config.bias * smooth_noise(rng, config.size, 1.0 * _unit(config.size)))
    real = image + config.noise * rng.standard_normal(config.size, dtype=np.float32)
    imaginary = config.noise * rng.standard_normal(config.size, dtype=np.float32)
    gain = LEVEL[name] * rng.uniform(0.6, 1.6)
    measured = np.rint(gain * np.hypot(real, imaginary))
    return np.where(brain, np.clip(measured, 1, BIGGEST), 0).astype(np.int16)
