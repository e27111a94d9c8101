"""Command: error of registrations between CT and MR of synthetic skull-base patients, whose true transforms are known.

    python -m benchmarks.synthetic_registration --pairs T1:CT CT:T1 T1:T1FS

Each patient has another head, tumour and motion. The error is the distance between the found and the true position of each
voxel of the tumour.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from benchmarks.registration import Trial, distances
from common import cli
from common.errors import UserError, expect_number
from common.hardware.memory import peak_memory
from data_prep.alignment.registration import register
from data_prep.phantom.patient import PhantomConfig
from data_prep.phantom.skull_base import CHANNELS, DRAWN_ON, SkullBasePatient, make_skull_base_patient
from data_prep.scans.volume import Volume

TEETH_MM = (20.0, 6.0, 6.0)  # reach of the teeth to each side of their middle, along the axes
HEAD_HU, COUCH_HU, PADDING_HU, METAL_HU = -200, 150, -3024, 30000


@dataclass(kw_only=True)
class SyntheticRegistrationConfig:
    """Measure the error of registrations of synthetic CT and MR at the tumour, over patients with random motions."""

    pairs: list[str] = field(default_factory=lambda: ["T1:CT", "T1:T1FS"])
    """Channels FIXED:MOVING."""
    kind: Literal["rigid", "affine"] = "rigid"
    """Kind of the registration."""
    patients: int = 10
    """Number of patients."""
    size: tuple[int, int, int] = (96, 96, 64)
    """Voxels of T1."""
    degrees: float = 20.0
    """Largest rotation of the head between two examinations."""
    shift_mm: float = 20.0
    """Largest shift of the head between two examinations."""
    artefacts: bool = False
    """Add to CT what scans of patients have: metal in the teeth, a couch, and padding of -3024 around the field of view."""
    seed: int = 0
    """Seed of the patients."""


def main(config: SyntheticRegistrationConfig) -> None:
    """Print a row per registration, and the mean and the worst of each pair."""
    expect_number("patients", config.patients, 1)
    wrong = [pair for pair in config.pairs if not set(pair.split(":")) <= set(CHANNELS) or pair.count(":") != 1]
    if wrong:
        raise UserError(f"--pairs: expected FIXED:MOVING of {', '.join(CHANNELS)}; received {wrong[0]}")
    phantom = PhantomConfig(tumour="skull_base", size=config.size, motion_mm=config.shift_mm, motion_degrees=config.degrees)
    titles = " ".join(f"{title:>10}" for title in ("moved mm", "mean mm", "max mm", "NMI before", "NMI after", "CPU s"))
    print(f"{'pair':10} {'patient':>7} {titles}")
    trials: dict[str, list[Trial]] = {pair: [] for pair in config.pairs}
    for index in range(config.patients):
        patient = make_skull_base_patient(phantom, config.seed, index)
        if config.artefacts:
            patient.scans["CT"] = with_artefacts(patient.scans["CT"], np.random.default_rng((config.seed, index)))
        for pair in config.pairs:
            trial = registration_trial(patient, pair, config.kind)
            trials[pair].append(trial)
            print(f"{pair:10} {index:7} {' '.join(f'{value:10.3f}' for value in trial)}", flush=True)
    for pair, found in trials.items():
        mean, worst = np.mean([trial.mean_mm for trial in found]), max(trial.largest_mm for trial in found)
        below = sum(trial.largest_mm < 1 for trial in found)
        print(
            f"{pair:10} {'all':>7} {'':10} {mean:10.3f} {worst:10.3f}   "
            f"{below} of {len(found)} below 1 mm in every voxel of the tumour"
        )
    print(f"peak memory {peak_memory() / 1e9:.2f} GB")


def with_artefacts(ct: Volume, rng: np.random.Generator) -> Volume:
    """CT with metal of 30000 HU at random places in the teeth, a couch behind the head, and padding of -3024 HU.

    The padding lies outside the largest circle of each slice, as of a scanner's field of view.
    """
    array = ct.array.astype(np.float32)
    head = np.argwhere(array > HEAD_HU)
    low, high = head.min(axis=0), head.max(axis=0)
    i, j, k = np.indices(array.shape)
    radius = min(array.shape[:2]) / 2
    array[np.hypot(i - array.shape[0] / 2, j - array.shape[1] / 2) > radius] = PADDING_HU
    couch = min(high[1] + 4, array.shape[1] - 2)  # j rises to the back
    array[array.shape[0] // 4 : -array.shape[0] // 4, couch : couch + 2] = COUCH_HU
    teeth = low + (0.5, 0.2, 0.15) * (high - low)
    for centre in teeth + rng.uniform(-1, 1, (6, 3)) * TEETH_MM / ct.grid.spacing_mm:
        array[np.linalg.norm(np.stack((i, j, k), axis=-1) - centre, axis=-1) < 2] = METAL_HU
    return replace(ct, array=array)


def registration_trial(patient: SkullBasePatient, pair: str, kind: Literal["rigid", "affine"]) -> Trial:
    """Register one scan of a patient onto another, FIXED:MOVING, and measure the error at the tumour."""
    fixed, moving = pair.split(":")
    from_drawn, from_fixed = (np.linalg.inv(patient.motions[name]) for name in (DRAWN_ON, fixed))
    true = patient.motions[moving] @ from_fixed
    start = time.process_time()
    found = register(patient.scans[fixed], patient.scans[moving], kind)
    seconds = time.process_time() - start
    to_fixed = patient.motions[fixed] @ from_drawn @ patient.label.affine
    points = np.argwhere(patient.label.array > 0) @ to_fixed[:3, :3].T + to_fixed[:3, 3]
    errors, moved = distances(points, np.asarray(found.transform) - true), distances(points, true - np.eye(4))
    return Trial(float(moved.mean()), float(errors.mean()), float(errors.max()), found.before, found.after, seconds)


if __name__ == "__main__":
    cli.run(main, SyntheticRegistrationConfig)
