"""Volumes that are turned, scaled, tilted, cropped and bent: places, and what is read there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_prep.augmentation import spatial
from data_prep.augmentation.apply import AugmentConfig, apply, draw
from data_prep.augmentation.spatial import coordinates, is_warped, sample
from data_prep.grid.geometry import cut_window

SHAPE = (12, 26, 22)
STILL = draw(AugmentConfig(rank=3, probability=0), np.random.default_rng(0), 2)
FLIPS = [(), ("x",), ("y",), ("z",), ("z", "y", "x")]


def middle_of(shape):
    return tuple((length - 1) / 2 for length in shape)


def warped(augmentation, image, label, spacing_mm=None):
    """A whole volume, warped about its middle."""
    return sample(image, label, coordinates(augmentation, label.shape, middle_of(label.shape), spacing_mm))


def waves(shape=SHAPE, channels=2, seed=0):
    """A smooth image: waves of 10 voxels and more along each axis, around 0.5."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(length) for length in shape], indexing="ij")
    pictures = []
    for _ in range(channels):
        phases = [np.sin(2 * np.pi * (axis / rng.uniform(10, 20) + rng.random())) for axis in axes]
        pictures.append(0.5 + 0.15 * sum(phases))
    return np.stack(pictures, axis=-1).astype(np.float32)


def noise(shape=SHAPE, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 1, (*shape, channels)).astype(np.float32), (1 << rng.integers(0, 4, shape)).astype(np.uint8)


def clear(places):
    """Where the nearest voxel is no matter of rounding."""
    return (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=0)


@st.composite
def geometries(draw_from, rank=None, elastic=True, flips=True):
    """Any augmentation's geometry."""
    chosen = rank or draw_from(st.sampled_from([2, 3]))
    angle = st.floats(-180, 180)
    shares = draw_from(st.tuples(*[st.floats(0.5, 1)] * 2))
    return replace(
        STILL,
        rank=chosen,
        flips=draw_from(st.sampled_from(FLIPS)) if flips else (),
        rotate_degrees=draw_from(angle),
        tilt_degrees=draw_from(st.tuples(angle, angle)) if chosen == 3 else (0.0, 0.0),
        scale=draw_from(st.floats(0.5, 1.5)),
        crop=shares,
        crop_at=tuple((1 - share) / 2 * draw_from(st.floats(-1, 1)) for share in shares),
        elastic=draw_from(st.sampled_from([0.0, 2.0])) if elastic else 0.0,
        elastic_sigma=draw_from(st.floats(2, 8)),
        elastic_seed=draw_from(st.integers(0, 100)),
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("flips", FLIPS)
def test_flips_alone_are_those_of_arrays(flips, dtype):
    image, label = noise()
    image = np.rint(image * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    still = replace(STILL, flips=flips)
    found, classes = warped(still, image, label)
    np.testing.assert_array_equal(found, np.flip(image, axes) / np.float32(255 if dtype == np.uint8 else 1))
    np.testing.assert_array_equal(classes, np.flip(label, axes))
    assert (found.dtype, classes.dtype) == (np.float32, np.uint8)
    assert not is_warped(still)


@pytest.mark.parametrize(
    "changes",
    [{"rotate_degrees": 1.0}, {"tilt_degrees": (0.0, 1.0)}, {"scale": 1.1}, {"crop": (1.0, 0.9)}, {"elastic": 1.0}],
)
def test_whatever_moves_voxels_is_a_warp(changes):
    assert is_warped(replace(STILL, **changes))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(augmentation=geometries(rank=2, elastic=False), turned=st.booleans())
def test_in_the_plane_it_agrees_with_what_copies_are_made_by(augmentation, turned):
    """Places are rounded to 1/32 of a pixel by both, so they agree but where rounding falls otherwise.

    Copies shift a crop by whole pixels of the enlarged picture alone, and enlarge it before it is turned, here after: a
    difference where its sides are enlarged unequally.
    """
    if turned:
        augmentation = replace(augmentation, crop=augmentation.crop[:1] * 2)
    else:
        augmentation = replace(augmentation, rotate_degrees=0.0)
    pixels = [augmentation.scale / share * side for share, side in zip(augmentation.crop, SHAPE[1:], strict=True)]
    whole = [round(at * unit) for at, unit in zip(augmentation.crop_at, pixels, strict=True)]
    shift = tuple(1.0001 * steps / unit for steps, unit in zip(whole, pixels, strict=True))  # cut to whole ones, not below
    augmentation = replace(augmentation, crop_at=shift)
    image = waves()
    label = np.full(SHAPE, 1, np.uint8)
    expected, bits = apply(augmentation, image, label, unit_range=False)
    found, classes = warped(augmentation, image, label)
    inside = _eroded((bits > 0) & (classes > 0))
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.01)
    near = clear(coordinates(augmentation, SHAPE, middle_of(SHAPE)))
    np.testing.assert_array_equal(classes[near], bits[near])


def _eroded(mask):
    """A mask without the voxels at its rim, where pictures are mixed with what lies outside."""
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask, np.ones((1, 5, 5)))


def test_the_pixels_of_a_rotation_are_those_of_albumentations():
    image, label = noise()
    turned = replace(STILL, rank=2, rotate_degrees=33.0, scale=1.2)
    expected, bits = apply(turned, image, label, unit_range=False)
    found, classes = warped(turned, image, label)
    np.testing.assert_allclose(found, expected, atol=0.8 / 16)  # steps of 0.8 between pixels, places of 1/32
    assert np.abs(found - expected).mean() < 0.003
    assert np.mean(classes != bits) < 0.01


@settings(max_examples=25, deadline=None, derandomize=True)
@given(augmentation=geometries(), channels=st.sampled_from([1, 2, 5]))
def test_opencv_and_scipy_agree_within_a_32nd_of_a_voxel(augmentation, channels):
    image = waves(channels=channels)
    steps = [np.abs(np.diff(np.pad(image, [(1, 1)] * 3 + [(0, 0)]), axis=axis)).max() for axis in range(3)]
    label = noise()[1]
    places = coordinates(augmentation, (6, 20, 18), middle_of(SHAPE))
    results = []
    for take in (spatial._take_opencv, spatial._take_scipy):
        found, classes = np.zeros((6, 20, 18, channels), np.float32), np.zeros((6, 20, 18), np.uint8)
        take(image, label, places, found, classes)
        results.append((found, classes))
    (one, bits), (other, classes) = results
    assert np.abs(one - other).max() <= sum(steps) / 32 + 1e-5
    near = clear(places)
    np.testing.assert_array_equal(bits[near], classes[near])


def test_without_opencv_scipy_does_it(monkeypatch):
    image, label = waves(), noise()[1]
    turned = replace(STILL, rotate_degrees=20.0, tilt_degrees=(10.0, 5.0))
    expected = warped(turned, image, label)
    monkeypatch.setattr(spatial, "_has_opencv", lambda: False)
    found = warped(turned, image, label)
    np.testing.assert_allclose(found[0], expected[0], atol=0.1)
    assert not np.array_equal(found[0], expected[0])  # it was another way indeed
    assert np.mean(found[1] == expected[1]) > 0.97


@pytest.mark.parametrize("sigma", [3.0, 6.0])
@pytest.mark.parametrize("rank", [2, 3])
def test_elastic_displacement_is_as_large_and_as_smooth_as_stated(rank, sigma):
    size = (56, 60, 64) if rank == 3 else (2, 180, 200)
    fields = []
    for seed in range(12):
        bent = replace(STILL, rank=rank, elastic=2.0, elastic_sigma=sigma, elastic_seed=seed)
        fields.append(coordinates(bent, size, middle_of(size)) - coordinates(STILL, size, middle_of(size)))
    fields = np.stack(fields)
    axes = (0, 1, 2) if rank == 3 else (1, 2)
    for axis in axes:
        assert np.std(fields[:, axis]) == pytest.approx(2.0, rel=0.15)
    if rank == 2:
        assert not fields[:, 0].any()
        np.testing.assert_array_equal(fields, np.broadcast_to(fields[:, :, :1], fields.shape))
    # White noise that a Gaussian of this sigma has smoothed correlates by exp(-d^2 / (4 sigma^2)) over a distance d.
    for distance in (round(sigma), round(2 * sigma)):
        left, right = fields[:, 1, :, :-distance], fields[:, 1, :, distance:]
        found = np.mean(left * right) / np.mean(fields[:, 1] ** 2)
        assert found == pytest.approx(np.exp(-(distance**2) / (4 * sigma**2)), abs=0.12)


def test_an_elastic_field_is_named_by_its_seed():
    bent = replace(STILL, elastic=2.0, elastic_seed=3)
    places = [coordinates(replace(bent, elastic_seed=seed), SHAPE, middle_of(SHAPE)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.allclose(places[0], places[2])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(augmentation=geometries())
def test_beyond_the_volume_there_is_nothing_and_it_is_not_annotated(augmentation):
    image, label = np.ones((*SHAPE, 1), np.float32), np.ones(SHAPE, np.uint8)
    places = coordinates(augmentation, (10, 30, 28), middle_of(SHAPE))
    found, classes = sample(image, label, places)
    lengths = np.array(SHAPE)[:, None, None, None]
    outside = ((places < -1.1) | (places > lengths + 0.1)).any(axis=0)
    inside = ((places > 0) & (places < lengths - 1)).all(axis=0)
    assert not found[outside].any()
    assert not classes[outside].any()
    np.testing.assert_allclose(found[inside], 1, atol=1e-5)
    assert (classes[inside] == 1).all()


def test_a_window_that_lies_wholly_beyond_the_volume_is_empty():
    image, label = noise()
    for middle in ((100.0, 10.0, 10.0), (5.0, -100.0, 10.0), (5.0, 10.0, 100.0)):
        found, classes = sample(image, label, coordinates(STILL, (4, 8, 8), middle))
        assert (found.shape, classes.shape) == ((4, 8, 8, 2), (4, 8, 8))
        assert not found.any()
        assert not classes.any()


@pytest.mark.parametrize(
    ("turn", "spacing_mm", "before", "after"),
    [
        # A bar of 12 mm along x, turned a quarter about y, lies along z, where voxels are 3 mm apart.
        ({"tilt_degrees": (90.0, 0.0)}, (3.0, 1.0, 1.0), (1, 1, 13), (5, 1, 3)),
        # And one along y, turned about x; its 3 mm along z are less than two pixels of 2 mm.
        ({"tilt_degrees": (0.0, 90.0)}, (3.0, 2.0, 1.0), (1, 7, 1), (5, 1, 1)),
        # Within the slice, from 1 mm to 2 mm.
        ({"rotate_degrees": 90.0}, (3.0, 2.0, 1.0), (1, 1, 13), (1, 7, 1)),
        ({"tilt_degrees": (90.0, 0.0)}, None, (1, 1, 13), (13, 1, 1)),
        ({"tilt_degrees": (0.0, -90.0)}, None, (13, 1, 1), (1, 13, 1)),
    ],
)
def test_a_turned_bar_keeps_its_length_in_millimetres(turn, spacing_mm, before, after):
    shape = (21, 21, 21)

    def bar(sides):
        label = np.zeros(shape, np.uint8)
        label[tuple(slice(10 - side // 2, 11 + side // 2) for side in sides)] = 1
        return label

    image, label = bar(before)[..., None].astype(np.float32), bar(before)
    found, classes = warped(replace(STILL, **turn), image, label, spacing_mm)
    np.testing.assert_array_equal(classes, bar(after))
    np.testing.assert_array_equal(found[..., 0] > 0.5, bar(after))


def test_turns_go_the_way_that_the_picture_says():
    image, label = np.zeros((21, 21, 21, 1), np.float32), np.ones((21, 21, 21), np.uint8)
    image[10, 10, 16] = 1
    turned = warped(replace(STILL, rotate_degrees=90.0), image, label)[0]
    assert np.argwhere(turned[..., 0] > 0.5).tolist() == [[10, 4, 10]]  # counter-clockwise in the picture, as of rank 2
    plane = apply(replace(STILL, rank=2, rotate_degrees=90.0, sources=(0,), brightness=(0.0,)), image, label, unit_range=False)[
        0
    ]
    assert np.argwhere(plane[..., 0] > 0.5).tolist() == [[10, 4, 10]]


@pytest.mark.parametrize(("rank", "depth"), [(2, 4), (3, 8)])
def test_scale_enlarges_slices_or_volumes(rank, depth):
    label = np.zeros((16, 32, 32), np.uint8)
    label[6:10, 12:20, 12:20] = 1
    found, classes = warped(replace(STILL, rank=rank, scale=2.0), label[..., None].astype(np.float32), label)
    rows = [int(classes.any(axis=tuple({0, 1, 2} - {axis})).sum()) for axis in range(3)]
    assert rows == [depth, 16, 16]
    assert found[8, 16, 16, 0] == 1


@settings(max_examples=20, deadline=None, derandomize=True)
@given(augmentation=geometries())
def test_image_and_label_stay_aligned(augmentation):
    """An image that shows the annotation still shows it afterwards, but for voxels between two classes."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, length) for length in SHAPE], indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    label = np.select([radius < 0.4, radius < 0.7], [4, 2], 1).astype(np.uint8)
    found, classes = warped(augmentation, label[..., None].astype(np.float32), label)
    whole = np.isin(found[..., 0], [1, 2, 4]) & (classes > 0)
    assume(whole.sum() > 100)
    np.testing.assert_array_equal(found[..., 0][whole], classes[whole])
    between = (classes > 0) & ~whole
    assert (np.abs(found[..., 0] - classes)[between] <= 3.5).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(augmentation=geometries(elastic=False, flips=False), start=st.tuples(*[st.integers(-4, 16)] * 3))
def test_a_window_is_what_the_whole_volume_shows_there(augmentation, start):
    """Of a window whose middle is the volume's, warped as a whole and cut; what lies around it is read as well."""
    image, label = waves(), noise()[1]
    size = (6, 12, 10)
    plain = replace(augmentation, crop=(1.0, 1.0), crop_at=(0.0, 0.0))  # a crop is of the window's own sides
    offset = tuple((whole - side) // 2 for whole, side in zip(SHAPE, size, strict=True))
    whole = warped(plain, image, label)
    places = coordinates(plain, size, middle_of(SHAPE))
    cut = sample(image, label, places)
    np.testing.assert_allclose(cut[0], cut_window(whole[0], offset, size), atol=0.04)
    near = clear(places)
    np.testing.assert_array_equal(cut[1][near], cut_window(whole[1], offset, size)[near])
    still = sample(image, label, coordinates(STILL, size, tuple(s + (n - 1) / 2 for s, n in zip(start, size, strict=True))))
    np.testing.assert_array_equal(still[0], cut_window(image, start, size))
    np.testing.assert_array_equal(still[1], cut_window(label, start, size))


class Watched(np.ndarray):
    """An array that keeps how much of it was read."""

    def __getitem__(self, key):
        part = super().__getitem__(key)
        self.read.append(np.size(part))
        return part

    def __array_finalize__(self, other):
        self.read = [] if other is None else getattr(other, "read", [])


def test_only_the_box_around_a_window_is_read():
    shape = (40, 60, 60)
    image = np.random.default_rng(0).random((*shape, 1), np.float32)
    label = np.ones(shape, np.uint8)
    watched = image.view(Watched)
    watched.read = []
    turned = replace(STILL, rotate_degrees=45.0)
    sample(watched, label, coordinates(turned, (4, 10, 10), middle_of(shape)))
    assert max(watched.read) <= 5 * 17 * 17  # the diagonal of ten pixels is 14.2
