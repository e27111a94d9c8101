"""Synthetic scans, volumes of coordinates and augmentations, for the tests of augmentation."""

import numpy as np

from data_prep.augmentation.draw import Augmentation, AugmentConfig

EVERYTHING = AugmentConfig(probability=1.0, bias=0.2, blur=1.0, erase=0.3, fade=0.5)
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


def scan(dtype=np.float16, channels=4, seed=0, shape=SHAPE):
    """A brain-like ball of noise in zeros, and an annotation of four classes in it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    image = rng.uniform(0.1, 0.9, (*shape, channels)) * (radius < 0.9)[..., None]
    label = np.select([radius < 0.2, radius < 0.4, radius < 0.6], [8, 4, 2], 1).astype(np.uint8)
    if dtype == np.uint8:
        return np.rint(image * 255).astype(np.uint8), label
    return image.astype(dtype), label


def coordinate_volume(shape):
    """A volume whose channels are the coordinates (z, y, x) + 1 of each voxel, and a label computed from them.

    After a spatial transform `image - 1` are the source coordinates of each voxel.
    """
    places = np.stack(np.meshgrid(*[np.arange(length) for length in shape], indexing="ij"), axis=-1)
    return (places + 1).astype(np.float32), label_at(places)


def label_at(places):
    """The label of `coordinate_volume` at voxels (..., 3)."""
    return ((7 * places[..., 0] + 13 * places[..., 1] + 29 * places[..., 2]) % 251 + 1).astype(np.uint8)


def analytic_coordinates(augmentation, size, middle, spacing_mm=(1.0, 1.0, 1.0)):
    """Source coordinates (z, y, x, 3) of an augmentation without its elastic field, written out by hand."""
    z, y, x = np.meshgrid(*[np.arange(length) - (length - 1) / 2 for length in size], indexing="ij")
    along_z = augmentation.scale if augmentation.rank == 3 else 1.0
    z = z / along_z * spacing_mm[0]
    y = (y * augmentation.crop[0] / augmentation.scale + augmentation.crop_at[0] * size[1]) * spacing_mm[1]
    x = (x * augmentation.crop[1] / augmentation.scale + augmentation.crop_at[1] * size[2]) * spacing_mm[2]
    about_z, (about_y, about_x) = np.radians(augmentation.rotate_degrees), np.radians(augmentation.tilt_degrees)
    z, y = np.cos(about_x) * z + np.sin(about_x) * y, np.cos(about_x) * y - np.sin(about_x) * z
    z, x = np.cos(about_y) * z + np.sin(about_y) * x, np.cos(about_y) * x - np.sin(about_y) * z
    y, x = np.cos(about_z) * y + np.sin(about_z) * x, np.cos(about_z) * x - np.sin(about_z) * y
    offsets = [offset / step for offset, step in zip((z, y, x), spacing_mm, strict=True)]
    signs = [-1 if axis in augmentation.flips else 1 for axis in "zyx"]
    return np.stack([m + sign * offset for m, sign, offset in zip(middle, signs, offsets, strict=True)], axis=-1)


def assert_moved_exactly(image, label, expected, shape):
    """A transformed `coordinate_volume` shows everywhere inside the volume what stands at `expected`, label included.

    OpenCV rounds coordinates to 1/32 of a pixel.
    """
    last = np.array(shape) - 1
    inside = ((expected > -1e-6) & (expected < last + 1e-6)).all(axis=-1)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(image[inside] - 1, expected[inside], atol=1 / 32 + 1e-4)
    clear = inside & (np.abs(expected % 1 - 0.5) > 1 / 16).all(axis=-1)
    np.testing.assert_array_equal(label[clear], label_at(np.rint(expected[clear]).astype(int)))
    outside = ((expected < -1.1) | (expected > last + 1.1)).any(axis=-1)
    assert not image[outside].any()
    assert not label[outside].any()


def assert_elastic(displacements, elastic, axes):
    """Displacements (n, z, y, x, 3) have the standard deviation `elastic` near the edges of the slices as in their middle.

    Args:
        displacements: in voxels, of many random fields.
        elastic: expected standard deviation per axis.
        axes: those that are displaced; along the others there is no displacement.
    """
    height, width = displacements.shape[2:4]
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    edge = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    for low, high in ((0, 5), (5, 15), (15, max(height, width))):
        band = (edge >= low) & (edge < high)
        for axis in range(3):
            rms = np.sqrt(np.mean(displacements[:, :, band, axis] ** 2))
            if axis in axes:
                np.testing.assert_allclose(rms, elastic, rtol=0.1, err_msg=f"axis {axis}, {low} to {high} pixels from the edge")
            else:
                assert rms < 1e-3
    assert np.abs(displacements).max() < 5.5 * elastic


def waves(shape, channels=2, seed=0):
    """A smooth image: waves of 10 voxels and more along each axis, around 0.5."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(length) for length in shape], indexing="ij")
    pictures = []
    for _ in range(channels):
        phases = [np.sin(2 * np.pi * (axis / rng.uniform(10, 20) + rng.random())) for axis in axes]
        pictures.append(0.5 + 0.15 * sum(phases))
    return np.stack(pictures, axis=-1).astype(np.float32)


def noise(shape, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 1, (*shape, channels)).astype(np.float32), (1 << rng.integers(0, 4, shape)).astype(np.uint8)
