"""Augmentation, arrays in and arrays out: `draw` chooses the numbers, `apply` does what they say, so that any augmentation
can be printed, stored and replayed.

Geometry is the same for all channels and the annotation. Of rank 2 it is the same for all slices too: mirrored as views, which
is exact in any dtype, then rotated, scaled and bent in the plane of the slices by albumentations. Of rank 3 volumes are turned,
scaled and bent as a whole (`data_prep.augmentation.spatial`). Intensities are changed by `data_prep.augmentation.intensity`.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from common.errors import UserError
from data_prep.augmentation.intensity import IntensityChanges, from_float, to_float
from data_prep.augmentation.spatial import AXES, coordinates, is_warped, sample

if TYPE_CHECKING:
    from albumentations import Compose

SLICES_AT_ONCE = 16  # bounds the float32 copies that are alive at a time
LARGEST_SEED = 2**31 - 1
Block = tuple[slice, np.ndarray, np.ndarray]


@dataclass
class AugmentConfig:
    """What may be changed in a picture or volume, and how far; 0 switches a change off."""

    rank: Literal[2, 3] = 2
    """2: rotation, scale and elastic deformation in the plane of the slices, the same for all of them; 3: of the volume."""
    flips: list[str] = field(default_factory=lambda: ["x", "y"])
    """Axes that may be mirrored: x (left-right), y (front-back, up-down in the picture), z (along the slices)."""
    rotate_degrees: float = 15.0
    """Largest rotation in the plane of the slices, either way, in degrees."""
    tilt_degrees: float = 0.0
    """Largest rotation about the axes y and x, out of the plane of the slices, either way, in degrees; needs `rank: 3`."""
    scale: float = 0.1
    """Largest relative change of size: 0.1 draws factors from 0.9 to 1.1."""
    crop: float = 0.0
    """Random resized crop: a window whose sides are shorter than the picture's by up to this share, drawn for each side, is
    enlarged to the whole picture."""
    elastic: float = 1.0
    """Elastic deformation: standard deviation of the displacement along each axis, in pixels."""
    elastic_sigma: float = 10.0
    """Smoothness of the elastic deformation: Gaussian sigma, in pixels, at least 1."""
    brightness: float = 0.1
    """Largest shift of a channel, in standard deviations of its intensities inside the brain."""
    contrast: float = 0.1
    """Largest relative change of a channel's contrast about its mean inside the brain."""
    gamma: float = 0.1
    """Largest relative change of gamma (intensity ** gamma); only where intensities run from 0 to 1."""
    noise: float = 0.05
    """Largest standard deviation of Gaussian noise, in standard deviations of a channel's intensities inside the brain."""
    fill: float = 0.0
    """Probability that a channel is replaced by the channel `fill_from`, as data sets fill up missing sequences."""
    fill_from: int = 0
    """The channel that stands in for others, counted from 0."""
    probability: float | None = 0.5
    """Probability of each flip and of each change; 0 or null switches all of them off (but not `fill`, which has its own)."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def is_off(self) -> bool:
        """Whether nothing can be changed."""
        return not self.probability and self.fill == 0


@dataclass
class CopiesConfig(AugmentConfig):
    """Augmented copies: how many of each training case, and what may be changed in them; 0 switches a change off."""

    copies: int = 0
    """Augmented copies stored beside each training case; 1 doubles the training cases."""


@dataclass(frozen=True)
class Augmentation:
    """One drawn augmentation: numbers and names only, so `dataclasses.asdict` of it is JSON.

    Attributes:
        flips: the axes that are mirrored, of z, y, x.
        rotate_degrees: rotation in the plane about the middle of the picture.
        scale: factor of size; 1 changes nothing.
        crop: height and width of the window that is enlarged to the picture, as shares of it; 1 changes nothing.
        crop_at: where its middle lies below and right of the picture's, as shares of the picture.
        elastic: standard deviation of the elastic displacement in pixels; 0 changes nothing.
        elastic_sigma: its smoothness in pixels.
        elastic_seed: names its field.
        brightness: shift per channel, in standard deviations of the channel.
        contrast: factor per channel; 1 changes nothing.
        gamma: exponent per channel; 1 changes nothing.
        noise: standard deviation of the noise, in standard deviations of the channel.
        noise_seed: names the noise.
        sources: the channel that each channel's picture is taken from.
        rank: 2 for the plane of the slices, 3 for the volume.
        tilt_degrees: rotations about y and about x.
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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, also after a way through JSON."""
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**given)

    def with_neighbours(self, neighbours: int) -> Self:
        """The same augmentation of slices that carry their neighbours as further channels (2.5D)."""
        times, channels = 2 * neighbours + 1, len(self.sources)
        return replace(
            self,
            brightness=self.brightness * times,
            contrast=self.contrast * times,
            gamma=self.gamma * times,
            sources=tuple(place * channels + source for place in range(times) for source in self.sources),
        )


def case_rng(seed: int, case: str, copy: int) -> np.random.Generator:
    """The generator of one copy of one case: the same wherever and in whatever order copies are made.

    Args:
        seed: not negative.
        case: the case's id.
        copy: number of the copy, from 1.
    """
    name = int.from_bytes(sha256(case.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, name, copy])


def draw(config: AugmentConfig, rng: np.random.Generator, channels: int = 4) -> Augmentation:
    """Draw an augmentation for images of so many channels.

    The generator is advanced by the same number of draws whatever the config, so that switching one change off leaves the
    others as they were.
    """
    flips = tuple(axis for axis in AXES if _happens(config, rng) and axis in config.flips)
    rotation = float(_amounts(config, rng, config.rotate_degrees))
    scale = 1 + float(_amounts(config, rng, config.scale))
    crop = 1 - np.abs(_amounts(config, rng, config.crop, 2))
    crop_at = (1 - crop) / 2 * rng.uniform(-1, 1, 2)
    elastic = _happens(config, rng) * config.elastic
    elastic_seed, noise_seed = (int(value) for value in rng.integers(LARGEST_SEED, size=2))
    noise = abs(float(_amounts(config, rng, config.noise)))
    # What is drawn per channel comes last, so that geometry does not depend on their number.
    brightness = _amounts(config, rng, config.brightness, channels)
    contrast = 1 + _amounts(config, rng, config.contrast, channels)
    gamma = 1 + _amounts(config, rng, config.gamma, channels)
    filled = rng.random(channels) < config.fill
    tilts = _amounts(config, rng, config.tilt_degrees, 2)
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
    )


def apply(
    augmentation: Augmentation,
    image: np.ndarray,
    label: np.ndarray,
    *,
    unit_range: bool,
    spacing_mm: tuple[float, float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Do what an augmentation says; the inputs are left as they are.

    Args:
        augmentation: from `draw`.
        image: (Z, H, W, C) float16, float32, or uint8 (0..255 stand for 0..1); 0 in all channels outside the brain.
        label: (Z, H, W) uint8, bit-packed one-hot; 0 is not annotated.
        unit_range: whether intensities run from 0 to 1 (min-max) and must stay there; uint8 images always do. False leaves
            intensities unbounded (z-scores) and skips gamma.
        spacing_mm: distance of voxels (z, y, x), for tilts; None: all equal.

    Returns:
        Image and label, new arrays in the dtypes and shapes given. Where the picture was drawn from beyond its border the
        image is 0 and the label 0. Voxels outside the brain stay 0.

    Raises:
        ValueError: shapes or dtypes are others, or the augmentation was drawn for another number of channels.
    """
    _check_arrays(augmentation, image, label)
    if augmentation.sources != tuple(range(image.shape[-1])):
        image = image[..., list(augmentation.sources)]
    changes = IntensityChanges.of(augmentation, image, unit_range or image.dtype == np.uint8)
    new_image, new_label = np.empty_like(image, order="C"), np.empty_like(label, order="C")
    blocks = _volume_blocks if augmentation.rank == 3 and is_warped(augmentation) else _plane_blocks
    for block, pixels, bits in blocks(augmentation, image, label, spacing_mm):
        if changes is not None:
            changes.change(pixels, block.start)
        new_image[block], new_label[block] = from_float(pixels, image.dtype), bits
    return new_image, new_label


def _plane_blocks(augmentation: Augmentation, image: np.ndarray, label: np.ndarray, spacing_mm: Any) -> Iterator[Block]:
    """The slices, mirrored and warped in their plane, a block at a time: float32 images and labels."""
    mirror = tuple(slice(None, None, -1 if axis in augmentation.flips else 1) for axis in AXES)
    image, label = image[mirror], label[mirror]
    warps = _warps(augmentation)
    for first in range(0, len(image), SLICES_AT_ONCE):
        block = slice(first, first + SLICES_AT_ONCE)
        pixels, bits = to_float(image[block]), label[block]
        yield block, *((pixels, bits) if warps is None else _warp(warps, augmentation.elastic_seed, pixels, bits))


def _volume_blocks(augmentation: Augmentation, image: np.ndarray, label: np.ndarray, spacing_mm: Any) -> Iterator[Block]:
    """The volume, warped as a whole, a block of slices at a time: float32 images and labels."""
    size = (image.shape[0], image.shape[1], image.shape[2])
    middle = ((size[0] - 1) / 2, (size[1] - 1) / 2, (size[2] - 1) / 2)
    places = coordinates(augmentation, size, middle, spacing_mm)
    for first in range(0, len(image), SLICES_AT_ONCE):
        block = slice(first, first + SLICES_AT_ONCE)
        yield block, *sample(image, label, places[:, block])


def _happens(config: AugmentConfig, rng: np.random.Generator) -> bool:
    return bool(rng.random() < (config.probability or 0.0))


def _amounts(config: AugmentConfig, rng: np.random.Generator, largest: float, count: int | None = None) -> np.ndarray:
    """Numbers from -largest to largest, all 0 where the change does not happen."""
    happens = _happens(config, rng)
    return np.asarray(happens * largest * rng.uniform(-1, 1, count) + 0.0)  # + 0.0 makes 0 of -0


def _warp(warps: "Compose", seed: int, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate, scale and bend a block of slices (float32) and their labels."""
    warps.set_random_seed(seed)  # for every block, so that the elastic field is the same in all of them
    warped = warps(volume=np.ascontiguousarray(image), mask3d=np.ascontiguousarray(label))
    return warped["volume"], warped["mask3d"]


def _warps(augmentation: Augmentation) -> "Compose | None":
    """The augmentation's warps as an albumentations pipeline, or None where there are none.

    Nothing in it is left to chance but the elastic field, which has a seed. It is built anew for every use: a shared pipeline
    is not safe among threads.
    """
    turned = augmentation.rotate_degrees != 0 or augmentation.scale != 1 or augmentation.crop != (1, 1)
    if not turned and augmentation.elastic == 0:
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # cases are worked on in parallel already
    transforms: list[Any] = []
    if turned:
        transforms.append(_affine(augmentation))
    if augmentation.elastic:
        # Uniform noise on -1..1, smoothed: its standard deviation falls from 1/sqrt(3) by 1 / (2 sqrt(pi) sigma).
        sigma = augmentation.elastic_sigma
        alpha = augmentation.elastic * math.sqrt(3) * 2 * math.sqrt(math.pi) * sigma
        transforms.append(albumentations.ElasticTransform(alpha=alpha, sigma=sigma, noise_distribution="uniform", p=1))
    return albumentations.Compose(transforms)


def _affine(augmentation: Augmentation) -> Any:
    """Rotation, scale and crop as one albumentations transform."""
    import albumentations

    degrees = augmentation.rotate_degrees
    y, x = (augmentation.scale / share for share in augmentation.crop)
    down, right = augmentation.crop_at
    shift = {"x": -right * x, "y": -down * y}  # brings the window's middle to the picture's
    return albumentations.Affine(
        rotate=(degrees, degrees),
        scale={"x": (x, x), "y": (y, y)},
        translate_percent={axis: (share, share) for axis, share in shift.items()} if any(shift.values()) else None,
        p=1,
    )


def _check(config: AugmentConfig) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name != "flips" and not 0 <= (value or 0) < math.inf:
            raise UserError(f"--augment.{item.name}: expected a number that is not negative; received {value}")
    strangers = [axis for axis in config.flips if axis not in AXES]
    if strangers:
        raise UserError(f"--augment.flips: expected axes out of x, y, z; received {strangers}")
    for name in ("probability", "fill"):
        if (getattr(config, name) or 0) > 1:
            raise UserError(f"--augment.{name}: expected a number from 0 to 1; received {getattr(config, name)}")
    for name in ("scale", "crop", "contrast", "gamma"):
        if getattr(config, name) >= 1:
            raise UserError(f"--augment.{name}: expected a number below 1; received {getattr(config, name)}")
    if config.elastic_sigma < 1:
        raise UserError(f"--augment.elastic_sigma: expected at least 1 pixel; received {config.elastic_sigma}")
    if config.tilt_degrees and config.rank == 2:
        raise UserError("--augment.tilt_degrees: turns volumes, so it needs --augment.rank 3; received rank 2")


def _check_arrays(augmentation: Augmentation, image: np.ndarray, label: np.ndarray) -> None:
    if image.ndim != 4 or image.shape[:3] != label.shape:
        raise ValueError(f"expected an image (Z, H, W, C) and a label (Z, H, W); received {image.shape} and {label.shape}")
    if image.dtype not in (np.float16, np.float32, np.uint8) or label.dtype != np.uint8:
        raise ValueError(
            f"expected a float16, float32 or uint8 image and a uint8 label; received {image.dtype} and {label.dtype}"
        )
    if len(augmentation.brightness) != image.shape[-1]:
        drawn = len(augmentation.brightness)
        raise ValueError(f"the augmentation was drawn for {drawn} channels; received an image of {image.shape[-1]}")
