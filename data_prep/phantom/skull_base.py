"""Synthetic skull-base patients: CT and MR scans of one head with a tumour at the central skull base.

Each modality has a grid of its own: anisotropic, oblique, with another field of view, and the patient has moved between the
scans by a rigid transform, which is known. The annotation lies on the grid of T1FS, on which it was drawn. Primary tumours
are smooth, bright in T2 and leave spicules of bone; secondary ones are ragged, darker in T2, often necrotic, dissolve the bone
around them and have oedema in the brain beside them. In CT both are as dense as muscle. Scores on these scans do not predict
scores on patients.
"""

from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np

from data_prep.grid.resampling import Resampling, to_rows
from data_prep.grid.voxel_grid import Grid
from data_prep.phantom.head import HeadSpace, HeadTissue, head_anatomy, head_space
from data_prep.phantom.patient import BIGGEST, PhantomConfig
from data_prep.scans.volume import Volume

Subtype = Literal["primary", "secondary"]
CHANNELS = ("T1", "T2", "T1FS", "FLAIR", "CT")
REFERENCE, DRAWN_ON = "T1", "T1FS"
FIELD_MM = 216.0  # side of the field of view of T1
HEIGHT_MM = 208.0  # its extent along the body
LEVEL = 400.0  # a scan's own scale: the intensity that a tissue of contrast 1 gets on average
AIR_HU, CT_RANGE, CT_NOISE_HU = -1000.0, (-1024, 3071), 12.0
SITES = ((0.0, -4.0, -30.0), (0.0, 10.0, -15.0), (19.0, -8.0, -27.0), (0.0, 36.0, -6.0), (18.0, 10.0, -20.0))
"""Middles of tumours in the head: clivus, sella, petrous apex, planum, cavernous sinus."""
MOTION_SHARE = {"T1": 0.0, "T2": 0.2, "T1FS": 0.7, "FLAIR": 0.2, "CT": 1.0}
"""Share of the largest motion: T1, T2 and FLAIR belong to one examination, T1FS and CT to others."""

# Mean intensity of each tissue (rows as HeadTissue) in each channel (columns as CHANNELS; T1FS with contrast agent, fat
# suppressed; CT in Hounsfield units): ours, by eye from scans.
CONTRAST = np.array(
    [
        [0.00, 0.00, 0.00, 0.00, AIR_HU],
        [0.95, 0.72, 0.12, 0.68, -95],
        [0.38, 0.28, 0.46, 0.35, 52],
        [0.07, 0.05, 0.06, 0.05, 1050],
        [0.05, 0.04, 0.05, 0.04, 1500],
        [0.75, 0.50, 0.22, 0.48, 330],
        [0.40, 0.88, 0.84, 0.62, 35],
        [0.32, 0.14, 1.05, 0.20, 62],
        [0.16, 1.00, 0.17, 0.13, 8],
        [0.50, 0.55, 0.50, 0.60, 38],
        [0.63, 0.42, 0.59, 0.50, 29],
        [0.46, 0.80, 0.46, 0.90, 24],
        [0.43, 0.84, 0.86, 0.66, 45],
        [0.46, 0.48, 0.74, 0.58, 48],
        [0.28, 0.88, 0.26, 0.55, 20],
    ],
    np.float32,
)
TEXTURE = np.array([0, 0.08, 0.06, 0.01, 0.01, 0.1, 0.08, 0.08, 0.03, 0.04, 0.04, 0.07, 0.09, 0.11, 0.08], np.float32)
TEXTURE_HU = np.array([0, 8, 8, 80, 80, 60, 8, 8, 4, 5, 5, 6, 8, 10, 8], np.float32)
"""How much intensities vary inside a tissue (smoothly, standard deviation), in MR and in CT."""


@dataclass(frozen=True)
class SkullBaseHead:
    """Head with a tumour, before any scan.

    Attributes:
        space: its grid.
        tissues: map of `HeadTissue`, uint8 (i, j, k).
        tumour: mask, bool.
        texture: smooth noise, float32, mean 0 and deviation 1.
    """

    space: HeadSpace
    tissues: np.ndarray
    tumour: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True)
class SkullBasePatient:
    """Synthetic skull-base patient.

    Attributes:
        scans: channel -> int16 image on its own grid; CT in Hounsfield units.
        motions: channel -> (4, 4), millimetres of the T1 scan -> millimetres of the channel's scan, RAS+, rigid.
        label: uint8 on the grid of T1FS: 1 in the tumour.
        subtype: primary or secondary.
    """

    scans: dict[str, Volume]
    motions: dict[str, np.ndarray]
    label: Volume
    subtype: Subtype


def subtype_of(config: PhantomConfig, index: int) -> Subtype:
    """Subtype of patient `index`: secondary at regular intervals, independent of the number of patients."""
    share = config.secondary_share
    return "secondary" if floor((index + 1) * share) > floor(index * share) else "primary"


def make_skull_base_patient(config: PhantomConfig, seed: int, index: int) -> SkullBasePatient:
    """Generate one patient: a pure function of its arguments, which are those of `make_patient`.

    Raises:
        UserError: see `PhantomConfig.check`.
    """
    config.check()
    rng = np.random.default_rng([seed, index, 2])
    subtype = subtype_of(config, index)
    head = make_head(rng, 0.8 * FIELD_MM / config.size[0], subtype)
    grids = scan_grids(rng, config, has_whole_ct=index % 3 != 1)
    motions = {name: random_motion(rng, MOTION_SHARE[name], config) for name in CHANNELS}
    scans = {name: scan_head(rng, head, name, grids[name], motions[name], config) for name in CHANNELS}
    return SkullBasePatient(scans, motions, draw_label(head, grids[DRAWN_ON], motions[DRAWN_ON]), subtype)


def make_head(rng: np.random.Generator, spacing_mm: float, subtype: Subtype) -> SkullBaseHead:
    """Head with a tumour; `spacing_mm` of its cubic voxels."""
    space = head_space(rng, spacing_mm)
    tissues = head_anatomy(rng, space)
    return SkullBaseHead(space, tissues, _grow(rng, space, tissues, subtype), space.noise(rng, 4.0))


def scan_grids(rng: np.random.Generator, config: PhantomConfig, has_whole_ct: bool) -> dict[str, Grid]:
    """Grid of each channel: axial T1, oblique axial T2 and FLAIR (left-handed), a coronal slab of T1FS, axial CT.

    Args:
        rng: of positions and angles.
        config: `size` is the shape of T1, whose voxels decide those of the others.
        has_whole_ct: else CT covers the skull base alone, without the vertex.
    """
    pixel = FIELD_MM / config.size[0]
    base, tilt = _turn("x", rng.uniform(-18, -10)), _turn("x", rng.uniform(6, 14)) @ _turn("z", rng.uniform(-5, 5))
    coronal = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    grids = {
        "T1": _grid(np.diag([-1.0, -1, 1]), (FIELD_MM / config.size[0], FIELD_MM / config.size[1], HEIGHT_MM / config.size[2])),
        "T2": _grid(base @ np.diag([-1.0, -1, 1]), (pixel, pixel, 2 * pixel), (196, 216, 180)),
        "T1FS": _grid(coronal, (pixel, pixel, 1.4 * pixel), (188, 188, 150), (0, 8, -18)),
        "FLAIR": _grid(tilt @ np.diag([-1.0, 1, 1]), (1.1 * pixel, 1.1 * pixel, 2.2 * pixel), (200, 220, 190)),
        "CT": _grid(np.diag([-1.0, -1, 1]), (0.9 * pixel, 0.9 * pixel, 1.1 * pixel), (190, 214, 206)),
    }
    if not has_whole_ct:
        grids["CT"] = _grid(np.diag([-1.0, -1, 1]), (0.9 * pixel, 0.9 * pixel, 1.1 * pixel), (190, 214, 120), (0, 0, -34))
    return grids


def random_motion(rng: np.random.Generator, share: float, config: PhantomConfig) -> np.ndarray:
    """Rigid motion (4, 4) about the middle of the head: a third to all of a share of the largest shift and rotation."""
    from scipy.spatial.transform import Rotation

    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    degrees, shift_mm = share * rng.uniform(0.33, 1, 2) * (config.motion_degrees, config.motion_mm)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    motion[:3, 3] = shift_mm * direction
    return motion


def scan_head(
    rng: np.random.Generator, head: SkullBaseHead, channel: str, grid: Grid, motion: np.ndarray, config: PhantomConfig
) -> Volume:
    """Scan of a head: int16 image with partial volume, texture and noise; of MR with a bias field, of CT in Hounsfield units.

    Args:
        rng: of contrasts and noise.
        head: to be scanned.
        channel: one of `CHANNELS`.
        grid: of the image; its axes may be sheared, as with a tilted gantry.
        motion: (4, 4), millimetres of the head -> millimetres of the scan.
        config: `noise`, `bias` and `variation`.
    """
    variation = config.variation * rng.standard_normal(len(CONTRAST)).astype(np.float32)
    contrast = CONTRAST[:, CHANNELS.index(channel)] * (1 + variation)
    to_scan = _to_scan(head.space, grid, motion)
    if channel == "CT":
        contrast[HeadTissue.AIR] = AIR_HU
        found = to_scan.forward(contrast[head.tissues] + TEXTURE_HU[head.tissues] * head.texture)
        measured = np.rint(found + CT_NOISE_HU * rng.standard_normal(grid.shape, dtype=np.float32))
        return Volume(np.clip(measured, *CT_RANGE).astype(np.int16), grid.affine)
    bias = np.exp(0.5 * config.bias * head.space.noise(rng, 60.0))
    found = to_scan.forward((contrast[head.tissues] + TEXTURE[head.tissues] * head.texture) * bias)
    real = found + config.noise * rng.standard_normal(grid.shape, dtype=np.float32)
    magnitude = np.hypot(real, config.noise * rng.standard_normal(grid.shape, dtype=np.float32))
    return Volume(np.clip(np.rint(LEVEL * rng.uniform(0.6, 1.6) * magnitude), 0, BIGGEST).astype(np.int16), grid.affine)


def draw_label(head: SkullBaseHead, grid: Grid, motion: np.ndarray) -> Volume:
    """Annotation of the tumour on the grid of a scan: uint8, 1 inside; arguments as of `scan_head`."""
    return Volume(_to_scan(head.space, grid, motion).forward_label(head.tumour.astype(np.uint8), "gaussian"), grid.affine)


def _grow(rng: np.random.Generator, space: HeadSpace, tissues: np.ndarray, subtype: Subtype) -> np.ndarray:
    """Tumour mask, bool; the tumour and its effects on bone and brain are drawn into the map of tissues."""
    x, y, z = SITES[rng.integers(len(SITES))]
    centre = np.array([x * rng.choice([-1, 1]), y, z]) + rng.normal(0, 2, 3)
    radii = rng.uniform(12, 19) * np.exp(rng.uniform(-0.2, 0.2, 3))
    noise = space.noise(rng, 9.0 if subtype == "primary" else 4.5)
    distance = space.ellipsoid((centre[0], centre[1], centre[2]), (radii[0], radii[1], radii[2]))
    distance += (0.08 if subtype == "primary" else 0.15) * noise
    tumour = distance < 1
    bone = np.isin(tissues, (HeadTissue.BONE, HeadTissue.DENSE_BONE, HeadTissue.MARROW))
    fine = space.noise(rng, 3.0)
    if subtype == "primary":
        tissues[tumour & ~(bone & (fine > 1.3))] = HeadTissue.PRIMARY
        tissues[bone & (distance >= 1) & (distance < 1.15) & (fine > 0)] = HeadTissue.DENSE_BONE
        return tumour
    brain = np.isin(tissues, (HeadTissue.GREY, HeadTissue.WHITE))
    tissues[brain & (distance < 1.5 + 0.2 * fine)] = HeadTissue.EDEMA
    tissues[bone & (distance < 1.3) & (fine > -0.3)] = HeadTissue.SECONDARY
    tissues[tumour] = HeadTissue.SECONDARY
    tissues[(distance < 0.62) & (fine > -0.2)] = HeadTissue.NECROSIS
    return tumour


def _to_scan(space: HeadSpace, grid: Grid, motion: np.ndarray) -> Resampling:
    """Resampling of a head to the grid of a scan."""
    rows = to_rows(np.linalg.inv(motion))
    return Resampling(space.shape, to_rows(space.affine), grid.shape, to_rows(grid.affine), rows)


def _grid(
    directions: np.ndarray,
    spacing_mm: tuple[float, float, float],
    extent_mm: tuple[float, float, float] = (FIELD_MM, FIELD_MM, HEIGHT_MM),
    middle: tuple[float, float, float] = (0, 0, 4),
) -> Grid:
    """Grid of a field of view about a position; directions of i, j and k as columns."""
    i, j, k = (max(round(extent / spacing), 1) for extent, spacing in zip(extent_mm, spacing_mm, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing_mm)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array([i, j, k]) - 1) / 2)
    return Grid((i, j, k), affine)


def _turn(axis: str, degrees: float) -> np.ndarray:
    """Rotation (3, 3) about an axis."""
    from scipy.spatial.transform import Rotation

    matrix: np.ndarray = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return matrix
