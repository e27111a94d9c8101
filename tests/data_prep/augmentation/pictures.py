"""A made scan, and augmentations of it, for the tests of augmentation."""

import numpy as np

from data_prep.augmentation.apply import Augmentation, AugmentConfig

EVERYTHING = AugmentConfig(probability=1.0)
OFF = Augmentation(
    flips=(),
    rotate_degrees=0.0,
    scale=1.0,
    crop=(1.0, 1.0),
    crop_at=(0.0, 0.0),
    elastic=0.0,
    elastic_sigma=10.0,
    elastic_seed=1,
    brightness=(0.0,) * 4,
    contrast=(1.0,) * 4,
    gamma=(1.0,) * 4,
    noise=0.0,
    noise_seed=1,
    sources=(0, 1, 2, 3),
)
SHAPE = (20, 40, 36)  # more slices than are worked on at once


def scan(dtype=np.float16, channels=4, seed=0):
    """A brain-like ball of noise in zeros, and an annotation of four classes in it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    image = rng.uniform(0.1, 0.9, (*SHAPE, channels)) * (radius < 0.9)[..., None]
    label = np.select([radius < 0.2, radius < 0.4, radius < 0.6], [8, 4, 2], 1).astype(np.uint8)
    if dtype == np.uint8:
        return np.rint(image * 255).astype(np.uint8), label
    return image.astype(dtype), label
