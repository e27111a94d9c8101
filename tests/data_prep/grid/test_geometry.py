import json
from dataclasses import asdict
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, axcodes2ornt, inv_ornt_aff

from data_prep.grid.geometry import Geometry, centred_start, crop_or_pad, middle_start

AXES = list(permutations(range(3)))
lengths = st.tuples(*[st.integers(1, 6)] * 3)


def affine_of(order, signs, shape, spacing=(1.0, 2.0, 3.0)):
    """The affine of an RAS+ volume whose axes were put in `order` and turned by `signs`."""
    affine = np.zeros((4, 4))
    for native, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, native] = sign * spacing[native]
        affine[world, 3] = -sign * shape[native] / 3
    affine[3, 3] = 1
    return affine


@st.composite
def geometries(draw):
    """Any orientation (or none) and any crop: inside, across the edges, or wholly outside the volume."""
    shape = draw(lengths)
    order, signs = draw(st.sampled_from(AXES)), draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    affine = draw(st.sampled_from([None, affine_of(order, signs, shape)]))
    start = draw(st.tuples(*[st.integers(-9, 9)] * 3))
    return Geometry.uncropped(shape, affine).cropped(start, draw(lengths))


def numbered(shape):
    return np.arange(1, 1 + np.prod(shape), dtype=np.int32).reshape(shape)


def inside(geometry):
    """Which native voxels the crop holds, voxel by voxel."""
    mask = np.zeros(geometry.shape, bool)
    for place in np.ndindex(geometry.size):
        whole = [p + s for p, s in zip(place, geometry.start, strict=True)]
        if all(0 <= w < n for w, n in zip(whole, geometry.uncropped_size, strict=True)):
            native = [0, 0, 0]
            for axis, flip, w, n in zip(geometry.axes, geometry.flips, whole, geometry.uncropped_size, strict=True):
                native[axis] = n - 1 - w if flip else w
            mask[tuple(native)] = True
    return mask


@given(geometries())
def test_the_way_back_is_exact_inside_the_crop(geometry):
    volume = numbered(geometry.shape)
    crop = geometry.cut(geometry.reorient(volume))
    assert crop.shape == geometry.size
    np.testing.assert_array_equal(geometry.to_native(crop), np.where(inside(geometry), volume, 0))
    np.testing.assert_array_equal(geometry.to_native(crop, fill=-1), np.where(inside(geometry), volume, -1))


@given(geometries(), st.integers(-5, 5))
def test_the_crop_is_filled_outside_the_volume(geometry, fill):
    crop = geometry.cut(geometry.reorient(np.full(geometry.shape, 100)), fill)
    assert np.count_nonzero(crop == 100) == np.count_nonzero(inside(geometry))
    assert set(np.unique(crop)) <= {100, fill}


@given(geometries())
def test_a_crop_may_have_channels(geometry):
    volume = geometry.reorient(numbered(geometry.shape))
    both = geometry.cut(np.stack([volume, -volume], axis=-1))
    np.testing.assert_array_equal(both[..., 0], geometry.cut(volume))
    np.testing.assert_array_equal(both[..., 1], -geometry.cut(volume))


@given(geometries())
def test_it_survives_json(geometry):
    assert Geometry.from_dict(json.loads(json.dumps(asdict(geometry)))) == geometry


@pytest.mark.parametrize("order", AXES)
@pytest.mark.parametrize("signs", list(product([-1, 1], repeat=3)))
def test_the_prepared_grid_is_that_of_nibabel(order, signs):
    volume = numbered((4, 3, 2))
    affine = affine_of(order, signs, volume.shape)
    geometry = Geometry.uncropped(volume.shape, affine)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume, affine))
    np.testing.assert_array_equal(geometry.reorient(volume), np.asarray(canonical.dataobj).transpose(2, 1, 0))
    assert geometry.spacing_mm == pytest.approx(canonical.header.get_zooms()[::-1])
    assert geometry.uncropped_size == canonical.shape[::-1]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSL", "IAR", "SRP"])
def test_a_reoriented_scan_has_the_same_prepared_grid(codes):
    volume, affine = numbered((4, 3, 2)), np.diag([1.0, 2.0, 3.0, 1.0])
    orientation = axcodes2ornt(codes)
    change = nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), orientation)
    turned = nibabel.orientations.apply_orientation(volume, change)
    its_affine = affine @ inv_ornt_aff(change, volume.shape)
    assert "".join(aff2axcodes(its_affine)) == codes
    ours, theirs = Geometry.uncropped(volume.shape, affine), Geometry.uncropped(turned.shape, its_affine)
    np.testing.assert_array_equal(theirs.reorient(turned), ours.reorient(volume))


def test_an_oblique_scan_goes_to_the_nearest_axes():
    angle = np.deg2rad(30)
    affine = np.array(
        [[np.cos(angle), -np.sin(angle), 0, 0], [np.sin(angle), np.cos(angle), 0, 0], [0, 0, -2, 0], [0, 0, 0, 1]]
    )
    geometry = Geometry.uncropped((5, 4, 3), affine)
    assert (geometry.axes, geometry.flips) == ((2, 1, 0), (True, False, False))
    assert geometry.spacing_mm == pytest.approx((2, 1, 1))


def test_without_geometry_rows_and_columns_keep_their_order():
    volume = numbered((4, 3, 2))
    geometry = Geometry.uncropped(volume.shape, None)
    np.testing.assert_array_equal(geometry.reorient(volume), volume.transpose(2, 0, 1))
    assert geometry.spacing_mm is None


def test_reorienting_and_cutting_inside_copy_nothing():
    volume = numbered((4, 5, 6))
    whole = Geometry.uncropped(volume.shape, np.diag([-1.0, 1, -1, 1]))
    crop = whole.cropped((1, 1, 1), (3, 3, 2))
    assert np.shares_memory(whole.reorient(volume), volume)
    assert np.shares_memory(crop.cut(whole.reorient(volume)), volume)


def test_an_array_of_another_shape_is_refused():
    geometry = Geometry.uncropped((4, 3, 2), None)
    with pytest.raises(ValueError, match=r"crop.s shape \(2, 4, 3\); received \(4, 3, 2\)"):
        geometry.to_native(np.zeros((4, 3, 2)))


@given(lengths, lengths)
def test_the_middle_leaves_as_much_on_both_sides(whole, size):
    for start, length, wanted in zip(middle_start(whole, size), whole, size, strict=True):
        before, after = start, length - (start + wanted)
        assert after - before in (0, 1)


@pytest.mark.parametrize(
    ("length", "wanted", "expected"),
    [
        (5, 5, [1, 2, 3, 4, 5]),
        (5, 3, [2, 3, 4]),
        (5, 2, [2, 3]),
        (5, 8, [0, 1, 2, 3, 4, 5, 0, 0]),
        (4, 6, [0, 1, 2, 3, 4, 0]),
        (1, 4, [0, 1, 0, 0]),
    ],
)
def test_an_array_is_cropped_or_padded_evenly(length, wanted, expected):
    line = np.arange(1, length + 1)
    np.testing.assert_array_equal(crop_or_pad(line[:, None], (wanted, 1))[:, 0], expected)
    np.testing.assert_array_equal(crop_or_pad(line[None], (1, wanted))[0], expected)
    image = crop_or_pad(np.repeat(line[:, None, None], 2, axis=2), (wanted, 3))
    assert image.shape == (wanted, 3, 2)
    np.testing.assert_array_equal(image[:, 1], np.repeat(np.array(expected)[:, None], 2, axis=1))


@pytest.mark.parametrize(
    ("length", "size", "middle", "start"),
    [(10, 4, None, 3), (10, 5, None, 2), (4, 10, None, -3), (10, 4, 9, 2), (10, 4, 1, 0), (10, 4, 19, 6), (4, 9, 1, -3)],
)
def test_a_crop_lies_around_its_middle_and_inside(length, size, middle, start):
    assert centred_start(length, size, middle) == start
