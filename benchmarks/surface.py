"""Command: HD95 and NSD against surface-distance, HD95 by voxels against medpy and MONAI: values, and CPU time of HD95.

    python -m benchmarks.surface --source BRATS

Values are compared on random pairs of masks, those of medpy and MONAI where they are installed. Times are those of all regions
of a case together: the prediction is the label, eroded by one voxel and moved by (3, 2, 1) voxels; once more with a false
positive in a corner of the volume.
"""

import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import interleaved, table
from common import cli
from common.errors import MissingPackage, UserError
from common.metrics.borders import border_distances, max_percentile, pooled_percentile
from common.metrics.surface import hd95, surface_dice, surface_distances
from data_prep.sources import open_source

PEER = "surface_distance"
TOLERANCE_MM = 1.0
Pair = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


@dataclass(kw_only=True)
class SurfaceConfig:
    """Compare HD95 with the package surface-distance: values on random pairs, CPU seconds on the labels of a source."""

    source: Path | None = None
    """Folder of annotated scans with voxel spacing; without one, only values are compared."""
    cases: int = 6
    """Number of its cases."""
    pairs: int = 300
    """Random pairs of masks."""
    rounds: int = 5
    """Interleaved repeats."""
    seed: int = 0
    """Seed of the random pairs."""


def main(config: SurfaceConfig) -> None:
    """Print the largest difference and the table of times.

    Raises:
        MissingPackage: surface-distance is not installed.
        UserError: the source has no labels or no spacing.
    """
    if find_spec(PEER) is None:
        raise MissingPackage("surface-distance", "the comparison (see requirements-peers.txt)")
    found = [(hd95(*pair), peer_hd95(*pair)) for pair in random_pairs(config.pairs, config.seed)]
    largest = max(abs(own - peer) / max(peer, 1e-12) for own, peer in found)
    print(f"{config.pairs} random pairs: largest relative difference {largest:.2g}")
    apart = max(abs(nsd(*pair) - peer_nsd(*pair)) for pair in random_pairs(config.pairs, config.seed))
    print(f"NSD at {TOLERANCE_MM:g} mm: largest difference {apart:.2g}")
    if find_spec("medpy") is not None:
        medpy = importlib.import_module("medpy.metric.binary")
        pooled = [
            abs(pooled_percentile(border_distances(*pair)) - float(medpy.hd95(*pair[:2], voxelspacing=pair[2])))
            for pair in random_pairs(config.pairs, config.seed)
        ]
        print(f"HD95 by voxels, pooled, against medpy: largest difference {max(pooled):.2g} mm")
    if find_spec("monai") is not None:
        larger = [
            abs(max_percentile(border_distances(*pair)) / max(monai_hd95(*pair), 1e-12) - 1)
            for pair in random_pairs(config.pairs, config.seed)
            if max_percentile(border_distances(*pair)) > 0
        ]
        print(f"HD95 by voxels, larger direction, against MONAI (float32): largest relative difference {max(larger):.2g}")
    if config.source is None:
        return
    source = open_source(config.source)
    files = [each for each in source.cases() if each.label is not None][: config.cases]
    if not files or source.schema is None:
        raise UserError(f"{config.source}: expected annotated scans; found none")
    for each in files:
        case = source.read(each)
        if case.label is None or case.affine is None:
            raise UserError(f"{each.label}: expected a label with voxel spacing; received none")
        i, j, k = (float(length) for length in np.linalg.norm(case.affine[:3, :3], axis=0))
        ids = source.schema.classes
        truths = [np.isin(case.label, [id_ for name in names for id_ in ids[name]]) for names in source.schema.regions.values()]
        moved = [shifted(truth) for truth in truths]
        far = [with_false_positive(mask) for mask in moved]
        print(f"{each.id}: {len(truths)} regions, {' x '.join(map(str, case.shape))} voxels, CPU seconds of all regions")
        for title, predictions in (("eroded and moved", moved), ("with a false positive far away", far)):
            pairs: list[Pair] = [(truth, prediction, (i, j, k)) for truth, prediction in zip(truths, predictions, strict=True)]
            contenders = {"surface-distance": partial(_all, peer_hd95, pairs), "this toolkit": partial(_all, hd95, pairs)}
            print(f"  {title}: " + ", ".join(f"{hd95(*pair):.2f} mm" for pair in pairs))
            print(table(interleaved(contenders, config.rounds, cpu=True), "s", lambda seconds: seconds))


def peer_hd95(truth: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """HD95 of the package surface-distance, for masks that are not empty."""
    peer = importlib.import_module(PEER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it uses scipy.ndimage.filters
        return float(peer.compute_robust_hausdorff(peer.compute_surface_distances(truth, prediction, spacing_mm), 95))


def monai_hd95(truth: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """HD95 of MONAI, float32, for masks that are not empty."""
    torch, metrics = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    one, other = (torch.from_numpy(mask[None, None].astype(np.uint8)) for mask in (truth, prediction))
    return float(metrics.compute_hausdorff_distance(other, one, percentile=95, spacing=spacing_mm))


def nsd(truth: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Normalised surface Dice of this toolkit."""
    return surface_dice(surface_distances(truth, prediction, spacing_mm), TOLERANCE_MM)


def peer_nsd(truth: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Normalised surface Dice of the package surface-distance, for masks that are not empty."""
    peer = importlib.import_module(PEER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = peer.compute_surface_distances(truth, prediction, spacing_mm)
        return float(peer.compute_surface_dice_at_tolerance(found, TOLERANCE_MM))


def random_pairs(count: int, seed: int) -> Iterator[Pair]:
    """Random pairs of masks that are not empty, with random spacings: (truth, prediction, spacing).

    In turn: smooth blobs, blobs up to the border, noise, a single voxel, thin sheets, boxes, identical blobs, blob and specks.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = number % 8
        shape = tuple(int(size) for size in rng.integers(8, 32, 3))
        spacing = tuple(float(each) for each in ((1, 1, 1), (3, 1, 1), rng.uniform(0.4, 4, 3))[number % 3])
        masks: list[np.ndarray] = []
        for _ in range(2):
            smooth = gaussian_filter(rng.standard_normal(shape), rng.uniform(1, 3, 3), mode="constant" if kind != 1 else "wrap")
            mask = smooth > np.quantile(smooth, rng.uniform(0.5, 0.95))
            corner = [int(rng.integers(0, size)) for size in shape]
            if kind == 2:
                mask = rng.random(shape) < rng.uniform(0.05, 0.9)
            elif kind == 3 and not masks:
                mask = np.zeros(shape, bool)
                mask[tuple(corner)] = True
            elif kind == 4:
                mask = np.zeros(shape, bool)
                mask[corner[0]] = smooth[corner[0]] >= np.median(smooth[corner[0]])
            elif kind == 5:
                mask = np.zeros(shape, bool)
                mask[tuple(slice(first, first + int(rng.integers(1, 9))) for first in corner)] = True
            masks.append(mask)
        if kind == 6:
            masks[1] = masks[0].copy()
        elif kind == 7:
            masks[1] |= rng.random(shape) < 0.01
        yield masks[0], masks[1], (spacing[0], spacing[1], spacing[2])


def shifted(mask: np.ndarray) -> np.ndarray:
    """Mask eroded by one voxel and moved by (3, 2, 1) voxels."""
    from scipy.ndimage import binary_erosion

    return np.roll(binary_erosion(mask), (3, 2, 1), axis=(0, 1, 2))


def with_false_positive(mask: np.ndarray) -> np.ndarray:
    """Mask with a cube in the first corner, its edge a twelfth of the first axis."""
    changed, edge = mask.copy(), max(mask.shape[0] // 12, 1)
    changed[:edge, :edge, :edge] = True
    return changed


def _all(way: Any, pairs: list[Pair]) -> None:
    for pair in pairs:
        way(*pair)


if __name__ == "__main__":
    cli.run(main, SurfaceConfig)
