"""Head of synthetic skull-base patients: skin, skull, air cells, sinuses, orbits, vessels and brain, as a map of tissues.

Arrays are indexed (i, j, k) in RAS+: i runs to the right, j to the front, k upwards. Positions are in millimetres about the
middle of the head; the sella lies near (0, 8, -20). Structures are ellipsoids and plates, deformed smoothly and differently in
each patient.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from data_prep.grid.geometry import Triple
from data_prep.phantom.anatomy import smooth_noise

Point = tuple[float, float, float]

LOW, HIGH = (-86.0, -106.0, -100.0), (86.0, 106.0, 108.0)  # corners of the head's box
BEND_MM, BEND_SIGMA_MM = 2.5, 30.0  # smooth deformation: standard deviation and extent


class HeadTissue(IntEnum):
    """Tissue of a voxel of a head; the index into tables of contrasts."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    DENSE_BONE = 4
    MARROW = 5
    MUCOSA = 6
    VESSEL = 7
    CSF = 8
    GREY = 9
    WHITE = 10
    EDEMA = 11
    PRIMARY = 12
    SECONDARY = 13
    NECROSIS = 14


@dataclass(frozen=True)
class HeadSpace:
    """Voxel grid of a head and the deformed positions of its voxels.

    Attributes:
        spacing_mm: of its cubic voxels.
        affine: (4, 4), voxel indices -> millimetres in RAS+.
        x, y, z: positions (i, j, k) in the undeformed head, float32 millimetres.
    """

    spacing_mm: float
    affine: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def shape(self) -> Triple:
        """(i, j, k)."""
        i, j, k = self.x.shape
        return (i, j, k)

    def noise(self, rng: np.random.Generator, sigma_mm: float) -> np.ndarray:
        """Smooth noise of mean 0 and deviation 1, smoothed by `sigma_mm` (at least a voxel); float32."""
        return smooth_noise(rng, self.shape, max(sigma_mm / self.spacing_mm, 1.0))

    def ellipsoid(self, centre: Point, radii: Point, paired: bool = False) -> np.ndarray:
        """Distance from a centre, 1 at the surface of an ellipsoid; `paired`: of one on the right and one on the left."""
        x = np.abs(self.x) if paired else self.x
        (a, b, c), (p, q, r) = centre, radii
        distance: np.ndarray = np.sqrt(((x - a) / p) ** 2 + ((self.y - b) / q) ** 2 + ((self.z - c) / r) ** 2)
        return distance


def head_space(rng: np.random.Generator, spacing_mm: float) -> HeadSpace:
    """Voxel grid of a head, deformed at random and of random size."""
    axes = [np.arange(low, high + spacing_mm / 2, spacing_mm, dtype=np.float32) for low, high in zip(LOW, HIGH, strict=True)]
    shape = (len(axes[0]), len(axes[1]), len(axes[2]))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = LOW
    scale = rng.uniform(0.95, 1.06)
    bent = [
        grid / np.float32(scale * rng.uniform(0.98, 1.02))
        + np.float32(BEND_MM) * smooth_noise(rng, shape, max(BEND_SIGMA_MM / spacing_mm, 1.0))
        for grid in np.meshgrid(*axes, indexing="ij", sparse=True)
    ]
    return HeadSpace(spacing_mm, affine, *bent)


def head_anatomy(rng: np.random.Generator, space: HeadSpace) -> np.ndarray:
    """Healthy head: map of `HeadTissue`, uint8 (i, j, k)."""
    vault = (0.0, -4.0, 18.0)
    floor = _floor(space)
    outer = space.ellipsoid(vault, (76, 93, 84))
    inside_skull, cavity = space.ellipsoid(vault, (70, 87, 78)) < 1, space.ellipsoid(vault, (64, 81, 72)) < 1
    tissues = np.full(space.shape, HeadTissue.AIR, np.uint8)
    _soft_parts(rng, space, tissues, outer)
    bone = (inside_skull & ~cavity & (space.z > floor - 8)) | (cavity & (space.z <= floor) & (space.z > floor - 7))
    clivus = (np.abs(space.x) < 14) & (space.y > -22) & (space.y < 18) & (space.z <= floor) & (space.z > floor - 24)
    tissues[bone | clivus] = HeadTissue.BONE
    diploe = space.ellipsoid(vault, (68.5, 85.5, 76.5)) < 1
    tissues[bone & diploe & (space.ellipsoid(vault, (65.5, 82.5, 73.5)) > 1) & (space.z > floor)] = HeadTissue.MARROW
    tissues[clivus & (np.abs(space.x) < 10) & (space.z < floor - 4) & (space.z > floor - 20)] = HeadTissue.MARROW
    _face(rng, space, tissues)
    _brain(rng, space, tissues, np.minimum(70 * (1 - space.ellipsoid(vault, (64, 81, 72))), space.z - floor))
    _petrous_bone(rng, space, tissues)
    _foramen_and_spine(space, tissues)
    _vessels(space, tissues)
    return tissues


def _floor(space: HeadSpace) -> np.ndarray:
    """Height of the skull base in millimetres: anterior, middle and posterior fossa, with the sella in the middle."""
    front = 1 / (1 + np.exp(-(space.y - 36) / 3))
    roof = 2 - 10 * np.exp(-((space.x / 14) ** 2))  # of the orbits, and the cribriform plate between them
    middle = 1 / (1 + np.exp(-(space.y + 16) / 3))
    centre = -30 + 14 * np.exp(-((space.x / 16) ** 2)) - 6 * np.exp(-((space.x / 8) ** 2) - ((space.y - 8) / 6) ** 2)
    floor: np.ndarray = roof * front + (1 - front) * (middle * centre - 52 * (1 - middle))
    return floor


def _soft_parts(rng: np.random.Generator, space: HeadSpace, tissues: np.ndarray, vault: np.ndarray) -> None:
    """Face, neck and scalp: muscle with fat in it and below the skin."""
    face, neck = space.ellipsoid((0, 42, -48), (54, 56, 58)), np.sqrt((space.x / 48) ** 2 + ((space.y + 18) / 56) ** 2)
    neck = np.where(space.z < -25, neck, 2.0)
    tissues[(vault < 1) | (face < 1) | (neck < 1)] = HeadTissue.FAT
    deep = (vault < 0.95) | (face < 0.91) | (neck < 0.9)
    tissues[deep & (space.noise(rng, 7.0) < 0.7)] = HeadTissue.MUSCLE


def _petrous_bone(rng: np.random.Generator, space: HeadSpace, tissues: np.ndarray) -> None:
    """Petrous bones, the densest of the head, and the air cells of the mastoids."""
    aside = np.abs(space.x) - 34
    along, across = 0.86 * aside - 0.5 * (space.y + 16), 0.5 * aside + 0.86 * (space.y + 16)
    ridge = (along / 24) ** 2 + (across / 8) ** 2 + ((space.z + 36) / 9) ** 2
    tissues[ridge < 1] = HeadTissue.DENSE_BONE
    cells = space.ellipsoid((50, -24, -34), (8, 12, 11), paired=True) < 1
    tissues[cells] = HeadTissue.BONE
    tissues[cells & (space.noise(rng, 3.0) > -0.2)] = HeadTissue.AIR


def _face(rng: np.random.Generator, space: HeadSpace, tissues: np.ndarray) -> None:
    """Sinuses with their walls, nose and pharynx, orbits, palate and jaw."""
    jaw = space.ellipsoid((0, 34, -80), (46, 42, 26))
    tissues[(np.abs(jaw - 1) < 0.12) & (space.y > 0) & (space.z < -66)] = HeadTissue.BONE
    tissues[(np.abs(space.z + 70) < 3) & (np.abs(space.x) < 24) & (space.y > 22) & (space.y < 74)] = HeadTissue.BONE
    septa = np.abs(space.noise(rng, 6.0)) < 0.25
    hollows = [
        (space.ellipsoid((0, 22, -30), (12, 10, 9)), True, 0.15),
        (space.ellipsoid((0, 52, -36), (13, 24, 22)), False, 0.0),
        (space.ellipsoid((27, 52, -52), (13, 15, 15), paired=True), True, 0.1),
        (space.ellipsoid((0, 78, 6), (16, 6, 9)), True, 0.0),
        (space.ellipsoid((0, 8, -78), (11, 9, 30)), False, 0.0),
    ]
    for hollow, is_walled, filled in hollows:
        if is_walled:
            tissues[(hollow < 1.35) & (tissues != HeadTissue.AIR)] = HeadTissue.BONE
        tissues[hollow < 1.12] = HeadTissue.MUCOSA
        if rng.random() >= filled:  # else the sinus is opacified
            tissues[hollow < 1] = HeadTissue.AIR
    tissues[septa & (hollows[1][0] < 1)] = HeadTissue.MUCOSA
    orbit = space.ellipsoid((31, 64, -14), (18, 18, 16), paired=True)
    tissues[(orbit < 1.18) & (tissues != HeadTissue.AIR)] = HeadTissue.BONE
    tissues[orbit < 1] = HeadTissue.FAT
    tissues[space.ellipsoid((31, 71, -14), (11.5, 11.5, 11.5), paired=True) < 1] = HeadTissue.CSF


def _brain(rng: np.random.Generator, space: HeadSpace, tissues: np.ndarray, depth: np.ndarray) -> None:
    """Brain below fluid: folded cortex, white matter, ventricles, brainstem in its cistern; `depth` in mm below the skull."""
    inside = depth > 0
    noise = space.noise(rng, 6.0)
    folds = np.abs(noise)
    brain = np.full(space.shape, HeadTissue.WHITE, np.uint8)
    brain[(folds < 0.9 - 0.035 * depth) | (depth < 6 + noise)] = HeadTissue.GREY
    brain[(folds < 0.22 - 0.012 * depth) | (depth < 2.2 + 0.7 * noise)] = HeadTissue.CSF
    brain[(np.abs(space.x) < 1.2) & (space.z > 12)] = HeadTissue.CSF
    for centre, radii, paired in (
        ((9.0, 2.0, 26.0), (rng.uniform(5, 9), 30.0, 9.0), True),
        ((0.0, 2.0, 8.0), (2.5, 12.0, 10.0), False),
        ((0.0, 10.0, -8.0), (14.0, 10.0, 6.0), False),
        ((0.0, -14.0, -30.0), (18.0, 11.0, 22.0), False),
    ):
        brain[space.ellipsoid(centre, radii, paired) < 1] = HeadTissue.CSF
    brain[space.ellipsoid((0, -24, -32), (14, 11, 30)) < 1] = HeadTissue.WHITE
    brain[space.ellipsoid((0, -38, -30), (5, 5, 8)) < 1] = HeadTissue.CSF
    tissues[inside] = brain[inside]


def _foramen_and_spine(space: HeadSpace, tissues: np.ndarray) -> None:
    """Foramen magnum with the cord in fluid, and two vertebrae."""
    canal = np.sqrt(space.x**2 + (space.y + 34) ** 2)
    below = space.z < -50
    ring = (canal > 13) & (canal < 20) & (space.z < -64) & (np.mod(space.z, 16) < 10)
    body = (np.sqrt((space.x / 11) ** 2 + ((space.y + 12) / 8) ** 2) < 1) & (space.z < -66)
    tissues[ring | body] = HeadTissue.BONE
    tissues[body & (np.sqrt((space.x / 8) ** 2 + ((space.y + 12) / 5) ** 2) < 1)] = HeadTissue.MARROW
    tissues[below & (canal < 13)] = HeadTissue.CSF
    tissues[below & (canal < 6.5)] = HeadTissue.WHITE


def _vessels(space: HeadSpace, tissues: np.ndarray) -> None:
    """Carotid arteries, pituitary gland, and the sagittal sinus, which enhance."""
    aside = np.abs(space.x)
    level = (((aside - 13) / 3.2) ** 2 + ((space.z + 19) / 3.2) ** 2 < 1) & (space.y > -8) & (space.y < 22)
    rising = (((aside - 15) / 3.2) ** 2 + ((space.y + 6) / 3.2) ** 2 < 1) & (space.z < -19)
    gland = space.ellipsoid((0, 8, -20), (6, 5, 4)) < 1
    top = space.ellipsoid((0, -4, 18), (64, 81, 72))
    sinus = (aside < 4) & (top > 0.93) & (top < 1) & (space.y < 20) & (space.z > 0)
    tissues[level | rising | gland | sinus] = HeadTissue.VESSEL
