"""Augmentation of volumes and patches: replayable, aligned, and equal for both."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.augmentation import apply as module
from data_prep.augmentation.apply import apply, apply_to_patch
from data_prep.augmentation.draw import Augmentation, AugmentConfig, case_rng, draw
from data_prep.augmentation.intensity import brain_statistics
from data_prep.grid.geometry import cut_patch
from tests.data_prep.augmentation.synthetic import (
    EVERYTHING,
    OFF,
    SHAPE,
    analytic_coordinates,
    assert_elastic,
    assert_moved_exactly,
    coordinate_volume,
    label_at,
    scan,
)

VOLUME = AugmentConfig(
    rank=3, probability=1.0, flips=["x", "y", "z"], tilt_degrees=20.0, elastic=1.5, elastic_sigma=4.0, crop=0.1, noise=0.02
)
GEOMETRIC = ("flips", "rotate_degrees", "scale", "elastic", "elastic_sigma", "elastic_seed")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_off_is_identity_in_new_arrays(dtype):
    image, label = scan(dtype)
    new_image, new_label = apply(OFF, image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_label, label)
    assert not np.shares_memory(new_image, image)
    assert not np.shares_memory(new_label, label)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("flips", [("x",), ("y",), ("z",), ("z", "y", "x")])
def test_flips_are_exact(dtype, flips):
    image, label = scan(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    new_image, new_label = apply(replace(OFF, flips=flips), image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, np.flip(image, axes))
    np.testing.assert_array_equal(new_label, np.flip(label, axes))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("unit_range", [True, False])
def test_dtypes_shapes_and_inputs_are_kept(dtype, unit_range):
    image, label = scan(dtype)
    before = image.copy(), label.copy()
    new_image, new_label = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=unit_range)
    assert (new_image.dtype, new_image.shape) == (image.dtype, image.shape)
    assert (new_label.dtype, new_label.shape) == (label.dtype, label.shape)
    assert not np.array_equal(new_image, image)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_any_number_of_channels_and_slices(channels):
    image, label = scan(channels=channels)
    augmentation = draw(EVERYTHING, case_rng(0, "a", 1), channels)
    whole = apply(augmentation, image, label, unit_range=False)[1]
    single = apply(augmentation, image[:1], label[:1], unit_range=False)
    assert single[0].shape == (1, *image.shape[1:])
    if "z" not in augmentation.flips:
        np.testing.assert_array_equal(single[1], whole[:1])


def test_the_same_augmentation_comes_back_from_json():
    image, label = scan()
    augmentation = draw(EVERYTHING, case_rng(3, "BraTS2021_00007", 2))
    again = Augmentation.from_dict(json.loads(json.dumps(asdict(augmentation))))
    assert again == augmentation
    for one, other in zip(
        apply(augmentation, image, label, unit_range=True), apply(again, image, label, unit_range=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_threads_and_order_change_nothing():
    image, label = scan()
    augmentations = [draw(EVERYTHING, case_rng(0, "a", copy)) for copy in range(6)]
    expected = [apply(augmentation, image, label, unit_range=True) for augmentation in augmentations]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda a: apply(a, image, label, unit_range=True), augmentations[::-1]))[::-1]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_global_random_states_are_neither_used_nor_changed():
    image, label = scan()
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=True)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    random.seed(2)
    np.random.seed(2)
    np.testing.assert_array_equal(first[0], apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=True)[0])


GEOMETRIES = {
    "rotation": {"rotate_degrees": 15.0},
    "shrinking": {"scale": 0.9},
    "growing": {"scale": 1.1},
    "elastic": {"elastic": 1.0, "elastic_sigma": 6.0},
    "all": {"flips": ("x",), "rotate_degrees": -10.0, "scale": 1.05, "elastic": 1.0, "elastic_sigma": 6.0},
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_image_and_annotation_stay_aligned(geometry):
    """An image that shows the annotation is still the annotation's afterwards, but for half a pixel at the edges."""
    _, label = scan()
    image = np.repeat(label[..., None], 4, -1).astype(np.float32)
    new_image, new_label = apply(replace(OFF, **geometry), image, label, unit_range=False)
    assert not np.array_equal(new_label, label)
    whole = np.isin(new_image[..., 0], [1, 2, 4, 8]) & (new_label > 0)  # pixels that no interpolation has mixed
    assert whole.mean() > 0.5
    assert np.mean(new_image[..., 0][whole] == new_label[whole]) > 0.995
    mixed = np.abs(new_image[..., 0] - new_label) > 4.5  # further off than half of the largest step between classes
    assert mixed.mean() < 0.03


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_all_slices_and_channels_share_one_geometry(geometry):
    picture = np.random.default_rng(0).uniform(0.2, 1, SHAPE[1:]).astype(np.float32)
    bits = (1 << np.random.default_rng(1).integers(0, 4, SHAPE[1:])).astype(np.uint8)
    image = np.broadcast_to(picture[None, :, :, None], (*SHAPE, 4)).copy()
    label = np.broadcast_to(bits, SHAPE).copy()
    new_image, new_label = apply(replace(OFF, **geometry), image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, np.broadcast_to(new_image[:1, :, :, :1], new_image.shape))
    np.testing.assert_array_equal(new_label, np.broadcast_to(new_label[:1], new_label.shape))


def test_what_comes_from_beyond_the_border_is_empty_and_not_annotated():
    image, label = np.ones((*SHAPE, 4), np.float32), np.ones(SHAPE, np.uint8)
    new_image, new_label = apply(replace(OFF, scale=0.8), image, label, unit_range=True)
    _, height, width = SHAPE
    border = np.ones(SHAPE, bool)
    border[:, height // 10 - 1 : height - height // 10 + 1, width // 10 - 1 : width - width // 10 + 1] = False
    assert not new_image[border].any()
    assert not new_label[border].any()
    assert new_label[:, height // 2, width // 2].all()


def test_rotation_and_scale_do_what_they_say():
    label = np.ones((1, 101, 101), np.uint8)
    image = np.zeros((1, 101, 101, 4), np.float32)
    image[0, 50, 80] = 1  # 30 pixels to the right of the middle
    turned, _ = apply(replace(OFF, rotate_degrees=90.0), image, label, unit_range=True)
    assert np.argwhere(turned[0, :, :, 0] > 0.5).tolist() == [[20, 50]]  # counter-clockwise in the picture
    image[0, 48:53, 78:83] = 1
    grown, _ = apply(replace(OFF, scale=1.5), image, label, unit_range=True)
    np.testing.assert_allclose(np.argwhere(grown[0, :, :, 0] > 0.5).mean(0), [50, 95], atol=0.5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), unit_range=st.booleans(), dtype=st.sampled_from([np.float16, np.float32, np.uint8]))
def test_every_draw_keeps_the_rules(seed, unit_range, dtype):
    image, label = scan(dtype)
    strong = replace(EVERYTHING, probability=0.6, brightness=2.0, contrast=0.9, gamma=0.9, noise=1.0, elastic=2.0)
    augmentation = draw(strong, case_rng(seed, "a", 1))
    new_image, new_label = apply(augmentation, image, label, unit_range=unit_range)
    still = replace(OFF, **{name: getattr(augmentation, name) for name in GEOMETRIC})
    warped, same_label = apply(still, image, label, unit_range=unit_range)
    np.testing.assert_array_equal(new_label, same_label)
    assert set(np.unique(new_label)) <= {0, *np.unique(label)}
    assert np.isfinite(new_image.astype(np.float32)).all()
    if dtype != np.uint8:  # whose faintest voxels are rounded away
        assert not new_image[~warped.any(-1)].any()
    if unit_range:
        assert new_image.min() >= 0
        assert new_image.max() <= (255 if dtype == np.uint8 else 1)


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (np.zeros((2, 8, 8, 4), np.float64), np.zeros((2, 8, 8), np.uint8), "float16, float32 or uint8"),
        (np.zeros((2, 8, 8, 4), np.float32), np.zeros((2, 8, 8), np.int16), "uint8 label"),
        (np.zeros((2, 8, 8, 4), np.float32), np.zeros((2, 8, 9), np.uint8), r"\(2, 8, 9\)"),
        (np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 8, 8), np.uint8), "drawn for 4 channels; received an image of 3"),
    ],
)
def test_other_arrays_are_refused(image, label, message):
    with pytest.raises(ValueError, match=message):
        apply(OFF, image, label, unit_range=True)


def test_a_crop_enlarges_the_window_that_was_drawn():
    image, label = np.zeros((1, 40, 60, 4), np.float32), np.ones((1, 40, 60), np.uint8)
    image[0, 20:40, 30:60] = 1  # the lower right quarter
    quarter = replace(OFF, crop=(0.5, 0.5), crop_at=(0.25, 0.25))
    new_image, new_label = apply(quarter, image, label, unit_range=False)
    assert new_image[0, 1:-1, 1:-1].min() == 1  # at the border it is mixed with what lies outside
    assert (new_label == 1).all()
    other, _ = apply(replace(OFF, crop=(0.5, 0.5), crop_at=(-0.25, -0.25)), image, label, unit_range=False)
    assert other[0, :-1, :-1].max() == 0


def test_a_volume_is_changed_alike_in_all_channels_and_its_annotation():
    _, label = scan(np.float32)
    image = np.repeat(label[..., None], 4, -1).astype(np.float32) / 8
    geometry = replace(VOLUME, brightness=0, contrast=0, gamma=0, noise=0)
    for copy in range(3):
        augmentation = draw(geometry, case_rng(0, "a", copy))
        new_image, new_label = apply(augmentation, image, label, unit_range=True, spacing_mm=(2.0, 1.0, 1.0))
        for channel in range(1, 4):
            np.testing.assert_array_equal(new_image[..., channel], new_image[..., 0])
        whole = np.isin(new_image[..., 0], np.array([1, 2, 4, 8], np.float32) / 8) & (new_label > 0)
        np.testing.assert_array_equal(8 * new_image[..., 0][whole], new_label[whole])
        assert whole.mean() > 0.2
        assert not np.array_equal(new_label, label)


def test_a_volume_is_turned_out_of_its_slices_and_a_picture_is_not():
    image, label = scan(np.float32)
    image[:10], label[:10] = 0, 0  # nothing in the lower half
    for rank, tilt in ((2, (0.0, 0.0)), (3, (30.0, 0.0))):
        turned = replace(OFF, rank=rank, tilt_degrees=tilt, rotate_degrees=10.0)
        found = apply(turned, image, label, unit_range=True)[1]
        assert found[:10].any() == (rank == 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_a_volumes_augmentation_is_replayed_from_json_and_keeps_dtypes(dtype):
    image, label = scan(dtype)
    before = image.copy()
    augmentation = draw(VOLUME, case_rng(3, "a", 1))
    assert augmentation.rank == 3
    assert augmentation.tilt_degrees[0] != augmentation.tilt_degrees[1] != 0
    again = Augmentation.from_dict(json.loads(json.dumps(asdict(augmentation))))
    assert again == augmentation
    one, other = (apply(each, image, label, unit_range=True, spacing_mm=(2.0, 1.0, 1.0)) for each in (augmentation, again))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert (one[0].dtype, one[0].shape, one[1].dtype, one[1].shape) == (dtype, image.shape, np.uint8, label.shape)
    np.testing.assert_array_equal(image, before)


def test_volumes_are_the_same_among_threads():
    image, label = scan()
    augmentations = [draw(VOLUME, case_rng(0, "a", copy)) for copy in range(4)]
    expected = [apply(augmentation, image, label, unit_range=True) for augmentation in augmentations]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda a: apply(a, image, label, unit_range=True), augmentations))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("flips", [("z",), ("z", "y", "x")])
def test_flips_of_volumes_are_exact(dtype, flips):
    image, label = scan(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    new_image, new_label = apply(replace(OFF, rank=3, flips=flips), image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, np.flip(image, axes))
    np.testing.assert_array_equal(new_label, np.flip(label, axes))


def moved(augmentation, shape, start=None, size=None):
    """A volume of coordinates, or a patch of it, augmented: image and label."""
    image, label = coordinate_volume(shape)
    augmentation = replace(augmentation, brightness=(0.0,) * 3, contrast=(1.0,) * 3, gamma=(1.0,) * 3, sources=(0, 1, 2))
    if start is None:
        return apply(augmentation, image, label, unit_range=False)
    return apply_to_patch(augmentation, image, label, start, size, unit_range=False)


MOVES = {
    "flips": {"flips": ("z", "x")},
    "rotation": {"rotate_degrees": -37.0},
    "scale": {"scale": 0.8},
    "crop": {"crop": (0.6, 0.8), "crop_at": (0.15, -0.08)},
    "all": {"flips": ("y",), "rotate_degrees": 20.0, "scale": 1.1, "crop": (0.9, 0.7), "crop_at": (0.02, 0.1)},
}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("changes", MOVES.values(), ids=MOVES)
def test_volumes_and_patches_move_exactly_as_drawn(changes, rank):
    shape, start, size = (36, 40, 44), (3, 5, 11), (33, 24, 20)
    augmentation = replace(OFF, rank=rank, **changes, **({"tilt_degrees": (12.0, -7.0)} if rank == 3 else {}))
    middle = tuple((length - 1) / 2 for length in shape)
    assert_moved_exactly(*moved(augmentation, shape), analytic_coordinates(augmentation, shape, middle), shape)
    middle = tuple(first + (length - 1) / 2 for first, length in zip(start, size, strict=True))
    assert_moved_exactly(*moved(augmentation, shape, start, size), analytic_coordinates(augmentation, size, middle), shape)


@pytest.mark.parametrize(("rank", "seeds"), [(2, 80), (3, 40)])
def test_elastic_displacements_of_volumes_are_as_large_at_the_edges_as_in_the_middle(rank, seeds):
    """Enlarged, so that what is displaced beyond an edge still comes from the volume and can be read off."""
    shape = (20, 70, 74) if rank == 3 else (2, 70, 74)
    enlarged = replace(OFF, rank=rank, scale=1.9, elastic=1.4 if rank == 2 else 0.7, elastic_sigma=5.0)
    middle = tuple((length - 1) / 2 for length in shape)
    expected = analytic_coordinates(enlarged, shape, middle)
    displacements = []
    for seed in range(seeds):
        image, label = moved(replace(enlarged, elastic_seed=seed), shape)
        assert image.min() > 0  # nothing was read outside the volume
        displacements.append(image - 1 - expected)
        places = image - 1
        clear = (np.abs(places % 1 - 0.5) > 1 / 16).all(axis=-1)
        np.testing.assert_array_equal(label[clear], label_at(np.rint(places[clear]).astype(int)))
    assert_elastic(np.stack(displacements), enlarged.elastic, axes=range(3 - rank, 3))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("config", [replace(VOLUME, crop=0), EVERYTHING], ids=["rank 3", "rank 2"])
@pytest.mark.parametrize("seed", range(3))
def test_a_patch_as_large_as_the_volume_is_the_augmented_volume(config, seed, dtype):
    image, label = scan(dtype, shape=(40, 22, 20))
    augmentation = draw(replace(config, fill=0.3, fill_from=1), case_rng(0, "a", seed))
    options = {"unit_range": True, "spacing_mm": (2.0, 1.0, 1.0)}
    whole, bits = apply(augmentation, image, label, **options)
    patch, classes = apply_to_patch(augmentation, image, label, (0, 0, 0), label.shape, **options)
    assert patch.dtype == np.float32
    np.testing.assert_array_equal(np.rint(patch * 255).astype(np.uint8) if dtype == np.uint8 else patch.astype(dtype), whole)
    np.testing.assert_array_equal(classes, bits)


def test_intensities_of_a_patch_change_by_the_statistics_of_its_volume():
    image, label = scan(np.float32)
    image[:, :20] *= 0.5
    start, size = (4, 8, 6), (9, 12, 14)
    changed = replace(OFF, brightness=(1.0, 0.5, 0.0, -1.0), contrast=(0.8, 1.0, 1.3, 1.1), gamma=(0.7, 1.0, 1.2, 1.0))
    whole, _ = apply(changed, image, label, unit_range=True)
    patch, _ = apply_to_patch(changed, image, label, start, size, unit_range=True)
    np.testing.assert_array_equal(patch, cut_patch(whole, start, size))
    calls = []

    def measured():
        calls.append(1)
        return brain_statistics(image)

    again, _ = apply_to_patch(changed, image, label, start, size, unit_range=True, statistics=measured)
    np.testing.assert_array_equal(again, patch)
    apply_to_patch(replace(OFF, scale=1.1), image, label, start, size, unit_range=True, statistics=measured)
    assert len(calls) == 1  # measured only where intensities change


@pytest.mark.parametrize("rank", [2, 3])
def test_blocks_of_any_length_give_the_same_volume(monkeypatch, rank):
    image, label = scan()
    augmentation = draw(EVERYTHING if rank == 2 else replace(VOLUME, elastic=0), case_rng(0, "a", 1))
    at_once = apply(augmentation, image, label, unit_range=True)
    monkeypatch.setattr(module, "SLICES_AT_ONCE", 7)
    in_blocks = apply(augmentation, image, label, unit_range=True)
    np.testing.assert_allclose(in_blocks[0], at_once[0], atol=0 if rank == 2 else 0.03)
    assert np.mean(in_blocks[1] == at_once[1]) > (0.9999999 if rank == 2 else 0.999)


def test_a_patch_is_new_memory():
    image, label = scan(np.float32)
    patch, bits = apply_to_patch(OFF, image, label, (0, 0, 0), label.shape, unit_range=True)
    assert not np.shares_memory(patch, image)
    assert not np.shares_memory(bits, label)
