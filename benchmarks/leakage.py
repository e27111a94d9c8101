"""Command: planted pairs of one patient under two names, and how many of them the comparison of patients finds.

    python -m benchmarks.leakage
    python -m benchmarks.leakage --sources BRATS LGG VS

Each planted pair is one patient and a changed copy: saved again in another type, stored in another orientation, scaled,
mirrored, shifted, with noise, cropped, with axes swapped and the affine lost, or several of these. All other pairs are of
different patients, and each one that is found is a false alarm. Printed are both, the lowest correlation of a planted pair, the
largest of the others, and the CPU seconds of reading and comparing, scaled to 500 cases.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import cli
from common.errors import expect_number
from common.progress import progress
from common.tables import aligned
from data_prep.leakage.comparison import ALIKE, head_correlations
from data_prep.leakage.fingerprint import Fingerprint, fingerprint
from data_prep.phantom.patient import PhantomConfig, make_patient
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.scans.nifti import read_image, write_image
from data_prep.sources import open_source

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SCALED_TO = 500  # cases
NOISE = 0.1  # of the 95th percentile of the head
CROP = 0.05  # of each side of the head
HALF_CROP = 0.1  # of one side


@dataclass(kw_only=True)
class LeakageConfig:
    """Plant pairs of one patient under two names, and count those that are found."""

    sources: list[Path] = field(default_factory=list)
    """Folders of scans; each of their patients is planted once. Default: synthetic patients."""
    patients: int = 100
    """Synthetic patients."""
    planted: int = 20
    """Synthetic patients with a second name; of sources as many as they have."""
    size: tuple[int, int, int] = (48, 48, 32)
    """Voxels of the synthetic patients."""
    seed: int = 0
    """Seed of the patients and of the changes."""


@dataclass(frozen=True)
class Patient:
    """Images of a patient: source, name, channel -> voxels (i, j, k), affine or None, and the CPU seconds of reading them."""

    source: str
    patient: str
    channels: dict[str, np.ndarray]
    affine: np.ndarray | None
    seconds: float = 0.0


def main(config: LeakageConfig) -> None:
    """Print a row per change, then correlations and seconds."""
    for name in ("patients", "planted"):
        expect_number(name, getattr(config, name), 2)
    images = _real_images(config) if config.sources else _synthetic_images(config)
    planted = min(config.planted, len(images)) if not config.sources else len(images)
    rng = np.random.default_rng(config.seed)
    names = [list(CHANGES)[place % len(CHANGES)] for place in range(planted)]
    started = time.process_time()
    prints = [fingerprint(image.channels) for image in images]
    seconds = (time.process_time() - started + sum(image.seconds for image in images)) / len(images)
    with progress(planted, "planting", "pair") as bar:
        for image, name in zip(images[:planted], names, strict=True):
            state = rng.bit_generator.state
            copy = {}
            for channel, array in image.channels.items():  # each is changed alike
                rng.bit_generator.state = state
                copy[channel] = _stored(CHANGES[name](array, rng), image.affine)
            prints.append(fingerprint(copy))
            bar.update()
    cases = [CaseFiles(str(place), str(place), {}) for place in range(len(prints))]
    started = time.process_time()
    found = head_correlations(cases, prints)
    comparing = (time.process_time() - started) / len(prints) ** 2
    print("\n".join(report(images, names, prints, found)))
    minutes = (seconds * SCALED_TO + comparing * SCALED_TO**2) / 60
    print(f"{SCALED_TO} cases: {minutes:.1f} CPU minutes, of which comparing {comparing * SCALED_TO**2:.0f} s")


def report(
    images: list[Patient], names: list[str], prints: list[Fingerprint], found: Mapping[tuple[int, int], float]
) -> list[str]:
    """Lines of the result.

    Args:
        images: of the patients; the changed copies are of the first of them, in order.
        names: of the changes.
        prints: of the images, then of the copies.
        found: places of two prints -> their correlation.
    """
    patients = [image.patient for image in images] + [image.patient for image in images[: len(names)]]
    pairs = {(place, len(images) + place): name for place, name in enumerate(names)}
    rows = [["change", "planted", "same voxels", "alike", "missed", "lowest correlation"]]
    for change in dict.fromkeys(names):
        mine = [pair for pair, name in pairs.items() if name == change]
        equal = [pair for pair in mine if _equal(prints, pair)]
        alike = [pair for pair in mine if pair not in equal and found.get(pair, -1) > ALIKE]
        lowest = min(found.get(pair, -1) for pair in mine)
        missed = len(mine) - len(equal) - len(alike)
        rows.append([change, *map(str, (len(mine), len(equal), len(alike), missed)), f"{lowest:.3f}"])
    others = {(i, j): value for (i, j), value in found.items() if patients[i] != patients[j]}
    alarms = sum(value > ALIKE or _equal(prints, pair) for pair, value in others.items())
    by_source = {image.source: [0.0] for image in images}
    sources = [image.source for image in images] + [image.source for image in images[: len(names)]]
    for (i, j), value in others.items():
        if sources[i] == sources[j]:
            by_source[sources[i]].append(value)
    largest = ", ".join(f"{name} {max(values):.3f}" for name, values in by_source.items())
    hit = sum(_equal(prints, pair) or found.get(pair, -1) > ALIKE for pair in pairs)
    return [
        *aligned(rows),
        f"{len(images)} patients, {hit} of {len(pairs)} planted pairs found, {alarms} false alarms of {len(others)}",
        f"bound {ALIKE:g}; lowest planted {min(found.get(pair, -1) for pair in pairs):.3f}; largest of different patients "
        f"{max(others.values()):.3f} ({largest})",
    ]


def _equal(prints: list[Fingerprint], pair: tuple[int, int]) -> bool:
    return prints[pair[0]].voxels == prints[pair[1]].voxels


def _synthetic_images(config: LeakageConfig) -> list[Patient]:
    looks, images = PhantomConfig(size=config.size), []
    with progress(config.patients, "generating", "patient") as bar:
        for number in range(config.patients):
            made = make_patient(looks, config.seed, number)
            images.append(Patient("synthetic", str(number), made.channels, made.affine))
            bar.update()
    return images


def _real_images(config: LeakageConfig) -> list[Patient]:
    """Images of each case of the sources."""
    found = []
    for root in config.sources:
        source = open_source(root)
        for files in source.cases():
            started = time.process_time()
            case = source.read(replace(files, label=None, brain=None))
            seconds = time.process_time() - started
            images = {name: array for name, array in case.channels.items() if array is not None}
            found.append(Patient(source.layout, f"{root.name}/{files.patient}", images, case.affine, seconds))
    return found


def _stored(array: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """The array as it is read back from a compressed file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii.gz"
        write_image(path, array, affine)
        return read_image(ImageRef(path))


def _shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift by two voxels along each axis, forwards or backwards, along short axes by one."""
    steps = [int(rng.choice([-1, 1])) * (2 if length > 40 else 1) for length in image.shape]
    return np.roll(image, steps, (0, 1, 2))


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise on every voxel."""
    bright = float(np.percentile(image[image > image.min()], 95))
    return (image + rng.normal(0, NOISE * bright, image.shape)).astype(np.float32)


def _cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part without a twentieth of the head on each side, and without a tenth on one."""
    places = np.argwhere(image > image.min() + 0.1 * (np.percentile(image, 99) - image.min()))
    low, high = places.min(axis=0), places.max(axis=0) + 1
    margins = np.maximum(((high - low) * CROP).astype(int), 1)
    deeper = int(rng.integers(3))
    low, high = low + margins, high - margins
    low[deeper] += int((high - low)[deeper] * (HALF_CROP - CROP))
    return image[tuple(slice(first, last) for first, last in zip(low, high, strict=True))]


def _coarser(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other voxels: means of two along the two longest axes."""
    for axis in np.argsort(image.shape)[1:]:
        count = image.shape[axis] // 2
        halves = np.moveaxis(image, axis, 0)[: 2 * count].reshape(count, 2, *np.delete(image.shape, axis))
        image = np.moveaxis(halves.mean(axis=1, dtype=np.float32), 0, axis)
    return image


CHANGES: dict[str, Change] = {
    "saved again as floats": lambda image, rng: image.astype(np.float32),
    "another orientation": lambda image, rng: image.transpose(1, 2, 0)[::-1, :, ::-1],
    "intensities scaled": lambda image, rng: (image * 0.37 + 12).astype(np.float32),
    "mirrored and scaled": lambda image, rng: image[::-1] * np.float32(1.7),
    "shifted": _shifted,
    "noise": _noisy,
    "cropped": _cropped,
    "larger voxels": _coarser,
    "axes swapped, scaled, shifted": lambda image, rng: _shifted(image, rng).transpose(2, 0, 1)[:, ::-1] * np.float32(0.5),
    "noise, cropped, mirrored": lambda image, rng: _noisy(_cropped(image, rng), rng)[:, ::-1],
}


if __name__ == "__main__":
    cli.run(main, LeakageConfig)
