"""Augmentation: replayable, aligned, and true to each kind of intensities."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import cli
from common.errors import UserError
from data_prep.augmentation.apply import Augmentation, AugmentConfig, CopiesConfig, apply, case_rng, draw
from tests.data_prep.augmentation.pictures import EVERYTHING, OFF, SHAPE, scan


def z_scored(dtype=np.float32):
    image, label = scan(np.float32)
    brain = image.any(-1)
    image[brain] = (image[brain] - image[brain].mean(0)) / image[brain].std(0) * 3
    return image.astype(dtype), label


def inside(augmentation, **changes):
    return replace(augmentation, **changes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_off_is_identity_in_new_arrays(dtype):
    image, label = scan(dtype)
    new_image, new_label = apply(OFF, image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_label, label)
    assert not np.shares_memory(new_image, image)
    assert not np.shares_memory(new_label, label)


def test_nothing_is_drawn_where_all_is_switched_off():
    config = AugmentConfig(flips=[], rotate_degrees=0, scale=0, elastic=0, brightness=0, contrast=0, gamma=0, noise=0)
    drawn = draw(config, case_rng(0, "a", 1))
    assert inside(drawn, elastic_seed=1, noise_seed=1) == OFF
    assert draw(AugmentConfig(probability=0.0), case_rng(0, "a", 1)) == drawn


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("flips", [("x",), ("y",), ("z",), ("z", "y", "x")])
def test_flips_are_exact(dtype, flips):
    image, label = scan(dtype)
    axes = ["zyx".index(axis) for axis in flips]
    new_image, new_label = apply(inside(OFF, flips=flips), image, label, unit_range=True)
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


def test_draws_are_keyed_by_seed_case_and_copy():
    drawn = {key: draw(EVERYTHING, case_rng(*key)) for key in [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2)]}
    assert len({repr(augmentation) for augmentation in drawn.values()}) == 4
    for key in reversed(drawn):
        assert draw(EVERYTHING, case_rng(*key)) == drawn[key]
    # Pinned: another Python, machine or order must draw the same.
    assert case_rng(0, "a", 1).integers(1000, size=3).tolist() == [25, 915, 24]


def test_one_switch_leaves_the_other_draws_as_they_are():
    full, calm = (
        draw(EVERYTHING, case_rng(0, "a", 1)),
        draw(replace(EVERYTHING, noise=0, rotate_degrees=0), case_rng(0, "a", 1)),
    )
    assert inside(calm, noise=full.noise, rotate_degrees=full.rotate_degrees) == full
    assert (calm.noise, calm.rotate_degrees) == (0, 0)
    few = draw(EVERYTHING, case_rng(0, "a", 1), channels=2)
    per_channel = dict.fromkeys(("brightness", "contrast", "gamma", "sources"), ())
    assert inside(few, **per_channel) == inside(full, **per_channel)


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
    new_image, new_label = apply(inside(OFF, **geometry), image, label, unit_range=False)
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
    new_image, new_label = apply(inside(OFF, **geometry), image, label, unit_range=True)
    np.testing.assert_array_equal(new_image, np.broadcast_to(new_image[:1, :, :, :1], new_image.shape))
    np.testing.assert_array_equal(new_label, np.broadcast_to(new_label[:1], new_label.shape))


def test_what_comes_from_beyond_the_border_is_empty_and_not_annotated():
    image, label = np.ones((*SHAPE, 4), np.float32), np.ones(SHAPE, np.uint8)
    new_image, new_label = apply(inside(OFF, scale=0.8), image, label, unit_range=True)
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
    turned, _ = apply(inside(OFF, rotate_degrees=90.0), image, label, unit_range=True)
    assert np.argwhere(turned[0, :, :, 0] > 0.5).tolist() == [[20, 50]]  # counter-clockwise in the picture
    image[0, 48:53, 78:83] = 1
    grown, _ = apply(inside(OFF, scale=1.5), image, label, unit_range=True)
    np.testing.assert_allclose(np.argwhere(grown[0, :, :, 0] > 0.5).mean(0), [50, 95], atol=0.5)


def test_elastic_displacements_have_the_stated_size():
    size = 200
    ramp = np.broadcast_to(np.arange(1, size + 1, dtype=np.float32)[None, None, :, None], (1, size, size, 4)).copy()
    label = np.ones((1, size, size), np.uint8)
    shifts = []
    for seed in range(4):
        bent, _ = apply(inside(OFF, elastic=2.0, elastic_sigma=8.0, elastic_seed=seed), ramp, label, unit_range=False)
        shifts.append((bent - ramp)[0, 20:-20, 20:-20, 0])
    assert 1.6 < np.std(shifts) < 2.4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), unit_range=st.booleans(), dtype=st.sampled_from([np.float16, np.float32, np.uint8]))
def test_every_draw_keeps_the_rules(seed, unit_range, dtype):
    image, label = scan(dtype)
    strong = replace(EVERYTHING, probability=0.6, brightness=2.0, contrast=0.9, gamma=0.9, noise=1.0, elastic=2.0)
    augmentation = draw(strong, case_rng(seed, "a", 1))
    new_image, new_label = apply(augmentation, image, label, unit_range=unit_range)
    still = inside(OFF, **{name: getattr(augmentation, name) for name in GEOMETRIC})
    warped, same_label = apply(still, image, label, unit_range=unit_range)
    np.testing.assert_array_equal(new_label, same_label)
    assert set(np.unique(new_label)) <= {0, *np.unique(label)}
    assert np.isfinite(new_image.astype(np.float32)).all()
    if dtype != np.uint8:  # whose faintest voxels are rounded away
        assert not new_image[~warped.any(-1)].any()
    if unit_range:
        assert new_image.min() >= 0
        assert new_image.max() <= (255 if dtype == np.uint8 else 1)


GEOMETRIC = ("flips", "rotate_degrees", "scale", "elastic", "elastic_sigma", "elastic_seed")


def test_z_scores_are_not_clipped():
    image, label = z_scored()
    image[image.any(-1)] += 1  # the deviation is not the root of the mean square
    image[10, 20, 18, 0] = 0  # a score that happens to be 0 is still brain
    shifted, _ = apply(inside(OFF, brightness=(1.0, -1.0, 0.0, 0.0)), image, label, unit_range=False)
    brain = image.any(-1)
    np.testing.assert_allclose(shifted[brain, 0], image[brain, 0] + image[brain, 0].std(), atol=1e-4)
    np.testing.assert_allclose(shifted[brain, 1], image[brain, 1] - image[brain, 1].std(), atol=1e-4)
    np.testing.assert_array_equal(shifted[..., 2:], image[..., 2:])
    assert shifted.max() > 5
    assert shifted.min() < -5
    turned, _ = apply(inside(OFF, rotate_degrees=5.0, elastic=1.0), image, label, unit_range=False)
    assert turned.min() < -3


def test_contrast_turns_about_the_mean_of_the_brain():
    image, label = z_scored()
    image[image.any(-1)] += 7
    brain = image.any(-1)
    changed, _ = apply(inside(OFF, contrast=(0.5, 1.0, 1.5, 1.0)), image, label, unit_range=False)
    for channel, factor in enumerate((0.5, 1.0, 1.5, 1.0)):
        mean = image[brain, channel].mean()
        np.testing.assert_allclose(changed[brain, channel], mean + factor * (image[brain, channel] - mean), atol=1e-3)


def test_gamma_is_a_power_in_unit_range_and_left_out_elsewhere():
    image, label = scan(np.float32)
    bent = inside(OFF, gamma=(0.5, 1.0, 1.0, 2.0))
    changed, _ = apply(bent, image, label, unit_range=True)
    np.testing.assert_allclose(changed[..., 0], np.sqrt(image[..., 0]), atol=1e-6)
    np.testing.assert_allclose(changed[..., 3], image[..., 3] ** 2, atol=1e-6)
    np.testing.assert_array_equal(apply(bent, image, label, unit_range=False)[0], image)


def test_noise_has_the_stated_size_differs_between_slices_and_is_named_by_its_seed():
    image, label = z_scored()
    brain = image.any(-1)
    noisy = apply(inside(OFF, noise=0.5), image, label, unit_range=False)[0]
    np.testing.assert_allclose((noisy - image)[brain].std(0), 0.5 * image[brain].std(0), rtol=0.05)
    middle = (noisy - image)[8:12, 15:25, 15:25].reshape(4, -1)
    assert np.abs(np.corrcoef(middle) - np.eye(4)).max() < 0.3
    assert not np.array_equal(noisy, apply(inside(OFF, noise=0.5, noise_seed=2), image, label, unit_range=False)[0])


def test_a_channel_that_is_missing_stays_zero():
    image, label = scan(np.float32)
    image[..., 1] = 0
    changed, _ = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=True)
    assert not changed[..., 1].any()
    assert changed[..., 0].any()


def test_an_empty_scan_is_legal():
    image, label = np.zeros((*SHAPE, 4), np.float16), np.zeros(SHAPE, np.uint8)
    new_image, new_label = apply(draw(EVERYTHING, case_rng(0, "a", 1)), image, label, unit_range=False)
    assert not new_image.any()
    assert not new_label.any()


def test_probability_is_that_of_each_change():
    drawn = [draw(AugmentConfig(probability=0.3), case_rng(seed, "a", 1)) for seed in range(400)]
    for happened in (
        [bool(a.rotate_degrees) for a in drawn],
        [a.scale != 1 for a in drawn],
        [bool(a.elastic) for a in drawn],
        ["x" in a.flips for a in drawn],
        [any(a.brightness) for a in drawn],
    ):
        assert 0.2 < np.mean(happened) < 0.4
    assert not any("z" in a.flips for a in drawn)


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("copies", -1),
        ("flips", ["x", "q"]),
        ("rotate_degrees", -15.0),
        ("scale", 1.0),
        ("gamma", 1.5),
        ("elastic_sigma", 0.5),
        ("noise", -0.1),
        ("probability", 1.1),
        ("fill", 1.1),
        ("crop", 1.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UserError, match=f"augment.{name}: expected"):
        CopiesConfig(**{name: value})
    with pytest.raises(UserError, match=f"augment.{name}: expected"):
        cli.parse(CopiesConfig, [f"--{name}={json.dumps(value)}"])


def test_a_crop_enlarges_the_window_that_was_drawn():
    image, label = np.zeros((1, 40, 60, 4), np.float32), np.ones((1, 40, 60), np.uint8)
    image[0, 20:40, 30:60] = 1  # the lower right quarter
    quarter = inside(OFF, crop=(0.5, 0.5), crop_at=(0.25, 0.25))
    new_image, new_label = apply(quarter, image, label, unit_range=False)
    assert new_image[0, 1:-1, 1:-1].min() == 1  # at the border it is mixed with what lies outside
    assert (new_label == 1).all()
    other, _ = apply(inside(OFF, crop=(0.5, 0.5), crop_at=(-0.25, -0.25)), image, label, unit_range=False)
    assert other[0, :-1, :-1].max() == 0


@given(seed=st.integers(0, 10_000), crop=st.floats(0, 0.9))
def test_windows_of_a_crop_lie_inside_the_picture(seed, crop):
    drawn = draw(AugmentConfig(crop=crop, probability=1.0), np.random.default_rng(seed), channels=3)
    for share, middle in zip(drawn.crop, drawn.crop_at, strict=True):
        assert 1 - crop - 1e-9 <= share <= 1
        assert abs(middle) + share / 2 <= 0.5 + 1e-9


def test_filled_channels_show_another_one():
    image, label = scan(np.float32)
    drawn = draw(AugmentConfig(fill=1.0, fill_from=2, probability=0.0), np.random.default_rng(0), channels=4)
    new_image, _ = apply(drawn, image, label, unit_range=True)
    for channel in range(4):
        np.testing.assert_array_equal(new_image[..., channel], image[..., 2])


def test_neighbouring_slices_are_changed_alike():
    drawn = draw(AugmentConfig(fill=0.5, fill_from=1, probability=1.0), np.random.default_rng(3), channels=2)
    wide = drawn.with_neighbours(1)
    assert wide.contrast == drawn.contrast * 3
    assert wide.sources == tuple(2 * place + source for place in range(3) for source in drawn.sources)
    assert wide.crop == drawn.crop
    assert drawn.with_neighbours(0) == drawn
