import json
from itertools import pairwise

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.contours import (
    Structure,
    fill_polygons,
    rasterise,
    read_json_contours,
    read_reference,
    read_rtstruct,
)
from tests.dicom_files import AXIAL, LPS, blob, oblique, write_rtstruct, write_series

SQUARE = np.array([[2.0, 3], [6, 3], [6, 8], [2, 8]]) - 0.5


def circle(radius, centre=(0.0, 0.0), corners=200):
    """Polygon (n, 2) around a circle."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + centre


def at(points, k, affine):
    """Polygon of indices (n, 2) in slice k, in millimetres."""
    indices = np.column_stack([points, np.full(len(points), k), np.ones(len(points))])
    return (indices @ affine.T)[:, :3]


def ball(radius_mm, heights, affine_of_planes, centre):
    """Circles of a ball of this radius in planes at `heights` (mm from its centre)."""
    polygons = []
    for height in heights:
        if abs(height) < radius_mm:
            points = circle(np.sqrt(radius_mm**2 - height**2))
            local = np.column_stack([points, np.full(len(points), height)])
            polygons.append(local @ affine_of_planes.T + centre)
    return Structure("ball", tuple(polygons))


def test_pixels_whose_centre_is_inside_are_filled():
    expected = np.zeros((9, 10), bool)
    expected[2:6, 3:8] = True
    np.testing.assert_array_equal(fill_polygons([SQUARE], (9, 10)), expected)


def test_a_polygon_inside_another_is_a_hole():
    hole = np.array([[3.0, 4], [5, 4], [5, 6], [3, 6]]) - 0.5
    filled = fill_polygons([SQUARE, hole], (9, 10))
    assert filled.sum() == 20 - 4
    assert not filled[3:5, 4:6].any()


def test_neighbours_share_no_pixel_and_leave_none_out():
    cuts = [0.0, 2.0, 3.5, 7.0]
    parts = [fill_polygons([np.array([[a, 1.0], [b, 1], [b, 6], [a, 6]])], (9, 9)) for a, b in pairwise(cuts)]
    assert np.sum(parts, axis=0).max() == 1
    np.testing.assert_array_equal(np.any(parts, axis=0), fill_polygons([np.array([[0.0, 1], [7, 1], [7, 6], [0, 6]])], (9, 9)))


def test_what_lies_outside_the_grid_is_cut():
    assert fill_polygons([np.array([[-5.0, -5], [30, -5], [30, 30], [-5, 30]])], (4, 5)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=9),
    st.integers(1, 3),
)
def test_filling_agrees_with_the_crossings_of_a_ray(points, copies):
    polygon = np.array(points)
    filled = fill_polygons([polygon + step for step in range(copies)], (9, 8))
    for i, j in ((0, 0), (3, 4), (8, 7), (5, 2)):
        crossings = 0
        for step in range(copies):
            moved = polygon + step
            for (x0, y0), (x1, y1) in zip(moved, np.roll(moved, -1, axis=0), strict=True):
                if min(y0, y1) <= j < max(y0, y1):
                    crossings += x0 + (j - y0) * (x1 - x0) / (y1 - y0) <= i
        assert filled[i, j] == crossings % 2


@pytest.mark.parametrize("affine", [AXIAL, oblique(), AXIAL @ np.diag([1, 1, -1, 1.0])])
def test_contours_in_the_slices_are_filled_there(affine):
    structure = Structure("TV", (at(SQUARE, 2, affine), at(SQUARE + 1, 3, affine)))
    mask = rasterise(structure, Grid((9, 10, 5), affine))
    assert mask.sum(axis=(0, 1)).tolist() == [0, 0, 20, 20, 0]
    assert mask[2:6, 3:8, 2].all()
    assert mask[3:7, 4:9, 3].all()


def test_finer_filling_takes_voxels_that_are_half_inside():
    edge = np.array([[1.6, 1.0], [5, 1], [5, 5], [1.6, 5]])
    polygon = (at(edge, 0, np.eye(4)),)
    grid = Grid((8, 8, 1), np.eye(4))
    np.testing.assert_array_equal(np.flatnonzero(rasterise(Structure("a", polygon), grid)[:, 3, 0]), [2, 3, 4])
    circles = Structure("a", (at(circle(2.3, (4, 4)), 0, np.eye(4)),))
    rough, fine = (rasterise(circles, grid, finer).sum() for finer in (1, 8))
    assert abs(fine - np.pi * 2.3**2) <= abs(rough - np.pi * 2.3**2)
    thin = np.array([[1.7, 1.0], [2.2, 1], [2.2, 5], [1.7, 5]])  # half a voxel wide, around the centres at 2
    assert rasterise(Structure("a", (at(thin, 0, np.eye(4)),)), grid).sum() == 4
    assert rasterise(Structure("a", (at(thin * [1, 1] - [0.3, 0], 0, np.eye(4)),)), grid, 8).sum() == 0


@pytest.mark.parametrize("heights", [np.arange(-9.5, 10, 1.0), np.arange(-9.25, 10, 2.5), np.arange(-9.3, 10, 0.4)])
@pytest.mark.parametrize("turned", [np.eye(3), oblique((1, 1, 1), (25, 10, 0))[:3, :3]])
def test_contours_in_other_planes_keep_the_shape(heights, turned):
    grid = Grid((30, 30, 20), np.diag([1.0, 1, 1.5, 1]))
    centre = np.array([15.2, 14.6, 14.9])
    mask = rasterise(ball(9, heights, turned, centre), grid)
    i, j, k = np.indices(grid.shape)
    exact = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (1.5 * k - centre[2]) ** 2 <= 81
    assert 2 * (mask & exact).sum() / (mask.sum() + exact.sum()) > 0.955


def test_a_gap_between_two_parts_stays_empty():
    grid = Grid((12, 12, 30), np.eye(4))
    planes = [*np.arange(2.5, 6, 1.0), *np.arange(20.5, 24, 1.0)]
    mask = rasterise(Structure("a", tuple(at(circle(3, (5, 5)), k, np.eye(4)) for k in planes)), grid)
    assert not mask[..., 8:18].any()
    assert mask[5, 5, 3:6].all()
    assert mask[5, 5, 21:24].all()


def test_a_structure_without_polygons_is_empty():
    assert not rasterise(Structure("a", ()), Grid((3, 3, 3), np.eye(4))).any()


def test_contours_of_an_rtstruct_are_read(tmp_path):
    paths = write_series(tmp_path, blob(), oblique())
    polygons = [at(SQUARE, 2, oblique()), at(SQUARE, 3, oblique())]
    write_rtstruct(tmp_path / "rt.dcm", paths[0], {"GTV": polygons, "Cochlea": [at(SQUARE + 1, 2, oblique())], "none": []})
    gtv, cochlea = read_rtstruct(tmp_path / "rt.dcm")
    assert (gtv.name, cochlea.name, len(gtv.polygons)) == ("GTV", "Cochlea", 2)
    image = pydicom.dcmread(paths[0])
    assert read_reference(tmp_path / "rt.dcm") == (image.SeriesInstanceUID, image.FrameOfReferenceUID)
    assert gtv.series_uid == image.SeriesInstanceUID
    assert read_reference(paths[0]) == ("", "")
    np.testing.assert_allclose(gtv.polygons[0], polygons[0], atol=1e-6)
    assert rasterise(gtv, Grid((12, 10, 8), oblique())).sum() == 40
    with pytest.raises(UserError, match="truncated or damaged"):
        read_rtstruct(paths[0])


def test_contours_of_json_are_in_lps(tmp_path):
    points = at(SQUARE, 2, AXIAL)
    content = [
        {"structure_name": "TV", "MR_SeriesInstanceUID": "1.2", "LPS_contour_points": [(points @ LPS[:3, :3]).tolist()] * 2}
    ]
    (tmp_path / "contours.json").write_text(json.dumps(content))
    (structure,) = read_json_contours(tmp_path / "contours.json")
    assert (structure.name, structure.series_uid, len(structure.polygons)) == ("TV", "1.2", 1)  # what stands twice counts once
    np.testing.assert_allclose(structure.polygons[0], points)


@pytest.mark.parametrize(
    "content",
    ["{}x", '{"a": 1}', '[{"structure_name": "TV"}]', "[3]", '[{"structure_name": "a", "LPS_contour_points": [[[1, 2]]]}]'],
)
def test_other_json_is_one_line(tmp_path, content):
    (tmp_path / "contours.json").write_text(content)
    with pytest.raises(UserError) as caught:
        read_json_contours(tmp_path / "contours.json")
    assert str(caught.value).startswith(f"{tmp_path / 'contours.json'}: contours")
    assert "\n" not in str(caught.value)


def test_a_structure_is_moved_with_its_space():
    shift = np.eye(4)
    shift[:3, 3] = [1, 2, 3]
    moved = Structure("a", (np.zeros((3, 3)),)).moved(shift)
    np.testing.assert_array_equal(moved.polygons[0], [[1, 2, 3]] * 3)
