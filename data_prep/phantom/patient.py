"""Synthetic patients: volumes with a glioma or metastases from random numbers, for demonstrations, tests and benchmarks.

A patient is drawn in three steps: a map of tissues (folded cortex, white matter, ventricles, vessels, harmless bright spots),
a tumour grown into it (oedema around an enhancing rim around a necrotic core), and four channels with a contrast
per tissue, partial volume, texture, a bias field and Rician noise. The intensities of tumour and healthy tissue
overlap in every single channel, so that no threshold finds the tumour. Scores on these volumes do not
predict scores on scans.

Arrays are indexed (i, j, k), oriented as in BraTS: i runs to the left, j to the back, k upwards, 1 mm apart.
"""

from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np

from common.errors import UserError, expect_number
from data_prep.phantom.anatomy import Tissue, anatomy, brain_radius, smooth_noise
from data_prep.phantom.tumours import EDEMA, ENHANCING, NECROSIS, glioma, metastases

CHANNELS = ("flair", "t1", "t1ce", "t2")
SHORTEST_AXIS = 24
# A scan's own scale: the intensity that a tissue of contrast 1 gets on average, per channel.
LEVEL = {"flair": 300.0, "t1": 400.0, "t1ce": 450.0, "t2": 500.0}
BIGGEST = 32767
NEWER_ENHANCING = 3  # id of enhancing tumour since BraTS 2023

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
    """Synthetic patients: tumour type, size and appearance."""

    tumour: Literal["glioma", "hgg", "mets", "lower_grade", "skull_base"] = "glioma"
    """Tumour type: glioma (one large lesion of higher or lower grade; named as in BraTS 2021), hgg (the same, of higher grade),
    mets (1 to 12 small metastases); hgg and mets are named as in BraTS 2023. lower_grade: gliomas as TIFF slices of three
    channels, as in the LGG Segmentation Dataset. skull_base: whole heads in CT and MR, each scan on a grid of its own, with a
    tumour at the skull base."""
    size: tuple[int, int, int] = (96, 96, 64)
    """Voxels of every image (i, j, k), 1 mm each; skull_base: of T1 alone, 216 x 216 x 208 mm wide, whose voxels decide those
    of the other scans."""
    lgg_share: float = 0.25
    """Share of patients of lower grade (LGG; code 1 of the type lower_grade), whose tumours enhance little or not at all; of
    the types glioma and lower_grade."""
    noise: float = 0.025
    """Standard deviation of the Rician noise, as a share of a channel's level."""
    bias: float = 0.3
    """Deviation of a channel's bias field from 1."""
    variation: float = 0.04
    """Standard deviation of patients' tissue contrasts, relative to the mean contrast."""
    secondary_share: float = 0.5
    """Share of patients with a secondary tumour; of the type skull_base alone."""
    motion_mm: float = 15.0
    """Largest shift of the head between two scans; of the type skull_base alone."""
    motion_degrees: float = 10.0
    """Largest rotation of the head between two scans; of the type skull_base alone."""

    def check(self) -> None:
        """Refuse values outside their range.

        Raises:
            UserError: a size below `SHORTEST_AXIS` voxels, a share or an amplitude outside 0..1, a motion outside its bounds.
        """
        if min(self.size) < SHORTEST_AXIS:
            raise UserError(f"--size: expected at least {SHORTEST_AXIS} voxels along each axis; received {list(self.size)}")
        for name in ("lgg_share", "noise", "bias", "variation", "secondary_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"--{name}: expected a number from 0 to 1; received {value}")
        expect_number("motion_mm", self.motion_mm, 0, 100)
        expect_number("motion_degrees", self.motion_degrees, 0, 90)


@dataclass(frozen=True)
class Patient:
    """Synthetic patient.

    Attributes:
        channels: channel name -> int16 (i, j, k); 0 outside the brain, at least 1 inside.
        label: uint8 (i, j, k) of BraTS ids: 0, 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing (3, as since BraTS 2023,
            for hgg and mets).
        affine: (4, 4) float64, voxel indices -> millimetres, as BraTS writes it.
        grade: `HGG` or `LGG`; None for metastases.
    """

    channels: dict[str, np.ndarray]
    label: np.ndarray
    affine: np.ndarray
    grade: str | None


def grade_of(config: PhantomConfig, index: int) -> str | None:
    """Grade of patient `index`: LGG at regular intervals, independent of the number of patients; None for metastases."""
    if config.tumour not in ("glioma", "lower_grade"):
        return "HGG" if config.tumour == "hgg" else None
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
    # Metastases have seeds of their own, so no brain occurs with both types.
    rng = np.random.default_rng([seed, index, 1] if config.tumour == "mets" else [seed, index])
    grade = grade_of(config, index)
    brain, tissues = anatomy(rng, config.size)
    label = metastases(rng, tissues, brain) if grade is None else glioma(rng, tissues, brain, grade)
    for identifier, tissue in ((EDEMA, Tissue.EDEMA), (NECROSIS, Tissue.NECROSIS), (ENHANCING, Tissue.ENHANCING)):
        tissues[label == identifier] = tissue
    if config.tumour in ("hgg", "mets"):
        label[label == ENHANCING] = NEWER_ENHANCING
    contrast = CONTRAST * (1 + config.variation * rng.standard_normal(CONTRAST.shape).astype(np.float32))
    channels = {name: _channel(rng, config, name, contrast[:, c], tissues, brain) for c, name in enumerate(CHANNELS)}
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = config.size[1] - 1
    return Patient(channels, label, affine, grade)


def _channel(
    rng: np.random.Generator, config: PhantomConfig, name: str, contrast: np.ndarray, tissues: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """Image of one channel (int16): tissue contrast with texture, partial volume, bias field, gain and Rician noise."""
    from scipy import ndimage

    texture = smooth_noise(rng, config.size, 0.04 * brain_radius(config.size))
    image = contrast[tissues] + TEXTURE[tissues] * texture
    image = ndimage.gaussian_filter(image, 0.6)
    # Bias field: a smooth factor around 1.
    image *= np.exp(0.5 * config.bias * smooth_noise(rng, config.size, 1.0 * brain_radius(config.size)))
    real = image + config.noise * rng.standard_normal(config.size, dtype=np.float32)
    imaginary = config.noise * rng.standard_normal(config.size, dtype=np.float32)
    gain = LEVEL[name] * rng.uniform(0.6, 1.6)
    measured = np.rint(gain * np.hypot(real, imaginary))
    return np.where(brain, np.clip(measured, 1, BIGGEST), 0).astype(np.int16)
