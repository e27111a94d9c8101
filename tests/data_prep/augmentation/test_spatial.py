"""Spatial transforms: source coordinates, the elastic field, and patches read there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_prep.augmentation.draw import AugmentConfig, draw
from data_prep.augmentation.spatial import coordinates, elastic_field, is_warped, transformed_blocks
from data_prep.grid.geometry import cut_patch
from tests.data_prep.augmentation.synthetic import (
    analytic_coordinates,
    assert_elastic,
    assert_moved_exactly,
    coordinate_volume,
    noise,
    waves,
)

SHAPE = (12, 26, 22)
STILL = draw(AugmentConfig(rank=3, probability=0), np.random.default_rng(0), 2)
FLIPS = [(), ("x",), ("y",), ("z",), ("z", "y", "x")]


def middle_of(shape):
    return tuple((length - 1) / 2 for length in shape)


def transformed(augmentation, image, label, start=(0, 0, 0), size=None, at_once=64, **options):
    """A patch, or the whole volume, transformed: image and label."""
    blocks = transformed_blocks(augmentation, image, label, start, size or label.shape, slices_at_once=at_once, **options)
    _, images, labels = zip(*blocks, strict=True)
    return np.concatenate(images), np.concatenate(labels)


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


def clear(places):
    """Where the nearest voxel is no matter of rounding."""
    return (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=0)


@pytest.mark.parametrize(
    "changes",
    [{"rotate_degrees": 1.0}, {"tilt_degrees": (0.0, 1.0)}, {"scale": 1.1}, {"crop": (1.0, 0.9)}, {"elastic": 1.0}],
)
def test_all_but_flips_needs_interpolation(changes):
    assert is_warped(replace(STILL, **changes))
    assert not is_warped(replace(STILL, flips=("z", "x")))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    augmentation=geometries(elastic=False),
    spacing_mm=st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 0.8)]),
    size=st.tuples(st.integers(1, 8), st.integers(1, 20), st.integers(1, 20)),
)
def test_coordinates_are_the_analytic_ones(augmentation, spacing_mm, size):
    middle = (5.5, 12.0, 9.5)
    places = np.moveaxis(coordinates(augmentation, size, middle, spacing_mm), 0, -1)
    np.testing.assert_allclose(places, analytic_coordinates(augmentation, size, middle, spacing_mm), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("flips", FLIPS)
def test_flips_alone_are_those_of_arrays(flips, rank, dtype):
    image, label = noise(SHAPE)
    image = np.rint(image * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    for at_once in (5, 64):
        found, classes = transformed(replace(STILL, rank=rank, flips=flips), image, label, at_once=at_once)
        np.testing.assert_array_equal(found, np.flip(image, axes) / np.float32(255 if dtype == np.uint8 else 1))
        np.testing.assert_array_equal(classes, np.flip(label, axes))
        assert (found.dtype, classes.dtype) == (np.float32, np.uint8)
        assert not np.shares_memory(found, image)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("start", [(-2, 3, 4), (9, -3, 15), (4, 4, 4), (30, 0, 0)])
def test_a_flipped_patch_is_zero_outside_the_volume(start, flips, rank):
    image, label = noise(SHAPE)
    size = (5, 9, 11)
    found, classes = transformed(replace(STILL, rank=rank, flips=flips), image, label, start, size, at_once=2)
    axes = ["zyx".index(axis) for axis in flips]
    np.testing.assert_array_equal(found, np.flip(cut_patch(image, start, size), axes))
    np.testing.assert_array_equal(classes, np.flip(cut_patch(label, start, size), axes))


@pytest.mark.parametrize("flips", [(), ("z",), ("z", "x")])
@pytest.mark.parametrize("changes", [{}, {"rank": 2, "scale": 1.2}, {"rank": 3, "scale": 1.0001}])
def test_slices_outside_the_volume_repeat_its_edge_where_asked(changes, flips):
    image, label = waves(SHAPE), noise(SHAPE)[1]
    augmentation = replace(STILL, flips=flips, **changes)
    numbers = [0, 0, 0, 1, 2][:: -1 if "z" in flips else 1]
    found, classes = transformed(augmentation, image, label, (-2, 0, 0), (5, *SHAPE[1:]), repeat_edge=True)
    slices = [transformed(augmentation, image, label, (number, 0, 0), (1, *SHAPE[1:])) for number in numbers]
    np.testing.assert_allclose(found, np.concatenate([picture for picture, _ in slices]), atol=0.01)
    if not changes:
        np.testing.assert_array_equal(classes, np.concatenate([bits for _, bits in slices]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(augmentation=geometries(elastic=False), start=st.tuples(*[st.integers(-2, 6)] * 3))
def test_coordinates_of_the_source_are_read_everywhere(augmentation, start):
    """The picture of coordinates: a patch shows at each voxel the source coordinates that geometry asks for."""
    image, label = coordinate_volume(SHAPE)
    size = (7, 15, 13)
    middle = tuple(first + (length - 1) / 2 for first, length in zip(start, size, strict=True))
    expected = analytic_coordinates(augmentation, size, middle)
    inside = ((expected > 0) & (expected < np.array(SHAPE) - 1)).all(axis=-1)
    assume(inside.mean() > 0.25)
    assert_moved_exactly(*transformed(augmentation, image, label, start, size), expected, SHAPE)


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
    # White noise smoothed by a Gaussian of this sigma correlates by exp(-d^2 / (4 sigma^2)) over a distance d.
    for distance in (round(sigma), round(2 * sigma)):
        left, right = fields[:, 1, :, :-distance], fields[:, 1, :, distance:]
        found = np.mean(left * right) / np.mean(fields[:, 1] ** 2)
        assert found == pytest.approx(np.exp(-(distance**2) / (4 * sigma**2)), abs=0.12)


@pytest.mark.parametrize(("rank", "seeds"), [(2, 150), (3, 60)])
def test_the_elastic_field_is_as_large_at_the_edges_as_in_the_middle(rank, seeds):
    size = (24, 72, 64)
    drawn = [replace(STILL, rank=rank, elastic=3.0, elastic_sigma=5.0, elastic_seed=seed) for seed in range(seeds)]
    fields = np.stack([np.moveaxis(elastic_field(augmentation, size), 0, -1) for augmentation in drawn])
    if rank == 2:
        fields = np.concatenate([np.zeros_like(fields[..., :1]), fields], axis=-1)
    assert_elastic(fields, 3.0, axes=range(3 - rank, 3))


def test_an_elastic_field_depends_on_its_seed():
    bent = replace(STILL, elastic=2.0, elastic_seed=3)
    places = [coordinates(replace(bent, elastic_seed=seed), SHAPE, middle_of(SHAPE)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.allclose(places[0], places[2])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(augmentation=geometries())
def test_outside_the_volume_all_is_zero_and_not_annotated(augmentation):
    image, label = np.ones((*SHAPE, 1), np.float32), np.ones(SHAPE, np.uint8)
    start, size = (1, -2, -3), (10, 30, 28)
    places = coordinates(augmentation, size, middle_of(SHAPE))
    found, classes = transformed(augmentation, image, label, start, size)
    lengths = np.array(SHAPE)[:, None, None, None]
    outside = ((places < -1.1) | (places > lengths + 0.1)).any(axis=0)
    inside = ((places > 0) & (places < lengths - 1)).all(axis=0)
    assert not found[outside].any()
    assert not classes[outside].any()
    np.testing.assert_allclose(found[inside], 1, atol=1e-5)
    assert (classes[inside] == 1).all()


@pytest.mark.parametrize(
    ("turn", "spacing_mm", "before", "after"),
    [
        # A bar of 12 mm along x, turned a quarter about y, lies along z, where voxels are 3 mm apart.
        ({"tilt_degrees": (90.0, 0.0)}, (3.0, 1.0, 1.0), (1, 1, 13), (5, 1, 3)),
        # And one along y, turned about x; its 3 mm along z are less than two pixels of 2 mm.
        ({"tilt_degrees": (0.0, 90.0)}, (3.0, 2.0, 1.0), (1, 7, 1), (5, 1, 1)),
        # Within the slice, from 1 mm to 2 mm.
        ({"rotate_degrees": 90.0}, (3.0, 2.0, 1.0), (1, 1, 13), (1, 7, 1)),
        ({"rotate_degrees": 90.0, "rank": 2}, (3.0, 2.0, 1.0), (1, 1, 13), (1, 7, 1)),
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
    found, classes = transformed(replace(STILL, **turn), image, label, spacing_mm=spacing_mm)
    np.testing.assert_array_equal(classes, bar(after))
    np.testing.assert_array_equal(found[..., 0] > 0.5, bar(after))


@pytest.mark.parametrize("rank", [2, 3])
def test_rotations_are_counter_clockwise_as_displayed(rank):
    image, label = np.zeros((21, 21, 21, 1), np.float32), np.ones((21, 21, 21), np.uint8)
    image[10, 10, 16] = 1
    turned = transformed(replace(STILL, rank=rank, rotate_degrees=90.0), image, label)[0]
    assert np.argwhere(turned[..., 0] > 0.5).tolist() == [[10, 4, 10]]


@pytest.mark.parametrize(("rank", "depth"), [(2, 4), (3, 8)])
def test_scale_enlarges_slices_or_volumes(rank, depth):
    label = np.zeros((16, 32, 32), np.uint8)
    label[6:10, 12:20, 12:20] = 1
    found, classes = transformed(replace(STILL, rank=rank, scale=2.0), label[..., None].astype(np.float32), label)
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
    found, classes = transformed(augmentation, label[..., None].astype(np.float32), label)
    pure = np.isin(found[..., 0], [1, 2, 4]) & (classes > 0)
    assume(pure.sum() > 100)
    np.testing.assert_array_equal(found[..., 0][pure], classes[pure])
    between = (classes > 0) & ~pure
    assert (np.abs(found[..., 0] - classes)[between] <= 3.5).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(augmentation=geometries(elastic=False, flips=False))
def test_a_patch_holds_the_part_of_the_transformed_volume(augmentation):
    """A patch about the volume's middle is read from the volume around it: no empty corners."""
    image, label = waves(SHAPE), noise(SHAPE)[1]
    size = (6, 12, 10)
    plain = replace(augmentation, crop=(1.0, 1.0), crop_at=(0.0, 0.0))  # a crop is of the patch's own sides
    start = tuple((length - side) // 2 for length, side in zip(SHAPE, size, strict=True))
    whole = transformed(plain, image, label)
    found, classes = transformed(plain, image, label, start, size)
    np.testing.assert_allclose(found, cut_patch(whole[0], start, size), atol=0.04)
    near = clear(coordinates(plain, size, middle_of(SHAPE)))
    np.testing.assert_array_equal(classes[near], cut_patch(whole[1], start, size)[near])
