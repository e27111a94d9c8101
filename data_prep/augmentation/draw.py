"""Random augmentation parameters: the config, and one draw from it.

`draw` chooses numbers and names only, so that an augmentation can be printed, stored as JSON and replayed;
`data_prep.augmentation.apply` transforms the arrays.
"""

import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from hashlib import sha256
from typing import Any, Literal, Self

import numpy as np

from common.errors import UserError
from data_prep.grid.geometry import AXES

LARGEST_SEED = 2**31 - 1


@dataclass
class AugmentConfig:
    """Random augmentation of slices or volumes: the largest change of each kind; 0 switches a change off."""

    rank: Literal[2, 3] = 2
    """2: rotation, scale and elastic deformation in the plane of the slices, the same for all of them; 3: of the volume."""
    flips: list[str] = field(default_factory=lambda: ["x", "y"])
    """Axes that may be mirrored: x (left-right), y (front-back, up-down in the slice), z (along the slices)."""
    rotate_degrees: float = 15.0
    """Largest rotation in the plane of the slices, either way, in degrees."""
    tilt_degrees: float = 0.0
    """Largest rotation about the axes y and x, out of the plane of the slices, either way, in degrees; needs `rank: 3`."""
    scale: float = 0.1
    """Largest relative change of size: 0.1 draws factors from 0.9 to 1.1."""
    crop: float = 0.0
    """Random resized crop: a part of the slice whose sides are shorter by up to this share, drawn for each side, is enlarged to
    the whole slice."""
    elastic: float = 1.0
    """Elastic deformation: standard deviation of the displacement along each axis, in pixels, the same everywhere."""
    elastic_sigma: float = 10.0
    """Smoothness of the elastic deformation: Gaussian sigma, in pixels, at least 1."""
    brightness: float = 0.1
    """Largest shift of a channel, in standard deviations of its intensities inside the brain."""
    contrast: float = 0.1
    """Largest relative change of a channel's contrast about its mean inside the brain."""
    gamma: float = 0.1
    """Largest relative change of gamma: intensity ** gamma where intensities run from 0 to 1; elsewhere the same curve through
    black (three standard deviations below the channel's mean, or its lowest value) and the mean, which stay."""
    noise: float = 0.05
    """Largest standard deviation of Gaussian noise, in standard deviations of a channel's intensities inside the brain."""
    bias: float = 0.0
    """Bias field: largest standard deviation of its logarithm over the image; of each channel's own strength and sign."""
    blur: float = 0.0
    """Largest sigma of a Gaussian blur in the plane of the slices, in pixels, for each channel: scans of less resolution."""
    erase: float = 0.0
    """Random erasing: largest half axes, as a share of the sides, of an ellipsoid that becomes dark like a cyst; half of them
    lie in the tumour. Annotations stay."""
    fade: float = 0.0
    """Largest share by which a tumour's contrast to the tissue around it falls, in all channels alike. Annotations stay."""
    fill: float = 0.0
    """Probability that a channel is replaced by the channel `fill_from`, as some data sets fill missing sequences."""
    fill_from: int = 0
    """Channel that replaces others, counted from 0."""
    probability: float | None = 0.5
    """Probability of each flip and of each change; 0 or null switches all of them off (but not `fill`, which has its own)."""

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            UserError: names the option, what is expected and what was received.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "flips" and not 0 <= (value or 0) < math.inf:
                raise UserError(f"--augment.{item.name}: expected a number that is not negative; received {value}")
        unknown = [axis for axis in self.flips if axis not in AXES]
        if unknown:
            raise UserError(f"--augment.flips: expected axes out of x, y, z; received {unknown}")
        for name in ("probability", "fill"):
            if (getattr(self, name) or 0) > 1:
                raise UserError(f"--augment.{name}: expected a number from 0 to 1; received {getattr(self, name)}")
        for name in ("scale", "crop", "contrast", "gamma", "erase", "fade"):
            if getattr(self, name) >= 1:
                raise UserError(f"--augment.{name}: expected a number below 1; received {getattr(self, name)}")
        if self.elastic_sigma < 1:
            raise UserError(f"--augment.elastic_sigma: expected at least 1 pixel; received {self.elastic_sigma}")
        if self.tilt_degrees and self.rank == 2:
            raise UserError("--augment.tilt_degrees: turns volumes, so it needs --augment.rank 3; received rank 2")

    @property
    def is_off(self) -> bool:
        """True where nothing can be changed."""
        return not self.probability and self.fill == 0


@dataclass
class CopiesConfig(AugmentConfig):
    """Augmented copies: their number per training case, and the largest change of each kind; 0 switches a change off."""

    copies: int = 0
    """Augmented copies stored beside each training case; 1 doubles the training cases."""


@dataclass(frozen=True)
class Augmentation:
    """Drawn augmentation: numbers and names only, so `dataclasses.asdict` of it is JSON.

    Attributes:
        flips: the axes that are mirrored, of z, y, x.
        rotate_degrees: rotation in the plane of the slices, counter-clockwise as displayed, about their middle.
        scale: factor of size; 1 changes nothing.
        crop: height and width of the part that is enlarged to the whole slice, as shares of it; 1 changes nothing.
        crop_at: offset of its middle from the slice's, downwards and to the right, as shares of the slice.
        elastic: standard deviation of the elastic displacement in pixels; 0 changes nothing.
        elastic_sigma: its smoothness in pixels.
        elastic_seed: seed of the displacement field.
        brightness: shift per channel, in standard deviations of the channel.
        contrast: factor per channel; 1 changes nothing.
        gamma: exponent per channel; 1 changes nothing.
        noise: standard deviation of the noise, in standard deviations of the channel.
        noise_seed: seed of the noise.
        sources: the channel that each channel is taken from.
        rank: 2: geometry in the plane of the slices; 3: of the volume.
        tilt_degrees: rotations about y and about x.
        bias: standard deviation of the logarithm of the bias field per channel, with its sign; empty: none.
        bias_seed: seed of the field, which is the same for all channels but for strength and sign.
        blur: Gaussian sigma per channel in pixels; empty: none.
        erase: half axes (z, y, x) of the ellipsoid that is erased, as shares of the sides; empty: none.
        erase_tumour: its middle lies in the tumour, where there is one; else anywhere in the brain.
        erase_at: place of its middle among these voxels, 0 to 1.
        erase_levels: intensity per channel, from 0 (black) to 1 (the channel's mean).
        fade: share by which a tumour's contrast falls; 0 changes nothing.
    """

    flips: tuple[str, ...]
    rotate_degrees: float
    scale: float
    crop: tuple[float, float]
    crop_at: tuple[float, float]
    elastic: float
    elastic_sigma: float
    elastic_seed: int
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]
    gamma: tuple[float, ...]
    noise: float
    noise_seed: int
    sources: tuple[int, ...]
    rank: int = 2
    tilt_degrees: tuple[float, float] = (0.0, 0.0)
    bias: tuple[float, ...] = ()
    bias_seed: int = 0
    blur: tuple[float, ...] = ()
    erase: tuple[float, ...] = ()
    erase_tumour: bool = False
    erase_at: float = 0.0
    erase_levels: tuple[float, ...] = ()
    fade: float = 0.0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `dataclasses.asdict`, also after conversion to JSON and back."""
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**given)

    def with_neighbours(self, neighbours: int) -> Self:
        """Same augmentation for slices with their neighbours as further channels (2.5D)."""
        times, channels = 2 * neighbours + 1, len(self.sources)
        return replace(
            self,
            brightness=self.brightness * times,
            contrast=self.contrast * times,
            gamma=self.gamma * times,
            bias=self.bias * times,
            blur=self.blur * times,
            erase_levels=self.erase_levels * times,
            sources=tuple(slice_ * channels + source for slice_ in range(times) for source in self.sources),
        )


def case_rng(seed: int, case: str, copy: int) -> np.random.Generator:
    """Random generator of one copy of one case, independent of the order in which copies are made.

    Args:
        seed: not negative.
        case: the case's id.
        copy: number of the copy, from 1.
    """
    name = int.from_bytes(sha256(case.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, name, copy])


def draw(config: AugmentConfig, rng: np.random.Generator, channels: int = 4) -> Augmentation:
    """Draw a random augmentation.

    The number of draws does not depend on the config: with one change switched off the others stay the same. Geometry and
    noise are drawn before all that is drawn per channel: they do not depend on the number of channels.

    Args:
        config: largest changes and their probability.
        rng: is advanced.
        channels: of the images.
    """
    probability = config.probability or 0.0
    amounts = partial(_amounts, rng, probability)
    flips = tuple(axis for axis in AXES if rng.random() < probability and axis in config.flips)
    rotation = float(amounts(config.rotate_degrees))
    scale = 1 + float(amounts(config.scale))
    crop = 1 - np.abs(amounts(config.crop, 2))
    crop_at = (1 - crop) / 2 * rng.uniform(-1, 1, 2)
    elastic = bool(rng.random() < probability) * config.elastic
    elastic_seed, noise_seed = (int(value) for value in rng.integers(LARGEST_SEED, size=2))
    noise = abs(float(amounts(config.noise)))
    tilts = amounts(config.tilt_degrees, 2)
    brightness = amounts(config.brightness, channels)
    contrast = 1 + amounts(config.contrast, channels)
    gamma = 1 + amounts(config.gamma, channels)
    filled = rng.random(channels) < config.fill
    later = {**_scanner(config, rng, probability, channels), **_erasing(config, rng, probability, channels)}
    fade = abs(float(amounts(config.fade)))
    return Augmentation(
        rank=config.rank,
        flips=flips,
        rotate_degrees=rotation,
        tilt_degrees=(float(tilts[0]), float(tilts[1])),
        scale=scale,
        crop=(float(crop[0]), float(crop[1])),
        crop_at=(float(crop_at[0]), float(crop_at[1])),
        elastic=elastic,
        elastic_sigma=config.elastic_sigma,
        elastic_seed=elastic_seed,
        brightness=tuple(brightness.tolist()),
        contrast=tuple(contrast.tolist()),
        gamma=tuple(gamma.tolist()),
        noise=noise,
        noise_seed=noise_seed,
        sources=tuple(config.fill_from if fill else channel for channel, fill in enumerate(filled)),
        fade=fade,
        **later,
    )


def _amounts(rng: np.random.Generator, probability: float, largest: float, count: int | None = None) -> np.ndarray:
    """Uniform from -largest to largest; all 0 where the change does not happen."""
    happens = bool(rng.random() < probability)
    return np.asarray(happens * largest * rng.uniform(-1, 1, count) + 0.0)  # + 0.0 makes 0 of -0


def _scanner(config: AugmentConfig, rng: np.random.Generator, probability: float, channels: int) -> dict[str, Any]:
    """Bias field and blur, as from another scanner."""
    seed = int(rng.integers(LARGEST_SEED))
    bias = _amounts(rng, probability, config.bias, channels)
    blur = np.abs(_amounts(rng, probability, config.blur, channels))
    changes: dict[str, Any] = {"bias": tuple(bias.tolist()), "bias_seed": seed} if bias.any() else {}
    return changes | ({"blur": tuple(blur.tolist())} if blur.any() else {})


def _erasing(config: AugmentConfig, rng: np.random.Generator, probability: float, channels: int) -> dict[str, Any]:
    """Ellipsoid that is erased."""
    shares = np.abs(_amounts(rng, probability, config.erase, 3))
    in_tumour, at = bool(rng.random() < 0.5), float(rng.random())
    levels = tuple(rng.random(channels).tolist())
    if not shares.any():
        return {}
    return {"erase": tuple(shares.tolist()), "erase_tumour": in_tumour, "erase_at": at, "erase_levels": levels}
