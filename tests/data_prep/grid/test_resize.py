import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.grid.resize import resize_image, resize_label

SIDE = st.integers(1, 12)


def areas(label, size):
    """Share of each bit pattern in each new pixel, by exact areas: pattern -> (h, w)."""
    rows, columns = (overlap(old, new) for old, new in zip(label.shape, size, strict=True))
    return {bits: rows @ (label == bits) @ columns.T for bits in np.unique(label)}


def overlap(old, new):
    """(new, old) share of each old interval in each new one."""
    scale = old / new
    low, high = np.arange(new)[:, None] * scale, (np.arange(new)[:, None] + 1) * scale
    place = np.arange(old)
    return np.clip(np.minimum(high, place + 1) - np.maximum(low, place), 0, None) / scale


def test_downwards_a_pixel_is_the_mean_of_what_it_covers(rng):
    image = rng.normal(size=(12, 8, 3)).astype(np.float32)
    expected = image.reshape(4, 3, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_image(image, (4, 4)), expected, atol=1e-6)


def test_downwards_by_a_broken_factor_areas_count(rng):
    image = rng.normal(size=(10, 9, 2)).astype(np.float32)
    rows, columns = overlap(10, 4), overlap(9, 7)
    expected = np.einsum("ai,ijc,bj->abc", rows, image, columns)
    np.testing.assert_allclose(resize_image(image, (4, 7)), expected, atol=1e-5)


def test_upwards_it_is_linear():
    ramp = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 3, 1), np.float32)
    found = resize_image(ramp, (8, 6))[..., 0]
    np.testing.assert_allclose(found[:, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    assert (found == found[:, :1]).all()


def test_rows_may_shrink_while_columns_grow():
    image = np.zeros((8, 8, 1), np.float32)
    image[::4] = 4  # linear interpolation would miss it
    np.testing.assert_allclose(resize_image(image, (2, 16)), 1, atol=1e-6)


def test_columns_may_shrink_while_rows_grow():
    image = np.zeros((8, 8, 1), np.float32)
    image[:, ::4] = 4
    np.testing.assert_allclose(resize_image(image, (16, 2)), 1, atol=1e-6)


@pytest.mark.parametrize("channels", [5, 12])
def test_more_than_four_channels_shrink_by_a_broken_factor(channels, rng):
    image = rng.normal(size=(10, 9, channels)).astype(np.float32)
    expected = np.einsum("ai,ijc,bj->abc", overlap(10, 4), image, overlap(9, 7))
    np.testing.assert_allclose(resize_image(image, (4, 7)), expected, atol=1e-5)


def test_a_label_of_five_patterns_shrinks_by_a_broken_factor(rng):
    label = rng.choice([0, 1, 2, 4, 8], (10, 9)).astype(np.uint8)
    assert resize_label(label, (4, 7)).shape == (4, 7)


@settings(max_examples=60, deadline=None)
@given(
    old=st.tuples(SIDE, SIDE),
    new=st.tuples(SIDE, SIDE),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.float16, np.float32, np.uint8]),
)
def test_any_size_and_number_of_channels(old, new, channels, dtype):
    image = np.random.default_rng(0).uniform(0, 200, (*old, channels)).astype(dtype)
    before = image.copy()
    found = resize_image(image, new)
    assert (found.shape, found.dtype) == ((*new, channels), np.uint8 if dtype == np.uint8 else np.float32)
    assert image.min() - 0.1 <= found.min()
    assert found.max() <= image.max() + 0.1
    for channel in (0, channels - 1):  # channels do not mix
        alone = resize_image(image[..., channel, None], new)[..., 0].astype(np.float32)
        np.testing.assert_allclose(found[..., channel], alone, atol=1 if dtype == np.uint8 else 1e-3)
    np.testing.assert_array_equal(image, before)
    if old == new:
        np.testing.assert_array_equal(found, image.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(
    old=st.tuples(SIDE, SIDE),
    new=st.tuples(SIDE, SIDE),
    patterns=st.lists(st.sampled_from([0, 1, 2, 4, 64, 128, 3]), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 99),
)
def test_a_label_keeps_its_bits_whatever_the_sizes(old, new, patterns, seed):
    label = np.random.default_rng(seed).choice(patterns, old).astype(np.uint8)
    found = resize_label(label, new)
    assert (found.shape, found.dtype) == (new, np.uint8)
    assert set(np.unique(found)) <= set(np.unique(label))
    if old == new:
        np.testing.assert_array_equal(found, label)


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(SIDE, SIDE), shrink=st.tuples(SIDE, SIDE), seed=st.integers(0, 99))
def test_downwards_the_class_of_the_largest_area_wins(old, shrink, seed):
    label = np.random.default_rng(seed).choice([0, 1, 2, 8], old).astype(np.uint8)
    new = tuple(min(pair) for pair in zip(old, shrink, strict=True))
    shares = areas(label, new)
    found = resize_label(label, new)
    chosen = np.select([found == bits for bits in shares], list(shares.values()))
    assert (chosen >= np.max(list(shares.values()), axis=0) - 1e-5).all()  # a tie may go either way


def test_what_is_not_annotated_stays_so():
    label = np.zeros((8, 8), np.uint8)
    label[:, 4:] = 2
    np.testing.assert_array_equal(resize_label(label, (4, 4)), np.repeat([[0, 0, 2, 2]], 4, axis=0))
    assert not resize_label(np.zeros((6, 6), np.uint8), (4, 9)).any()


def test_a_label_enlarged_and_reduced_by_whole_factors_is_the_same(rng):
    label = (1 << rng.integers(0, 4, (6, 5))).astype(np.uint8)
    large = np.repeat(np.repeat(label, 3, axis=0), 2, axis=1)
    np.testing.assert_array_equal(resize_label(large, label.shape), label)
