import importlib
import itertools
import math
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.surface import peer_hd95, random_pairs
from common.metrics.surface import area_vectors, hd95, robust_hausdorff, surface_dice, surface_distances, surface_elements

MM = (1.0, 1.0, 1.0)
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def pairs(draw):
    """Two masks of one shape that are not empty."""
    shape = draw(shapes)
    masks = [draw(hnp.arrays(bool, shape)) for _ in range(2)]
    assume(all(mask.any() for mask in masks))
    return masks


def box(*bounds):
    mask = np.zeros((48, 48, 48), bool)
    mask[tuple(slice(low, high) for low, high in bounds)] = True
    return mask


def cube(low, high):
    return box(*[(low, high)] * 3)


def ball(centre, radius):
    return sum((axis - middle) ** 2 for axis, middle in zip(np.indices((48, 48, 48)), centre, strict=True)) <= radius**2


A = cube(5, 11)
MOVED = box((7, 13), (5, 11), (5, 11))  # A by 2 along the first axis
B, SMALL = cube(30, 36), cube(30, 33)
C = box((15, 21), (5, 11), (5, 11))


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (A, MOVED, 2),
        (A | B, MOVED, 39.937451),
        (A, MOVED | box((40, 41), (5, 6), (5, 6)), 2),
        (A | SMALL, MOVED, 35.284558),
        (A | SMALL, MOVED | SMALL, 2),
        (A | C, A, 10),
        (A | C, box((5, 21), (5, 11), (5, 11)), 2),
        (A, box((13, 19), (5, 11), (5, 11)), 8),
    ],
)
def test_toy_cubes_have_the_values_of_the_official_brats_2023_code(truth, prediction, expected):
    assert hd95(truth, prediction, MM) == pytest.approx(expected, abs=5e-7)


def test_balls_have_the_values_of_surface_distance():
    whole = ball((16, 24, 24), 10)
    assert hd95(whole, whole | ball((36, 24, 24), 3), MM) == pytest.approx(9.2736, abs=1e-4)
    assert hd95(whole, whole | ball((36, 24, 24), 5), MM) == pytest.approx(12.5300, abs=1e-4)
    shifted = np.roll(whole, 4, axis=0)
    assert hd95(whole, shifted, MM) == pytest.approx(math.sqrt(13))  # 3.61
    assert hd95(whole, shifted, (3, 1, 1)) == pytest.approx(math.sqrt(61))  # 7.81
    assert hd95(whole, ball((16, 24, 24), 6), MM) == pytest.approx(math.sqrt(17))  # 4.12
    assert robust_hausdorff(surface_distances(whole, shifted, (3, 1, 1)), 100) == pytest.approx(12)


def test_empty_masks():
    empty = np.zeros((48, 48, 48), bool)
    assert hd95(empty, empty, MM) == 0
    assert hd95(A, empty, MM) == hd95(empty, A, MM) == math.inf
    found = surface_distances(A, empty, MM)
    assert np.isinf(found.truth_to_prediction).all()
    assert found.prediction_to_truth.size == found.prediction_areas.size == 0


def test_a_single_voxel_has_eight_elements_and_the_area_of_an_octahedron():
    mask = np.zeros((1, 1, 1), bool)
    mask[0, 0, 0] = True
    corners, codes = surface_elements(mask)
    assert sorted(map(tuple, corners.tolist())) == list(itertools.product((0, 1), repeat=3))
    assert len(set(codes.tolist())) == 8
    found = surface_distances(mask, mask, MM)
    assert found.truth_areas.sum() == pytest.approx(math.sqrt(3))  # of edge sqrt(1/2): 2 sqrt(3) edge^2
    assert not found.truth_to_prediction.any()


def test_areas_of_the_marching_cubes_cases():
    areas = np.linalg.norm(area_vectors(), axis=2).sum(axis=1)
    corner, edge, face = math.sqrt(3) / 8, math.sqrt(1 / 2), 1.0
    assert areas[0] == areas[255] == 0
    assert areas[0b1] == pytest.approx(corner)
    assert areas[0b11] == pytest.approx(edge)
    assert areas[0b1111] == pytest.approx(face)
    assert areas[0b1001] == areas[0b10000001] == pytest.approx(2 * corner)  # a face's diagonal, the cube's diagonal
    assert areas[0b111] == pytest.approx(1 / 2 + 3 * corner)  # a corner and two neighbours
    assert areas[0b10111] == pytest.approx(6 * corner)  # a corner and its three neighbours: a regular hexagon
    assert areas[0b11011] == pytest.approx(1 / 2 * edge * 2 + 4 * corner)  # four corners in a row
    np.testing.assert_allclose(areas, areas[::-1])  # a code and its complement


def test_a_smooth_surface_has_about_the_area_of_the_sphere():
    found = surface_distances(ball((24, 24, 24), 20), A, MM)
    assert found.truth_areas.sum() == pytest.approx(4 * math.pi * 20.3**2, rel=0.1)


def test_lists_are_sorted_and_of_every_element():
    found = surface_distances(A | B, MOVED, (2, 1, 0.5))
    for distances, areas, mask in (
        (found.truth_to_prediction, found.truth_areas, A | B),
        (found.prediction_to_truth, found.prediction_areas, MOVED),
    ):
        assert len(distances) == len(areas) == len(surface_elements(mask)[0])
        assert (np.diff(distances) >= 0).all()
        assert (areas > 0).all()


def test_distances_are_those_of_every_pair_of_elements():
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((2, 7, 6, 5)) < 0.3
    spacing = np.array([0.7, 1.5, 3])
    there, here = surface_elements(truth)[0], surface_elements(prediction)[0]
    every = np.sqrt((((there[:, None] - here) * spacing) ** 2).sum(axis=2))
    found = surface_distances(truth, prediction, tuple(spacing))
    np.testing.assert_allclose(found.truth_to_prediction, np.sort(every.min(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(found.prediction_to_truth, np.sort(every.min(axis=0)), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(pairs(), spacings)
def test_the_order_of_the_masks_does_not_matter(masks, spacing):
    assert hd95(*masks, spacing) == hd95(*reversed(masks), spacing)


@settings(max_examples=60, deadline=None)
@given(pairs(), spacings, st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3))
def test_a_translation_and_a_larger_array_change_no_bit(masks, spacing, margins):
    assert hd95(*(np.pad(mask, margins) for mask in masks), spacing) == hd95(*masks, spacing)


def directed(masks, spacing):
    """Sums that the order of axes leaves alone up to rounding; the percentile itself may be a tie that rounding decides."""
    found = surface_distances(*masks, spacing)
    return np.concatenate([found.truth_to_prediction, found.prediction_to_truth]), [
        found.truth_areas.sum(),
        found.prediction_areas.sum(),
        found.truth_areas @ found.truth_to_prediction,
        found.prediction_areas @ found.prediction_to_truth,
    ]


@settings(max_examples=60, deadline=None)
@given(pairs(), spacings, st.permutations(range(3)), st.sets(st.integers(0, 2)))
def test_mirrored_and_permuted_axes(masks, spacing, order, mirrored):
    changed = [np.flip(mask.transpose(order), tuple(mirrored)) for mask in masks]
    distances, sums = directed(masks, spacing)
    others, other_sums = directed(changed, tuple(spacing[axis] for axis in order))
    np.testing.assert_allclose(others, distances, rtol=1e-9)
    np.testing.assert_allclose(other_sums, sums, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(pairs(), spacings, st.sampled_from([0.25, 0.5, 2, 8]))
def test_distances_grow_with_the_spacing(masks, spacing, factor):
    larger = tuple(factor * length for length in spacing)
    assert hd95(*masks, larger) == pytest.approx(factor * hd95(*masks, spacing), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, shapes), spacings)
def test_equal_masks_have_no_distance(mask, spacing):
    assert hd95(mask, mask.copy(), spacing) == 0


def test_the_percentile_is_by_area_and_not_interpolated():
    found = surface_distances(A, MOVED, MM)
    share = np.cumsum(found.truth_areas) / found.truth_areas.sum()
    for percent in (5, 50, 95, 99.9):
        value = robust_hausdorff(found, percent)
        assert value in np.concatenate([found.truth_to_prediction, found.prediction_to_truth])
        assert value >= found.truth_to_prediction[np.searchsorted(share, percent / 100)]
    assert robust_hausdorff(found, 100) == max(found.truth_to_prediction[-1], found.prediction_to_truth[-1])


def test_masks_of_numbers_and_any_memory_order_are_equal_to_booleans():
    expected = hd95(A, MOVED, (3, 1, 2))
    assert hd95(np.asfortranarray(A), MOVED[::-1][::-1], (3, 1, 2)) == expected
    assert hd95(A.astype(np.int16) * 4, MOVED.astype(np.float32), (3, 1, 2)) == expected


@pytest.mark.parametrize(
    ("truth", "prediction", "spacing", "said"),
    [
        (A, A[:5], MM, "of one shape"),
        (A[0], A[0], MM, "3D"),
        (A, A, (1, 1), "spacing"),
        (A, A, (1, 0, 1), "positive"),
        (A, A, (1, math.nan, 1), "positive"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(truth, prediction, spacing, said):
    with pytest.raises(ValueError, match=said):
        hd95(truth, prediction, spacing)


@pytest.mark.skipif(find_spec("surface_distance") is None, reason="surface-distance is not installed (requirements-peers.txt)")
def test_values_are_those_of_surface_distance():
    for truth, prediction, spacing in random_pairs(240, seed=1):
        assert hd95(truth, prediction, spacing) == pytest.approx(peer_hd95(truth, prediction, spacing), rel=1e-9)


@pytest.mark.skipif(find_spec("surface_distance") is None, reason="surface-distance is not installed (requirements-peers.txt)")
def test_areas_of_all_cases_are_those_of_surface_distance():
    from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

    mirrored = [int(f"{code:08b}"[::-1], 2) for code in range(256)]  # its corners are numbered from the other end
    for spacing in (MM, (3, 1, 1), (0.7, 1.3, 2.9)):
        face = np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
        areas = np.linalg.norm(area_vectors() * face, axis=2).sum(axis=1)
        np.testing.assert_allclose(areas[mirrored], create_table_neighbour_code_to_surface_area(spacing), rtol=1e-12)


@pytest.mark.skipif(find_spec("surface_distance") is None, reason="surface-distance is not installed (requirements-peers.txt)")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nsd_equals_surface_distance():
    peer = importlib.import_module("surface_distance")
    for truth, prediction, spacing in random_pairs(40, 3):
        mine, theirs = (way(truth, prediction, spacing) for way in (surface_distances, peer.compute_surface_distances))
        for tolerance in (0.5, 1.0, 2.0):
            expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
            assert surface_dice(mine, tolerance) == pytest.approx(expected, abs=1e-12)


def test_nsd_of_a_shifted_cube_grows_with_the_tolerance():
    surfaces = surface_distances(A, MOVED, MM)
    found = [surface_dice(surfaces, tolerance) for tolerance in (0.0, 1.0, 2.0)]
    assert found == sorted(found)
    assert 0.3 < found[0] < found[1] < found[2] == 1


def test_nsd_of_empty_masks():
    empty = np.zeros_like(A)
    assert surface_dice(surface_distances(empty, empty, MM), 1.0) == 1
    assert surface_dice(surface_distances(A, empty, MM), 1.0) == 0
