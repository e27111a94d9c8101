import numpy as np
import pytest

from data_prep.grid.voxel_grid import LPS_TO_RAS
from data_prep.scans.slice_stack import SliceStack


def stack(places, shifts=None, pixel=(0.5, 0.75), size=(7, 6), thickness=2.0):
    """Axial stack at `places` (mm); each slice is displaced by `shifts` (n, 2) within its plane."""
    origins = np.zeros((len(places), 3))
    origins[:, 2] = places
    if shifts is not None:
        origins[:, :2] = shifts
    thick = np.full(len(places), thickness) if np.isscalar(thickness) else np.array(thickness)
    return SliceStack(origins + np.array([10.0, 20.0, -5.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), pixel, size, thick)


def ramp(places, size=(7, 6)):
    """Slices whose value is their place."""
    return [np.full(size[::-1], place, np.float32) for place in places]


def test_an_even_stack_is_a_volume_as_it_is():
    even = stack([0, 2, 4, 6])
    assert even.is_rectangular
    assert even.gap_problem(1.5) is None
    assert (even.plane, even.tilt_deg, even.oblique_deg, even.spacing_mm) == ("axial", 0, 0, 2)
    assert even.grid.shape == (7, 6, 4)
    expected = [[0.5, 0, 0, 10], [0, 0.75, 0, 20], [0, 0, 2, -5], [0, 0, 0, 1]]
    np.testing.assert_array_equal(even.grid.affine, LPS_TO_RAS @ expected)
    planes = [np.arange(42, dtype=np.int16).reshape(6, 7) + 100 * k for k in range(4)]
    volume = even.volume(planes)
    assert volume.dtype == np.int16
    np.testing.assert_array_equal(volume[3, 2], [plane[2, 3] for plane in planes])


def test_positions_that_are_rounded_are_even():
    assert stack([0, 0.6, 1.3, 1.9, 2.5, 3.1]).is_even  # 0.625 mm, to a tenth
    assert not stack([0, 0.6, 1.4, 1.9, 2.5, 3.1]).is_even


def test_uneven_slices_are_resampled_by_their_positions():
    places = [0.0, 2.0, 4.5, 6.0, 8.0]
    uneven = stack(places)
    assert not uneven.is_even
    assert uneven.gap_problem(1.5) is None
    volume = uneven.volume(ramp(places))
    step = uneven.grid.spacing_mm[2]
    assert volume.shape == uneven.grid.shape
    assert volume.shape[2] == round(8 / 1.5) + 1
    np.testing.assert_allclose(volume[3, 3], step * np.arange(volume.shape[2]), atol=1e-5)


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ([0, 2, 4, 8, 10], "about 1 slice missing: slices 3 and 4 of 5 are 4 mm apart; expected 2 mm"),
        ([0, 2, 4, 10, 12, 14], "about 2 slices missing: slices 3 and 4 of 6 are 6 mm apart"),
        ([0], "a single slice"),
    ],
)
def test_missing_slices_are_refused(places, problem):
    assert problem in stack(places).gap_problem(1.5)


def test_larger_distances_of_thicker_slices_are_no_gap():
    places, thickness = [0, 2, 4, 6, 10.0, 15, 20], [2, 2, 2, 2, 5, 5, 5]
    assert stack(places, thickness=thickness).gap_problem(1.5) is None
    assert stack(places).gap_problem(1.5) is not None
    assert stack(places).gap_problem(3.0) is None


def test_a_tilted_stack_becomes_rectangular():
    places = np.arange(6) * 2.0
    shifts = np.stack([np.zeros(6), -places * np.tan(np.radians(15))], axis=1)  # the gantry tilts about x
    tilted = stack(places, shifts)
    assert tilted.tilt_deg == pytest.approx(15)
    assert tilted.is_even
    assert not tilted.is_straight
    # Value of a voxel: its own y in millimetres, which the resampled volume must have at its own places.
    rows = np.arange(6) * 0.75
    planes = [np.repeat((20 + shift + rows)[:, None], 7, axis=1) for shift in shifts[:, 1]]
    volume, grid = tilted.volume(planes, fill=-1), tilted.grid
    assert volume.shape == grid.shape
    axes = grid.affine[:3, :3] / grid.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    i, j, k = np.nonzero(volume != -1)
    y = -(grid.affine @ np.stack([i, j, k, np.ones_like(i)]))[1]  # LPS
    np.testing.assert_allclose(volume[i, j, k], y, atol=1e-4)
    assert (volume != -1).mean() > 0.5


def test_slices_beside_one_another_are_no_volume():
    assert "beside one another" in stack([0, 2, 4], [[0, 0], [0, 30], [0, 60]]).shape_problem
    assert stack([0, 2, 4]).shape_problem is None


def test_a_slice_without_thickness_hides_no_gap():
    places = [0, 2, 4, 8, 10]  # 2 mm apart, slices of 4 mm, one is missing
    assert "1 slice missing" in stack(places, thickness=[4.0] * 5).gap_problem(1.5)
    assert "1 slice missing" in stack(places, thickness=[4.0, 0.0, 4.0, 4.0, 3.99]).gap_problem(1.5)
