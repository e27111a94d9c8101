import numpy as np

from data_prep.scans.volume import Volume

AFFINE = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def test_positions_follow_from_the_affine():
    volume = Volume(np.zeros((5, 7, 3)), AFFINE)
    assert volume.shape == (5, 7, 3)
    np.testing.assert_array_equal(volume.spacing_mm, (1, 2, 3))
    np.testing.assert_array_equal(volume.position(np.zeros(3)), (10, 20, 30))
    np.testing.assert_array_equal(volume.middle, (10 - 2 * 3, 20 + 2, 30 + 3))


def test_other_voxels_hold_the_same_image():
    volume = Volume(np.ones((6, 4, 3), np.int16), AFFINE, "1.2.3")
    cubic = volume.at_spacing(1.5)
    assert cubic.array.shape == (4, 5, 6)
    assert (cubic.array == 1).all()
    np.testing.assert_allclose(cubic.spacing_mm, 1.5)
    np.testing.assert_allclose(cubic.middle, volume.middle)
    assert cubic.frame_of_reference == "1.2.3"
