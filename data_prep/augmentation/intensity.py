"""Changes of intensities inside the brain: gamma, contrast, brightness and noise, as an augmentation says.

They are our own, because those of albumentations clip to 0..1 and would cut z-scored scans off.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from data_prep.augmentation.apply import Augmentation


@dataclass(frozen=True)
class IntensityChanges:
    """The intensity changes of one augmentation, made ready for one image; arrays hold a value per channel.

    Attributes:
        gamma: exponents, None where nothing changes.
        factor, shift: what intensities are multiplied by, and what is added then.
        noise: standard deviations in the image's own unit, None where there is none.
        noise_seed: names the noise.
        unit_range: whether results are kept within 0..1.
    """

    gamma: np.ndarray | None
    factor: np.ndarray
    shift: np.ndarray
    noise: np.ndarray | None
    noise_seed: int
    unit_range: bool

    @classmethod
    def of(cls, augmentation: "Augmentation", image: np.ndarray, unit_range: bool) -> Self | None:
        """Measure the image and turn relative changes into absolute ones; None where nothing changes.

        Args:
            augmentation: from `data_prep.augmentation.apply.draw`.
            image: (Z, H, W, C) float16, float32 or uint8; 0 in all channels outside the brain.
            unit_range: whether intensities run from 0 to 1 and must stay there; else gamma is skipped.
        """
        gamma = np.asarray(augmentation.gamma, np.float32)
        contrast = np.asarray(augmentation.contrast)
        use_gamma = unit_range and bool(np.any(gamma != 1))
        shifts = bool(np.any(augmentation.brightness))
        if not (use_gamma or shifts or np.any(contrast != 1) or augmentation.noise):
            return None
        mean, deviation = _brain_statistics(image)
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
        """Change a block of slices (z, H, W, C) float32 in place, inside the brain only.

        Args:
            image: the block.
            first_slice: its first slice's number in the whole image, which names the slice's noise.
        """
        width, channels = image.shape[2:]
        brain = np.repeat(_brain(image), channels, axis=2)
        # Rows with their channels side by side: NumPy is several times as fast along them as along a few channels.
        rows = image.reshape(*image.shape[:2], width * channels)
        if self.gamma is not None:
            np.power(rows, np.tile(self.gamma, width), out=rows)
        rows *= np.tile(self.factor, width)
        np.add(rows, np.tile(self.shift, width), out=rows, where=brain)
        if self.noise is not None:
            noise = _slice_noise(self.noise_seed, image.shape, first_slice).reshape(rows.shape)
            noise *= np.tile(self.noise, width)
            np.add(rows, noise, out=rows, where=brain)
        if self.unit_range:
            np.clip(rows, 0, 1, out=rows)
        if not np.shares_memory(rows, image):
            image[...] = rows.reshape(image.shape)


def to_float(image: np.ndarray) -> np.ndarray:
    """A new float32 array; uint8 is brought to 0..1."""
    return image / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)


def from_float(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The inverse of `to_float`."""
    return np.rint(image * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype)


def _slice_noise(seed: int, shape: tuple[int, ...], first_slice: int) -> np.ndarray:
    """Standard normal noise for a block of slices; each slice has a seed of its own, so that blocks can be of any length."""
    noise = np.empty(shape, np.float32)
    for z, picture in enumerate(noise, first_slice):
        np.random.default_rng([seed, z]).standard_normal(dtype=np.float32, out=picture)
    return noise


def _brain(image: np.ndarray) -> np.ndarray:
    """Where an image (..., C) shows anything: any channel is other than 0."""
    found = image[..., 0] != 0
    for channel in range(1, image.shape[-1]):
        found |= image[..., channel] != 0
    return found


def _brain_statistics(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel inside the brain of the whole image, in units of 0..1 where it is uint8."""
    count, total, squares = 0, np.zeros(image.shape[-1]), np.zeros(image.shape[-1])
    for picture in image:  # zeros outside the brain add nothing to the sums
        pixels = to_float(picture)
        count += int(np.count_nonzero(_brain(pixels)))
        flat = np.ascontiguousarray(pixels.reshape(-1, pixels.shape[-1]).T, np.float64)
        total += flat.sum(axis=1)
        squares += np.einsum("cp,cp->c", flat, flat)
    count = max(count, 1)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
