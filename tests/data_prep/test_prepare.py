from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.errors import UserError
from data_prep import prepare as module
from data_prep.grid.geometry import Geometry
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, fit_scaling, prepare
from data_prep.scans.case import Case, CaseFiles
from tests.scans import LPS, scan

SCHEMA = LabelSchema.load("brats2017-2021")
WHOLE = PrepareConfig(crop=None, size=None)


def case(made=None, **changes):
    made = made or scan()
    files = CaseFiles(made.id, made.id, dict.fromkeys(made.images))
    channels = made.images | changes.pop("channels", {})
    return Case(files, channels, changes.pop("label", made.label), made.affine, made.label.shape)


def as_prepared(native, affine=LPS):
    return Geometry.uncropped(native.shape, affine).reorient(native)


def test_the_prepared_grid_is_ras_with_slices_first():
    made = scan(shape=(10, 9, 8))
    prepared = prepare(case(made), SCHEMA, WHOLE)
    assert prepared.image.shape == (8, 9, 10, 4)
    assert prepared.image.dtype == np.float16
    # LPS runs to the left and to the back, so columns and rows are turned round.
    expected = made.images["t1"][::-1, ::-1].transpose(2, 1, 0).astype(np.float32)
    np.testing.assert_array_equal(prepared.image[..., 1], (expected / expected.max()).astype(np.float16))
    np.testing.assert_array_equal(prepared.label, SCHEMA.encode(made.label[::-1, ::-1].transpose(2, 1, 0)))
    np.testing.assert_array_equal(prepared.geometry.to_native(prepared.label), SCHEMA.encode(made.label))


def test_minmax_brings_each_channel_of_each_patient_to_0_and_1():
    made = scan()
    made.images["t1"] = made.images["t1"] * 3 - 50
    image = prepare(case(made), SCHEMA, WHOLE).image
    for place, native in enumerate(made.images.values()):
        expected = as_prepared(native).astype(np.float64)
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        np.testing.assert_allclose(image[..., place], expected, atol=5e-4)
        assert (image[..., place].min(), image[..., place].max()) == (0, 1)


def test_zscore_counts_the_non_zero_voxels_and_leaves_the_others_0():
    made = scan()
    image = prepare(case(made), SCHEMA, replace(WHOLE, intensity="zscore")).image
    for place, native in enumerate(made.images.values()):
        native = as_prepared(native)
        values = image[..., place][native != 0].astype(np.float64)
        assert values.mean() == pytest.approx(0, abs=1e-3)
        assert values.std() == pytest.approx(1, abs=1e-3)
        assert not image[..., place][native == 0].any()
        brain = native[native != 0].astype(np.float64)
        np.testing.assert_allclose(values, (brain - brain.mean()) / brain.std(), atol=2e-3)


@pytest.mark.parametrize("intensity", ["minmax", "zscore", "median"])
def test_the_unit_range_is_that_of_the_prepared_image(intensity):
    config = replace(WHOLE, intensity=intensity)
    image = prepare(case(), SCHEMA, config).image
    assert config.unit_range == (image.min() >= 0 and image.max() <= 1)


@pytest.mark.parametrize("intensity", ["minmax", "zscore"])
def test_clip_bounds_by_percentiles_of_the_non_zero_voxels(intensity):
    made = scan()
    made.images["t1"][4, 4, 4] = 30000
    config = replace(WHOLE, intensity=intensity, clip=(2, 98))
    native = as_prepared(made.images["t1"]).astype(np.float64)
    low, high = np.percentile(native[native != 0], [2, 98])
    clipped = np.clip(native[native != 0], low, high)
    image = prepare(case(made), SCHEMA, config).image[..., 1]
    if intensity == "minmax":
        np.testing.assert_allclose(image[native != 0], (clipped - low) / (high - low), atol=1e-3)
    else:
        np.testing.assert_allclose(image[native != 0], (clipped - clipped.mean()) / clipped.std(), atol=2e-3)
    assert not image[native == 0].any()
    assert np.count_nonzero(image == image.max()) > 1


def test_uint8_holds_256_steps_of_0_to_1():
    full = prepare(case(), SCHEMA, WHOLE)
    steps = prepare(case(), SCHEMA, replace(WHOLE, dtype="uint8"))
    assert steps.image.dtype == np.uint8
    np.testing.assert_allclose(steps.image / 255, full.image, atol=0.5 / 255 + 5e-4)
    assert steps.image.max() == 255


@pytest.mark.parametrize("size", [(4, 4, 4), (3, 5, 7), (8, 9, 10), (1, 1, 1), (20, 4, 11), (9, 10, 10)])
def test_the_middle_crop_starts_where_the_paper_starts(size):
    whole = prepare(case(), SCHEMA, WHOLE)
    cut = prepare(case(), SCHEMA, replace(WHOLE, crop="middle", size=size))
    starts = [(n - wanted) // 2 for n, wanted in zip(whole.image.shape[:3], size, strict=True)]
    assert cut.geometry.start == tuple(starts)
    assert cut.image.shape == (*size, 4)
    padded = np.pad(whole.image, [*[(20, 20)] * 3, (0, 0)])
    window = tuple(slice(20 + start, 20 + start + wanted) for start, wanted in zip(starts, size, strict=True))
    np.testing.assert_array_equal(cut.image, padded[window])
    np.testing.assert_array_equal(cut.label, np.pad(whole.label, 20)[window])


def test_the_paper_crops_240_240_155_to_128():
    zeros = np.zeros((240, 240, 155), np.int16)
    empty = Case(CaseFiles("a", "a", {"t1": None}), {"t1": zeros}, None, LPS, zeros.shape)
    geometry = prepare(empty, None, PrepareConfig()).geometry
    assert geometry.start == (13, 56, 56)
    assert geometry.size == (128, 128, 128)


def brain_at(low, high, shape=(20, 18, 16)):
    """A case whose brain fills a box (i, j, k) of a larger volume without orientation."""
    array = np.zeros(shape, np.int16)
    array[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = 7
    label = (array > 0).astype(np.int16)
    files = CaseFiles("a", "a", {"t1": None, "t2": None})
    return Case(files, {"t1": array, "t2": np.zeros_like(array)}, label, np.eye(4), shape)


def test_the_brain_crop_lies_around_the_middle_of_the_brain():
    prepared = prepare(brain_at((2, 4, 1), (8, 10, 5)), SCHEMA, PrepareConfig(crop="brain", size=(4, 4, 4)))
    assert prepared.geometry.start == (1, 5, 3)
    assert (prepared.image[..., 0] == 1).all()


def test_the_brain_crop_stays_inside_the_volume():
    config = PrepareConfig(crop="brain", size=(10, 8, 8))
    assert prepare(brain_at((0, 0, 0), (2, 2, 2)), SCHEMA, config).geometry.start == (0, 0, 0)
    assert prepare(brain_at((18, 16, 14), (20, 18, 16)), SCHEMA, config).geometry.start == (6, 10, 12)
    larger = prepare(brain_at((0, 0, 0), (2, 2, 2)), SCHEMA, replace(config, size=(20, 8, 8)))
    assert larger.geometry.start == (-2, 0, 0)


def test_the_brain_crop_without_a_size_is_the_brains_box():
    prepared = prepare(brain_at((2, 4, 1), (8, 11, 5)), SCHEMA, PrepareConfig(crop="brain", size=None))
    assert (prepared.geometry.start, prepared.geometry.size) == ((1, 4, 2), (4, 7, 6))
    assert prepared.tumour_lost == 0
    assert not prepared.brain_unknown
    empty = prepare(brain_at((0, 0, 0), (0, 0, 0)), SCHEMA, PrepareConfig(crop="brain", size=None))
    assert (empty.geometry.size, empty.brain_unknown) == ((16, 18, 20), True)
    full = brain_at((0, 0, 0), (20, 18, 16))
    assert prepare(full, SCHEMA, PrepareConfig(crop="brain", size=(4, 4, 4))).brain_unknown
    assert not prepare(full, SCHEMA, PrepareConfig(crop="middle", size=(4, 4, 4))).brain_unknown
    assert not prepare(replace(full, brain=full.label == 1), SCHEMA, PrepareConfig(crop="brain", size=None)).brain_unknown


def masked(**changes):
    """A case with a stored mask: the upper half of its rows."""
    made = case(scan(shape=(10, 9, 8)))
    mask = np.zeros(made.shape, bool, order="F")
    mask[2:8, 5:8, 1:4] = True
    return replace(made, brain=mask, **changes)


def test_a_stored_mask_is_the_brain_of_the_crop():
    found = prepare(masked(), SCHEMA, replace(WHOLE, crop="brain"))
    assert found.image.shape == (3, 3, 6, 4)
    whole = prepare(masked(), SCHEMA, WHOLE)
    box = tuple(slice(first, first + size) for first, size in zip(found.geometry.start, (3, 3, 6), strict=True))
    np.testing.assert_array_equal(found.image, whole.image[box])
    assert found.brain.all()
    np.testing.assert_array_equal(whole.brain, as_prepared(masked().brain))
    assert whole.inside is whole.brain
    plain = prepare(case(), SCHEMA, WHOLE)
    assert plain.brain is None
    np.testing.assert_array_equal(plain.inside, (plain.image != 0).any(axis=-1))


@pytest.mark.parametrize("clip", [None, (5, 95)])
@pytest.mark.parametrize("intensity", ["zscore", "minmax", "median"])
def test_statistics_are_those_of_the_stored_mask(intensity, clip):
    made = masked()
    made.channels["t1"][~made.brain] += 5000
    config = replace(WHOLE, intensity=intensity, statistics="brain", clip=clip)
    inside = prepare(made, SCHEMA, config).image[..., 1][as_prepared(made.brain)].astype(np.float64)
    if intensity == "zscore":
        assert (inside.mean(), inside.std()) == (pytest.approx(0, abs=1e-2), pytest.approx(1, abs=1e-2))
    elif intensity == "median":
        assert np.median(inside) == pytest.approx(1, abs=1e-2)
    elif clip is None:
        assert (inside.min(), inside.max()) == (pytest.approx(0, abs=0.05), pytest.approx(1, abs=1e-3))


def test_statistics_of_a_mask_need_one():
    with pytest.raises(UserError, match=r"^case_a: has no brain mask, which --prepare.statistics brain needs; make one"):
        prepare(case(), SCHEMA, replace(WHOLE, statistics="brain"))


def test_a_mask_is_resampled_with_its_scan():
    made = masked()
    found = prepare(made, SCHEMA, replace(WHOLE, spacing_mm=0.5))
    assert found.brain.shape == found.image.shape[:3] == (16, 18, 20)
    assert found.brain.sum() / 8 == pytest.approx(made.brain.sum(), rel=0.1)


def test_padding_is_zero_and_not_annotated():
    prepared = prepare(case(), SCHEMA, PrepareConfig(size=(12, 9, 10), intensity="zscore"))
    np.testing.assert_array_equal(prepared.image[[0, 1, -2, -1]], 0)
    np.testing.assert_array_equal(prepared.label[[0, 1, -2, -1]], 0)
    assert (prepared.label[2:-2] > 0).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(
    "config",
    [
        PrepareConfig(size=(4, 5, 6)),
        PrepareConfig(size=(4, 5, 6), intensity="zscore"),
        PrepareConfig(size=(4, 5, 6), intensity="zscore", clip=(1, 90)),
        PrepareConfig(size=(4, 5, 6), dtype="uint8", clip=(5, 95)),
    ],
)
def test_cutting_before_scaling_equals_cutting_after_bit_for_bit(config, dtype):
    made = scan()
    factor = 0.2 if dtype == np.uint8 else 1
    made.images = {name: (array * factor).astype(dtype) for name, array in made.images.items()}
    whole = prepare(case(made), SCHEMA, replace(config, crop=None, size=None))
    cut = prepare(case(made), SCHEMA, config)
    np.testing.assert_array_equal(cut.image, cut.geometry.cut(whole.image))
    assert cut.scaling == whole.scaling


@settings(max_examples=60, deadline=None)
@given(
    values=st.sampled_from([np.int16, np.uint8, np.int32, np.uint16, np.int8]).flatmap(
        lambda dtype: arrays.arrays(dtype, (3, 4, 5), elements=st.integers(*_limits(dtype)))
    ),
    intensity=st.sampled_from(["minmax", "zscore"]),
    clip=st.sampled_from([None, (0.0, 100.0), (10.0, 80.0)]),
    stored=st.sampled_from(["float16", "uint8"]),
)
def test_the_table_equals_the_direct_way_bit_for_bit(values, intensity, clip, stored):
    config = PrepareConfig(intensity=intensity, clip=clip)
    scaling = fit_scaling(values, config)
    stored = stored if intensity == "minmax" else "float16"
    with pytest.MonkeyPatch.context() as patch:
        large = np.concatenate([values] * 1200)  # so that there are more voxels than values between lowest and highest
        table = module._stored(large, scaling, stored)
        patch.setattr(module, "TABLE_LIMIT", 0)
        direct = module._stored(large, scaling, stored)
    assert table.dtype == direct.dtype == np.dtype(stored)
    np.testing.assert_array_equal(table, direct)


def _limits(dtype):
    return (0, 1000) if dtype in (np.int32, np.uint16) else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


@settings(max_examples=60, deadline=None)
@given(
    value=st.one_of(st.integers(-30000, 30000), st.floats(-(2.0**100), 2.0**100, width=32)),
    intensity=st.sampled_from(["minmax", "zscore"]),
    clip=st.sampled_from([None, (1.0, 99.0)]),
)
def test_a_constant_channel_becomes_zeros(value, intensity, clip):
    constant = np.full((5, 6, 7), value, np.float32 if isinstance(value, float) else np.int16)
    made = case(scan(shape=(5, 6, 7)), channels={"t1": constant})
    image = prepare(made, SCHEMA, replace(WHOLE, intensity=intensity, clip=clip)).image
    assert not image[..., 1].any()


@pytest.mark.parametrize("clip", [None, (1, 99)])
def test_a_brain_of_one_value_stays_above_its_background(clip):
    image = prepare(brain_at((2, 4, 1), (8, 11, 5)), SCHEMA, replace(WHOLE, clip=clip)).image
    assert np.count_nonzero(image[..., 0] == 1) == 6 * 7 * 4
    assert np.count_nonzero(image) == 6 * 7 * 4


def test_a_channel_of_zeros_stays_zeros():
    made = case(channels={"t1": np.zeros((10, 9, 8), np.int16)})
    for config in (WHOLE, replace(WHOLE, intensity="zscore"), replace(WHOLE, clip=(1, 99))):
        assert not prepare(made, SCHEMA, config).image[..., 1].any()


def test_a_missing_channel_is_zeros_and_has_no_scaling():
    prepared = prepare(case(channels={"t1ce": None}), SCHEMA, WHOLE)
    assert not prepared.image[..., 2].any()
    assert list(prepared.scaling) == ["flair", "t1", "t2"]
    assert prepared.image[..., [0, 1, 3]].any(axis=(0, 1, 2)).all()


def test_the_tumour_that_the_crop_cuts_off_is_counted():
    made = scan(shape=(10, 10, 10))
    made.label[...] = 0
    made.label[:, 5, 5] = 4  # ten voxels in a row, of which a window of four keeps four
    assert prepare(case(made), SCHEMA, PrepareConfig(size=(4, 4, 4))).tumour_lost == pytest.approx(0.6)
    assert prepare(case(made), SCHEMA, WHOLE).tumour_lost == 0
    made.label[...] = 0
    assert prepare(case(made), SCHEMA, PrepareConfig(size=(4, 4, 4))).tumour_lost == 0


def test_a_case_without_label_or_schema_has_no_label():
    assert prepare(case(label=None), SCHEMA, WHOLE).label is None
    assert prepare(case(), None, WHOLE).label is None


def test_the_case_is_left_as_it_was():
    made = scan()
    before = {name: array.copy() for name, array in made.images.items()}
    prepare(case(made), SCHEMA, PrepareConfig(size=(12, 4, 4), intensity="zscore", clip=(1, 99)))
    for name, array in made.images.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "uint8", "intensity": "zscore"}, "dtype: uint8"),
        ({"size": None}, "--prepare.crop: middle needs --prepare.size"),
        ({"size": (0, 4, 4)}, "--prepare.size: expected three positive numbers"),
        ({"clip": (99, 1)}, "--prepare.clip: expected two rising percentiles"),
        ({"clip": (5, 5)}, "--prepare.clip: expected two rising percentiles"),
        ({"clip": (-1, 50)}, "--prepare.clip: expected two rising percentiles"),
        ({"clip": (1, 101)}, "--prepare.clip: expected two rising percentiles"),
        ({"clip": (float("nan"), 99)}, "--prepare.clip: expected two rising percentiles"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        replace(PrepareConfig(), **changes).check()


@pytest.mark.parametrize(
    "changes", [{}, {"crop": "brain", "size": None}, {"crop": None, "size": None}, {"clip": (0, 100), "dtype": "uint8"}]
)
def test_settings_that_make_sense_are_taken(changes):
    replace(PrepareConfig(), **changes).check()


def test_median_divides_by_the_median_of_the_tissue_and_leaves_zero():
    made = scan()
    image = prepare(case(made), SCHEMA, replace(WHOLE, intensity="median")).image
    for place, native in enumerate(made.images.values()):
        native = as_prepared(native).astype(np.float64)
        expected = native / np.median(native[native > native.mean()])
        np.testing.assert_allclose(image[..., place], expected, rtol=2e-3, atol=1e-3)
        assert not image[..., place][native == 0].any()
        tissue = image[..., place][native > native.mean()].astype(np.float64)
        assert np.median(tissue) == pytest.approx(1, abs=1e-3)


def test_median_does_not_see_air_nor_how_much_of_it_there_is():
    values = np.concatenate([np.arange(0, 20), np.arange(190, 211)]).astype(np.int16)  # air and tissue
    scaling = fit_scaling(values, replace(WHOLE, intensity="median"))
    assert (scaling.centre, scaling.spread, scaling.keep_zero) == (0.0, 200.0, True)
    more_air = np.concatenate([values, np.tile(np.arange(0, 20, dtype=np.int16), 3)])
    assert fit_scaling(more_air, replace(WHOLE, intensity="median")).spread == 200.0


def test_median_clips_first():
    made = scan()
    made.images["t1"][4, 4, 4] = 30000
    native = as_prepared(made.images["t1"]).astype(np.float64)
    low, high = np.percentile(native[native != 0], [0, 98])
    clipped = np.where(native == 0, 0, np.clip(native, low, high))
    counted = np.clip(native, low, high)
    image = prepare(case(made), SCHEMA, replace(WHOLE, intensity="median", clip=(0, 98))).image[..., 1]
    np.testing.assert_allclose(image, clipped / np.median(counted[counted > counted.mean()]), rtol=2e-3, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    values=arrays.arrays(np.int16, st.integers(1, 60), elements=st.integers(-500, 2000)),
    clip=st.sampled_from([None, (0, 99.5), (5, 95)]),
)
def test_median_of_whatever_there_is_gives_finite_numbers(values, clip):
    scaled = fit_scaling(values, replace(WHOLE, intensity="median", clip=clip))(values)
    assert np.isfinite(scaled).all()
    assert not scaled[values == 0].any()


def test_median_does_not_fit_into_bytes():
    with pytest.raises(UserError, match=r"uint8 holds 0\.\.1 alone"):
        replace(PrepareConfig(), intensity="median", dtype="uint8").check()


@pytest.mark.parametrize("value", [0, 7])
def test_median_of_one_value_is_defined(value):
    values = np.full((2, 2, 2), value, np.int16)
    assert np.isfinite(fit_scaling(values, replace(WHOLE, intensity="median"))(values)).all()
