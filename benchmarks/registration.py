"""Command: error of registrations of real scans that were displaced by known transforms.

    python -m benchmarks.registration --source BRATS --pairs t1:t1 t1:t2 t1ce:flair

The second channel of a case is moved by a random rigid transform (for affine ones also scaled and sheared), interpolated once,
and registered onto the first. The error is the distance between the found and the true position of each voxel of the tumour.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np

from common import cli
from common.errors import UserError, expect_number
from common.hardware.memory import peak_memory
from data_prep.alignment.registration import register
from data_prep.grid.resampling import Resampling, to_rows
from data_prep.scans.case import Case
from data_prep.scans.volume import Volume
from data_prep.sources import open_source


@dataclass(kw_only=True)
class RegistrationBenchmarkConfig:
    """Measure the error of registrations at the tumour, over random displacements of the scans of a source."""

    source: Path
    """Folder of annotated scans whose channels are aligned, such as BraTS."""
    pairs: list[str] = field(default_factory=lambda: ["t1:t1", "t1:t2", "t1ce:flair"])
    """Channels FIXED:MOVING."""
    kinds: list[Literal["rigid", "affine"]] = field(default_factory=lambda: ["rigid", "affine"])
    """Kinds of displacement and of registration."""
    displacements: int = 10
    """Random displacements of each pair and kind; each is of the next case."""
    degrees: float = 20.0
    """Largest rotation, about a random axis."""
    shift_mm: float = 20.0
    """Largest shift, in a random direction."""
    scale: float = 0.05
    """Largest relative change of length along each axis, and largest shear, of affine displacements."""
    seed: int = 0
    """Seed of the displacements."""


class Trial(NamedTuple):
    """Registration of one displaced scan.

    Attributes:
        displaced_mm: mean distance by which the voxels of the tumour were moved.
        mean_mm, largest_mm: error over these voxels.
        before, after: normalised mutual information.
        seconds: of CPU.
    """

    displaced_mm: float
    mean_mm: float
    largest_mm: float
    before: float
    after: float
    seconds: float


def main(config: RegistrationBenchmarkConfig) -> None:
    """Print a row per registration, and the mean and the worst of each pair and kind."""
    expect_number("displacements", config.displacements, 1)
    source = open_source(config.source)
    cases = [files for files in source.cases() if files.label is not None]
    if not cases:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    wrong = [pair for pair in config.pairs if not set(pair.split(":")) <= set(source.channels) or pair.count(":") != 1]
    if wrong:
        raise UserError(f"--pairs: expected FIXED:MOVING of {', '.join(source.channels)}; received {wrong[0]}")
    titles = " ".join(f"{title:>10}" for title in ("moved mm", "mean mm", "max mm", "NMI before", "NMI after", "CPU s"))
    print(f"{'pair':12} {'kind':6} {'case':24} {titles}")
    for kind in config.kinds:
        for pair in config.pairs:
            trials = []
            for number in range(config.displacements):
                files = cases[number % len(cases)]
                rng = np.random.default_rng([config.seed, number])
                trial = displaced_trial(source.read(files), pair, kind, random_transform(config, kind, rng))
                trials.append(trial)
                print(f"{pair:12} {kind:6} {files.id:24} {' '.join(f'{value:10.3f}' for value in trial)}", flush=True)
            mean, worst = np.mean([trial.mean_mm for trial in trials]), max(trial.largest_mm for trial in trials)
            below = sum(trial.largest_mm < 1 for trial in trials)
            print(
                f"{pair:12} {kind:6} {'all':24} {'':10} {mean:10.3f} {worst:10.3f}   "
                f"{below} of {len(trials)} below 1 mm in every voxel of the tumour"
            )
    print(f"peak memory {peak_memory() / 1e9:.2f} GB")


def displaced_trial(case: Case, pair: str, kind: str, displacement: np.ndarray) -> Trial:
    """Displace a scan, register it, and measure the error.

    Args:
        case: with the channels and a label, aligned.
        pair: FIXED:MOVING.
        kind: of the registration.
        displacement: (4, 4) of the moving scan in millimetres, about its middle.

    Raises:
        UserError: the case lacks a channel.
    """
    fixed, moving = (case.channels[name] for name in pair.split(":"))
    if fixed is None or moving is None or case.label is None or case.affine is None:
        raise UserError(f"{case.files.id}: expected channels {pair} and a label, with geometry")
    scan = Volume(moving, case.affine)
    about = np.eye(4)
    about[:3, 3] = scan.grid.middle
    true = about @ displacement @ np.linalg.inv(about)  # millimetres of the fixed scan -> of the displaced one
    grid = to_rows(case.affine)
    displaced = Resampling(scan.grid.shape, grid, scan.grid.shape, grid, to_rows(np.linalg.inv(true))).forward(moving)
    start = time.process_time()
    found = register(Volume(fixed, case.affine), Volume(displaced, case.affine), cast(Literal["rigid", "affine"], kind))
    seconds = time.process_time() - start
    points = np.argwhere(case.label > 0) @ case.affine[:3, :3].T + case.affine[:3, 3]
    errors, moved = distances(points, np.asarray(found.transform) - true), distances(points, true - np.eye(4))
    return Trial(float(moved.mean()), float(errors.mean()), float(errors.max()), found.before, found.after, seconds)


def distances(points: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Distances (n,) between the images of points (n, 3) under two transforms, from the difference (4, 4) of these."""
    lengths: np.ndarray = np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1)
    return lengths


def random_transform(config: RegistrationBenchmarkConfig, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Random displacement (4, 4): rotation and shift up to the bounds, for affine ones scales and shears too."""
    from scipy.spatial.transform import Rotation

    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    transform = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(rng.uniform(0, config.degrees)) * axis).as_matrix()
    stretch = np.diag(1 + rng.uniform(-config.scale, config.scale, 3))
    stretch[np.triu_indices(3, 1)] = rng.uniform(-config.scale, config.scale, 3)
    transform[:3, :3] = turn @ stretch if kind == "affine" else turn
    transform[:3, 3] = rng.uniform(0, config.shift_mm) * direction
    return transform


if __name__ == "__main__":
    cli.run(main, RegistrationBenchmarkConfig)
