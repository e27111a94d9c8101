"""Intensity transforms inside the brain: gamma, bias field, contrast, brightness, blur and Gaussian noise, in this order.

Those of albumentations clip to 0..1, which would cut off z-scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self

import numpy as np

from data_prep.augmentation.bias_field import bias_field
from data_prep.augmentation.draw import Augmentation
from data_prep.grid.geometry import Triple
from data_prep.grid.masks import brain_mask
from data_prep.grid.sampling import to_float

BLACK = 3.0  # standard deviations below the mean of an image without a natural zero, such as one of z-scores


class BrainStatistics(NamedTuple):
    """Mean and standard deviation of each channel (C,) float64 over the brain, voxels non-zero in any; its smallest value."""

    mean: np.ndarray
    deviation: np.ndarray
    smallest: np.ndarray

    def of(self, channels: Sequence[int]) -> "BrainStatistics":
        """Statistics of some channels, by their places."""
        return BrainStatistics(*(values[list(channels)] for values in self))

    @property
    def black(self) -> np.ndarray:
        """Intensity of what gives no signal, as far as it can be known: mean - 3 deviations, or the smallest value."""
        return np.maximum(self.mean - BLACK * self.deviation, self.smallest)


def brain_statistics(image: np.ndarray) -> BrainStatistics:
    """Mean and standard deviation per channel over the brain of a volume, and its smallest value.

    Args:
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 mean 0..1).
    """
    count, total, squares = 0, np.zeros(image.shape[-1]), np.zeros(image.shape[-1])
    smallest = np.full(image.shape[-1], np.inf)
    for picture in image:  # zeros outside the brain add nothing to the sums
        pixels = to_float(picture)
        count += int(np.count_nonzero(brain_mask(np.moveaxis(pixels, -1, 0))))
        flat = np.ascontiguousarray(pixels.reshape(-1, pixels.shape[-1]).T, np.float64)
        smallest = np.minimum(smallest, flat.min(axis=1))
        total += flat.sum(axis=1)
        squares += np.einsum("cp,cp->c", flat, flat)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    return BrainStatistics(mean, deviation, smallest)


@dataclass(frozen=True)
class IntensityChanges:
    """Intensity transform of one augmentation in a volume's own unit; arrays hold a value per channel.

    Attributes:
        augmentation: gives gamma, bias field, blur and the seed of the noise.
        size: shape of the patch (z, y, x), over which the bias field runs.
        black, span: intensity of no signal, and from there to the intensity that gamma leaves as it is (1, or the mean).
        factor, shift: intensities are multiplied by `factor`, then `shift` is added.
        noise: standard deviations, None where there is none.
        unit_range: results are clipped to 0..1.
    """

    augmentation: Augmentation
    size: Triple
    black: np.ndarray
    span: np.ndarray
    factor: np.ndarray
    shift: np.ndarray
    noise: np.ndarray | None
    unit_range: bool

    @classmethod
    def from_augmentation(
        cls, augmentation: Augmentation, statistics: Callable[[], BrainStatistics], size: Triple, unit_range: bool
    ) -> Self | None:
        """Convert relative changes to absolute ones; None where nothing changes.

        Args:
            augmentation: from `data_prep.augmentation.draw.draw`.
            statistics: called where something changes; of the volume before any change, in the order of its channels.
            size: shape of the patch (z, y, x).
            unit_range: intensities run from 0 to 1 and must stay there.
        """
        a, contrast = augmentation, np.asarray(augmentation.contrast)
        curved = any(gamma != 1 for gamma in a.gamma) or any(a.bias)
        if not (curved or any(a.brightness) or np.any(contrast != 1) or any(a.blur) or a.noise):
            return None
        measured = statistics().of(a.sources)
        black = np.zeros_like(measured.mean) if unit_range else measured.black
        span = np.ones_like(measured.mean) if unit_range else measured.mean - black
        shift = measured.mean * (1 - contrast) + measured.deviation * np.asarray(a.brightness)
        return cls(
            augmentation=a,
            size=size,
            black=black.astype(np.float32),
            span=np.where(span > 0, span, 1).astype(np.float32),
            factor=contrast.astype(np.float32),
            shift=shift.astype(np.float32),
            noise=(measured.deviation * a.noise).astype(np.float32) if a.noise else None,
            unit_range=unit_range,
        )

    def change(self, image: np.ndarray, first_slice: int) -> None:
        """Transform a block of slices in place, inside the brain only.

        Args:
            image: (z, H, W, C) float32, C-contiguous.
            first_slice: number of its first slice in the patch; each slice has noise of its own, whatever the blocks.
        """
        width, channels = image.shape[2:]
        # Rows with their channels side by side: NumPy is several times as fast along them as along a few channels. All voxels
        # are changed, and those outside the brain set to 0 again: NumPy is many times slower where it changes some alone.
        rows = image.reshape(*image.shape[:2], width * channels)
        brain = np.repeat(brain_mask(np.moveaxis(image, -1, 0)), channels, axis=2)
        self._curve(rows, width, first_slice)
        rows *= np.tile(self.factor, width)
        rows += np.tile(self.shift, width)
        rows *= brain
        for channel, sigma in enumerate(self.augmentation.blur):
            if sigma:
                for picture in image[..., channel]:
                    picture[...] = blurred(picture, sigma)
        if self.noise is not None:
            for z, picture in enumerate(rows, first_slice):
                noise = _standard_normal([self.augmentation.noise_seed, z], picture.shape)
                noise *= np.tile(self.noise, width)
                picture += noise
        rows[...] = np.where(brain, rows, np.float32(0))  # a product would make -0.0, which is inside the brain
        if self.unit_range:
            np.clip(rows, 0, 1, out=rows)

    def _curve(self, rows: np.ndarray, width: int, first_slice: int) -> None:
        """Gamma and bias field, of the signal above black: black + span * (signal / span) ** gamma * exp(field)."""
        gamma = np.asarray(self.augmentation.gamma, np.float32)
        bias = np.asarray(self.augmentation.bias or np.zeros_like(gamma), np.float32)
        changed = (gamma != 1) | (bias != 0)
        if not changed.any():
            return
        black, span = np.tile(self.black, width), np.tile(self.span, width)
        signal = np.maximum((rows - black) / span, 0)
        if np.any(gamma != 1):
            np.power(signal, np.tile(gamma, width), out=signal)
        if bias.any():
            field = bias_field(self.augmentation.bias_seed, self.augmentation.rank, self.size, first_slice, len(rows))
            signal *= np.exp(field[..., None] * bias).reshape(*field.shape[:2], -1)
        signal *= span
        signal += black
        # Signal below black, which the curve would raise to it, stays in the other channels.
        rows[...] = np.where(np.tile(changed, width), signal, rows)


@cache
def _normal_quantiles() -> np.ndarray:
    """(65536,) float32 quantiles of the standard normal distribution, one for each value of 16 random bits."""
    from scipy.special import ndtri

    quantiles: np.ndarray = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)
    return quantiles


def _standard_normal(seed: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, float32, by their quantiles, which takes less time than NumPy's; none is beyond 4.4."""
    bits = np.random.default_rng(seed).integers(1 << 16, size=shape, dtype=np.uint16)
    return _normal_quantiles()[bits]


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a picture (H, W) float32, which is mirrored at its edges."""
    import cv2

    cv2.setNumThreads(0)  # cases and batches are already worked on in parallel
    return cv2.GaussianBlur(np.ascontiguousarray(picture), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
