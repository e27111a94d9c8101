import numpy as np

from data_prep.grid.voxel_grid import Grid
from data_prep.scans.volume import Volume, resample
from tests.dicom_files import blob, oblique


def test_resampling_onto_the_own_grid_changes_nothing():
    volume = Volume(blob(), oblique())
    found = resample(volume, volume.grid, "nearest")
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, volume.array)
    np.testing.assert_allclose(resample(volume, volume.grid), volume.array, rtol=1e-5, atol=1e-3)


def test_a_linear_image_keeps_its_values_on_another_grid():
    affine = oblique()
    i, j, k = np.indices((20, 18, 9))
    x, y, z = (affine[row, 0] * i + affine[row, 1] * j + affine[row, 2] * k + affine[row, 3] for row in range(3))
    volume = Volume((x + 2 * y - z).astype(np.float32), affine)
    middle = affine @ [9, 9, 4, 1]
    grid = Grid((5, 4, 3), np.diag([1.0, -1.0, 1.0, 1.0]))
    grid.affine[:3, 3] = middle[:3]
    found = resample(volume, grid, fill=-999)
    a, b, c = np.indices(grid.shape)
    expected = (middle[0] + a) + 2 * (middle[1] - b) - (middle[2] + c)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_transform_leads_from_the_grid_to_the_volume():
    volume = Volume(blob(), np.eye(4))
    shift = np.eye(4)
    shift[0, 3] = 2
    found = resample(volume, volume.grid, "nearest", 7, shift)
    np.testing.assert_array_equal(found[:-2], volume.array[2:])
    assert (found[-2:] == 7).all()


AFFINE = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def test_other_voxels_hold_the_same_image():
    volume = Volume(np.ones((6, 4, 3), np.int16), AFFINE, "1.2.3")
    cubic = volume.at_spacing(1.5)
    assert cubic.array.shape == (4, 5, 6)
    assert (cubic.array == 1).all()
    np.testing.assert_allclose(cubic.grid.spacing_mm, 1.5)
    np.testing.assert_allclose(cubic.grid.middle, volume.grid.middle)
    assert cubic.frame_of_reference == "1.2.3"
