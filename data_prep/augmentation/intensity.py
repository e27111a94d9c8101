"""Intensity transforms inside the brain: gamma, contrast, brightness and Gaussian noise.

Those of albumentations clip to 0..1, which would cut off z-scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from data_prep.augmentation.draw import Augmentation
from data_prep.grid.masks import brain_mask
from data_prep.grid.sampling import to_float


class BrainStatistics(NamedTuple):
    """Mean and standard deviation of each channel (C,) float64 over the brain, the voxels that are non-zero in any channel."""

    mean: np.ndarray
    deviation: np.ndarray


def brain_statistics(image: np.ndarray) -> BrainStatistics:
    """Mean and standard deviation per channel over the brain of a volume.

    Args:
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1).
    """
    count, total, squares = 0, np.zeros(image.shape[-1]), np.zeros(image.shape[-1])
    for picture in image:  # zeros outside the brain add nothing to the sums
        pixels = to_float(picture)
        count += int(np.count_nonzero(brain_mask(np.moveaxis(pixels, -1, 0))))
        flat = np.ascontiguousarray(pixels.reshape(-1, pixels.shape[-1]).T, np.float64)
        total += flat.sum(axis=1)
        squares += np.einsum("cp,cp->c", flat, flat)
    mean = total / max(count, 1)
    return BrainStatistics(mean, np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0)))


@dataclass(frozen=True)
class IntensityChanges:
    """Intensity transform of one augmentation in a volume's own unit; arrays hold a value per channel.

    Attributes:
        gamma: exponents, None where nothing changes.
        factor, shift: intensities are multiplied by `factor`, then `shift` is added.
        noise: standard deviations, None where there is none.
        noise_seed: seed of the noise.
        unit_range: results are clipped to 0..1.
    """

    gamma: np.ndarray | None
    factor: np.ndarray
    shift: np.ndarray
    noise: np.ndarray | None
    noise_seed: int
    unit_range: bool

    @classmethod
    def from_augmentation(
        cls, augmentation: Augmentation, statistics: Callable[[], BrainStatistics], unit_range: bool
    ) -> Self | None:
        """Convert relative changes to absolute ones; None where nothing changes.

        Args:
            augmentation: from `data_prep.augmentation.draw.draw`.
            statistics: called where something changes; of the volume before any change, in the order of its channels.
            unit_range: intensities run from 0 to 1 and must stay there; else gamma is skipped.
        """
        gamma = np.asarray(augmentation.gamma, np.float32)
        contrast = np.asarray(augmentation.contrast)
        use_gamma = unit_range and bool(np.any(gamma != 1))
        if not (use_gamma or any(augmentation.brightness) or np.any(contrast != 1) or augmentation.noise):
            return None
        mean, deviation = (values[list(augmentation.sources)] for values in statistics())
        shift = mean * (1 - contrast) + deviation * np.asarray(augmentation.brightness)
        return cls(
            gamma=gamma if use_gamma else None,
            factor=contrast.astype(np.float32),
            shift=shift.astype(np.float32),
            noise=(deviation * augmentation.noise).astype(np.float32) if augmentation.noise else None,
            noise_seed=augmentation.noise_seed,
            unit_range=unit_range,
        )

    def change(self, image: np.ndarray, first_slice: int) -> None:
        """Transform a block of slices in place, inside the brain only.

        Args:
            image: (z, H, W, C) float32, C-contiguous.
            first_slice: number of its first slice in the patch; each slice has noise of its own, whatever the blocks.
        """
        width, channels = image.shape[2:]
        brain = np.repeat(brain_mask(np.moveaxis(image, -1, 0)), channels, axis=2)
        # Rows with their channels side by side: NumPy is several times as fast along them as along a few channels.
        rows = image.reshape(*image.shape[:2], width * channels)
        if self.gamma is not None:
            np.power(rows, np.tile(self.gamma, width), out=rows)
        rows *= np.tile(self.factor, width)
        np.add(rows, np.tile(self.shift, width), out=rows, where=brain)
        if self.noise is not None:
            noise = np.empty(image.shape, np.float32)
            for z, picture in enumerate(noise, first_slice):
                np.random.default_rng([self.noise_seed, z]).standard_normal(dtype=np.float32, out=picture)
            noise = noise.reshape(rows.shape)
            noise *= np.tile(self.noise, width)
            np.add(rows, noise, out=rows, where=brain)
        if self.unit_range:
            np.clip(rows, 0, 1, out=rows)
